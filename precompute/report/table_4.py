"""The report's Table 4: layers and expansions, and the paper's figures beside it."""

from __future__ import annotations

from ard.store import Run
from precompute.report import paper
from precompute.report.blocks import NOTHING, Grid, Section, number, percent, whole
from precompute.report.reading import METHODS, rows_of, section


def ablation(run: Run) -> Section:
    """Table 4 over this run's layers and expansions."""
    rows = rows_of(run, "ablation")
    found = sorted(rows or [], key=lambda r: (r["hookpoint"], METHODS.index(r["method"]), r["expansion"] or 0))
    header = ("hookpoint", "method", "e", "k", "highest m", "mean of the top", "scored", "FVU", "dead")
    table = [
        (
            *(r["hookpoint"], r["method"], NOTHING if r["expansion"] is None else f"{r['expansion']:g}", whole(r["k"])),
            *(
                number(r["ms_max"]),
                number(r["ms_top"]),
                whole(r["scored"]),
                number(r["fvu"], 4),
                percent(r["dead_fraction"]),
            ),
        )
        for r in found
    ]
    return section(
        "table-4",
        "Table 4: layers and expansions",
        "how the highest m changes with the layer and the size of the SAE, every SAE trained in the same way.",
        "which is better for naming or steering: the highest m is one latent, and the maximum grows with their number.",
        [Grid("Ablation", header, table, words=2)],
        [paper.TABLE_4],
        there=rows is not None,
        command=f"python -m precompute ablation --run {run.path}",
    )
