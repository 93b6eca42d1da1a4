"""The report's Table 2: the listening study, and the paper's figures beside it."""

from __future__ import annotations

from typing import Any

from ard.store import Run
from precompute.report import paper
from precompute.report.blocks import Grid, Section, number, whole, with_interval
from precompute.report.reading import METHODS, rows_of, section


def human(run: Run) -> Section:
    """Table 2, from what the listeners saved."""
    rows = rows_of(run, "human")
    table = [
        (
            *(r["method"], whole(r["raters"]), whole(r["items"]), _spread(r, "rating")),
            *(_spread(r, "clap_cosine"), _spread(r, "bertscore"), with_interval(r, "alpha")),
        )
        for r in sorted(rows or [], key=lambda r: METHODS.index(r["method"]))
    ]
    header = ("method", "raters", "items", "rating 0–5", "CLAP cosine", "BERTScore", "α")
    return section(
        "table-2",
        "Table 2: listening study",
        "how well listeners found the name to fit what they had heard and described first, and how near their words "
        "are to the name; α is Krippendorff's, ordinal.",
        "what other listeners would say: with few raters or α near 0, the mean says little.",
        [Grid("Listening study", header, table)],
        [paper.TABLE_2],
        there=rows is not None,
        command=f"python app.py --run {run.path}  # rate, then: python -m precompute human --run {run.path}",
        empty="Nobody has rated this run yet.",
    )


def _spread(row: dict[str, Any], name: str) -> str:
    mean, std = row[f"{name}_mean"], row[f"{name}_std"]
    return number(mean) if mean is None or std is None else f"{number(mean)} ± {number(std)}"
