"""The human study (Table 2 of AR&D, arXiv 2602.22253): ratings of names, and how alike name and description are.

Paper: raters hear H, describe it, then rate the automatic name 0–5; reported are mean ± standard deviation and the
CLAP cosine and BERTScore of name and description. Ours: agreement (Krippendorff's α, ordinal, with an interval), catch
trials (a shuffled name) and repeated items; both are left out of the means. A rater who fails a catch trial may not
have listened, so the means are given with and without these raters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import krippendorff
import numpy as np
import pyarrow as pa
from jaxtyping import Float

from ard import tables
from ard.steering_task import Interval, wilson

CATCH_PASS = 2
"""Ours: a rater passes a catch trial who rates the shuffled name at most this."""
BOOTSTRAP = 1000
METHODS = ("ard", "poly")

Row = dict[str, Any]
Embed = Callable[[Sequence[str]], Float[np.ndarray, "texts d"]]
Compare = Callable[[Sequence[str], Sequence[str]], Float[np.ndarray, " pairs"]]


class HumanError(ValueError):
    """Ratings that cannot be summarised."""


class Alpha(NamedTuple):
    """Krippendorff's α with its 95 % bootstrap interval; None where it is not defined."""

    alpha: float | None
    low: float | None
    high: float | None


def ordinal_alpha(ratings: Float[np.ndarray, "raters items"]) -> float | None:
    """Krippendorff's α for ordinal data, NaN where a rater did not rate an item.

    Computed by the package krippendorff, which takes the ranks of the values as their distances:
    α = 1 − D_o / D_e = 1 − (n − 1) Σ_c Σ_k o_ck δ²_ck / Σ_c Σ_k n_c n_k δ²_ck, with the coincidences
    o_ck = Σ_items (pairs of ratings c and k by different raters) / (m_u − 1), n_c = Σ_k o_ck, n = Σ_c n_c, and the
    ordinal distance δ_ck = Σ_{g=c..k} n_g − (n_c + n_k)/2 (K. Krippendorff, "Computing Krippendorff's
    Alpha-Reliability", 2011). 1 is agreement, 0 is chance. None where no item has two ratings, or all ratings of such
    items are equal: agreement then has nothing to be measured against.

    Raises:
        HumanError: not a table of raters by items.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise HumanError(f"ratings has shape {table.shape}; give [raters, items], NaN where there is no rating.")
    values = np.unique(table[np.isfinite(table)])
    counts = (table[:, :, None] == values).sum(0).astype(np.float64)  # [items, values]
    return _alpha(counts)


def _alpha(counts: Float[np.ndarray, "items values"]) -> float | None:
    """α from how often each value was given to each item; values in ascending order."""
    pairable = counts[counts.sum(1) > 1]
    if (pairable.sum(0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=pairable, level_of_measurement="ordinal"))


def alpha_interval(ratings: Float[np.ndarray, "raters items"], seed: int = 0, resamples: int = BOOTSTRAP) -> Alpha:
    """Ordinal α with the 2.5th and 97.5th percentile over items drawn with replacement; seeded.

    Resamples for which α is not defined are left out; the interval is empty where that leaves none.
    """
    table = np.asarray(ratings, dtype=np.float64)
    alpha = ordinal_alpha(table)
    if alpha is None:
        return Alpha(None, None, None)
    values = np.unique(table[np.isfinite(table)])
    counts = (table[:, :, None] == values).sum(0).astype(np.float64)
    rng = np.random.default_rng(seed)
    found = [_alpha(counts[rng.integers(len(counts), size=len(counts))]) for _ in range(resamples)]
    kept = [a for a in found if a is not None]
    low, high = np.percentile(kept, [2.5, 97.5]) if kept else (None, None)
    return Alpha(alpha, None if low is None else float(low), None if high is None else float(high))


def failed_raters(rows: Sequence[Row]) -> set[str]:
    """Raters who rated a shuffled name, of any method, higher than a name that does not fit may be."""
    return {r["rater"] for r in rows if r["catch"] and r["rating"] is not None and r["rating"] > CATCH_PASS}


def first_showings(rows: Sequence[Row]) -> list[Row]:
    """The judgements that count in means: rated, the true name, shown for the first time."""
    return [r for r in rows if r["rating"] is not None and not r["catch"] and not r["repeat"]]


def summarise(ratings: pa.Table, embed: Embed, compare: Compare, seed: int = 0) -> pa.Table:
    """Table `human` from table `ratings` (whose column `name` is filled), one row a method that was rated.

    Mean and standard deviation (n − 1) run over judgements: first showings, true name, rating given. The cosines run
    over the same judgements. Items are matched between raters by study and item.

    Args:
        ratings: table `ratings`.
        embed: unit-length embeddings of texts (CLAP).
        compare: similarity of each text and its reference (BERTScore's F1).
        seed: of the bootstrap.
    """
    rows = [r for r in ratings.to_pylist() if r["rating"] is not None]
    failed = failed_raters(rows)
    out = [_summary(m, [r for r in rows if r["method"] == m], failed, embed, compare, seed) for m in METHODS]
    return tables.from_rows("human", [row for row in out if row is not None])


def _summary(
    method: str, rows: list[Row], failed: set[str], embed: Embed, compare: Compare, seed: int
) -> dict[str, Any] | None:
    if not rows:
        return None
    first = first_showings(rows)
    passed = [r for r in first if r["rater"] not in failed]
    differences = _repeat_differences(rows)
    ratings, ratings_passed = (np.array([r["rating"] for r in some], dtype=np.float64) for some in (first, passed))
    names, descriptions = _worded(first)
    cosines, scores = np.zeros(0), np.zeros(0)
    if names:
        e_names, e_descriptions = (np.asarray(embed(texts), dtype=np.float64) for texts in (names, descriptions))
        cosines, scores = (e_names * e_descriptions).sum(1), compare(names, descriptions)
    agreement, without = (alpha_interval(rating_table(some), seed) for some in (first, passed))
    raters = {r["rater"] for r in rows}
    return {
        "method": method,
        "raters": len(raters),
        "items": len({_item(r) for r in first}),
        "rating_mean": _mean(ratings),
        "rating_std": _std(ratings),
        "clap_cosine_mean": _mean(cosines),
        "clap_cosine_std": _std(cosines),
        "bertscore_mean": _mean(scores),
        "bertscore_std": _std(scores),
        "alpha": agreement.alpha,
        "alpha_low": agreement.low,
        "alpha_high": agreement.high,
        "ratings": len(first),
        **_catches([r["rating"] <= CATCH_PASS for r in rows if r["catch"]]),
        "repeats": len(differences),
        "repeat_difference": _mean(np.array(differences, dtype=np.float64)),
        "raters_failed": len(raters & failed),
        "ratings_passed": len(passed),
        "rating_mean_passed": _mean(ratings_passed),
        "rating_std_passed": _std(ratings_passed),
        "alpha_passed": without.alpha,
        "alpha_passed_low": without.low,
        "alpha_passed_high": without.high,
    }


def _catches(passed: list[bool]) -> dict[str, Any]:
    interval = wilson(sum(passed), len(passed))
    rate = sum(passed) / len(passed) if passed else None
    return {"catches": len(passed), "catch_pass_rate": rate, **_named("catch_pass", interval)}


def _named(name: str, interval: Interval) -> dict[str, float | None]:
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}


def catch_trials(ratings: pa.Table) -> pa.Table:
    """Table `human_catches`: catch trials over all methods, of all raters together and of each one.

    No rows while nobody has rated anything.
    """
    rows = [r for r in ratings.to_pylist() if r["rating"] is not None]
    failed = failed_raters(rows)
    out = []
    for rater in (None, *sorted({r["rater"] for r in rows})) if rows else ():
        mine = [r for r in rows if rater in (None, r["rater"])]
        passed = [r["rating"] <= CATCH_PASS for r in mine if r["catch"]]
        out.append(
            {
                "rater": rater,
                "catches": len(passed),
                "passed": sum(passed),
                "pass_rate": sum(passed) / len(passed) if passed else None,
                **_named("pass", wilson(sum(passed), len(passed))),
                "ratings": len(first_showings(mine)),
                "excluded": rater in failed,
            }
        )
    return tables.from_rows("human_catches", out)


def rating_table(rows: Sequence[Row]) -> Float[np.ndarray, "raters items"]:
    """Ratings by rater and item, NaN where there is none."""
    raters = {rater: i for i, rater in enumerate(dict.fromkeys(r["rater"] for r in rows))}
    items = {item: i for i, item in enumerate(dict.fromkeys(_item(r) for r in rows))}
    out = np.full((len(raters), len(items)), np.nan)
    for r in rows:
        out[raters[r["rater"]], items[_item(r)]] = r["rating"]
    return out


def _repeat_differences(rows: list[Row]) -> list[int]:
    """|first − second rating| of every item that a rater judged twice under its true name."""
    seen: dict[tuple[Any, ...], dict[bool, int]] = {}
    for r in rows:
        if not r["catch"]:
            seen.setdefault((*_item(r), r["rater"]), {})[r["repeat"]] = r["rating"]
    return [abs(both[True] - both[False]) for both in seen.values() if len(both) == 2]


def _worded(rows: list[Row]) -> tuple[list[str], list[str]]:
    """Shown names and the raters' descriptions, where there are both."""
    both = [(r["name"].strip(), r["description"].strip()) for r in rows if r["name"] and r["description"]]
    both = [pair for pair in both if all(pair)]
    return [name for name, _ in both], [description for _, description in both]


def _item(row: Row) -> tuple[str, str]:
    return row["study_id"], row["item_id"]


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _std(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if values.size > 1 else None
