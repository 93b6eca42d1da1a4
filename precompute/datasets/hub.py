"""Any data set of the `datasets` library with a column of sound, as it lies on disk; the library itself is not needed.

On disk, as a hub repository, its automatic Parquet copy, or `save_to_disk` lay it out::

    NAME/data/train-00000-of-00002.parquet       a row a clip; the sound is a struct {bytes, path}
    NAME/default/test/0000.parquet               the folder is the split
    NAME/dataset_dict.json                       {"splits": ["train", "test"]}
    NAME/train/state.json, dataset_info.json     state.json names the Arrow files; others there are caches, not read
    NAME/train/data-00000-of-00001.arrow

Where a row keeps no bytes, the file that it names is looked for beside the table. Fetch one with
`hf download OWNER/NAME --repo-type dataset --local-dir NAME`. Licence: the data set's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from precompute.datasets import SPLIT_NAMES, DatasetError, Entry
from precompute.datasets.embedded import AudioTable, Row
from precompute.datasets.listing import Notes, few, readable, required, shown, text

TITLE = "A data set of the hub"
EXPECTED: dict[str, int] = {}
LABELS = ("label", "labels", "category", "categories", "class")
CAPTIONS = ("caption", "captions", "description")
_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}(?:-\w+)?")
_TABLES = ("*.parquet", "*.arrow")


class Numbered(NamedTuple):
    """A row with its place in its split."""

    split: str
    number: int
    table: AudioTable
    row: Row


def entries(
    root: Path, notes: Notes, *, part: str = "", id_column: str = "", label_columns: Sequence[str] = ()
) -> Iterator[Entry]:
    """One entry for each row; other columns of plain values become attributes.

    Args:
        root: the data set's folder.
        notes: counts what is odd.
        part: a sub-folder, for a repository of several configurations.
        id_column: the column that names the clips; empty: they are numbered in the order of the files.
        label_columns: columns of labels; empty: those called label, labels, category, categories or class.

    Raises:
        DatasetError: no table, a table that cannot be read, or no column of sound.
    """
    folder = root / part if part else root
    name = folder.resolve().name
    for split, number, table, row in rows(folder):
        own = text(row.values.get(id_column)) if id_column else None
        if id_column and own is None:
            notes.add(f"rows without {id_column}, numbered instead", f"{table.file.name}, row {number}")
        captions = [c for key in CAPTIONS for c in _texts(row.values.get(key))]
        yield Entry(
            clip_id=f"{name}/{split or 'all'}/{own or f'{number:07d}'}",
            file=table.file,
            path=f"{shown(table.file, root)}#{number}",
            caption=captions[0] if captions else None,
            labels=_labels(row, table, tuple(label_columns) or LABELS),
            split=split,
            attributes=attributes(row),
            dataset=name,
            source=row.sound,
        )


def rows(folder: Path) -> Iterator[Numbered]:
    """Rows of all tables of a data set, numbered within their split.

    Raises:
        DatasetError: no table, a table that cannot be read, or no column of sound.
    """
    required(folder, TITLE, ["."])
    counts: dict[str, int] = {}
    for split, file in _tables(folder):
        table = AudioTable(file)
        for row in table.rows():
            number = counts.get(split, 0)
            counts[split] = number + 1
            yield Numbered(split, number, table, row)


def attributes(row: Row) -> dict[str, Any]:
    """The columns of plain values; blanks in their names become underscores."""
    plain = {key: value for key, value in row.values.items() if isinstance(value, str | int | float | bool)}
    return {f"hub_{key.strip().replace(' ', '_').lower()}": v for key, v in plain.items() if text(v) is not None}


def _tables(folder: Path) -> list[tuple[str, Path]]:
    """Every table with its split, in the order of splits and shards."""
    states = sorted(folder.rglob("state.json"))
    if states:
        found = [(_split(file, folder), file) for state in states for file in _saved(state)]
    else:
        files = (p for pattern in _TABLES for p in folder.rglob(pattern))
        visible = (p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts))
        found = sorted((_split(file, folder), file) for file in visible)
    if not found:
        raise DatasetError(f"{folder} holds no .parquet or .arrow file; give the folder of a hub data set.")
    missing = [str(file) for _, file in found if not file.exists()]
    if missing:
        raise DatasetError(f"{folder} lacks {len(missing)} of the files that state.json names: {few(missing)}.")
    return found


def _saved(state: Path) -> list[Path]:
    try:
        return [state.parent / one["filename"] for one in json.loads(state.read_text())["_data_files"]]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise DatasetError(f"{state} does not name the data files ({error!r}); save the data set again.") from None


def _split(file: Path, folder: Path) -> str:
    """`train-00000-of-00002.parquet`, or the nearest folder called like a split; empty where neither is."""
    shard = _SHARD.fullmatch(file.stem)
    own = shard[1] if shard else file.stem
    names = [own, *reversed(file.relative_to(folder).parts[:-1]), folder.name]
    known = next((name.lower() for name in names if name.lower() in SPLIT_NAMES), "")
    # A shard's name may say its split in a word of the data set's own, such as `session1`.
    return known or (own if shard and own not in ("data", "part") else "")


def _labels(row: Row, table: AudioTable, columns: Sequence[str]) -> tuple[str, ...]:
    found = []
    for key in columns:
        names = table.class_names.get(key)
        value = row.values.get(key)
        for one in value if isinstance(value, list) else [value]:
            # The library writes -1 where a row has no class.
            named = (names[one] if 0 <= one < len(names) else None) if names and isinstance(one, int) else one
            found += [readable(label)] if (label := text(named)) else []
    return tuple(dict.fromkeys(found))


def _texts(value: Any) -> list[str]:
    return [t for one in (value if isinstance(value, list) else [value]) if (t := text(one))]
