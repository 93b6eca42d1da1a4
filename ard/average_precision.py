"""Average precision over ranked pairs, for one sample or for many resamples of its clips at once.

    AP = Σ_k (R_k − R_{k−1}) P_k        highest value first, equal values one rank

Ours: all pairs of names and classes are ranked once; predictions and classes of clips then only give these ranks
their counts, and a resample gives weights to clips, so that every figure is a sum over ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

from ard.matching import Pairs, pairs
from ard.predictions import Said

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


def class_average_precision(
    said: Said, carried: Bool[np.ndarray, "clips classes"], similarity: Similarity, found: Pairs | None = None
) -> float | None:
    """AP over each class's own pairs, averaged over the classes that some clip carries; None without any.

    A clip without a prediction enters with one of no similarity to anything.
    """
    there = carried.any(0).nonzero()[0]
    if not len(there):
        return None
    found = found or pairs(said, carried)
    names, classes = similarity.values.shape
    silent = said.per_clip == 0
    hits = np.bincount(found.name * classes + found.labels, minlength=names * classes).reshape(names, classes)
    hits = np.vstack([hits[:, there], carried[silent][:, there].sum(0)]).astype(np.float64)
    count = np.append(np.bincount(said.name, minlength=names), silent.sum())
    rank = np.vstack([similarity.rank[:, there], np.full(len(there), similarity.ranks)])
    order = np.argsort(rank, axis=0, kind="stable")
    rank, hits = np.take_along_axis(rank, order, 0), np.take_along_axis(hits, order, 0)
    # Equal values are one rank: each hit counts with the precision at the end of its rank.
    last = np.vstack([rank[1:] != rank[:-1], np.ones((1, len(there)), bool)])
    end = np.where(last, np.arange(len(rank))[:, None], len(rank))
    end = np.minimum.accumulate(end[::-1], 0)[::-1]
    precision = divide(np.cumsum(hits, 0), np.cumsum(count[order], 0))
    areas = divide((hits * np.take_along_axis(precision, end, 0)).sum(0), hits.sum(0))
    return float(areas.mean())


def pooled_average_precision(
    said: Said, carried: Bool[np.ndarray, "clips classes"], similarity: Similarity, found: Pairs | None = None
) -> float:
    """AP over every prediction of every clip with every class, positive if the clip carries the class.

    A clip without a prediction enters with one that is less similar to every class than any other pair.
    """
    found = found or pairs(said, carried)
    silent = said.per_clip == 0
    hits = np.bincount(similarity.rank[found.name, found.labels], minlength=similarity.ranks + 1).astype(np.float64)
    hits[-1] += carried[silent].sum()
    return float(_area(hits, _said_at(said, similarity)))


def _said_at(said: Said, similarity: Similarity) -> Float[np.ndarray, " ranks"]:
    """Pairs at each rank, positive or not; the last rank is that of clips without a prediction."""
    spoken = np.bincount(said.name, minlength=len(similarity.values)).astype(np.float64)
    return _at_ranks(np.repeat(spoken[:, None], similarity.values.shape[1], 1), (said.per_clip == 0).sum(), similarity)


def _at_ranks(counts: np.ndarray, silent: float, similarity: Similarity) -> Float[np.ndarray, " ranks"]:
    """Sum of counts [names, classes] at each rank, and what clips without a prediction add to the last one."""
    total = np.bincount(similarity.rank.ravel(), weights=counts.ravel(), minlength=similarity.ranks + 1)
    total[-1] += silent * similarity.values.shape[1]
    return total


def independent_average_precision(
    spoken: Float[np.ndarray, " names"],
    share: Float[np.ndarray, " classes"],
    silent: float,
    silent_share: Float[np.ndarray, " classes"],
    similarity: Similarity,
) -> float:
    """The AP to expect if what clips carry had nothing to do with what is said of them. Ours.

        positives at rank k = Σ_{pairs (a, c) of rank k} spoken_a · share_c        pairs at rank k = Σ spoken_a

    Args:
        spoken: how often each name is said.
        share: share of the predictions whose clip carries each class.
        silent: clips without a prediction.
        silent_share: share of these that carry each class.
        similarity: of the names with the classes.
    """
    spoken, share = np.asarray(spoken, dtype=np.float64), np.asarray(share, dtype=np.float64)
    hits = _at_ranks(np.outer(spoken, share), 0, similarity)
    hits[-1] += silent * float(np.sum(silent_share))
    return float(_area(hits, _at_ranks(np.repeat(spoken[:, None], len(share), 1), silent, similarity)))


class PairRanking(NamedTuple):
    """The same pairs, cut into ranks that hold a positive one, ready for many resamples of the clips."""

    positives: csr_matrix
    """Positive pairs at each rank of each clip, [ranks, clips]; the last rank is that of clips without a prediction."""
    pairs: csr_matrix
    """Classes at each rank of each name, [ranks, names + 1]; the last "name" stands for no prediction."""
    predicted: csr_matrix
    """[names + 1, clips]."""

    @classmethod
    def build(
        cls,
        said: Said,
        carried: Bool[np.ndarray, "clips classes"],
        similarity: Similarity,
        found: Pairs | None = None,
    ) -> PairRanking:
        """Count the pairs of every clip and name."""
        found = found or pairs(said, carried)
        names, classes = similarity.values.shape
        silent = (said.per_clip == 0).nonzero()[0]
        levels, at = np.unique(similarity.rank[found.name, found.labels], return_inverse=True)
        last = len(levels)
        positives = _counted(
            np.append(at, np.full(len(silent), last)),
            np.append(found.clips, silent),
            np.append(np.ones(len(at)), carried[silent].sum(1)),
            (last + 1, said.clips),
        )
        used = np.unique(said.name)
        # A pair belongs to the first rank that is not above it; below the lowest positive it joins the last.
        bucket = np.searchsorted(levels, similarity.rank[used]).ravel()
        owner = np.append(np.repeat(used, classes), np.full(classes, names))
        ranks = np.append(bucket, np.full(classes, last))
        counted = _counted(ranks, owner, np.ones(len(owner)), (last + 1, names + 1))
        name, clip = np.append(said.name, np.full(len(silent), names)), np.append(said.clip, silent)
        predicted = _counted(name, clip, np.ones(len(name)), (names + 1, said.clips))
        return cls(positives, counted, predicted)

    def average_precision(self, weights: Float[np.ndarray, "draws clips"]) -> Float[np.ndarray, " draws"]:
        """AP of each resample, in one walk along the ranks."""
        w = np.ascontiguousarray(weights.T)
        spoken = self.predicted @ w
        a, b = self.positives, self.pairs
        area = np.zeros(len(weights))
        _walk(a.indptr, a.indices, a.data, b.indptr, b.indices, b.data, w, spoken, area)
        return area


@numba.njit(cache=True, nogil=True)
def _walk(hit_ptr, hit_clip, hit_count, pair_ptr, pair_name, pair_count, w, spoken, area):
    """Σ_k (R_k − R_{k−1}) P_k of every resample: running sums of positives and of pairs along the ranks."""
    draws = w.shape[1]
    found, total, now = np.zeros(draws), np.zeros(draws), np.zeros(draws)
    for rank in range(len(hit_ptr) - 1):
        now[:] = 0.0
        for e in range(hit_ptr[rank], hit_ptr[rank + 1]):
            clip, count = hit_clip[e], hit_count[e]
            for d in range(draws):
                now[d] += count * w[clip, d]
        for e in range(pair_ptr[rank], pair_ptr[rank + 1]):
            name, count = pair_name[e], pair_count[e]
            for d in range(draws):
                total[d] += count * spoken[name, d]
        for d in range(draws):
            found[d] += now[d]
            if now[d] > 0:  # then total is too
                area[d] += now[d] * found[d] / total[d]
    for d in range(draws):
        if found[d] > 0:
            area[d] /= found[d]


def _counted(rows: np.ndarray, columns: np.ndarray, amounts: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    return csr_matrix((amounts.astype(np.float64), (rows, columns)), shape=shape)


def _area(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """AP from the positives and the pairs at each rank."""
    found = np.cumsum(hits)
    return divide(divide(hits * found, np.cumsum(total)).sum(), found[-1])


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quotient a / b, and 0 where b is not above 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b))), where=np.asarray(b) > 0)
