"""Latents against labels, names left aside: rows of `detection`, `recovery` and `purity`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard.labels import auroc, auroc_resampled, purity
from ard.resampling import Estimate, bootstrap_weights, interval
from precompute.stages.base import Context
from precompute.stages.evaluate_data import Labelled, NamedConcepts
from precompute.stages.evaluate_names import Bench
from precompute.stages.evaluate_scores import Matrix, dense, part
from precompute.stages.scores_io import most_and_least

TOP = 100
"""Most monosemantic latents whose purity is measured, or half of the live ones where those are fewer."""
SHUFFLES = 10
"""Most shuffles of the labels here: each ranks every label with every latent."""
BROAD = ("speech",)
"""Labels of the demo world that say nothing beside its others (gender, emotion and language say more): not told."""


class _Truth(NamedTuple):
    """Classes of the probing and of the held-out clips: the true ones, or those of one shuffle."""

    control: str
    draw: int
    shown: np.ndarray
    hidden: np.ndarray


def recovery_rows(ctx: Context, clips: Labelled, concepts: NamedConcepts, scores: Matrix) -> list[dict[str, Any]]:
    """For each label the latent with the best AUROC on the probing clips, measured on the held-out clips.

    Any latent may be chosen, named or not. `shuffled_labels` does the same, once a shuffle of the clips' labels within
    the probing and within the held-out clips: what the choice among so many latents gives by chance.
    """
    if not len(clips.held_out) or not len(clips.probing):
        return []
    rng = np.random.default_rng([ctx.config.seed, 3])
    shown, hidden = clips.carried[clips.probing], clips.carried[clips.held_out]
    truths = [_Truth(concepts.control, 0, shown, hidden)]
    for draw in range(_shuffles(ctx) if concepts.first else 0):
        truths.append(_Truth("shuffled_labels", draw, rng.permutation(shown), rng.permutation(hidden)))
    # Ranks are the dear part of AUROC, so all truths share them.
    area = np.split(auroc(part(scores, clips.probing), np.hstack([t.shown for t in truths])), len(truths), axis=1)
    weights = bootstrap_weights(clips.recordings[clips.held_out], ctx.config.evaluate.bootstrap, ctx.config.seed)
    key = {"sae_id": concepts.sae_id, "method": concepts.method, "clips": len(hidden)}
    rows = []
    for truth, mine in zip(truths, area, strict=True):
        for row in _best(clips, scores, truth, mine, None if truth.control == "shuffled_labels" else weights):
            rows.append(key | {"control": truth.control, "draw": truth.draw} | row)
    return rows


def _shuffles(ctx: Context) -> int:
    return min(SHUFFLES, ctx.config.evaluate.shuffles)


def _best(
    clips: Labelled, scores: Matrix, truth: _Truth, area: np.ndarray, weights: np.ndarray | None
) -> Iterator[dict[str, Any]]:
    """One row a label that both the probing and the held-out clips can tell; an interval where weights are given."""
    known = np.isfinite(area).any(0).nonzero()[0]
    best = np.nanargmax(area[:, known], axis=0)
    held = dense(scores, clips.held_out, best)
    value = auroc(held, truth.hidden[:, known]).diagonal()
    for i in np.isfinite(value).nonzero()[0].tolist():
        column = known[i]
        found = Estimate(float(value[i]))
        if weights is not None:
            found = interval(found.value, auroc_resampled(held[:, i], truth.hidden[:, column], weights))
        row = {"label": clips.classes[column], "latent_id": int(best[i])}
        row |= {"auroc_probing": float(area[best[i], column]), "positives": int(truth.hidden[:, column].sum())}
        yield row | _estimate("auroc_held_out", found)


def detection_rows(
    ctx: Context, clips: Labelled, concepts: NamedConcepts, scores: Matrix, bench: Bench
) -> list[dict[str, Any]]:
    """For each named concept: AUROC on held-out clips for its class, and for the class that its name means.

    Ours: its class is the label with the best AUROC of its clip score r on the probing clips. The class that the name
    means is the label whose text has the highest CLAP cosine with the name; a name that says that there is none means
    none. A concept whose class no held-out clip carries, or all do, has no row.
    """
    if not len(clips.held_out) or not len(clips.probing):
        return []
    ids = concepts.latent_ids
    area = auroc(part(scores, clips.probing, ids), clips.carried[clips.probing])
    held, truth = dense(scores, clips.held_out, ids), clips.carried[clips.held_out]
    by_name = auroc(held, truth)
    weights = bootstrap_weights(clips.recordings[clips.held_out], ctx.config.evaluate.bootstrap, ctx.config.seed)
    rows = []
    for i, name in enumerate(concepts.names):
        best = int(np.nanargmax(area[i])) if np.isfinite(area[i]).any() else -1
        if best < 0 or not np.isfinite(by_name[i, best]):
            continue
        found = interval(float(by_name[i, best]), auroc_resampled(held[:, i], truth[:, best], weights))
        row = {"sae_id": concepts.sae_id, "method": concepts.method, "latent_id": int(concepts.latent_ids[i])}
        row |= {"label": clips.classes[best], "auroc_probing": float(area[i, best]), "clips": len(truth)}
        row |= {"positives": int(truth[:, best].sum()), **_estimate("auroc", found)}
        rows.append(row | _named(clips, bench, name, by_name[i]))
    return rows


def _named(clips: Labelled, bench: Bench, name: str, area: np.ndarray) -> dict[str, Any]:
    """What the name means, and how well the latent finds that."""
    if name not in bench.place:
        return {"name_label": None, "name_similarity": None, "auroc_name": None}
    near = bench.similarity[bench.place[name]]
    meant = int(near.argmax())
    value = float(area[meant]) if np.isfinite(area[meant]) else None
    return {"name_label": clips.classes[meant], "name_similarity": float(near[meant]), "auroc_name": value}


def _estimate(name: str, found: Estimate) -> dict[str, float | None]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def purity_rows(
    ctx: Context, clips: Labelled, concepts: NamedConcepts, scores: Matrix, known: dict[str, pa.Table]
) -> list[dict[str, Any]]:
    """Whether the H of the min(100, live / 2) latents with the highest m share one label, and how often by chance."""
    live = int((part(scores, clips.train).max(0) > 0).sum())
    one = (pc.field("sae_id") == concepts.sae_id) & (pc.field("method") == concepts.method)
    ranked = known["monosemanticity"].filter(one & (pc.field("rank") <= min(TOP, live // 2))).sort_by("rank")
    top = ranked["latent_id"].to_numpy()
    place = {clips.clip_ids[i]: row for row, i in enumerate(clips.train)}
    table = known["representatives"].filter(one)
    most = most_and_least(table, scores.shape[1], ctx.config.rank.p, place)[0][top]
    broad = BROAD if ctx.config.data.source == "soundscape" else ()
    told = [i for i, label in enumerate(clips.classes) if label not in broad]
    truth = clips.carried[clips.train][:, told]
    if not len(top) or not told:
        return []
    found = purity(most, truth)
    rng = np.random.default_rng([ctx.config.seed, 4])
    draws = _shuffles(ctx)
    chance = np.mean([purity(most, rng.permutation(truth)).pure for _ in range(draws)], axis=0)
    labels = [clips.classes[told[i]] if i >= 0 else None for i in found.label]
    key = {"sae_id": concepts.sae_id, "method": concepts.method}
    rows = []
    for i, latent in enumerate(top.tolist()):
        place_in = {**key, "latent_id": latent, "rank": i + 1}
        rows.append({**place_in, "control": "none", "pure": float(found.pure[i]), "label": labels[i], "draws": 1})
        rows.append({**place_in, "control": "shuffled_labels", "pure": float(chance[i]), "label": None, "draws": draws})
    return rows
