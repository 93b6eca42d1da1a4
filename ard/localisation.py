"""Agreement of a latent with the true times of what it stands for, token by token.

Ours: the paper cannot measure it, since no corpus of its own says when a sound is heard; the demo world does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Segments = Sequence[tuple[float, float]]
"""Stretches (start, end) in seconds."""


class Overlap(NamedTuple):
    """Tokens of each clip where latent and sound agree; sum over clips, then divide."""

    both: Int[np.ndarray, " clips"]
    """The latent fires and the sound is there."""
    either: Int[np.ndarray, " clips"]
    """One of the two."""

    @property
    def iou(self) -> float | None:
        """Intersection over union, Σ both / Σ either over the clips; None where neither is ever there."""
        total = int(self.either.sum())
        return int(self.both.sum()) / total if total else None


def sounding(segments: Segments, tokens: int, duration_s: float) -> Bool[np.ndarray, " T"]:
    """Which of a clip's T audio tokens hold the sound: those whose middle, (t + ½)·duration / T, lies in a segment.

    Raises:
        ValueError: fewer than 1 token, or a duration that is not above 0.
    """
    if tokens < 1 or not duration_s > 0:
        raise ValueError(f"A clip has {tokens} tokens in {duration_s} s; both must be above 0.")
    middle = (np.arange(tokens) + 0.5) * duration_s / tokens
    there = np.zeros(tokens, dtype=bool)
    for start, end in segments:
        there |= (middle >= start) & (middle < end)
    return there


def overlap(fires: Sequence[Bool[np.ndarray, " T"]], there: Sequence[Bool[np.ndarray, " T"]]) -> Overlap:
    """Agreement in each clip; the clips may have different lengths.

    Raises:
        ValueError: another number of clips, or of tokens in one of them.
    """
    for i, (a, b) in enumerate(zip(fires, there, strict=True)):
        if len(a) != len(b):
            raise ValueError(f"Clip {i} has {len(a)} tokens of the latent and {len(b)} of the sound; give one for one.")
    both = np.array([int((a & b).sum()) for a, b in zip(fires, there, strict=True)], dtype=np.int64)
    either = np.array([int((a | b).sum()) for a, b in zip(fires, there, strict=True)], dtype=np.int64)
    return Overlap(both, either)


def iou_resampled(found: Overlap, weights: Float[np.ndarray, "draws clips"]) -> Float[np.ndarray, " draws"]:
    """IoU of each resample of the clips; NaN where neither is ever there."""
    both, either = weights @ found.both, weights @ found.either
    return np.divide(both, either, out=np.full(len(weights), np.nan), where=either > 0)
