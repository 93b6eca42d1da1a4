"""The run's tables as one DuckDB connection that notices tables made or replaced while the app is open.

Tables of up to `IN_MEMORY` bytes on disk are copied into memory: a table of concepts asked for page after page is then
not decoded again for each page. Larger ones stay Parquet files; `_part` gives one latent's or one clip's rows of them.
Tables `browse` (what a page of concepts shows) and `clip_cards` (what a clip's card shows) are joined once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from ard import tables
from ard.store import Run
from explorer.queries_parts import RowGroups

IN_MEMORY = 16 << 20
PARTS_KEPT = 16
"""Latents and clips whose rows of large tables are remembered: both sides of a concept ask for the same."""

_BROWSE = """
    CREATE OR REPLACE TABLE browse AS
    SELECT c.*, l.density, l.clips_active, l.max_activation, d.auroc, d.auroc_low, d.auroc_high,
           d.label AS auroc_label, d.auroc_clap, d.auroc_clap_low, d.auroc_clap_high,
           count(*) OVER (PARTITION BY c.sae_id, c.method) AS concepts, m.median,
           lower(c.name || ' ' || c.description || ' ' || coalesce(array_to_string(c.captions, ' '), '')) AS words
    FROM concepts c LEFT JOIN latents l USING (sae_id, latent_id)
    LEFT JOIN detection d USING (sae_id, method, latent_id)
    LEFT JOIN (SELECT sae_id, method, median(score) AS median FROM monosemanticity GROUP BY ALL) m
        USING (sae_id, method)
    ORDER BY c.sae_id, c.method, c.rank, c.latent_id"""
# A clip may have several captions: the model's first, then the corpus's.
_CLIP_CARDS = """
    CREATE OR REPLACE TABLE clip_cards AS
    SELECT k.*, coalesce(x.caption, k.caption, '') AS shown_caption
    FROM clips k LEFT JOIN (SELECT clip_id, min_by(caption, (model = 'corpus')::VARCHAR || model) AS caption
                            FROM captions GROUP BY clip_id) x USING (clip_id);
    CREATE INDEX clip_cards_by_id ON clip_cards (clip_id)"""
DERIVED = ((("concepts", "latents", "detection", "monosemanticity"), _BROWSE), (("clips", "captions"), _CLIP_CARDS))
"""What is put together once, not for each question: from which tables, how. `words` is what a search looks through."""


class Stamp(NamedTuple):
    """What tells one version of a table from another."""

    path: str
    changed: int
    bytes: int
    """All files together; they grow several times in memory."""


class Tables:
    """Asks one question at a time per thread; a table that appears or changes is seen at the next question."""

    THREADS = 1
    """Of one question. The questions are small: sharing one out costs more than it saves, and several come at once."""

    def __init__(self, run: Run):
        self.run = run
        self._lock = threading.Lock()
        self._seen: dict[str, Stamp] = {}
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._groups: dict[str, tuple[Stamp, RowGroups]] = {}
        self._parts: OrderedDict[tuple[Any, ...], pa.Table] = OrderedDict()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        present = {name: stamp for name in tables.TABLES if (stamp := _stamp(self.run.table_path(name)))}
        with self._lock:
            fresh = self._connection is None or _places(present) != _places(self._seen)
            if self._connection is None or fresh:
                self._connection = self.run.connect()  # the old one closes with its last cursor
                self._connection.execute(f"SET threads TO {int(self.THREADS)}")
                self._seen = dict.fromkeys(present, Stamp("", 0, 0))
            changed = {name for name, stamp in present.items() if self._seen[name] != stamp}
            for name in changed:
                if present[name].bytes <= IN_MEMORY:
                    self._copy(self._connection, name)
            with self._connection.cursor() as cursor:
                for sources, sql in DERIVED:
                    if fresh or changed.intersection(sources):
                        cursor.execute(sql)
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
        key = (name, stamp, *values.items())
        with self._lock:
            if name not in self._groups or self._groups[name][0] != stamp:
                self._groups[name] = stamp, RowGroups(self.run.files(name), tuple(values))
            groups, known = self._groups[name][1], self._parts.get(key)
        rows = groups.rows(**values) if known is None else known
        with self._lock:
            self._parts[key] = rows
            self._parts.move_to_end(key)
            while len(self._parts) > PARTS_KEPT:
                self._parts.popitem(last=False)
        return {name: rows}

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
