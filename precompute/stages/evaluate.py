"""Stage `evaluate`: how well names and latents fit what is known of the clips.

Tables: `interpretability` (Table 1 of the paper, in two readings), `detection` (every named concept of `ard`),
`recovery` (every label), `localisation` (its true times) and `purity` (the most monosemantic latents). All need
labels; see `ard/interpretability.py`, `ard/labels.py` and `ard/localisation.py` for what is measured. Ours: everything
that chooses (latents, labels, τ) sees other clips than those that are measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ard import tables
from precompute.stages.base import Context
from precompute.stages.evaluate_data import Labelled, Scores, class_texts, labelled, named_concepts, untrained
from precompute.stages.evaluate_labels import detection_rows, purity_rows, recovery_rows
from precompute.stages.evaluate_names import Bench, interpretability_rows
from precompute.stages.evaluate_times import localisation_rows

WRITTEN = ("interpretability", "detection", "recovery", "purity", "localisation")


def run(ctx: Context) -> None:
    """Write the tables; where clips have no labels or there is no concept they are empty, with a word why."""
    clips = labelled(ctx)
    found = named_concepts(ctx)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in WRITTEN}
    missing = _missing(clips, len(found))
    if missing:
        ctx.say(missing)
    if clips.classes and found:
        _measure(ctx, clips, found, rows)
    for name, made in rows.items():
        ctx.out.write(name, tables.from_rows(name, made))


def _missing(clips: Labelled, concepts: int) -> str:
    """What cannot be measured, in a sentence; empty if all can."""
    if not clips.classes:
        return "nothing to measure: no clip has a label; give labels in a manifest, or folders named after them"
    if not concepts:
        return "nothing to measure: there is no concept; give more clips"
    if not len(clips.held_out):
        return "no held-out clip has a label, so only names and purity are measured; give more clips"
    if not len(clips.choose) or not len(clips.test):
        return "too few held-out recordings to choose τ on some and measure others, so the reading `clip` is left out"
    return ""


def _measure(ctx: Context, clips: Labelled, found: list[Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    extra = untrained(ctx, clips) if ctx.config.evaluate.untrained else None
    everything = [*found, extra.concepts] if extra is not None else found
    texts = class_texts(ctx, clips.classes)
    names = sorted({name for concepts in everything for name in concepts.distinct})
    bench = Bench.build(ctx, clips, names, texts)
    known = {name: ctx.run.read(name) for name in ("monosemanticity", "representatives")}
    scores = Scores(ctx)
    # One SAE and method after the other, so that each matrix of scores is made once.
    order = sorted(found, key=lambda c: (c.sae_id, "ard" if c.method == "random" else c.method, c.method, c.seed))
    for concepts in ctx.progress(order, unit="method"):
        matrix = scores.of(concepts)
        rows["interpretability"] += interpretability_rows(bench, concepts, matrix)
        if not concepts.first or concepts.method == "random":
            continue
        rows["recovery"] += recovery_rows(ctx, clips, concepts, matrix)
        rows["purity"] += purity_rows(ctx, clips, concepts, matrix, known)
        if concepts.method == "ard":
            rows["detection"] += detection_rows(ctx, clips, concepts, matrix, bench)
    if extra is not None:
        rows["interpretability"] += interpretability_rows(bench, extra.concepts, extra.scores)
        rows["recovery"] += recovery_rows(ctx, clips, extra.concepts, extra.scores)
    rows["localisation"] = localisation_rows(ctx, rows["recovery"])
    _summary(ctx, rows)


def _summary(ctx: Context, rows: dict[str, list[dict[str, Any]]]) -> None:
    """The default SAE's figures in a line."""
    sae_id = ctx.sae_ids()[0]
    mine = [r for r in rows["recovery"] if (r["sae_id"], r["method"], r["control"]) == (sae_id, "ard", "none")]
    pure = [r["pure"] for r in rows["purity"] if (r["sae_id"], r["method"], r["control"]) == (sae_id, "ard", "none")]
    if mine and pure:
        good = np.mean([r["auroc_held_out"] >= 0.9 for r in mine])
        ctx.say(
            f"{sae_id}: {np.mean(pure):.0%} of the {len(pure)} most monosemantic latents are pure, "
            f"{good:.0%} of {len(mine)} labels have a latent with AUROC ≥ 0.9 on held-out clips"
        )
