"""Bootstrap: how far a figure would move on another sample of clips (Efron 1979; percentile intervals)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LOW, HIGH = 2.5, 97.5
"""Percentiles of a 95 % interval."""


class Estimate(NamedTuple):
    """A figure and its 95 % interval; None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


def bootstrap_weights(groups: Sequence[str] | np.ndarray, draws: int, seed: int) -> Float[np.ndarray, "draws items"]:
    """How often each item occurs in each resample, drawn with replacement.

    Whole groups are drawn, as many as there are: the windows of one recording stay together, since they are no
    independent clips. Give every item its own group to draw items.
    """
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(group.max(initial=-1)) + 1
    if not count:
        return np.zeros((draws, 0))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)
    return np.asfortranarray(drawn[:, group])  # the weights of one item lie together: they are read item by item


def interval(value: float, resampled: np.ndarray) -> Estimate:
    """The figure with the 2.5th and 97.5th percentile of its resamples; those that are not defined are left out."""
    kept = resampled[np.isfinite(resampled)]
    if not len(kept):
        return Estimate(value)
    low, high = np.percentile(kept, (LOW, HIGH))
    return Estimate(value, float(low), float(high))


def highest(values: Float[np.ndarray, " n"]) -> Estimate:
    """The highest of n values with its bootstrap interval over them, in closed form.

    The highest of n draws with replacement is at most the i-th lowest value with probability (i / n)^n, so the
    interval needs no drawing; its upper end is the highest value itself.

    Raises:
        ValueError: there is no value.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if not n:
        raise ValueError("There are 0 values; the highest of none does not exist.")
    reached = (np.arange(1, n + 1) / n) ** n
    low, high = (ordered[np.searchsorted(reached, q / 100)] for q in (LOW, HIGH))
    return Estimate(float(ordered[-1]), float(low), float(high))
