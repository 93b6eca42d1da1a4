"""The registry of sound events: every generator registers itself with its family and its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16_000
"""Samples per second of everything the demo world renders."""

FAMILIES = ("weather and water", "animals", "vehicles", "alarms and bells", "household and tools", "music", "human")
"""The families of non-speech sound events."""

Render = Callable[[np.random.Generator, float], np.ndarray]


@dataclass(frozen=True)
class SoundEvent:
    """One kind of sound and how it is spoken of.

    `render(rng, seconds)` returns dry mono samples (float, any level, at most `seconds` long) at `SAMPLE_RATE`;
    the same generator state gives the same samples.
    """

    key: str
    """Identifier, e.g. `dog_bark`."""
    family: str
    """One of `FAMILIES`."""
    label: str
    """Short noun phrase naming the sound in a list, e.g. `dog barking`."""
    clauses: tuple[str, ...]
    """Two to four paraphrases as a present-tense clause, e.g. `a dog barks`."""
    render: Render
    min_seconds: float
    """Shortest stretch of a clip in which the sound is still recognisable."""


EVENTS: dict[str, SoundEvent] = {}


def sound(
    key: str, *, family: str, label: str, clauses: tuple[str, ...], min_seconds: float = 1.0
) -> Callable[[Render], Render]:
    """Register the decorated generator as the sound event `key`.

    Raises:
        ValueError: the key is taken, the family unknown, or fewer than two clauses are given.
    """
    if key in EVENTS:
        raise ValueError(f"sound event {key!r} is registered twice; give the second one another key")
    if family not in FAMILIES:
        raise ValueError(f"family {family!r} of sound event {key!r} is not one of {FAMILIES}; use one of these")
    if len(clauses) < 2:
        raise ValueError(f"sound event {key!r} has {len(clauses)} clause(s), at least 2 are needed; add a paraphrase")

    def register(render: Render) -> Render:
        EVENTS[key] = SoundEvent(key, family, label, clauses, render, min_seconds)
        return render

    return register
