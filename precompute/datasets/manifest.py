"""A CSV, JSONL or Parquet manifest: `path` and any of clip_id, caption, labels, split, start_s, end_s, attributes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ard import tables
from precompute.datasets import DatasetError, Entry

KNOWN = ("path", "clip_id", "caption", "labels", "split", "start_s", "end_s", "recording_id")
# A manifest written by another run may carry these; the pipeline fills them itself.
OWN = frozenset(tables.spec("clips").names) - set(KNOWN) - {"truth"}


def entries(manifest: Path) -> Iterator[Entry]:
    """Entries of a manifest; relative paths count from the manifest's folder.

    Labels may be a list, a JSON list, or text with `;` or `|` between them. Other columns become attributes.

    Raises:
        DatasetError: of no known kind, unreadable, without `path`, or a row with an unusable value or repeated clip_id.
    """
    seen: dict[str, int] = {}
    number = 0
    for number, row in enumerate(_rows(manifest), start=1):
        where = f"{manifest}, row {number}"
        entry = _entry(manifest.parent, row, where)
        if entry.clip_id in seen:
            raise DatasetError(
                f"{where}: clip_id {entry.clip_id!r} was used by row {seen[entry.clip_id]}; "
                "give each row its own clip_id (or start_s, where rows share a file)."
            )
        seen[entry.clip_id] = number
        yield entry
    if not number:
        raise DatasetError(f"{manifest} has no rows; give one row a clip, with a column path.")


def _rows(manifest: Path) -> Iterator[dict[str, Any]]:
    kind = manifest.suffix.lower()
    try:
        if kind == ".csv":
            with manifest.open(newline="", encoding="utf-8-sig") as file:
                yield from csv.DictReader(file)
        elif kind in (".jsonl", ".ndjson"):
            with manifest.open(encoding="utf-8-sig") as file:
                yield from (json.loads(line) for line in file if line.strip())
        elif kind == ".parquet":
            yield from pq.read_table(manifest).to_pylist()
        else:
            raise DatasetError(
                f"{manifest} is neither a folder nor a manifest; a manifest ends in .csv, .jsonl or .parquet."
            )
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error, pa.ArrowInvalid) as error:
        raise DatasetError(f"{manifest} cannot be read as {kind.lstrip('.')}: {error}.") from None


def _entry(root: Path, row: Any, where: str) -> Entry:
    if not isinstance(row, dict):
        raise DatasetError(f"{where} is {type(row).__name__}; each line must be a JSON object with a path.")
    if None in row:
        raise DatasetError(f"{where} has more fields than the header; quote values that hold a comma.")
    path = _text(row.get("path"))
    if path is None:
        raise DatasetError(f"{where} has no path; the column path names the audio file.")
    start, end = _seconds(row, "start_s", where), _seconds(row, "end_s", where)
    if end is not None and end <= (start or 0.0):
        raise DatasetError(f"{where}: end_s {end:g} is not after start_s {start or 0.0:g}; times are in seconds.")
    default_id = path if start is None else f"{path}@{start:g}s"
    return Entry(
        clip_id=_text(row.get("clip_id")) or default_id,
        file=root / path,
        path=path,
        caption=_text(row.get("caption")),
        labels=_labels(row.get("labels"), where),
        split=_text(row.get("split")) or "",
        start_s=start,
        end_s=end,
        recording_id=_text(row.get("recording_id")),
        attributes={k: _plain(v) for k, v in row.items() if k not in KNOWN and k not in OWN and v not in (None, "")},
    )


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip() or None


def _seconds(row: dict[str, Any], key: str, where: str) -> float | None:
    text = _text(row.get(key))
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DatasetError(f"{where}: {key} is {text!r}; give seconds from the start of the file, 0 or more.")
    return value


def _labels(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{where}: labels {value!r} is no JSON list ({error}); or write a;b;c.") from None
    if isinstance(value, list | tuple):
        return tuple(dict.fromkeys(t for v in value if (t := _text(v))))
    text = _text(value)
    if text is None:
        return ()
    return tuple(dict.fromkeys(t.strip() for t in text.replace("|", ";").split(";") if t.strip()))


def _plain(value: Any) -> Any:
    """Nested values as JSON text, so that every attribute column has one simple type."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, dict | list) else value
