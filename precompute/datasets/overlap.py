"""Clips that a run would train on and also be measured on: found by name, and by sound where names are not kept.

Ours: the paper trains on all of IEMOCAP and measures steering on a part of it. By default such clips are left out of
training; `data.overlap = "keep"` leaves them in. Either way the run says how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf

from precompute.datasets import Entry
from precompute.stages.base import TRAIN

POINTS = 64
"""Samples of a clip that are compared first."""
TOLERANCE = 2
"""Largest difference of two 16-bit samples of the same sound: copies made through floats differ by one step."""


class Sketch(NamedTuple):
    """A clip's length in samples and `POINTS` of its samples, evenly spaced."""

    samples: int
    points: np.ndarray


def by_key(entries: Sequence[Entry], keep: bool) -> tuple[list[Entry], list[str]]:
    """Training entries whose recording a held-out entry holds too: with a problem (or as they are), and their ids."""
    held = {e.key: e for e in entries if e.key and not e.problem and e.split not in ("", TRAIN)}
    out, found = [], []
    for entry in entries:
        other = held.get(entry.key) if entry.key and entry.split in ("", TRAIN) and not entry.problem else None
        if other is not None:
            found.append(entry.clip_id)
            entry = entry if keep else replace(entry, problem=problem(other.clip_id))
        out.append(entry)
    return out, found


def problem(other: str) -> str:
    """The status of a training clip that is left out because the held-out clip `other` is the same recording."""
    return f"held out: same recording as {other}"


def sketch(samples: np.ndarray) -> Sketch:
    """Sketch of a clip's samples in [-1, 1]."""
    at = np.linspace(0, len(samples) - 1, POINTS).round().astype(int)
    return Sketch(len(samples), np.round(samples[at] * 32767).astype(np.int32))


def by_sound(rows: Sequence[dict[str, Any]], sketches: dict[str, Sketch], folder: Path) -> dict[str, str]:
    """Training clips that sound the same as a held-out clip, with that clip's id.

    Args:
        rows: rows of table `clips`.
        sketches: those of the usable clips, by the name of their copy.
        folder: where the copies are.
    """
    usable = [row for row in rows if row["status"] == "ok"]
    train = _by_length([row for row in usable if row["split"] == TRAIN], sketches)
    found: dict[str, str] = {}
    for row in usable:
        if row["split"] != TRAIN and sketches[row["audio"]].samples in train:
            mine = sketches[row["audio"]]
            others, points = train[mine.samples]
            close = np.abs(points - mine.points).max(axis=1) <= TOLERANCE
            same = (others[i] for i in close.nonzero()[0] if _same(folder, others[i]["audio"], row["audio"]))
            found |= {other["clip_id"]: row["clip_id"] for other in same}
    return found


def _by_length(
    rows: Iterable[dict[str, Any]], sketches: dict[str, Sketch]
) -> dict[int, tuple[list[dict[str, Any]], np.ndarray]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(sketches[row["audio"]].samples, []).append(row)
    return {n: (mine, np.stack([sketches[row["audio"]].points for row in mine])) for n, mine in groups.items()}


def _same(folder: Path, one: str, other: str) -> bool:
    a, b = (sf.read(folder / name, dtype="int16")[0].astype(np.int32) for name in (one, other))
    return a.shape == b.shape and int(np.abs(a - b).max()) <= TOLERANCE
