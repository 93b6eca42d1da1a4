"""The run's tables as one DuckDB connection that notices tables made or replaced while the app is open.

Tables of up to `IN_MEMORY` bytes on disk are copied into memory: a table of concepts asked for page after page is then
not decoded again for each page. Larger ones stay Parquet files; `_part` gives one latent's or one clip's rows of them.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from ard import tables
from ard.store import Run
from explorer.queries_parts import RowGroups

IN_MEMORY = 16 << 20


class Stamp(NamedTuple):
    """What tells one version of a table from another."""

    path: str
    changed: int
    bytes: int
    """All files together; they grow several times in memory."""


class Tables:
    """Asks one question at a time per thread; a table that appears or changes is seen at the next question."""

    def __init__(self, run: Run):
        self.run = run
        self._lock = threading.Lock()
        self._seen: dict[str, Stamp] = {}
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._groups: dict[str, tuple[Stamp, RowGroups]] = {}

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        present = {name: stamp for name in tables.TABLES if (stamp := _stamp(self.run.table_path(name)))}
        with self._lock:
            if self._connection is None or _places(present) != _places(self._seen):
                self._connection = self.run.connect()  # the old one closes with its last cursor
                self._seen = dict.fromkeys(present, Stamp("", 0, 0))
            for name, stamp in present.items():
                if self._seen[name] != stamp and stamp.bytes <= IN_MEMORY:
                    self._copy(self._connection, name)
            self._seen = present
            return self._connection.cursor()

    def _copy(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        """Take a table into memory, in place of the view or the older copy of it."""
        files = [str(path) for path in self.run.files(name)]
        if not files:
            return
        with connection.cursor() as cursor:
            kind = cursor.execute("SELECT table_type FROM information_schema.tables WHERE table_name = ?", [name])
            (found,) = kind.fetchone() or ("",)
            cursor.begin()
            cursor.execute(f"DROP {'VIEW' if found == 'VIEW' else 'TABLE'} {name}")
            cursor.read_parquet(files, union_by_name=True).create(name)
            cursor.commit()

    def _part(self, name: str, **values: str | int) -> dict[str, pa.Table]:
        """For `_rows`: a large table's rows of these values, to be asked in its place; nothing for a small one."""
        stamp = _stamp(self.run.table_path(name))
        if stamp is None or stamp.bytes <= IN_MEMORY:
            return {}
        with self._lock:
            if name not in self._groups or self._groups[name][0] != stamp:
                self._groups[name] = stamp, RowGroups(self.run.files(name), tuple(values))
            groups = self._groups[name][1]
        return {name: groups.rows(**values)}

    def _rows(
        self, sql: str, params: list[Any] | dict[str, Any], parts: dict[str, pa.Table] | None = None
    ) -> list[dict[str, Any]]:
        """Rows of a question; `parts` stand in for the tables of their names."""
        with self._cursor() as cursor:
            for name, part in (parts or {}).items():
                cursor.register(f"part_of_{name}", part)
                sql = sql.replace(f" FROM {name} ", f" FROM part_of_{name} ")
            result: duckdb.DuckDBPyConnection = cursor.execute(sql, params)
            names = [d[0] for d in result.description or []]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def has_rows(self, name: str) -> bool:
        """True where a table is there and not empty; `name` is one of the tables of a run."""
        tables.spec(name)
        return bool(self._rows(f"SELECT 1 AS one FROM {name} LIMIT 1", []))  # noqa: S608 (a known table)


def _places(stamps: dict[str, Stamp]) -> dict[str, tuple[str, bool]]:
    """Which tables there are, where, and which of them are copied."""
    return {name: (stamp.path, stamp.bytes <= IN_MEMORY) for name, stamp in stamps.items()}


def _stamp(path: Path) -> Stamp | None:
    """The version of a table that is there; None where it is not."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    size = sum(p.stat().st_size for p in path.glob("*.parquet")) if path.is_dir() else found.st_size
    return Stamp(str(path), found.st_mtime_ns, size)
