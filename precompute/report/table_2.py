"""The report's Table 2: the listening study, and the paper's figures beside it."""

from __future__ import annotations

from typing import Any

from ard.store import Run
from precompute.report import paper
from precompute.report.blocks import Grid, Section, number, percent, whole, with_interval
from precompute.report.reading import METHODS, rows_of, section

HEADER = ("method", "raters", "items", "ratings", "rating 0–5", "CLAP cosine", "BERTScore", "α")
PASSED = ("method", "raters left out", "ratings", "rating 0–5", "α", "catch trials", "passed")
FIGURES = {
    "monosemanticity": "monosemanticity m",
    "auroc": "AUROC for the latent's label",
    "auroc_clap": "AUROC of the name alone, by CLAP",
}


def human(run: Run) -> Section:
    """Table 2, from what the listeners saved."""
    rows = rows_of(run, "human")
    found = sorted(rows or [], key=lambda r: METHODS.index(r["method"]))
    blocks = [
        Grid("Listening study, every rater", HEADER, [_everyone(r) for r in found]),
        Grid(
            "The same without the raters who failed a catch trial (a shuffled name rated above 2)",
            PASSED,
            [_passed(r) for r in found] + _all_catches(run) if found else [],
        ),
        Grid(
            "Do people like what the figures like? Spearman's ρ of a concept's mean rating and its figure",
            ("figure", "method", "raters", "concepts", "ρ"),
            [
                (FIGURES[r["figure"]], r["method"], r["raters"], whole(r["concepts"]), with_interval(r, "spearman"))
                for r in rows_of(run, "human_correlation") or []
                if r["concepts"]
            ],
            words=3,
        ),
    ]
    return section(
        "table-2",
        "Table 2: listening study",
        "how well listeners found the name to fit what they had heard and described first, and how near their words "
        "are to the name; α is Krippendorff's, ordinal. In brackets 95 % intervals: of α over items, of ρ over "
        "concepts, both by bootstrap; of catch trials Wilson's.",
        "what other listeners would say: with few raters or α near 0, the mean says little. ρ over a few dozen "
        "concepts is wide, and says nothing about concepts that were not rated.",
        [b for b in blocks if b.rows],
        [paper.TABLE_2],
        there=rows is not None,
        command=f"python app.py --run {run.path}  # rate, then: python -m precompute human --run {run.path}",
        empty="Nobody has rated this run yet.",
    )


def _everyone(r: dict[str, Any]) -> tuple[str, ...]:
    return (
        *(r["method"], whole(r["raters"]), whole(r["items"]), whole(r["ratings"]), _spread(r, "rating")),
        *(_spread(r, "clap_cosine"), _spread(r, "bertscore"), with_interval(r, "alpha")),
    )


def _passed(r: dict[str, Any]) -> tuple[str, ...]:
    spread = _mean_and_std(r["rating_mean_passed"], r["rating_std_passed"])
    figures = (whole(r["raters_failed"]), whole(r["ratings_passed"]), spread, with_interval(r, "alpha_passed"))
    rate = {"rate": r["catch_pass_rate"], "rate_low": r["catch_pass_low"], "rate_high": r["catch_pass_high"]}
    return (r["method"], *figures, whole(r["catches"]), _share(rate))


def _all_catches(run: Run) -> list[tuple[str, ...]]:
    """One line for the catch trials of all methods and raters together."""
    rows = rows_of(run, "human_catches") or []
    excluded = sum(r["excluded"] for r in rows if r["rater"] is not None)
    left = sum(r["ratings"] for r in rows if r["rater"] is not None and not r["excluded"])
    return [
        (
            *("all", whole(excluded), whole(left), number(None), number(None), whole(r["catches"])),
            _share({"rate": r["pass_rate"], "rate_low": r["pass_low"], "rate_high": r["pass_high"]}),
        )
        for r in rows
        if r["rater"] is None
    ]


def _share(rate: dict[str, float | None]) -> str:
    if rate["rate"] is None:
        return number(None)
    return f"{percent(rate['rate'], 0)} [{percent(rate['rate_low'], 0)}–{percent(rate['rate_high'], 0)}]"


def _spread(row: dict[str, Any], name: str) -> str:
    return _mean_and_std(row[f"{name}_mean"], row[f"{name}_std"])


def _mean_and_std(mean: float | None, std: float | None) -> str:
    return number(mean) if mean is None or std is None else f"{number(mean)} ± {number(std)}"
