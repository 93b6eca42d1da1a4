"""The report's Tables 2–4: the run's own figures, and those printed in the paper beside them."""

from __future__ import annotations

from typing import Any

from ard.store import Run
from precompute.report import paper
from precompute.report.blocks import NOTHING, Grid, Section, number, percent, whole, with_interval
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
