"""Stage `evaluate`: how well names and latents fit what is known of the clips.

Tables: `interpretability` (Table 1 of the paper, in two readings), `detection` (every named concept: its name against
held-out clips by CLAP, and for `ard` its latent against labels), `recovery` (every label), `localisation` (its true
times) and `purity` (the most monosemantic latents). All but the names against clips need labels; see
`ard/interpretability.py`, `ard/labels.py`, `ard/localisation.py` and `ard/name_quality.py` for what is measured. Ours:
everything that chooses (latents, labels, τ) sees other clips than those that are measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ard import tables
from precompute.stages.base import Context
from precompute.stages.evaluate_clap import NameBench
from precompute.stages.evaluate_data import (
    Labelled,
    NamedConcepts,
    Scores,
    class_texts,
    labelled,
    named_concepts,
    untrained,
)
from precompute.stages.evaluate_labels import detection_rows, purity_rows, recovery_rows
from precompute.stages.evaluate_names import Bench, interpretability_rows
from precompute.stages.evaluate_times import localisation_rows

Rows = dict[str, list[dict[str, Any]]]
NO_LABELS: dict[str, Any] = {"clips": 0}
WRITTEN = ("interpretability", "detection", "recovery", "purity", "localisation")


def run(ctx: Context) -> None:
    """Write the tables; without a concept, and but for `detection` without labels, they are empty."""
    clips = labelled(ctx)
    found = named_concepts(ctx)
    rows: Rows = {name: [] for name in WRITTEN}
    missing = _missing(clips, len(found))
    if missing:
        ctx.say(missing)
    if found:
        _measure(ctx, clips, found, rows)
    for name, made in rows.items():
        ctx.out.write(name, tables.from_rows(name, made))


def _missing(clips: Labelled, concepts: int) -> str:
    """What cannot be measured, in a sentence; empty if all can."""
    if not clips.classes:
        return "no clip has a label, so only names are measured; give labels in a manifest, or folders named after them"
    if not concepts:
        return "nothing to measure: there is no concept; give more clips"
    if not len(clips.held_out):
        return "no held-out clip has a label, so only names and purity are measured; give more clips"
    if not len(clips.choose) or not len(clips.test):
        return "too few held-out recordings to choose τ on some and measure others, so the reading `clip` is left out"
    return ""


def _measure(ctx: Context, clips: Labelled, found: list[NamedConcepts], rows: Rows) -> None:
    sounds = NameBench(ctx, clips, sorted({name for c in found if c.first for name in c.distinct}))
    extra = untrained(ctx, clips) if clips.classes and ctx.config.evaluate.untrained else None
    bench = _bench(ctx, clips, [*found, extra.concepts] if extra is not None else found) if clips.classes else None
    known = {name: ctx.run.read(name) for name in ("monosemanticity", "representatives")}
    scores = Scores(ctx)
    # One SAE and method after the other, so that each matrix of scores is made once.
    order = sorted(found, key=lambda c: (c.sae_id, "ard" if c.method == "random" else c.method, c.method, c.seed))
    for concepts in ctx.progress(order, unit="method"):
        matrix = scores.of(concepts)
        by_label = {} if bench is None else _against_labels(ctx, clips, concepts, matrix, (bench, known), rows)
        if concepts.first:
            by_sound = sounds.rows(concepts, matrix)
            rows["detection"] += [NO_LABELS | row | by_label.get(row["latent_id"], {}) for row in by_sound]
    if extra is not None and bench is not None:
        rows["interpretability"] += interpretability_rows(bench, extra.concepts, extra.scores)
        rows["recovery"] += recovery_rows(ctx, clips, extra.concepts, extra.scores)
    rows["localisation"] = localisation_rows(ctx, rows["recovery"])
    _summary(ctx, rows)


def _bench(ctx: Context, clips: Labelled, everything: list[NamedConcepts]) -> Bench:
    names = sorted({name for concepts in everything for name in concepts.distinct})
    return Bench.build(ctx, clips, names, class_texts(ctx, clips.classes))


def _against_labels(
    ctx: Context,
    clips: Labelled,
    concepts: NamedConcepts,
    matrix: np.ndarray,
    using: tuple[Bench, dict[str, pa.Table]],
    rows: Rows,
) -> dict[int, dict[str, Any]]:
    """Fill the rows that need labels; returns what `detection` says of them, by latent."""
    bench, known = using
    rows["interpretability"] += interpretability_rows(bench, concepts, matrix)
    if not concepts.first or concepts.method == "random":
        return {}
    rows["recovery"] += recovery_rows(ctx, clips, concepts, matrix)
    rows["purity"] += purity_rows(ctx, clips, concepts, matrix, known)
    found = detection_rows(ctx, clips, concepts, matrix, bench) if concepts.method == "ard" else []
    return {row["latent_id"]: row for row in found}


def _summary(ctx: Context, rows: Rows) -> None:
    """The default SAE's figures in a line."""
    sae_id = ctx.sae_ids()[0]
    named = [r["auroc_clap"] for r in rows["detection"] if (r["sae_id"], r["method"]) == (sae_id, "ard")]
    named = [value for value in named if value is not None]
    if named:
        ctx.say(
            f"{sae_id}: names alone find the clips on which their latents fire with a median AUROC of "
            f"{np.median(named):.2f} by CLAP ({len(named)} names, chance 0.5)"
        )
    mine = [r for r in rows["recovery"] if (r["sae_id"], r["method"], r["control"]) == (sae_id, "ard", "none")]
    pure = [r["pure"] for r in rows["purity"] if (r["sae_id"], r["method"], r["control"]) == (sae_id, "ard", "none")]
    if mine and pure:
        good = np.mean([r["auroc_held_out"] >= 0.9 for r in mine])
        ctx.say(
            f"{sae_id}: {np.mean(pure):.0%} of the {len(pure)} most monosemantic latents are pure, "
            f"{good:.0%} of {len(mine)} labels have a latent with AUROC ≥ 0.9 on held-out clips"
        )
