"""Do people like the names that the automatic figures like? Spearman's ρ over concepts (ours).

    ρ = Pearson correlation of the ranks, ties at their mean rank (C. Spearman 1904)

A concept stands for its mean rating: first showings under the true name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from scipy.stats import rankdata

from ard import tables
from ard.human import BOOTSTRAP, METHODS, failed_raters, first_showings

FIGURES = ("monosemanticity", "auroc", "auroc_clap")
LEAST = 3
"""Concepts below which no ρ is given: two always lie on a line."""
Concept = tuple[str, str, int]
"""sae_id, method, latent_id."""


class Correlation(NamedTuple):
    """ρ with its 95 % bootstrap interval; None where it is not defined."""

    rho: float | None
    low: float | None
    high: float | None


def spearman(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], seed: int = 0, resamples: int = BOOTSTRAP
) -> Correlation:
    """ρ, and the 2.5th and 97.5th percentile of ρ over pairs drawn with replacement; seeded.

    None for fewer than three pairs, or where one side is constant. Resamples in which one side is constant are left
    out.
    """
    if len(x) < LEAST:
        return Correlation(None, None, None)
    rho = float(_rho(x[None], y[None])[0])
    if np.isnan(rho):
        return Correlation(None, None, None)
    drawn = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    found = _rho(x[drawn], y[drawn])
    found = found[~np.isnan(found)]
    if not len(found):
        return Correlation(rho, None, None)
    low, high = np.percentile(found, [2.5, 97.5])
    return Correlation(rho, float(low), float(high))


def _rho(x: Float[np.ndarray, "draws n"], y: Float[np.ndarray, "draws n"]) -> Float[np.ndarray, " draws"]:
    a, b = (rankdata(side, axis=1) - (side.shape[1] + 1) / 2 for side in (x, y))
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    with np.errstate(invalid="ignore"):
        return np.clip((a * b).sum(1) / np.where(scale > 0, scale, np.nan), -1, 1)


def correlate(ratings: pa.Table, figures: Mapping[str, Mapping[Concept, float]], seed: int = 0) -> pa.Table:
    """Table `human_correlation`: every method that was rated, and all of them together, against every figure.

    Args:
        ratings: table `ratings`.
        figures: for each of `FIGURES` its value of each concept that has one.
        seed: of the bootstrap.
    """
    rows = ratings.to_pylist()
    failed = failed_raters(rows)
    first = first_showings(rows)
    out: list[dict[str, Any]] = []
    for raters, some in (("all", first), ("passed", [r for r in first if r["rater"] not in failed])):
        means = _mean_ratings(some)
        for method in ("all", *(m for m in METHODS if any(c[1] == m for c in means))) if means else ():
            for figure in FIGURES:
                known = figures.get(figure, {})
                both = [c for c in means if c in known and method in ("all", c[1])]
                found = spearman(np.array([means[c] for c in both]), np.array([known[c] for c in both]), seed)
                names = {"method": method, "figure": figure, "raters": raters, "concepts": len(both)}
                out.append(names | dict(zip(("spearman", "spearman_low", "spearman_high"), found, strict=True)))
    return tables.from_rows("human_correlation", out)


def _mean_ratings(rows: Sequence[dict[str, Any]]) -> dict[Concept, float]:
    given: dict[Concept, list[int]] = {}
    for r in rows:
        given.setdefault((r["sae_id"], r["method"], r["latent_id"]), []).append(r["rating"])
    return {concept: float(np.mean(ratings)) for concept, ratings in given.items()}
