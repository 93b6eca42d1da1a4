"""What the adapters share: tables, audio folders, readable names, and a count of what is odd or left out."""

from __future__ import annotations

import csv
import math
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from precompute.audio_io import EXTENSIONS
from precompute.datasets import DatasetError, Entry

SHOWN = 3
"""Names that a sentence shows before it says how many more there are."""


class Notes:
    """What a listing found odd: for each kind how many, and the first few names."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """One more of this kind; `name` says where."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        shown = self.names.setdefault(kind, [])
        if len(shown) < SHOWN:
            shown.append(name)

    def sentences(self) -> list[str]:
        """One for each kind, for instance `lines that cannot be read: 12 (a.txt:12, b.txt:4, b.txt:9, …)`."""
        return [
            f"{kind}: {count:,} ({', '.join(self.names[kind])}{', …' if count > len(self.names[kind]) else ''})"
            for kind, count in self.counts.items()
        ]


def few(names: Sequence[str]) -> str:
    """The first few of many names, with the count of the others."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def required(root: Path, title: str, paths: Sequence[str]) -> None:
    """Refuse a folder in which any of these files or folders is missing.

    Raises:
        DatasetError: names the missing ones.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; {title} needs one with {few(paths)}.")
    missing = [path for path in paths if not (root / path).exists()]
    if missing:
        raise DatasetError(
            f"{title} at {root} lacks {len(missing)} of {len(paths)} files or folders: {few(missing)}; "
            "`python -m precompute datasets` says what to download."
        )


def inner(root: Path, *names: str) -> Path:
    """The first of these sub-folders that exists, or `root`: archives unpack into a folder of their own."""
    return next((root / name for name in names if (root / name).is_dir()), root)


def choose(part: str, allowed: Sequence[str], title: str) -> str:
    """`part`, if it is allowed.

    Raises:
        DatasetError: it is not.
    """
    if part not in allowed:
        known = ", ".join(repr(name) for name in allowed)
        raise DatasetError(f"{title} has no part {part!r}; its parts are {known}.")
    return part


def csv_rows(path: Path, columns: Sequence[str], notes: Notes, delimiter: str = ",") -> Iterator[dict[str, str]]:
    """Rows of a table with a header; a row that is cut short or too long is counted and left out.

    Raises:
        DatasetError: not there, not UTF-8, or without one of the columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            lacking = [c for c in columns if c not in (reader.fieldnames or ())]
            if lacking:
                found = ", ".join(reader.fieldnames or ()) or "nothing"
                raise DatasetError(f"{path} has no column {few(lacking)}; its header is {found}.")
            for row in reader:
                if None in row or any(row[c] is None for c in columns):
                    notes.add("rows that do not fit the header", f"{path.name}:{reader.line_num}")
                    continue
                yield row
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist; it lists the clips.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a UTF-8 table: {error}.") from None


class AudioIndex:
    """Audio files below some folders by their name without its ending; FLAC goes before other formats.

    Names are compared in Unicode's composed form: an archive unpacked on another system may hold the decomposed one.
    """

    def __init__(self, *folders: Path) -> None:
        self._found: dict[str, str] = {}
        for folder in folders:
            for place, below, files in os.walk(folder):
                below[:] = sorted(name for name in below if not name.startswith("."))
                for name in sorted(files):
                    self._add(place, name)

    def _add(self, place: str, name: str) -> None:
        stem, ending = os.path.splitext(name)  # noqa: PTH122 - a Path for each of 400,000 files takes seconds
        if name.startswith(".") or ending.lower() not in EXTENSIONS:
            return
        stem = unicodedata.normalize("NFC", stem)
        if stem not in self._found or ending.lower() == ".flac":
            self._found[stem] = os.path.join(place, name)  # noqa: PTH118

    def __len__(self) -> int:
        return len(self._found)

    def find(self, *stems: str) -> Path | None:
        """The file with the first of these names that there is one for."""
        for stem in stems:
            found = self._found.get(unicodedata.normalize("NFC", stem))
            if found is not None:
                return Path(found)
        return None


def text(value: Any) -> str | None:
    """The value's words, or None where it is empty, NaN or the word `nan` that a table writer made of it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    words = " ".join(str(value).split())
    return None if words.lower() in ("", "nan", "none", "null") else words


def readable(label: str) -> str:
    """A class name as people write it: `Acoustic_guitar` becomes `acoustic guitar`."""
    return " ".join(label.replace("_", " ").split()).lower()


def shown(file: Path, root: Path) -> str:
    """The file's path below `root`."""
    # Text, not paths: this is called for every clip, and a Path parses its parts anew each time.
    return str(file).removeprefix(f"{root}{os.sep}").replace(os.sep, "/")


def distinct(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries whose clip_id was there before get one of their own and a problem: they are listed, and left out."""
    seen: dict[str, int] = {}
    for entry in entries:
        times = seen[entry.clip_id] = seen.get(entry.clip_id, 0) + 1
        if times > 1:
            entry = replace(entry, clip_id=f"{entry.clip_id}#{times}", problem=f"repeated id: {entry.clip_id}")
        yield entry
