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
from ard.matching import Assigned, assign, pairs
from ard.predictions import Said
from ard.resampling import Estimate, interval

FIGURES = ("precision", "recall", "f1", "map")
"""Figures of a reading, in the order of `Reading.resampled`."""


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
    assigned: Assigned | None = None
    """Matched pairs above the floor, for other γ."""
    resampled: Float[np.ndarray, "figures draws"] | None = None
    """`FIGURES` in every resample that two methods share: of the clips, or for `vocabulary` of all names."""

    @classmethod
    def of(
        cls, figures: Sequence[Estimate], sums: tuple[float, float, float], map_classes: float | None = None
    ) -> Reading:
        """From precision, recall, F1 and AP, and the sums of matches, predictions and references."""
        precision, recall, f1, area = figures
        return cls(precision, recall, f1, area, map_classes, *sums)

    def at(self, gamma: float) -> tuple[float, float, float, float]:
        """Matches, precision, recall and F1 of the same predictions at another γ, not below the floor.

        The matching does not depend on γ, so only the pairs above it are counted again.
        """
        matched = float((self.assigned.value > gamma).sum()) if self.assigned is not None else self.matched
        precision, recall, f1 = _ratios(*(np.array(v) for v in (matched, self.predictions, self.references)))
        return matched, float(precision), float(recall), float(f1)


def match(similarity: Float[np.ndarray, "predictions references"], gamma: float) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of the one-to-one matching with the largest total similarity, those with similarity > γ alone."""
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    keep = similarity[rows, columns] > gamma
    return np.stack([rows[keep], columns[keep]], 1)


def vocabulary(
    similarity: Similarity,
    gamma: float,
    weights: Float[np.ndarray, "draws names"] | None = None,
    shared: Float[np.ndarray, "draws names"] | None = None,
) -> Reading:
    """Reading `vocabulary`; the matching stays as it was found in every resample.

    Args:
        similarity: of the distinct names with the classes.
        gamma: similarity above which a matched pair counts.
        weights: resample the names, for the intervals.
        shared: resample the names of all methods together, for `resampled`: a name of two methods then counts as often
            in both.
    """
    everything = match(similarity.values, -np.inf)
    value = similarity.values[everything[:, 0], everything[:, 1]]
    found = everything[value > gamma]
    names, classes = similarity.values.shape
    figures = _vocabulary_figures(similarity.rank, found)
    estimates = _estimates(figures, np.ones((1, names)), weights)
    reading = Reading.of(estimates, (float(len(found)), float(names), float(classes)))
    resampled = None if shared is None else np.stack(figures(shared))
    return reading._replace(assigned=Assigned(np.zeros(len(value), int), value), resampled=resampled)


def _vocabulary_figures(rank: np.ndarray, found: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    """Figures under weights of the names; `rank` [names, classes], `found` the matched pairs."""
    names, classes = rank.shape
    matched = np.zeros(names)
    matched[found[:, 0]] = 1
    levels, at = np.unique(rank[found[:, 0], found[:, 1]], return_inverse=True)
    hits_at = np.zeros((names, len(levels)))
    hits_at[found[:, 0], at] = 1
    # Pairs of each name that are ranked no lower than each match.
    width = len(levels) + 1
    place = np.searchsorted(levels, rank) + width * np.arange(names)[:, None]
    above = np.bincount(place.ravel(), minlength=names * width).reshape(names, width)[:, :-1].cumsum(1)

    def figures(w: np.ndarray) -> tuple[np.ndarray, ...]:
        # A resample may hold more matches than there are references; recall cannot.
        hits, wanted = np.minimum(w @ matched, classes), np.full(len(w), classes)
        at_rank = w @ hits_at
        area = divide(divide(at_rank * np.cumsum(at_rank, 1), w @ above).sum(1), wanted)
        return *_ratios(hits, w.sum(1), wanted), np.minimum(area, 1)

    return figures


def clip_reading(
    said: Said,
    carried: Bool[np.ndarray, "clips classes"],
    similarity: Similarity,
    gamma: float,
    weights: Float[np.ndarray, "draws clips"] | None = None,
    floor: float | None = None,
) -> Reading:
    """Reading `clip`. With `weights`, which resample the clips, figures have intervals and classes their own AP.

    Args:
        said: predictions of each clip; names are rows of `similarity`.
        carried: classes of each clip.
        similarity: of names with classes.
        gamma: similarity above which a matched pair counts.
        weights: how often each clip occurs in each resample.
        floor: lowest γ that will be asked for (`Reading.at`); γ if not given.

    Raises:
        InterpretabilityError: shapes differ.
    """
    shape = similarity.values.shape
    top = int(said.name.max(initial=-1))
    if said.clips != len(carried) or carried.shape[1] != shape[1] or top >= shape[0]:
        raise InterpretabilityError(
            f"predictions of {said.clips} clips with names up to {top}, carried {carried.shape} and similarity {shape} "
            "do not fit; give the same clips, [clips, classes] and [names, classes]."
        )
    found = pairs(said, carried)
    assigned = assign(found, similarity.values, gamma if floor is None else min(floor, gamma))
    matched = assigned.per_clip(gamma, len(carried))
    given, wanted = said.per_clip.astype(float), carried.sum(1).astype(float)
    sums = float(matched.sum()), float(given.sum()), float(wanted.sum())
    if weights is None:
        area = pooled_average_precision(said, carried, similarity, found)
        ratios = (float(v[0]) for v in _ratios(*(np.array([x]) for x in sums)))
        return Reading.of([Estimate(v) for v in (*ratios, area)], sums)._replace(assigned=assigned)
    ranking = PairRanking.build(said, carried, similarity, found)

    def figures(w: np.ndarray) -> tuple[np.ndarray, ...]:
        return *_ratios(w @ matched, w @ given, w @ wanted), ranking.average_precision(w)

    drawn = np.stack(figures(np.vstack([np.ones(len(carried)), weights])))
    estimates = [interval(float(v[0]), v[1:]) for v in drawn]
    by_class = class_average_precision(said, carried, similarity, found)
    return Reading.of(estimates, sums, by_class)._replace(assigned=assigned, resampled=drawn[:, 1:])


def choose_tau(
    said: Said,
    carried: Bool[np.ndarray, "clips classes"],
    similarity: Similarity,
    gamma: float,
    taus: tuple[float, ...],
) -> float:
    """The τ with the highest F1 on these clips; `said` holds all that fires.

    Of several the one whose predictions are nearest in number to the references, then the lowest.

    Raises:
        InterpretabilityError: there is no τ to choose from.
    """
    if not taus:
        raise InterpretabilityError("There are 0 values of tau to choose from; give at least 1.")
    wanted = int(carried.sum())
    tried = []
    for tau in taus:
        some = said.above(tau)
        given = len(some.name)
        hits = len(assign(pairs(some, carried), similarity.values, gamma).value)
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
