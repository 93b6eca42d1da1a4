"""Files that readers see whole or not at all: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ard import tables

ROW_GROUP = 100_000  # rows
ROW_GROUP_BYTES = 256 << 10  # of a group of long rows
LONG_ROW = 256  # bytes in memory
HIDDEN = "."  # names that start with it are unfinished and never read


def fsync_dir(folder: Path) -> None:
    """Flush a folder's own entries, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that readers see the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{HIDDEN}{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync_dir(path.parent)


def write_parquet(path: Path, name: str, table: pa.Table, *, unique: bool = True) -> pa.Table:
    """Check, sort and write one table atomically; returns what was written."""
    checked = tables.check(name, table, unique=unique)
    order = tables.spec(name).sort
    if order and checked.num_rows > 1:
        checked = checked.sort_by(list(order))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{HIDDEN}{path.name}.{os.getpid()}.tmp")
    pq.write_table(checked, temporary, compression="zstd", row_group_size=_row_group(checked))
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync_dir(path.parent)
    return checked


def _row_group(table: pa.Table) -> int:
    """Rows of a group: fewer where a row is long (a trace, an embedding), so that few others are read with it."""
    size = table.nbytes // max(1, table.num_rows)
    return ROW_GROUP if size < LONG_ROW else max(100, ROW_GROUP_BYTES // size)


def replace_tree(new: Path, old: Path) -> None:
    """Put a finished file or folder in place of an older one."""
    old.parent.mkdir(parents=True, exist_ok=True)
    if old.is_dir():
        aside = old.with_name(f"{HIDDEN}{old.name}.{os.getpid()}.old")
        old.replace(aside)
        new.replace(old)
        shutil.rmtree(aside)
    else:
        new.replace(old)
    fsync_dir(old.parent)
