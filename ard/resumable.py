"""Unfinished output of a long stage that outlives its process: the next run takes up the parts that are complete."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ard import tables
from ard.files import HIDDEN, fsync_dir, write_atomic, write_parquet
from ard.staging import Staging
from ard.store import Run, RunError


class ResumableStaging(Staging):
    """A `Staging` whose folder stays until it is published, bound to what the stage's result depends on.

    Args:
        run: whose stage it is.
        stage: its name.
        fingerprint: hash of everything the result depends on; what another one left behind is deleted.
        fresh: delete what is there in any case.
        repair: the run's published folders have this fingerprint, so begin with what is whole in them.
    """

    def __init__(self, run: Run, stage: str, fingerprint: str, *, fresh: bool = False, repair: bool = False):
        self.run = run.path
        self.folder = run.path / f"{HIDDEN}parts-{stage}"
        self.rows: dict[str, int] = {}
        self._others: list[Path] = []
        self._fingerprint, self._repair = fingerprint, repair and not fresh
        state = self._state()
        if fresh or state.get("fingerprint") != fingerprint:
            self.discard()
            state = {}
        self._made: list[str] = state.get("folders", [])
        self.folder.mkdir(exist_ok=True)
        for torn in self.folder.rglob(f"{HIDDEN}*.tmp"):
            torn.unlink()

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.json"

    def _state(self) -> dict[str, Any]:
        return json.loads(self._state_file.read_text("utf-8")) if self._state_file.is_file() else {}

    def discard(self) -> None:
        """Delete the folder, what makes it valid first."""
        self._state_file.unlink(missing_ok=True)
        if self.folder.is_dir():
            fsync_dir(self.folder)
            shutil.rmtree(self.folder)

    def make_folder(self, relative: str) -> Path:
        """The folder that will replace `RUN/<relative>`, with what an earlier process left in it.

        One that was already put in its place, by a process that ended before the stage was recorded, is taken back.
        """
        path, published = self.folder / relative, self.run / relative
        if not path.is_dir():
            if relative in self._made and published.is_dir():
                published.replace(path)
            elif self._repair and published.is_dir():
                _link_tree(published, path)
            path.mkdir(parents=True, exist_ok=True)
        if relative not in self._made:
            self._made.append(relative)
            self._keep_state()
        self._others.append(Path(relative))
        return path

    def scratch(self, name: str) -> Path:
        """A folder for what the stage needs while it runs, with what an earlier process left in it."""
        self._keep_state()
        return super().scratch(name)

    def _keep_state(self) -> None:
        """Say what the folder is bound to; without it the next process begins anew."""
        state = {"fingerprint": self._fingerprint, "folders": self._made}
        write_atomic(self._state_file, json.dumps(state).encode())


def part_path(folder: Path, part: int) -> Path:
    """Where the rows that belong to one part of a folder lie; the last thing that is written of a part."""
    return folder / "rows" / f"{part:05d}.parquet"


def write_part(folder: Path, name: str, part: int, table: pa.Table) -> None:
    """Keep the rows of one part of table `name`; the stage joins them at the end and writes the table."""
    write_parquet(part_path(folder, part), name, table)


def read_part(folder: Path, name: str, part: int) -> pa.Table | None:
    """The rows of one part if an earlier process finished it, checked; None too where they cannot be read."""
    path = part_path(folder, part)
    try:
        return tables.check(name, pq.read_table(path, partitioning=None)) if path.is_file() else None
    except (pa.ArrowInvalid, OSError, tables.TableError):
        return None


def _link_tree(old: Path, new: Path) -> None:
    """The same files under another folder, without copying them.

    Raises:
        RunError: the file system has no hard links.
    """
    try:
        shutil.copytree(old, new, copy_function=os.link)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise RunError(f"{old} cannot be repaired in place ({error}); run the stage with --force.") from None


@contextlib.contextmanager
def resumable(
    run: Run, stage: str, fingerprint: str, *, fresh: bool = False, repair: bool = False
) -> Iterator[ResumableStaging]:
    """Collect what a stage writes; kept when the block fails or the process dies, deleted when it ends well."""
    staging = ResumableStaging(run, stage, fingerprint, fresh=fresh, repair=repair)
    yield staging
    staging.discard()
