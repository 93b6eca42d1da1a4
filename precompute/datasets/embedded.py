"""Sound in the rows of Parquet and Arrow files, as hub data sets keep it: a struct `{bytes, path}` in each row."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from precompute.audio_io import UnusableAudio
from precompute.datasets import DatasetError

GROUPS_KEPT = 2
"""Row groups of a Parquet file that stay in memory: clips are read in the file's order by a few threads."""
Column = tuple[str, ...]
"""A column, or a field inside one: `("context",)`, `("context", "audio")`."""


class Row(NamedTuple):
    """One row without its sound."""

    values: dict[str, Any]
    path: str | None
    """What the row says its sound file was called."""
    sound: RowSound


@dataclass(frozen=True)
class RowSound:
    """The sound of one row; `AudioTable` reads it."""

    table: AudioTable
    group: int
    row: int

    def read(self) -> bytes:
        """The bytes of one audio file.

        Raises:
            UnusableAudio: the row has none and the file that it names is not there, or the table cannot be read.
        """
        try:
            value = self.table.group(self.group)[self.row].as_py() or {}
            if value.get("bytes"):
                return value["bytes"]
            beside = self.table.file.parent / str(value.get("path") or "")
            if beside.is_file():
                return beside.read_bytes()
        except (OSError, pa.ArrowInvalid) as error:
            raise UnusableAudio(f"unreadable: {self.table.file.name}: {error}") from None
        named = f" ({value['path']})" if value.get("path") else ""
        raise UnusableAudio(f"missing file: the row holds no sound{named}")


@dataclass(eq=False)
class AudioTable:
    """One Parquet or Arrow file with a column of sound."""

    file: Path
    _kept: OrderedDict[int, Any] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def _parquet(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.file, memory_map=True)

    @cached_property
    def _arrow(self) -> pa.Table:
        """A memory map: nothing is read before it is asked for."""
        with pa.ipc.open_stream(pa.memory_map(str(self.file))) as reader:
            return reader.read_all()

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns and their types.

        Raises:
            DatasetError: the file cannot be read.
        """
        try:
            return self._parquet.schema_arrow if self._is_parquet else self._arrow.schema
        except (OSError, pa.ArrowInvalid) as error:
            raise DatasetError(f"{self.file} cannot be read ({error}); fetch it again.") from None

    @property
    def _is_parquet(self) -> bool:
        return self.file.suffix == ".parquet"

    @cached_property
    def column(self) -> Column:
        """The column that holds the sound.

        Raises:
            DatasetError: there is none.
        """
        found = [place for one in self.schema for place in _sounds(one)]
        if not found:
            raise DatasetError(
                f"{self.file} has no column of sound (a struct with bytes and path); "
                f"its columns are {', '.join(self.schema.names)}."
            )
        return found[0]

    @cached_property
    def class_names(self) -> dict[str, list[str]]:
        """Names of the classes of each column that keeps numbers for them, from the `datasets` library's metadata."""
        tree = json.loads((self.schema.metadata or {}).get(b"huggingface", b"{}"))
        features = tree.get("info", {}).get("features", {})
        # A column of lists of classes keeps them one level down.
        inner = {key: value.get("feature", value) for key, value in features.items() if isinstance(value, dict)}
        return {key: value["names"] for key, value in inner.items() if _is_classes(value)}

    def rows(self) -> Iterator[Row]:
        """All rows; of the sound only its name is read.

        Raises:
            DatasetError: the file cannot be read.
        """
        others = [name for name in self.schema.names if name != self.column[0]]
        named = ".".join((*self.column, "path"))
        try:
            groups = self._parquet.num_row_groups if self._is_parquet else 1
            for group in range(groups):
                if self._is_parquet:
                    table = self._parquet.read_row_group(group, columns=[*others, named])
                else:
                    table = self._arrow
                paths = _inside(table, (*self.column, "path"))
                for i, values in enumerate(_plain(table, others)):
                    yield Row(values, paths[i].as_py(), RowSound(self, group, i))
        except (OSError, pa.ArrowInvalid) as error:
            raise DatasetError(f"{self.file} cannot be read ({error}); fetch it again.") from None

    def group(self, number: int) -> pa.ChunkedArray:
        """The sound of one row group; the last few groups are kept."""
        with self._lock:
            if number not in self._kept:
                if self._is_parquet:
                    table = self._parquet.read_row_group(number, columns=[self.column[0]])
                else:
                    table = self._arrow
                self._kept[number] = _inside(table, self.column)
            self._kept.move_to_end(number)
            while len(self._kept) > GROUPS_KEPT:
                self._kept.popitem(last=False)
            return self._kept[number]


def _sounds(one: pa.Field) -> Iterator[Column]:
    """Places of sound in a column: itself, or the field `audio` inside it."""
    if not pa.types.is_struct(one.type):
        return
    names = {one.type.field(i).name for i in range(one.type.num_fields)}
    if {"bytes", "path"} <= names:
        yield (one.name,)
    elif "audio" in names:
        yield from ((one.name, *inside) for inside in _sounds(one.type.field("audio")))


def _inside(table: pa.Table, place: Column) -> pa.ChunkedArray:
    column = table.column(place[0])
    for name in place[1:]:
        column = pc.struct_field(column, name)
    return column


def _plain(table: pa.Table, names: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of the other columns, a batch at a time."""
    if not names:
        yield from ({} for _ in range(table.num_rows))
        return
    for batch in table.select(names).to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def _is_classes(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and bool(feature.get("names"))
