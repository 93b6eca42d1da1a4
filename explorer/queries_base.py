"""The run's tables as one DuckDB connection that notices tables made while the app is open."""

from __future__ import annotations

import threading
from typing import Any

import duckdb

from ard import tables
from ard.store import Run


class Tables:
    """Asks one question at a time per thread; a table that appears or changes its form is seen at the next question."""

    def __init__(self, run: Run):
        self.run = run
        self._lock = threading.Lock()
        self._seen: tuple[str, ...] = ()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        present = tuple(str(path) for path in map(self.run.table_path, tables.TABLES) if path.exists())
        with self._lock:
            if self._connection is None or present != self._seen:
                self._connection, self._seen = self.run.connect(), present  # the old one closes with its last cursor
            return self._connection.cursor()

    def _rows(self, sql: str, params: list[Any]) -> list[dict[str, Any]]:
        with self._cursor() as cursor:
            result: duckdb.DuckDBPyConnection = cursor.execute(sql, params)
            names = [d[0] for d in result.description or []]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def has_rows(self, name: str) -> bool:
        """True where a table is there and not empty; `name` is one of the tables of a run."""
        tables.spec(name)
        return bool(self._rows(f"SELECT 1 AS one FROM {name} LIMIT 1", []))  # noqa: S608 (a known table)
