"""A run folder: nothing half-written is ever visible, and what is damaged is said."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ard import files, tables
from ard.store import Run, RunError
from precompute.stages import STAGES


def captions(*clip_ids: str, text: str = "rain") -> pa.Table:
    rows = [{"clip_id": c, "caption": text, "model": "corpus", "prompt": ""} for c in clip_ids]
    return tables.from_rows("captions", rows)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "run")
    made.update_manifest(format=1)
    return made


def test_write_and_read_back(run: Run) -> None:
    run.write("captions", captions("b", "a"))
    assert run.read("captions")["clip_id"].to_pylist() == ["a", "b"]
    assert run.names() == ["captions"]
    assert Run.open(run.path).has("captions")


def test_views_take_bound_parameters_and_missing_tables_are_empty(run: Run) -> None:
    run.write("captions", captions("it's", "b"))
    con = run.connect()
    assert con.execute("SELECT caption FROM captions WHERE clip_id = ?", ["it's"]).fetchall() == [("rain",)]
    for name, spec in tables.TABLES.items():
        found = [c[0] for c in con.execute(f"SELECT * FROM {name} LIMIT 0").description]
        assert found == spec.names


@pytest.mark.parametrize("name", ["plain", "a[b]c", "what?", "star*", "quo'te", "ü ñ"])
def test_any_folder_name_works(tmp_path: Path, name: str) -> None:
    run = Run.create(tmp_path / name)
    run.write("captions", captions("a"))
    assert run.connect().execute("SELECT count(*) FROM captions").fetchone() == (1,)
    assert run.read("captions").num_rows == 1


def test_parts_are_invisible_until_finished(run: Run) -> None:
    run.write("captions", captions("old"))
    run.write_part("captions", 1, captions("b"))
    run.write_part("captions", 0, captions("a"))
    assert run.has_part("captions", 1)
    assert run.read("captions")["clip_id"].to_pylist() == ["old"]
    run.finish_parts("captions")
    assert run.read("captions")["clip_id"].to_pylist() == ["a", "b"]
    assert run.connect().execute("SELECT count(*) FROM captions").fetchone() == (2,)
    run.write("captions", captions("new"))
    assert run.read("captions")["clip_id"].to_pylist() == ["new"]


def test_a_failed_write_leaves_the_old_table(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write("captions", captions("old"))

    def fail(*args: object, **kwargs: object) -> None:
        Path(args[1]).write_bytes(b"half")  # type: ignore[arg-type]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.pq, "write_table", fail)
    with pytest.raises(OSError, match="No space"):
        run.write("captions", captions("new"))
    monkeypatch.undo()
    assert run.read("captions")["clip_id"].to_pylist() == ["old"]
    run.remove_leftovers()
    assert [p.name for p in (run.path / "tables").iterdir()] == ["captions.parquet"]


def test_staged_output_is_invisible_until_published(run: Run) -> None:
    run.write("captions", captions("old"))
    with run.staging("captions") as out:
        out.write("captions", captions("new"))
        (out.make_folder("audio") / "x.flac").write_bytes(b"x")
        assert run.read("captions")["clip_id"].to_pylist() == ["old"]
        assert not (run.audio_dir / "x.flac").exists()
        out.publish()
    assert run.read("captions")["clip_id"].to_pylist() == ["new"]
    assert (run.audio_dir / "x.flac").read_bytes() == b"x"
    assert out.rows == {"captions": 1}
    assert not [p for p in run.path.iterdir() if p.name.startswith(".")]


def test_staging_that_fails_leaves_nothing(run: Run) -> None:
    def interrupted() -> None:
        with run.staging("captions") as out:
            out.write("captions", captions("new"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not run.has("captions")
    assert not list(run.path.glob(".staging*"))


def test_a_sorted_table_keeps_a_latents_rows_together(run: Run) -> None:
    rows = [
        {
            "sae_id": "s",
            "clip_id": f"c{i % 7}",
            "latent_id": i // 7,
            "mean_activation": (i * 5 % 11) / 10,
            "coverage": 0.5,
            "representativeness": (i * 5 % 11) / 20,
            "max_activation": 1.0,
        }
        for i in range(70)
    ]
    run.write("clip_latents", tables.from_rows("clip_latents", rows[::-1]))
    table = run.read("clip_latents")
    assert table["latent_id"].to_pylist() == sorted(table["latent_id"].to_pylist())
    first = table.slice(0, 7)["representativeness"].to_pylist()
    assert first == sorted(first, reverse=True)


def test_manifest_updates_keep_what_is_there(run: Run) -> None:
    run.update_manifest(seed=3)
    run.update_manifest(seed=4, preset="demo")
    assert run.manifest == {"format": 1, "seed": 4, "preset": "demo"}
    run.update_manifest(preset=None)
    assert run.manifest == {"format": 1, "seed": 4}


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run .*no manifest.json"):
        Run.open(tmp_path)


def test_a_run_whose_manifest_was_deleted_is_taken_up_again(tmp_path: Path) -> None:
    outputs = {name for stage in STAGES.values() for name in (*stage.folders, *stage.files)}
    for name in (*outputs, "tables", "ratings.duckdb", ".cache"):
        (tmp_path / name).mkdir()
    assert Run.create(tmp_path).manifest == {}


def test_a_folder_with_other_things_is_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_bytes(b"")
    with pytest.raises(RunError, match=r"holds other things .*thesis.docx"):
        Run.create(tmp_path)
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "thesis.docx")


def test_damage_is_said(run: Run) -> None:
    run.write("captions", captions("a"))
    path = run.path / "tables" / "captions.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"Table captions .* cannot be read"):
        Run.open(run.path)
    (run.path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        Run.open(run.path)


def test_a_table_of_another_version_is_said(run: Run) -> None:
    path = run.path / "tables" / "captions.parquet"
    pq.write_table(pa.table({"clip_id": [1], "caption": ["x"], "model": ["m"], "prompt": [""]}), path)
    with pytest.raises(RunError, match="column clip_id is int64, expected string"):
        Run.open(run.path)
    pq.write_table(pa.table({"clip_id": ["a"], "caption": ["x"], "model": ["m"]}), path)
    with pytest.raises(RunError, match="column prompt is missing"):
        Run.open(run.path)


def test_reading_a_table_that_is_not_there(run: Run) -> None:
    with pytest.raises(RunError, match="has no table concepts"):
        run.read("concepts")


@pytest.mark.parametrize("sae_id", ["", "layers.1", "../../x/y", "layers.1/e8/k1/../x", "/a/b/c", "layers.1/e8/.k/x"])
def test_sae_ids_cannot_leave_the_run(run: Run, sae_id: str) -> None:
    with pytest.raises(RunError, match="is no SAE id"):
        run.sae_dir(sae_id)


def test_sae_dir(run: Run) -> None:
    assert run.sae_dir("layers.1/e8/k16/recommended") == run.path / "sae/layers.1/e8/k16/recommended"
