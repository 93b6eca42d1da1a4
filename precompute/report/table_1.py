"""The report's Table 1: names against classes, beside the paper's figures, with what they can be held against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ard.store import Run
from precompute.report import paper
from precompute.report.blocks import Grid, Plot, Section, number, over_seeds, whole, with_interval
from precompute.report.reading import ordered, rows_of, section
from precompute.report.table_1_checks import checks, comparisons, curves, stability, warnings

FIGURES = ("ms_max", "precision", "recall", "f1", "map")
HEADER_1 = ("SAE", "method", "highest m", "precision", "recall", "F1", "mAP")


def interpretability(run: Run) -> Section:
    """Table 1 in both readings, with curves, comparisons, controls and stability."""
    rows = rows_of(run, "interpretability")
    found = ordered(rows or [], run)
    readings = [b for b in _readings([r for r in found if r["control"] == "none"]) if b.rows]
    chance = [b for b in _controls(found, run) if b.rows]
    there: list[Grid | Plot] = [*readings, *comparisons(run), *curves(run), *checks(run), *chance, *stability(run)]
    made = section(
        "table-1",
        "Table 1: interpretability",
        "how many of the names fit what the clips are labelled with, by CLAP similarity above γ; in brackets 95 % "
        "bootstrap intervals, ± the standard deviation over seeds.",
        "that a reading is the paper's: it leaves the unit open, so both are ours. Compare a figure with its controls "
        f"before comparing methods. {paper.NOTE_1}",
        there,
        [paper.TABLE_1],
        there=rows is not None,
        command=f"python -m precompute evaluate --run {run.path}",
        empty="The clips have no labels to compare the names with; give clips with labels.",
    )
    made.warnings.extend(warnings(run))
    return made


def _readings(rows: list[dict[str, Any]]) -> list[Grid]:
    """Reading `vocabulary`, reading `clip` with τ, and folded away reading `clip` with fixed numbers."""
    words = [r for r in rows if r["reading"] == "vocabulary"]
    clips = [r for r in rows if r["reading"] == "clip"]
    title = "Reading “vocabulary” (ours): the distinct names of the concepts against the class names"
    note = (
        "Shows how much of the list of classes the names cover. It does not ask whether a name belongs to its latent: "
        "a random latent's name counts as much as a pure one's."
    )
    grids = [Grid(title, HEADER_1, _table_1(words), words=2, note=note)]
    header = (*HEADER_1, "mAP by class", "τ")
    for n in sorted({r["n"] for r in clips}, key=lambda n: n or 0):
        what = "the concepts that exceed τ" if n is None else f"the {n} strongest concepts"
        title = f"Reading “clip” (ours): {what} on a clip against its labels{_how_many(clips)}"
        note = (
            "Shows whether the names of the concepts that fire on a held-out clip are what it is labelled with. A name "
            "of something that sounds but is not labelled counts as wrong."
            if n is None
            else ""
        )
        same = _table_1([r for r in clips if r["n"] == n], extra=True)
        grids.append(Grid(title, header, same, words=2, folded=n is not None, note=note))
    return grids


def _controls(rows: list[dict[str, Any]], run: Run) -> list[Grid]:
    """What chance and an untrained SAE give, folded away."""
    rows = [r for r in rows if r["control"] != "none" and r["n"] is None]
    default = run.manifest.get("default_sae")
    header = ("SAE", "method", "control", *HEADER_1[2:])
    return [
        Grid(
            title,
            header,
            _table_1([r for r in rows if (r["sae_id"] == default) == mine], control=True),
            3,
            folded=True,
            note="Mean over the shuffles, in brackets their middle 95 %; for the untrained SAE its own interval.",
        )
        for mine, title in (
            (True, "Controls of the default SAE: chance, and the SAE before training"),
            (False, "Other controls"),
        )
    ]


def _how_many(rows: list[dict[str, Any]]) -> str:
    return f", {whole(rows[0]['clips'])} clips, γ = {number(rows[0]['gamma'])}" if rows else ""


def _table_1(rows: Iterable[dict[str, Any]], *, extra: bool = False, control: bool = False) -> list[tuple[str, ...]]:
    """One line for each SAE, method and control; seeds together."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for r in rows:
        words = (r["sae_id"], r["method"], *([f"{r['control']} ({r['reading']})"] if control else []))
        groups.setdefault(words, []).append(r)
    lines = []
    for words, same in groups.items():
        single = len(same) == 1
        figures = [with_interval(same[0], f) if single else over_seeds([r[f] for r in same]) for f in FIGURES]
        if extra:
            figures += [over_seeds([r["map_classes"] for r in same]), number(same[0]["tau"] if single else None)]
        lines.append((*words, *figures))
    return lines
