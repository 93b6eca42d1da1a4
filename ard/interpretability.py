"""Interpretability: predicted concepts against reference classes (AR&D, arXiv 2602.22253, section 3, Table 1).

Paper: similarity is the CLAP cosine of the two texts; predictions are matched to references by the Hungarian
algorithm; only matches above γ = 0.7 count; each prediction is assigned to at most one reference. AP ranks all
prediction–reference pairs by similarity and integrates precision over the ranks.

    precision = matched / predictions     recall = matched / references     F1 = 2 matched / (predictions + references)
    AP = Σ_k (R_k − R_{k−1}) P_k           equal similarities are one rank; sums are taken first and divided once

Ours: the paper leaves open what one prediction is, so there are two readings.

- `vocabulary`: predictions are the distinct names of a method's concepts, references the class names; one matching of
  the largest total similarity, pairs not above γ dropped. In AP a pair is positive if it was matched, and references
  that nothing matched count as never found (R_k is a share of all references).
- `clip`: each clip is matched on its own. Its references are its classes, its predictions the distinct names of the
  concepts that fire there: all whose scaled clip score exceeds τ, or the n highest. In AP the pairs are every
  prediction of every clip with every class, positive if the clip carries the class; a clip without a prediction enters
  with one of no similarity to anything, so that silence does not pay.

A name that says "nothing in common" predicts nothing. A figure without anything to divide by is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from ard.average_precision import (
    PairRanking,
    Similarity,
    class_average_precision,
    divide,
    pooled_average_precision,
)
from ard.resampling import Estimate, interval

PERCENTILE = 99


class InterpretabilityError(ValueError):
    """Arrays that do not fit together; the message says how to mend it."""


class Reading(NamedTuple):
    """One line of Table 1."""

    precision: Estimate
    recall: Estimate
    f1: Estimate
    map: Estimate
    map_classes: float | None
    """AP of each class alone, averaged; None for `vocabulary`, without a class, or without intervals."""
    matched: float
    predictions: float
    references: float

    @classmethod
    def of(
        cls, figures: Sequence[Estimate], sums: tuple[float, float, float], map_classes: float | None = None
    ) -> Reading:
        """From precision, recall, F1 and AP, and the sums of matches, predictions and references."""
        precision, recall, f1, area = figures
        return cls(precision, recall, f1, area, map_classes, *sums)


def match(similarity: Float[np.ndarray, "predictions references"], gamma: float) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of the one-to-one matching with the largest total similarity, those with similarity > γ alone."""
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    keep = similarity[rows, columns] > gamma
    return np.stack([rows[keep], columns[keep]], 1)


def vocabulary(
    similarity: Similarity, gamma: float, weights: Float[np.ndarray, "draws names"] | None = None
) -> Reading:
    """Reading `vocabulary`; `weights` resample the names, while the matching stays as it was found."""
    names, classes = similarity.values.shape
    pairs = match(similarity.values, gamma)
    matched = np.zeros(names)
    matched[pairs[:, 0]] = 1
    levels, at = np.unique(similarity.rank[pairs[:, 0], pairs[:, 1]], return_inverse=True)
    hits_at = np.zeros((names, len(levels)))
    hits_at[pairs[:, 0], at] = 1
    # Pairs of each name that are ranked no lower than each match.
    above = (similarity.rank[:, :, None] <= levels).sum(1).astype(np.float64)

    def figures(w: np.ndarray) -> tuple[np.ndarray, ...]:
        # A resample may hold more matches than there are references; recall cannot.
        hits, wanted = np.minimum(w @ matched, classes), np.full(len(w), classes)
        at_rank = w @ hits_at
        area = divide(divide(at_rank * np.cumsum(at_rank, 1), w @ above).sum(1), wanted)
        return *_ratios(hits, w.sum(1), wanted), np.minimum(area, 1)

    estimates = _estimates(figures, np.ones((1, names)), weights)
    return Reading.of(estimates, (float(len(pairs)), float(names), float(classes)))


def clip_reading(
    predicted: Bool[np.ndarray, "clips names"],
    carried: Bool[np.ndarray, "clips classes"],
    similarity: Similarity,
    gamma: float,
    weights: Float[np.ndarray, "draws clips"] | None = None,
) -> Reading:
    """Reading `clip`. With `weights`, which resample the clips, figures have intervals and classes their own AP.

    Raises:
        InterpretabilityError: shapes differ.
    """
    shape = similarity.values.shape
    if predicted.shape != (len(carried), shape[0]) or carried.shape[1] != shape[1]:
        raise InterpretabilityError(
            f"predicted {predicted.shape}, carried {carried.shape} and similarity {shape} do not fit; give "
            "[clips, names], [clips, classes] and [names, classes]."
        )
    matched = matched_per_clip(predicted, carried, similarity, gamma)
    given, wanted = predicted.sum(1).astype(float), carried.sum(1).astype(float)
    sums = float(matched.sum()), float(given.sum()), float(wanted.sum())
    if weights is None:
        area = pooled_average_precision(predicted, carried, similarity)
        ratios = (float(v[0]) for v in _ratios(*(np.array([x]) for x in sums)))
        return Reading.of([Estimate(v) for v in (*ratios, area)], sums)
    ranking = PairRanking.build(predicted, carried, similarity)

    def figures(w: np.ndarray) -> tuple[np.ndarray, ...]:
        return *_ratios(w @ matched, w @ given, w @ wanted), ranking.average_precision(w)

    estimates = _estimates(figures, np.ones((1, len(carried))), weights)
    return Reading.of(estimates, sums, class_average_precision(predicted, carried, similarity))


