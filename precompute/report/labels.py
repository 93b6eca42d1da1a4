"""The report's section on true labels: what the paper does not measure and a labelled run can."""

from __future__ import annotations

import statistics
from typing import Any

from ard.store import Run
from precompute.report.blocks import Grid, Plot, Section, number, percent, whole
from precompute.report.reading import ordered, rows_of, section

GOOD = 0.9
"""AUROC from which a label counts as found."""


def labels(run: Run) -> Section:
    """How many labels a latent finds on held-out clips, and how pure the latents of highest m are."""
    names = ("recovery", "purity", "detection", "localisation")
    recovery, purity, detection, times = (rows_of(run, name) for name in names)
    by_label = [r for r in detection or [] if r["auroc"] is not None]
    blocks: list[Grid | Plot] = [
        Grid(
            "For every label the latent that finds it best on the probing clips, measured on held-out clips",
            ("SAE", "method", "control", "labels", "median AUROC", f"AUROC ≥ {GOOD}"),
            _recovered(_groups(recovery, run)),
            words=3,
        ),
        Grid(
            "The same latents against the true times of their labels: tokens where z > 0, over clips with the label",
            ("SAE", "method", "control", "labels", "mean IoU", "best", "worst"),
            [(*k, *_iou(g)) for k, g in _groups(times, run).items()],
            words=3,
        ),
        Grid(
            "Share of the latents of highest m whose clips of H share one label",
            ("SAE", "method", "control", "latents", "pure"),
            [(*k, whole(len(g)), percent(sum(r["pure"] for r in g) / len(g))) for k, g in _groups(purity, run).items()],
            words=3,
        ),
        Grid(
            "Named latents as detectors of their own best label, on held-out clips",
            ("SAE", "method", "latents", "median AUROC", f"AUROC ≥ {GOOD}"),
            [(k[0], k[1], *_auroc(g, "auroc")) for k, g in _groups(by_label, run).items()],
            words=2,
        ),
        Grid(
            "Names alone, by CLAP: do they find the held-out clips on which their latents fire? Needs no labels; names "
            "from random clips (`random`) say what chance gives",
            ("SAE", "method", "names", "median AUROC", f"AUROC ≥ {GOOD}", "cosine, top clips", "other clips"),
            [
                (k[0], k[1], *_by_sound(g))
                for k, g in _groups(detection, run).items()
                if _auroc(g, "auroc_clap")[0] != "0"
            ],
            words=2,
        ),
    ]
    return section(
        "labels",
        "Latents against true labels",
        "whether single latents find what the clips are labelled with (AUROC: 1 is perfect, 0.5 is chance).",
        "anything about names or about what the model uses; compare with the control rows, which say what searching "
        "among many latents gives by chance.",
        [b for b in blocks if isinstance(b, Plot) or b.rows],
        there=any(rows is not None for rows in (recovery, purity, detection)),
        command=f"python -m precompute evaluate --run {run.path}",
        empty="The clips have no labels to compare the latents with.",
    )


def _groups(rows: list[dict[str, Any]] | None, run: Run) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for r in ordered(rows or [], run):
        found.setdefault((r["sae_id"], r["method"], r.get("control", "none")), []).append(r)
    return found


def _recovered(groups: dict[tuple[str, str, str], list[dict[str, Any]]]) -> list[tuple[str, ...]]:
    """Of a control with several shuffles the mean number found in one of them."""
    lines: list[tuple[str, ...]] = []
    for key, rows in groups.items():
        draws = len({r["draw"] for r in rows})
        labels_, median, found = len({r["label"] for r in rows}), *_auroc(rows, "auroc_held_out")[1:]
        good = found if draws == 1 else number(sum(r["auroc_held_out"] >= GOOD for r in rows) / draws, 1)
        lines.append((*key, whole(labels_), median, good))
    return lines


def _iou(rows: list[dict[str, Any]]) -> tuple[str, str, str, str]:
    """Number of labels, mean IoU, and the labels with the highest and the lowest."""
    found = sorted((r["iou"], r["label"]) for r in rows if r["iou"] is not None)
    if not found:
        return "0", number(None), "", ""
    best, worst = (f"{label} {number(value)}" for value, label in (found[-1], found[0]))
    return whole(len(found)), number(statistics.fmean(value for value, _ in found)), best, worst


def _by_sound(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """How well names alone find clips, and the median cosines behind it."""
    cosines = ([r[column] for r in rows if r[column] is not None] for column in ("clap_top", "clap_rest"))
    return (*_auroc(rows, "auroc_clap"), *(number(statistics.median(values)) for values in cosines))


def _auroc(rows: list[dict[str, Any]], column: str) -> tuple[str, str, str]:
    """Number of rows with a value, their median, and how many are good."""
    values = [r[column] for r in rows if r[column] is not None]
    if not values:
        return "0", number(None), number(None)
    return whole(len(values)), number(statistics.median(values)), whole(sum(v >= GOOD for v in values))
