"""Stage `evaluate`: how well names and latents fit what is known of the clips.

Tables: `interpretability` (Table 1 of the paper, in two readings) with `interpretability_curve`, `comparisons` and
`controls`, `detection` (every named concept: its name against held-out clips by CLAP, and for `ard` its latent against
labels), `recovery` (every label), `localisation` (its true times), `purity` (the most monosemantic latents) and
`stability` (another seed). All but the names against clips and `stability` need labels; see `ard/interpretability.py`,
`ard/chance.py`, `ard/labels.py`, `ard/localisation.py`, `ard/name_quality.py` and `ard/stability.py` for what is
measured. Ours: everything that chooses (latents, labels, τ) sees other clips than those that are measured.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ard import tables
from ard.percentile import percentile_scale
from precompute.stages.base import Context
from precompute.stages.evaluate_clap import NameBench
from precompute.stages.evaluate_controls import comparison_rows, control_rows
from precompute.stages.evaluate_data import Labelled, NamedConcepts, class_texts, labelled, named_concepts
from precompute.stages.evaluate_labels import detection_rows, purity_rows, recovery_rows
from precompute.stages.evaluate_names import Bench, Result, Shown, curve_rows, interpretability_rows, results
from precompute.stages.evaluate_scores import Matrix, Scores, dense, part, untrained
from precompute.stages.evaluate_stability import stability_rows
from precompute.stages.evaluate_times import localisation_rows

Rows = dict[str, list[dict[str, Any]]]
NO_LABELS: dict[str, Any] = {"clips": 0}
WRITTEN = (
    *("interpretability", "interpretability_curve", "comparisons", "controls"),
    *("detection", "recovery", "purity", "localisation", "stability"),
)


class _Labels(NamedTuple):
    """What is measured against labels, and where it goes."""

    bench: Bench
    known: dict[str, pa.Table]
    rows: Rows
    results: list[Result]


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
        rows["stability"] = stability_rows(ctx, clips, found)
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
    labels = None
    if clips.classes:
        bench = _bench(ctx, clips, [*found, extra.concepts] if extra is not None else found)
        known = {name: ctx.run.read(name) for name in ("monosemanticity", "representatives")}
        labels = _Labels(bench, known, rows, [])
    scores = Scores(ctx)
    # One SAE and method after the other, so that each matrix of scores is made once.
    order = sorted(found, key=lambda c: (c.sae_id, "ard" if c.method == "random" else c.method, c.method, c.seed))
    for concepts in ctx.progress(order, unit="method"):
        matrix = scores.of(concepts)
        by_label = {} if labels is None else _against_labels(ctx, clips, concepts, matrix, labels)
        if concepts.first:
            by_sound = sounds.rows(concepts, matrix)
            rows["detection"] += [NO_LABELS | row | by_label.get(row["latent_id"], {}) for row in by_sound]
    if labels is not None:
        if extra is not None:
            _names(clips, extra.concepts, extra.scores, labels)
            rows["recovery"] += recovery_rows(ctx, clips, extra.concepts, extra.scores)
        rows["comparisons"] = comparison_rows(labels.results)
        rows["controls"] = control_rows(labels.results, rows["comparisons"])
    rows["localisation"] = localisation_rows(ctx, rows["recovery"])
    _summary(ctx, rows)


def _bench(ctx: Context, clips: Labelled, everything: list[NamedConcepts]) -> Bench:
    names = sorted({name for concepts in everything for name in concepts.distinct})
    return Bench.build(ctx, clips, names, class_texts(ctx, clips.classes))


def _against_labels(
    ctx: Context, clips: Labelled, concepts: NamedConcepts, matrix: Matrix, labels: _Labels
) -> dict[int, dict[str, Any]]:
    """Fill the rows that need labels; returns what `detection` says of them, by latent."""
    _names(clips, concepts, matrix, labels)
    if not concepts.first or concepts.method == "random":
        return {}
    labels.rows["recovery"] += recovery_rows(ctx, clips, concepts, matrix)
    labels.rows["purity"] += purity_rows(ctx, clips, concepts, matrix, labels.known)
    found = detection_rows(ctx, clips, concepts, matrix, labels.bench) if concepts.method == "ard" else []
    return {row["latent_id"]: row for row in found}


def _names(clips: Labelled, concepts: NamedConcepts, matrix: Matrix, labels: _Labels) -> None:
    """Names against classes, in both readings; they are kept for the comparisons."""
    scale = percentile_scale(part(matrix, clips.train, concepts.latent_ids))
    shown = Shown(*(dense(matrix, some, concepts.latent_ids) / scale for some in (clips.choose, clips.test)))
    for result in results(labels.bench, concepts, shown):
        labels.rows["interpretability"] += interpretability_rows(labels.bench, result)
        labels.rows["interpretability_curve"] += curve_rows(labels.bench, result)
        labels.results.append(result)


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
    failed = [row["sentence"] for row in rows["controls"] if not row["passed"]]
    for sentence in failed:
        ctx.say(f"WARNING: {sentence}")
