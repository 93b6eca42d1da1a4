"""A run folder: tables, SAEs, audio copies and a manifest, each visible only when complete.

Everything is written beside its final place, flushed to disk, then renamed. What a stage writes is collected in a
`Staging` and appears together; the manifest, which alone says that a stage is done, is written last.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ard import tables
from ard.files import HIDDEN, replace_tree, write_atomic, write_parquet
from ard.staging import Staging


class RunError(ValueError):
    """A run folder is missing, unfinished or damaged."""


class Run:
    """One run folder. `Run.open(path)` for readers, `Run.create(path)` for the pipeline."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.live: Callable[[str, Sequence[str]], Any] | None = None
        """Computes activations that were not stored, as live(hookpoint, clip_ids); set by whoever has the model."""

    @classmethod
    def create(cls, path: str | Path) -> Run:
        """Open a run folder, making it if needed.

        Raises:
            RunError: the path is a file, or a folder with other things in it.
        """
        run = cls(path)
        if run.path.exists() and not run.path.is_dir():
            raise RunError(f"{run.path} is a file; --run needs a folder for the run.")
        known = {"manifest.json", "tables", "audio", "sae", "activations", "ratings.duckdb"}
        known |= {"report", "report.html", "report.md"}
        if run.path.is_dir() and not (run.path / "manifest.json").is_file():
            other = sorted(p.name for p in run.path.iterdir() if p.name not in known and not p.name.startswith(HIDDEN))
            if other:
                raise RunError(f"{run.path} holds other things (such as {other[0]}); give an empty or new folder.")
        for sub in ("tables", "audio", "sae"):
            (run.path / sub).mkdir(parents=True, exist_ok=True)
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run for reading; every table present is checked against its columns.

        Raises:
            RunError: no manifest there, or a damaged one, or a table that cannot be read.
        """
        run = cls(path)
        if not (run.path / "manifest.json").is_file():
            raise RunError(
                f"{run.path} is not a run (it has no manifest.json); "
                f"make one with `python -m precompute run --run {run.path}`."
            )
        _ = run.manifest
        for name in run.names():
            run.schema(name)
        return run

    # -- manifest ------------------------------------------------------------------------------------------------

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it is on disk now; empty before the first stage is done."""
        path = self.path / "manifest.json"
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{path} is damaged ({error}); delete it and run again, finished tables stay.") from None
        if not isinstance(content, dict):
            raise RunError(f"{path} is not a JSON object; delete it and run again.")
        return content

    def update_manifest(self, **changes: Any) -> dict[str, Any]:
        """Replace top-level entries of the manifest, atomically; `None` removes one."""
        content = {**self.manifest, **changes}
        content = {k: v for k, v in content.items() if v is not None}
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(self.path / "manifest.json", text.encode("utf-8"))
        return content

    # -- tables --------------------------------------------------------------------------------------------------

    def table_path(self, name: str) -> Path:
        """`tables/NAME` if it is a folder of parts, `tables/NAME.parquet` otherwise (existing or not)."""
        tables.spec(name)
        folder = self.path / "tables" / name
        return folder if folder.is_dir() else folder.with_suffix(".parquet")

    def has(self, name: str) -> bool:
        """True when the table is there, complete (it may still have no rows)."""
        return self.table_path(name).exists()

    def names(self) -> list[str]:
        """Tables that are there."""
        return [name for name in tables.TABLES if self.has(name)]

    def files(self, name: str) -> list[Path]:
        """The Parquet file(s) of a table, unfinished ones left out.

        Raises:
            RunError: the table is not there.
        """
        path = self.table_path(name)
        if not path.exists():
            raise RunError(
                f"{self.path} has no table {name}; run the stage that makes it (`python -m precompute status`)."
            )
        if path.is_file():
            return [path]
        return sorted(p for p in path.glob("*.parquet") if not p.name.startswith(HIDDEN))

    def schema(self, name: str) -> pa.Schema:
        """Schema of a table on disk, checked to hold the required columns with the right types."""
        schema = self._schemas(name)[0]
        want = tables.spec(name)
        for c in want.columns:
            index = schema.get_field_index(c.name)
            if index < 0 and c.nullable:
                continue
            if index < 0 or schema.field(index).type != c.type:
                found = "is missing" if index < 0 else f"is {schema.field(index).type}"
                raise RunError(
                    f"{self.table_path(name)}: column {c.name} {found}, expected {c.type}; "
                    "the table is from another version, run its stage again."
                )
        return schema

    def _schemas(self, name: str) -> list[pa.Schema]:
        try:
            schemas = [pq.read_schema(p) for p in self.files(name)]
        except (pa.ArrowInvalid, OSError) as error:
            raise RunError(f"Table {name} of {self.path} cannot be read ({error}); run its stage again.") from None
        return schemas or [tables.spec(name).schema]

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One table, checked unless only some columns are asked for.

        Raises:
            RunError: not there or unreadable. TableError: its content is wrong.
        """
        self.schema(name)
        files = self.files(name)
        if not files:
            return tables.empty(name) if columns is None else tables.empty(name).select(list(columns))
        try:
            parts = [
                pq.read_table(p, columns=None if columns is None else list(columns), partitioning=None) for p in files
            ]
        except (pa.ArrowInvalid, OSError) as error:
            raise RunError(f"Table {name} of {self.path} cannot be read ({error}); run its stage again.") from None
        table = pa.concat_tables(parts, promote_options="default")
        return tables.check(name, table, unique=False) if columns is None else table

    def write(self, name: str, table: pa.Table) -> pa.Table:
        """Check and write one whole table, replacing an older one; visible only when complete."""
        written = write_parquet(self.path / "tables" / f"{name}.parquet", name, table)
        folder = self.path / "tables" / name
        if folder.is_dir():
            shutil.rmtree(folder)
        return written

    def write_part(self, name: str, part: int | str, table: pa.Table) -> pa.Table:
        """Check and write one part of a table; parts stay invisible until `finish_parts`."""
        tables.spec(name)
        label = f"{part:05d}" if isinstance(part, int) else str(part)
        return write_parquet(self._parts(name) / f"part-{label}.parquet", name, table)

    def has_part(self, name: str, part: int | str) -> bool:
        """True when that part is written (and not yet made the table by `finish_parts`)."""
        label = f"{part:05d}" if isinstance(part, int) else str(part)
        return (self._parts(name) / f"part-{label}.parquet").is_file()

    def finish_parts(self, name: str) -> None:
        """Make the parts written so far the table, in place of an older one."""
        parts = self._parts(name)
        parts.mkdir(parents=True, exist_ok=True)
        replace_tree(parts, self.path / "tables" / name)
        (self.path / "tables" / f"{name}.parquet").unlink(missing_ok=True)

    def _parts(self, name: str) -> Path:
        return self.path / "tables" / f"{HIDDEN}{name}.parts"

    # -- folders -------------------------------------------------------------------------------------------------

    @property
    def audio_dir(self) -> Path:
        """Mono copies of the clips under opaque file names (`clips.audio`)."""
        return self.path / "audio"

    @property
    def activations_dir(self) -> Path:
        """Activation shards, one folder a hookpoint (`answers` tells which rows belong to which clip)."""
        return self.path / "activations"

    def sae_dir(self, sae_id: str) -> Path:
        """Folder of one SAE (`cfg.json`, `sae.safetensors`).

        Raises:
            RunError: the id is not of the form `<hookpoint>/e<expansion>/k<k>/<recipe>`.
        """
        pieces = sae_id.split("/")
        if len(pieces) != 4 or any(p in ("", ".", "..") or p.startswith(HIDDEN) or "\\" in p for p in pieces):
            raise RunError(f"{sae_id!r} is no SAE id; one is written <hookpoint>/e<expansion>/k<k>/<recipe>.")
        return self.path.joinpath("sae", *pieces)

    # -- queries -------------------------------------------------------------------------------------------------

    def connect(self) -> duckdb.DuckDBPyConnection:
        """DuckDB connection with one view per table; a table that is not there yet is an empty one.

        Use bound parameters (`con.execute(sql, [value])`) and one `con.cursor()` per thread.
        """
        connection = duckdb.connect(":memory:")
        for name in tables.TABLES:
            files = self.files(name) if self.has(name) else []
            if files:
                paths = [_literal(p) for p in files]
                connection.read_parquet(paths, union_by_name=True).create_view(name)
            else:
                connection.from_arrow(tables.empty(name)).create(name)
        return connection

    def remove_leftovers(self) -> None:
        """Delete what an interrupted process left half-written; only for the one process that may write to the run."""
        for folder in (self.path, self.path / "tables"):
            for path in folder.glob(f"{HIDDEN}*"):
                if path.is_dir() and (path.name.startswith(f"{HIDDEN}staging-") or path.suffix == ".old"):
                    shutil.rmtree(path)
                elif path.is_file() and path.suffix == ".tmp":
                    path.unlink()

    # -- one stage's output --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def staging(self, stage: str) -> Iterator[Staging]:
        """Collect what a stage writes; nothing is visible before `Staging.publish`, leftovers are removed."""
        staging = Staging(self.path, stage)
        try:
            yield staging
        finally:
            shutil.rmtree(staging.folder, ignore_errors=True)


def _literal(path: Path) -> str:
    """The path with its glob characters taken literally."""
    return "".join(f"[{c}]" if c in "[*?" else c for c in str(path.resolve()))
