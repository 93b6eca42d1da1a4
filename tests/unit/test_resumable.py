"""Output that outlives its process: kept for the same fingerprint, deleted for another, taken back when unrecorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from ard import tables
from ard.resumable import part_path, read_part, resumable, write_part
from ard.store import Run

ROW = {"clip_id": "a", "question": "?", "answer": "!", "audio_tokens": 1, "text_tokens": 2, "shard": 0, "row": 0}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run")


def begin(run: Run, fingerprint: str = "one") -> None:
    """Finish one part and a file, then die in the middle of another file."""

    def work() -> None:
        with resumable(run, "activations", fingerprint) as out:
            folder = out.make_folder("activations")
            (folder / "0.bin").write_bytes(b"x")
            write_part(folder, "answers", 0, tables.from_rows("answers", [ROW]))
            (folder / ".1.bin.77.tmp").write_bytes(b"half")
            raise Killed

    with pytest.raises(Killed):
        work()


def test_what_was_finished_is_found_again(run: Run) -> None:
    begin(run)
    run.remove_leftovers()
    assert not run.has("answers")
    assert not run.activations_dir.exists()
    with resumable(run, "activations", "one") as out:
        folder = out.make_folder("activations")
        assert names(folder) == ["0.bin", "rows"]
        rows = read_part(folder, "answers", 0)
        assert rows is not None
        assert rows.to_pylist() == [ROW]
        assert read_part(folder, "answers", 1) is None
        out.write("answers", rows)
        out.publish()
    assert run.read("answers").to_pylist() == [ROW]
    assert names(run.activations_dir) == ["0.bin", "rows"]
    assert not [p for p in run.path.iterdir() if p.name.startswith(".parts")]


@pytest.mark.parametrize(("fingerprint", "fresh"), [("two", False), ("one", True)])
def test_another_fingerprint_or_a_fresh_start_finds_nothing(run: Run, fingerprint: str, fresh: bool) -> None:
    begin(run)
    with resumable(run, "activations", fingerprint, fresh=fresh) as out:
        folder = out.make_folder("activations")
        assert not names(folder)
        assert read_part(folder, "answers", 0) is None


def test_what_was_published_but_not_recorded_is_taken_back(run: Run) -> None:
    def work() -> None:
        with resumable(run, "activations", "one") as out:
            out.make_folder("activations")
            out.publish()
            raise Killed

    begin(run)
    with pytest.raises(Killed):
        work()
    assert run.activations_dir.is_dir()
    with resumable(run, "activations", "one") as out:
        assert names(out.make_folder("activations")) == ["0.bin", "rows"]
        assert not run.activations_dir.exists()
        out.publish()
    assert names(run.activations_dir) == ["0.bin", "rows"]


def test_an_older_result_is_not_taken_for_ones_own(run: Run) -> None:
    """A first start under new settings leaves the published folder of the old ones where it is."""
    run.activations_dir.mkdir()
    (run.activations_dir / "old.bin").write_bytes(b"old")
    begin(run)
    assert names(run.activations_dir) == ["old.bin"]
    with resumable(run, "activations", "one") as out:
        assert names(out.make_folder("activations")) == ["0.bin", "rows"]
        out.publish()
    assert names(run.activations_dir) == ["0.bin", "rows"]


def test_repair_begins_with_what_is_published_and_leaves_it_until_replaced(run: Run) -> None:
    begin(run)
    with resumable(run, "activations", "one") as out:
        out.make_folder("activations")
        out.publish()
    (run.activations_dir / "1.bin").write_bytes(b"y")
    with resumable(run, "activations", "one", repair=True) as out:
        folder = out.make_folder("activations")
        assert names(folder) == names(run.activations_dir) == ["0.bin", "1.bin", "rows"]
        assert (folder / "0.bin").stat().st_ino == (run.activations_dir / "0.bin").stat().st_ino  # not copied
        part_path(folder, 0).write_bytes(b"torn")
        assert read_part(folder, "answers", 0) is None
        out.publish()
    assert names(run.activations_dir) == ["0.bin", "1.bin", "rows"]
