"""How well latents follow true labels: AUROC of every latent for every class, and purity of the top clips.

Ours: neither is in the paper; both need clips whose labels are known (the demo, or a labelled set).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_matrix
from scipy.stats import rankdata

_CHUNK_VALUES = 1 << 22


class LabelError(ValueError):
    """Scores and labels that do not fit together; the message says how to mend it."""


class Purity(NamedTuple):
    """Whether the p clips of each latent share a true label, and which."""

    pure: Bool[np.ndarray, " latents"]
    """All p clips are there and share at least one label."""
    label: Int[np.ndarray, " latents"]
    """The shared label; of several the one with the fewest clips, then the lowest index; −1 if none is shared."""
    shared: Bool[np.ndarray, "latents classes"]
    """Every label that all p clips carry."""


def auroc(
    scores: Float[np.ndarray, "clips latents"] | csc_matrix, labels: Bool[np.ndarray, "clips classes"]
) -> Float[np.ndarray, "latents classes"]:
    """P(score of a clip with the class > score of one without), ties counting one half.

    By the rank-sum statistic with mid-ranks: AUROC = (R⁺ − n⁺(n⁺ + 1)/2) / (n⁺ n⁻), R⁺ the sum of the ranks of the
    clips with the class (Mann and Whitney 1947). NaN for a class that all clips or no clip carries. Latents are taken
    in chunks, so memory does not grow with their number. Sparse scores are never negative and absent ones are 0: these
    share one rank, so only the others are ranked.

    Raises:
        LabelError: shapes differ, a label is neither 0 nor 1, or a score is not finite.
    """
    sparse = isinstance(scores, csc_matrix)
    scores, truth = scores if sparse else np.asarray(scores), _as_bool(labels)
    if len(scores.shape) != 2 or scores.shape[0] != len(truth):
        raise LabelError(f"scores has shape {scores.shape} and labels {truth.shape}; both need one row a clip.")
    values = scores.data if sparse else scores
    if not np.isfinite(values).all():
        raise LabelError("Some scores are not finite; leave those clips out or score them again.")
    if sparse and values.min(initial=0) < 0:
        raise LabelError(f"A score is {values.min()}; where an absent one means 0, none may be below 0.")
    positives = truth.sum(0).astype(np.float64)
    pairs = positives * (len(truth) - positives)
    weights = truth.astype(np.float64)
    result = np.full((scores.shape[1], truth.shape[1]), np.nan)
    step = max(1, _CHUNK_VALUES // max(1, len(truth)))
    for start in range(0, scores.shape[1], step):
        some = scores[:, start : start + step]
        sums = _rank_sums(some, weights) if sparse else rankdata(some, method="average", axis=0).T @ weights
        wins = sums - positives * (positives + 1) / 2
        np.divide(wins, pairs, out=result[start : start + step], where=pairs > 0)
    return result


def _rank_sums(scores: csc_matrix, weights: np.ndarray) -> np.ndarray:
    """Sum of the mid-ranks of the clips of each class, [latents, classes]: zeros come first and share one rank."""
    above = scores.astype(np.float64)
    above.eliminate_zeros()
    entries = np.diff(above.indptr)
    zeros = len(weights) - entries
    for j in entries.nonzero()[0].tolist():
        span = slice(above.indptr[j], above.indptr[j + 1])
        above.data[span] = rankdata(above.data[span], method="average")
    shared = (zeros + 1) / 2
    above.data += np.repeat(zeros - shared, entries)
    return above.T @ weights + np.outer(shared, weights.sum(0))


def auroc_resampled(
    scores: Float[np.ndarray, " clips"],
    positive: Bool[np.ndarray, " clips"],
    weights: Float[np.ndarray, "draws clips"],
) -> Float[np.ndarray, " draws"]:
    """AUROC of one latent for one class in each resample of the clips; NaN where one side is missing.

    Only clips above the lowest score are compared pair by pair: for most latents almost all clips share that score.
    """
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    w, high = weights.T, scores > scores.min(initial=np.inf)
    up, down = (positive & high).nonzero()[0], (~positive & high).nonzero()[0]
    ahead = scores[up, None] - scores[None, down]
    wins = (ahead > 0) + 0.5 * (ahead == 0)
    w_up, w_down = w[up], w[down]
    all_up = positive.astype(np.float64) @ w
    all_down = w.sum(0) - all_up
    low_up, low_down = all_up - w_up.sum(0), all_down - w_down.sum(0)
    won = ((wins.T @ w_up) * w_down).sum(0) + w_up.sum(0) * low_down + 0.5 * low_up * low_down
    pairs = all_up * all_down
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def purity(most: Int[np.ndarray, "latents p"], labels: Bool[np.ndarray, "clips classes"]) -> Purity:
    """Whether all p clips of H share one true label, and which; a latent with a missing clip (−1) is not pure.

    Raises:
        LabelError: wrong shapes, an index out of range, or a label that is neither 0 nor 1.
    """
    most, truth = np.asarray(most), _as_bool(labels)
    if most.ndim != 2 or most.shape[1] == 0:
        raise LabelError(f"most has shape {most.shape}; give [latents, p] with p ≥ 1.")
    if most.size and not -1 <= most.min() <= most.max() < len(truth):
        raise LabelError(f"most runs from {most.min()} to {most.max()}; allowed are -1 to {len(truth) - 1}.")
    shared = np.zeros((len(most), truth.shape[1]), dtype=bool)
    full = (most >= 0).all(1)
    shared[full] = truth[most[full]].all(1)
    pure = np.asarray(shared.any(1))
    rarity = np.where(shared, truth.sum(0), len(truth) + 1)
    label = np.where(pure, rarity.argmin(1), -1) if truth.shape[1] else np.full(len(most), -1)
    return Purity(pure, label, shared)


def _as_bool(labels: np.ndarray) -> np.ndarray:
    values = np.asarray(labels)
    if values.ndim != 2:
        raise LabelError(f"labels has shape {values.shape}; give [clips, classes].")
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise LabelError("labels holds values other than 0 and 1; give one column of 0 and 1 for each class.")
    return values.astype(bool)
