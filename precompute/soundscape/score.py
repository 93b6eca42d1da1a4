"""Short phrases for the instruments: melodies that walk along a scale, chord progressions, human timing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
PENTATONIC = (0, 2, 4, 7, 9)
PROGRESSIONS = ((0, 4, 5, 3), (0, 3, 4, 0), (0, 5, 3, 4), (5, 3, 0, 4), (1, 4, 0, 0), (0, 3, 0, 4))
RHYTHMS = (
    (1, 1, 1, 1),
    (1, 0.5, 0.5, 1),
    (0.5, 0.5, 1, 0.5, 0.5),
    (1.5, 0.5, 1),
    (0.5, 0.5, 0.5, 0.5),
    (2, 1, 1),
    (0.75, 0.25, 1),
)


class Note(NamedTuple):
    """One played note."""

    start: float
    """Seconds from the start of the phrase."""
    length: float
    """Seconds until it is released."""
    hz: float
    """Fundamental frequency."""
    strength: float
    """How hard it is played, about 0.3 to 1."""


class Key(NamedTuple):
    """A key to play in."""

    tonic: int
    """Pitch class of the tonic, 0 = C."""
    scale: tuple[int, ...]
    """Semitones above the tonic."""
    cents: float
    """How far the instrument is off A = 440 Hz."""


def random_key(rng: np.random.Generator, scales: tuple[tuple[int, ...], ...] = (MAJOR, MAJOR, MINOR)) -> Key:
    """Any tonic, one of the scales, tuned within ±12 cents or so."""
    return Key(int(rng.integers(12)), scales[rng.integers(len(scales))], float(rng.normal(0, 6)))


def pitch(midi: float, key: Key) -> float:
    """Frequency in Hz of a MIDI note number in the key's tuning."""
    return float(440.0 * 2 ** ((midi - 69 + key.cents / 100) / 12))


def scale_notes(key: Key, low: int, high: int) -> list[int]:
    """MIDI numbers of the key's scale from `low` to `high`."""
    allowed = {(key.tonic + step) % 12 for step in key.scale}
    return [midi for midi in range(low, high + 1) if midi % 12 in allowed]


def triad(key: Key, degree: int, bottom: int) -> list[int]:
    """MIDI numbers of root, third and fifth on a degree of the scale, each at or just above `bottom`."""
    size = len(key.scale)
    classes = [(key.tonic + key.scale[(degree + third) % size]) % 12 for third in (0, 2, 4)]
    return sorted(bottom + (pitch_class - bottom) % 12 for pitch_class in classes)


def melody(
    rng: np.random.Generator,
    seconds: float,
    key: Key,
    low: int,
    high: int,
    beat: float,
    *,
    leap: float = 0.25,
    legato: float = 0.95,
) -> list[Note]:
    """A phrase that walks along the scale: mostly steps, some leaps, swelling to its middle, a little unsteady in time.

    `low` and `high` are MIDI numbers, `beat` is in seconds, `leap` the share of moves of more than one step, `legato`
    the share of a note's time for which it sounds.
    """
    ladder = scale_notes(key, low, high)
    place = int(rng.integers(len(ladder) // 4, max(len(ladder) // 4 + 1, 3 * len(ladder) // 4)))
    notes: list[Note] = []
    at, drift = float(rng.uniform(0.0, 0.12)), float(rng.uniform(0.5, 1.0))
    while at < seconds - 0.15:
        for share in RHYTHMS[rng.integers(len(RHYTHMS))]:
            length = min(share * beat, seconds - at - 0.02)
            if length < 0.1:
                break
            arch = 0.6 + 0.3 * np.sin(np.pi * min(1.0, at / seconds)) * drift
            start = max(0.0, at + float(rng.normal(0, 0.008)))
            notes.append(
                Note(start, legato * length, pitch(ladder[place], key), float(arch * np.exp(rng.normal(0, 0.12))))
            )
            at += share * beat
            stride = int(rng.integers(2, 5)) if rng.random() < leap else 1
            move = stride * (1 if rng.random() < 0.5 else -1)
            if not 0 <= place + move < len(ladder):
                move = -move
            place = int(np.clip(place + move, 0, len(ladder) - 1))
    return notes
