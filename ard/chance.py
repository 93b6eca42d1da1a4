"""When a figure is above chance, and when one method is better than another.

Ours; the paper gives neither. Chance is what the same measure finds after a shuffle (of the clips' labels, or of the
names among the concepts), 100 times. A figure holds against it if

1. it lies above the 97.5th percentile of its shuffles, and
2. for AP, which has an expectation in closed form, the figure that independence predicts lies within the middle 95 %
   of the shuffles: otherwise the shuffle itself is not at chance, and the first condition would mean nothing.

Two methods are compared on the same resamples, so that what both share (easy and hard clips) cancels: `better` is said
only where the 95 % interval of the difference lies above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ard.average_precision import Similarity, independent_average_precision
from ard.predictions import Said
from ard.resampling import HIGH, LOW, Estimate, interval


class Chance(NamedTuple):
    """Shuffles of one figure."""

    mean: float
    low: float
    high: float
    """2.5th and 97.5th percentile of the shuffles."""
    draws: int
    expected: float | None = None
    """What independence predicts, where that is known."""

    def sound(self) -> bool:
        """Whether the shuffles are where independence says they are; true where it says nothing."""
        return self.expected is None or self.low <= self.expected <= self.high

    def below(self, value: float) -> bool:
        """Whether the figure holds against chance."""
        return value > self.high and self.sound()


def chance(shuffled: Sequence[float], expected: float | None = None) -> Chance:
    """Mean and middle 95 % of the shuffles.

    Raises:
        ValueError: there is no shuffle.
    """
    if not len(shuffled):
        raise ValueError("There are 0 shuffles; chance needs at least 1.")
    low, high = np.percentile(shuffled, (LOW, HIGH))
    return Chance(float(np.mean(shuffled)), float(low), float(high), len(shuffled), expected)


def expected_map(
    spoken: Sequence[Said], carried: Bool[np.ndarray, "clips classes"], similarity: Similarity, *, labels: bool
) -> float:
    """The AP that independence predicts for shuffles of the labels (`labels`) or of the names.

    Labels that change clips meet every prediction as often as they occur. Names that change concepts leave each clip
    its labels and about its number of predictions, and both may go together: a class then meets the predictions of the
    clips that carry it.

    Args:
        spoken: what is said; with shuffled names once a shuffle.
        carried: classes of the clips.
        similarity: of names with classes.
        labels: the labels are shuffled, not the names.
    """
    per_clip = np.sum([s.per_clip for s in spoken], 0).astype(np.float64)
    silent = np.sum([s.per_clip == 0 for s in spoken], 0).astype(np.float64)
    names = np.sum([np.bincount(s.name, minlength=len(similarity.values)) for s in spoken], 0)
    everywhere = carried.mean(0)
    share, quiet = (everywhere, everywhere) if labels else (_share(per_clip, carried), _share(silent, carried))
    return independent_average_precision(names, share, float(silent.sum()), quiet, similarity)


def _share(weights: np.ndarray, carried: np.ndarray) -> np.ndarray:
    """Weighted share of the clips that carry each class; 0 without any weight."""
    total = weights.sum()
    return weights @ carried / total if total else np.zeros(carried.shape[1])


class Difference(NamedTuple):
    """One figure of a method less that of another."""

    value: Estimate
    better: bool
    """The interval lies above 0."""
    worse: bool
    """It lies below 0."""


def paired(
    ours: float, theirs: float, drawn: Float[np.ndarray, " draws"], drawn_theirs: Float[np.ndarray, " draws"]
) -> Difference:
    """Difference of a figure with the interval over the same resamples.

    Args:
        ours: figure of the first method on all clips.
        theirs: of the second.
        drawn: the first in each resample.
        drawn_theirs: the second in the same resamples.

    Raises:
        ValueError: other numbers of resamples.
    """
    if len(drawn) != len(drawn_theirs):
        raise ValueError(f"{len(drawn)} and {len(drawn_theirs)} resamples; a paired interval needs the same ones.")
    found = interval(ours - theirs, np.asarray(drawn) - np.asarray(drawn_theirs))
    return Difference(found, found.low is not None and found.low > 0, found.high is not None and found.high < 0)
