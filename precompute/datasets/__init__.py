"""Where clips come from. One adapter a file; each yields `Entry`s and decodes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

SPLIT_NAMES = ("train", "validation", "val", "valid", "dev", "test", "eval", "evaluation", "selection", "held_out")
"""A first-level folder of one of these names is a split, not a label."""


class DatasetError(ValueError):
    """Clips that cannot be listed; the message says which row or path and how to mend it."""


class Embedded(Protocol):
    """Sound that lies inside another file, for instance in a row of a Parquet table; read when it is wanted."""

    def read(self) -> bytes:
        """The bytes of one audio file.

        Raises:
            UnusableAudio: there are none.
        """


@dataclass(frozen=True, slots=True)
class Entry:
    """One recording, or one stretch of it, as its data set offers it."""

    clip_id: str
    """Unique within the data set; windows of a long recording add `@0`, `@1`, …"""
    file: Path
    """Where it can be opened."""
    path: str
    """As shown to people: relative to the folder or manifest where possible."""
    caption: str | None = None
    labels: tuple[str, ...] = ()
    split: str = ""
    """Empty where the data set has no splits."""
    start_s: float | None = None
    end_s: float | None = None
    recording_id: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    """Further columns of the manifest."""
    dataset: str = ""
    """The corpus it belongs to; empty: the run has one data set, and its name is in the configuration."""
    key: str = ""
    """What is recorded, named alike in every corpus that holds it, for instance `freesound:1234`; empty if unknown."""
    problem: str = ""
    """Why it cannot be used, where the listing alone tells; it becomes the clip's `status`."""
    source: Embedded | None = None
    """The sound, where it lies inside `file`."""

    def sound(self) -> Path | bytes:
        """What audio readers open: the file, or the bytes read out of it.

        Raises:
            UnusableAudio: the file holds no sound for this entry.
        """
        return self.file if self.source is None else self.source.read()


def open_dataset(path: str | Path, label_from: str = "auto") -> list[Entry]:
    """Entries of a folder of audio files or of a manifest, sorted by clip_id.

    Raises:
        DatasetError: not there, of no known kind, without any audio, or with a row that cannot be used.
    """
    from precompute.datasets import folder, manifest

    path = Path(path)
    if path.is_dir():
        return _sorted(folder.entries(path, label_from))
    if not path.exists():
        raise DatasetError(f"{path} does not exist; give a folder of audio files, or a CSV, JSONL or Parquet manifest.")
    return _sorted(manifest.entries(path))


def _sorted(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda e: e.clip_id)
