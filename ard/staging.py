"""Unfinished output of one stage, in a hidden folder of the run; it appears together."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ard import tables
from ard.files import HIDDEN, replace_tree, write_atomic, write_parquet

SEARCHED_ROWS = 10_000  # of a group of a table written piece by piece, whose readers want one latent or one clip


class Staging:
    """Unfinished output of one stage, in a hidden folder of the run."""

    def __init__(self, run: Path, stage: str):
        self.run = run
        self.folder = run / f"{HIDDEN}staging-{stage}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.rows: dict[str, int] = {}
        self._others: list[Path] = []

    def write(self, name: str, table: pa.Table) -> None:
        """Check and write a table of this stage."""
        written = write_parquet(self.folder / "tables" / f"{name}.parquet", name, table)
        self.rows[name] = written.num_rows

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[Callable[[pa.Table], None]]:
        """A table of this stage written piece by piece, for what does not fit in memory: `write(piece)` inside `with`.

        Columns, types and values of each piece are checked. The pieces must come in the table's order, and no key may
        come twice: neither is checked here, both would need the whole.
        """
        path = self.folder / "tables" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, waiting = 0, list[pa.Table]()
        with pq.ParquetWriter(path, tables.spec(name).schema, compression="zstd") as file:

            def write(piece: pa.Table) -> None:
                nonlocal rows, waiting
                rows += piece.num_rows
                waiting.append(tables.check(name, piece, unique=False))
                while sum(p.num_rows for p in waiting) >= SEARCHED_ROWS:
                    together = pa.concat_tables(waiting)
                    file.write_table(together.slice(0, SEARCHED_ROWS).combine_chunks())
                    waiting = [together.slice(SEARCHED_ROWS)]

            yield write
            if any(p.num_rows for p in waiting):
                file.write_table(pa.concat_tables(waiting).combine_chunks())
        with path.open("rb") as written:
            os.fsync(written.fileno())
        self.rows[name] = rows

    def scratch(self, name: str) -> Path:
        """An empty folder for what the stage needs while it runs; it goes with the staging folder."""
        path = self.folder / f"{HIDDEN}{name}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def make_folder(self, relative: str) -> Path:
        """An empty folder that will replace `RUN/<relative>` as a whole."""
        path = self.folder / relative
        path.mkdir(parents=True, exist_ok=True)
        self._others.append(Path(relative))
        return path

    def write_file(self, name: str, data: bytes) -> None:
        """Write a file that will lie at `RUN/<name>`."""
        write_atomic(self.folder / name, data)
        self._others.append(Path(name))

    def publish(self) -> None:
        """Move everything to its place. The caller records the stage in the manifest afterwards."""
        for relative in self._others:
            replace_tree(self.folder / relative, self.run / relative)
        for name in self.rows:
            target = self.run / "tables" / name
            replace_tree(self.folder / "tables" / f"{name}.parquet", target.with_suffix(".parquet"))
            if target.is_dir():
                shutil.rmtree(target)