def matched_per_clip(
    predicted: Bool[np.ndarray, "clips names"],
    carried: Bool[np.ndarray, "clips classes"],
    similarity: Similarity,
    gamma: float,
) -> Float[np.ndarray, " clips"]:
    """Number of matched pairs above γ of each clip."""
    values, near = similarity.values, (similarity.values > gamma).astype(np.float32)
    # Only a clip that has some pair above γ can have a match; for the others there is nothing to assign.
    worth = (((predicted.astype(np.float32) @ near) > 0) & carried).any(1)
    out = np.zeros(len(carried))
    for clip in worth.nonzero()[0].tolist():
        block = values[predicted[clip].nonzero()[0][:, None], carried[clip].nonzero()[0]]
        rows, columns = linear_sum_assignment(block, maximize=True)
        out[clip] = np.count_nonzero(block[rows, columns] > gamma)
    return out


def percentile_scale(scores: Float[np.ndarray, "clips latents"]) -> Float[np.ndarray, " latents"]:
    """What one latent's clip scores are divided by: their 99th percentile on the probing set.

    Without it, latents that are always on would win every clip. Ours: where the percentile is not above 0 (the latent
    fires in less than one clip of a hundred) the largest score takes its place; infinite where that is not above 0
    either, so that the latent predicts nothing.
    """
    scale = np.percentile(scores, PERCENTILE, axis=0).astype(np.float64)
    largest = scores.max(0)
    scale = np.where(scale > 0, scale, largest)
    return np.where(scale > 0, scale, np.inf)


def name_scores(
    scaled: Float[np.ndarray, "clips latents"], group: Int[np.ndarray, " latents"], names: int
) -> Float[np.ndarray, "clips names"]:
    """The best scaled clip score among the latents of each name; −∞ for a name of none; group −1 has no name."""
    out = np.full((len(scaled), names), -np.inf)
    order = np.argsort(group, kind="stable")
    order = order[group[order] >= 0]
    if len(order):
        present, starts = np.unique(group[order], return_index=True)
        out[:, present] = np.maximum.reduceat(scaled[:, order], starts, axis=1)
    return out


def predict(
    scores: Float[np.ndarray, "clips names"], *, tau: float | None = None, n: int | None = None
) -> Bool[np.ndarray, "clips names"]:
    """Names with a score above τ, or the n highest above 0 (equal scores in the order of the names).

    Raises:
        InterpretabilityError: both or neither of τ and n are given.
    """
    if (tau is None) == (n is None):
        raise InterpretabilityError(f"tau is {tau} and n is {n}; give one of them.")
    if tau is not None:
        return scores > tau
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    out = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(out, best, True, axis=1)
    return out & (scores > 0)


def choose_tau(
    scores: Float[np.ndarray, "clips names"],
    carried: Bool[np.ndarray, "clips classes"],
    similarity: Similarity,
    gamma: float,
    taus: tuple[float, ...],
) -> float:
    """The τ with the highest F1 on these clips.

    Of several the one whose predictions are nearest in number to the references, then the lowest.

    Raises:
        InterpretabilityError: there is no τ to choose from.
    """
    if not taus:
        raise InterpretabilityError("There are 0 values of tau to choose from; give at least 1.")
    wanted = int(carried.sum())
    tried = []
    for tau in taus:
        predicted = predict(scores, tau=tau)
        given = int(predicted.sum())
        hits = matched_per_clip(predicted, carried, similarity, gamma).sum()
        tried.append((-2 * hits / max(1, given + wanted), abs(given - wanted), tau))
    return min(tried)[2]


def _ratios(hits: np.ndarray, given: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 from sums."""
    return divide(hits, given), divide(hits, wanted), divide(2 * hits, given + wanted)


def _estimates(
    figures: Callable[[np.ndarray], tuple[np.ndarray, ...]], ones: np.ndarray, weights: np.ndarray | None
) -> list[Estimate]:
    """Figures of the whole, with the intervals that the resamples give."""
    values = [float(v[0]) for v in figures(ones)]
    if weights is None:
        return [Estimate(v) for v in values]
    return [interval(v, r) for v, r in zip(values, figures(weights), strict=True)]
