"""The report's Table 4: layers and expansions, and the paper's figures beside it."""

from __future__ import annotations

from typing import Any

from ard.store import Run
from precompute.report import paper
from precompute.report.blocks import NOTHING, Grid, Plot, Section, number, percent, whole
from precompute.report.plots import Line, lines
from precompute.report.reading import METHODS, rows_of, section

Row = dict[str, Any]
HEADER = (
    *("hookpoint", "method", "e", "k", "highest m", "mean of the top", "of", "scored", "FVU", "dead", "steps", "SAE"),
)


def ablation(run: Run) -> Section:
    """Table 4 over this run's layers and expansions."""
    rows = rows_of(run, "ablation")
    found = sorted(rows or [], key=_place)
    blocks: list[Grid | Plot] = [Grid("Ablation", HEADER, [_line(r) for r in found], words=2)]
    if svg := _curves(found):
        blocks.append(Plot("Highest m against the expansion e; dashed lines are raw dimensions, which have no e.", svg))
    return section(
        "table-4",
        "Table 4: layers and expansions",
        "how the highest m, the mean of the top, the FVU and the share of dead latents change with the layer, the size "
        "of the SAE and k, every SAE trained in the same way.",
        "which is better for naming or steering: the highest m is one latent, and the maximum grows with the number of "
        "latents that are scored. There is one training seed a row and so no interval.",
        [b for b in blocks if isinstance(b, Plot) or b.rows],
        [paper.TABLE_4],
        there=rows is not None,
        command=f"python -m precompute ablation --run {run.path}",
    )


def _layer(hookpoint: str) -> tuple[int, str]:
    """Layer 16 after layer 5."""
    number_ = hookpoint.rpartition(".")[2]
    return (int(number_) if number_.isdecimal() else -1, hookpoint)


def _place(r: Row) -> tuple[Any, ...]:
    return (_layer(r["hookpoint"]), METHODS.index(r["method"]), r["k"] or 0, r["expansion"] or 0)


def _line(r: Row) -> tuple[str, ...]:
    made = NOTHING if r["reused"] is None else "the run's own" if r["reused"] else "trained for this"
    return (
        *(r["hookpoint"], r["method"], NOTHING if r["expansion"] is None else f"{r['expansion']:g}", whole(r["k"])),
        *(number(r["ms_max"]), number(r["ms_top"]), whole(r["top"]), whole(r["scored"])),
        *(number(r["fvu"], 4), percent(r["dead_fraction"]), whole(r["steps"]), made),
    )


def _curves(rows: list[Row]) -> str:
    """One curve for each layer and k; a layer's raw dimensions as a level line."""
    curves: dict[tuple[str, int], list[Row]] = {}
    for r in rows:
        if r["expansion"] is not None and r["ms_max"] is not None:
            curves.setdefault((r["hookpoint"], r["k"] or 0), []).append(r)
    if not curves:
        return ""
    several = len({k for _, k in curves}) > 1
    drawn = [
        Line(f"{hookpoint}, k {k}" if several else hookpoint, [r["expansion"] for r in c], [r["ms_max"] for r in c])
        for (hookpoint, k), c in curves.items()
    ]
    ends = [min(x for one in drawn for x in one.x), max(x for one in drawn for x in one.x)]
    raw = [r for r in rows if r["expansion"] is None and r["ms_max"] is not None]
    drawn += [Line(f"{r['hookpoint']}, poly", ends, [r["ms_max"]] * 2, dashed=True) for r in raw]
    return lines(drawn, "expansion e", "highest m", "Highest monosemanticity over layers and expansions")
