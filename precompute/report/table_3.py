"""The report's Table 3: steering with its controls, and the paper's figures beside it."""

from __future__ import annotations

from typing import Any

from ard.store import Run
from precompute.report import paper
from precompute.report.blocks import Grid, Section, number, whole, with_interval
from precompute.report.reading import METHODS, rows_of, section


def steering(run: Run) -> Section:
    """Table 3: the chosen latents on clips that did not choose them, beside the controls."""
    rows = rows_of(run, "steering")
    found = sorted(
        rows or [], key=lambda r: (r["task"], r["source"], r["target"], METHODS.index(r["method"]), r["sae_id"])
    )
    chosen = [r for r in found if r["chosen"] and r["control"] == "none"]
    others = [
        r for r in found if not r["chosen"] and r["control"] == "none" and r["how_chosen"] not in (None, "effect")
    ]
    header = (
        "task",
        "change",
        "method",
        "what",
        "value",
        "samples",
        "sensitivity",
        "of all",
        "off target",
        "no answer",
    )
    blocks = [
        Grid("Latent and value chosen on other clips, by their effect", header, [_steered(r) for r in chosen], words=4),
        Grid("Controls", header, [_steered(r) for r in found if r["control"] != "none"], words=4),
        Grid("Chosen otherwise", header, [_steered(r) for r in others], words=4, folded=True),
    ]
    return section(
        "table-3",
        "Table 3: steering",
        "of the samples whose label and unsteered answer are the source, the share whose steered answer is the target, "
        "with the 95 % Wilson interval; “of all” counts every sample with that label.",
        "that the latent's own concept does it: hold it against random latents at the same value and against "
        "reconstruction alone, and watch how many answers are no answer.",
        [b for b in blocks if b.rows],
        [paper.TABLE_3],
        there=rows is not None,
        command=f"python -m precompute steering --run {run.path}",
        empty="The run has no task that could be steered: too few clips with the labels of a task.",
    )


def _steered(r: dict[str, Any]) -> tuple[str, ...]:
    what = f"{r['sae_id']}, latent {r['latent_id']}" if r["control"] == "none" else r["control"]
    if r["control"] == "none" and r["how_chosen"] not in (None, "effect"):
        what += f", by {r['how_chosen']}"
    if r["latents"]:
        what += f", {r['latents']} latents ± {number(r['sensitivity_std'])}"
    return (
        *(r["task"], f"{r['source']} → {r['target']}", r["method"], what, number(r["value"], 1), whole(r["samples"])),
        *(
            with_interval(r, "sensitivity"),
            number(r["sensitivity_all"]),
            number(r["off_target"]),
            number(r["degenerate"]),
        ),
    )
