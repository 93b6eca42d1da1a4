"""Average precision over ranked pairs, for one sample or for many resamples of its clips at once.

    AP = Σ_k (R_k − R_{k−1}) P_k        highest value first, equal values one rank

Ours: all pairs of names and classes are ranked once; predictions and classes of clips then only give these ranks
their counts, and a resample gives weights to clips, so that every figure is a sum over ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

_CHUNK_VALUES = 1 << 24
_DIGITS = 6  # cosines of equal texts differ in the last bits of float32; to this many digits they are one rank


class Similarity(NamedTuple):
    """Similarities with their ranks, made by `ranked`."""

    values: Float[np.ndarray, "names classes"]
    rank: Int[np.ndarray, "names classes"]
    """0 = highest; equal values share one."""
    ranks: int
    """Number of distinct values."""


def ranked(values: Float[np.ndarray, "names classes"]) -> Similarity:
    """Similarities to six digits, and the rank of each among all of them."""
    values = np.round(np.asarray(values, dtype=np.float64), _DIGITS)
    levels, rank = np.unique(-values, return_inverse=True)
    return Similarity(values, rank.reshape(values.shape), len(levels))


def average_precision(values: Float[np.ndarray, " pairs"], positive: Bool[np.ndarray, " pairs"]) -> float:
    """AP = Σ_k (R_k − R_{k−1}) P_k, highest value first, equal values one rank; 0 without a positive."""
    if not positive.any():
        return 0.0
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], np.cumsum(positive[order])
    last = np.append(values[1:] != values[:-1], True).nonzero()[0]
    return float(np.sum(np.diff(hits[last], prepend=0) * hits[last] / (last + 1)) / hits[-1])


def class_average_precision(
    predicted: Bool[np.ndarray, "clips names"], carried: Bool[np.ndarray, "clips classes"], similarity: Similarity
) -> float | None:
    """AP over each class's own pairs, averaged over the classes that some clip carries; None without any."""
    clip, name = predicted.nonzero()
    silent = (~predicted.any(1)).nonzero()[0]
    clip = np.concatenate([clip, silent])
    areas = []
    for c in carried.any(0).nonzero()[0]:
        values = np.concatenate([similarity.values[name, c], np.full(len(silent), -np.inf)])
        areas.append(average_precision(values, carried[clip, c]))
    return float(np.mean(areas)) if areas else None


def pooled_average_precision(
    predicted: Bool[np.ndarray, "clips names"], carried: Bool[np.ndarray, "clips classes"], similarity: Similarity
) -> float:
    """AP over every prediction of every clip with every class, positive if the clip carries the class.

    A clip without a prediction enters with one that is less similar to every class than any other pair.
    """
    silent = ~predicted.any(1)
    pairs = predicted.T.astype(np.float32) @ carried.astype(np.float32)
    said = np.repeat(predicted.sum(0), carried.shape[1])
    rank, ranks = similarity.rank.ravel(), similarity.ranks + 1
    hits = np.bincount(rank, weights=pairs.ravel(), minlength=ranks)
    total = np.bincount(rank, weights=said, minlength=ranks)
    hits[-1] += carried[silent].sum()
    total[-1] += silent.sum() * carried.shape[1]
    return float(_area(hits[None], total[None])[0])


class PairRanking(NamedTuple):
    """The same pairs, cut into ranks that hold a positive one, ready for many resamples of the clips."""

    positives: csr_matrix
    """Positive pairs of each clip at each rank, [clips, ranks]; the last rank is that of clips without a prediction."""
    pairs: csr_matrix
    """Classes of each name at each rank, [names + 1, ranks]; the last "name" stands for no prediction."""
    predicted: csr_matrix
    """[clips, names + 1]."""

    @classmethod
    def build(
        cls,
        predicted: Bool[np.ndarray, "clips names"],
        carried: Bool[np.ndarray, "clips classes"],
        similarity: Similarity,
    ) -> PairRanking:
        """Count the pairs of every clip and name."""
        names, classes = similarity.values.shape
        silent = ~predicted.any(1)
        clip, name, label = _positive_pairs(predicted, carried)
        levels, at = np.unique(similarity.rank[name, label], return_inverse=True)
        per_clip = np.where(silent, carried.sum(1), 0)
        last = len(levels)
        positives = _counted(
            np.append(clip, np.arange(len(carried))),
            np.append(at, np.full(len(carried), last)),
            np.append(np.ones(len(at)), per_clip),
            (len(carried), last + 1),
        )
        used = predicted.any(0).nonzero()[0]
        # A pair belongs to the first rank that is not above it; below the lowest positive it joins the last.
        bucket = np.searchsorted(levels, similarity.rank[used]).ravel()
        owner = np.append(np.repeat(used, classes), np.full(classes, names))
        pairs = _counted(owner, np.append(bucket, np.full(classes, last)), np.ones(len(owner)), (names + 1, last + 1))
        return cls(positives, pairs, csr_matrix(np.column_stack([predicted, silent]).astype(np.float64)))

    def average_precision(self, weights: Float[np.ndarray, "draws clips"]) -> Float[np.ndarray, " draws"]:
        """AP of each resample; resamples are worked through in parts to bound memory."""
        step = max(1, _CHUNK_VALUES // self.pairs.shape[1])
        parts = [self._some(weights[start : start + step].T) for start in range(0, len(weights), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _some(self, w: np.ndarray) -> np.ndarray:
        total = self.pairs.T.dot(self.predicted.T.dot(w))
        return _area(self.positives.T.dot(w).T, total.T)


def _positive_pairs(predicted: np.ndarray, carried: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clip, name and class of every prediction with every class of its clip."""
    clip, name = predicted.nonzero()
    per_clip = carried.sum(1)
    first = np.cumsum(per_clip) - per_clip
    count = per_clip[clip]
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    label = carried.nonzero()[1][np.repeat(first[clip], count) + within]
    return np.repeat(clip, count), np.repeat(name, count), label


def _counted(rows: np.ndarray, columns: np.ndarray, amounts: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    return csr_matrix((amounts, (rows, columns)), shape=shape)


def _area(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """AP of each row from the positives and the pairs at each rank."""
    found = np.cumsum(hits, 1)
    return divide(divide(hits * found, np.cumsum(total, 1)).sum(1), found[:, -1])


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quotient a / b, and 0 where b is not above 0."""
    return np.divide(a, b, out=np.zeros(np.shape(a)), where=b > 0)
