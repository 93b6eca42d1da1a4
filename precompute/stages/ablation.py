"""Stage `ablation`: highest monosemanticity over layers and expansions, and of raw dimensions (Table 4).

Every SAE is trained and scored like the run's own (Eq. 1–4, method `ard`) on the same clips; only its row is kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import torch

from ard import tables
from ard.rank import representatives
from ard.sae import TopKSAE
from ard.scores import clip_scores, monosemanticity_many
from precompute.config import SAEEntry
from precompute.shards import Shards
from precompute.stages.base import TRAIN, Context
from precompute.stages.sae import forget_checkpoints, train_one
from precompute.stages.scores_io import raw_id

Row = dict[str, Any]


class Probing(NamedTuple):
    """The training clips with their CLAP embeddings, in one order."""

    clip_ids: list[str]
    recording_ids: list[str]
    vectors: np.ndarray


class Fitted(NamedTuple):
    """An SAE with its row of `saes`."""

    sae: TopKSAE
    row: Row
    reused: bool


def run(ctx: Context) -> None:
    """Fit what is missing, score everything; write table `ablation`."""
    part, rows = ctx.config.ablation, []
    probing = _probing(ctx)
    layers = part.layers or ctx.config.layers
    grid = [(layer, expansion) for layer in layers for expansion in part.expansions]
    for layer in layers:
        rows.append(_poly(ctx, ctx.models.audio_lm.hookpoint(layer), probing))
    for layer, expansion in ctx.progress(grid, unit="SAE"):
        rows.append(_sae(ctx, SAEEntry(layer, expansion, part.k, part.recipe), probing))
    ctx.out.write("ablation", tables.from_rows("ablation", rows))
    forget_checkpoints(ctx)
    scored = [row for row in rows if row["ms_max"] is not None]
    if scored:
        best = max(scored, key=lambda row: row["ms_max"])
        ctx.say(f"highest m {best['ms_max']:.2f} at {best['sae_id']} ({len(rows)} rows)")


def _probing(ctx: Context) -> Probing:
    clips, stored = ctx.ok_clips(TRAIN), ctx.run.read("embeddings")
    place = {clip_id: i for i, clip_id in enumerate(stored["clip_id"].to_pylist())}
    ids = clips["clip_id"].to_pylist()
    vectors = np.array(stored["vector"].to_pylist(), dtype=np.float32)[[place[i] for i in ids]]
    return Probing(ids, clips["recording_id"].to_pylist(), vectors)


def _poly(ctx: Context, hookpoint: str, probing: Probing) -> Row:
    """Method `poly`: raw dimensions of x as the latents."""
    shards = Shards(ctx.run, hookpoint)
    r = [clip_scores(shards.audio(clip_id)).representativeness for clip_id in probing.clip_ids]
    scores = _scored(ctx, hookpoint, torch.stack(r).numpy(), probing)
    return {"hookpoint": hookpoint, "method": "poly", "sae_id": raw_id(hookpoint), **scores}


def _sae(ctx: Context, entry: SAEEntry, probing: Probing) -> Row:
    """Method `ard`: the latents of one SAE."""
    fitted = _fitted(ctx, entry)
    hookpoint, sae = fitted.row["hookpoint"], fitted.sae
    shards = Shards(ctx.run, hookpoint)
    with torch.no_grad():
        r = [clip_scores(sae.encode(shards.audio(clip_id))).representativeness for clip_id in probing.clip_ids]
    scores = _scored(ctx, hookpoint, torch.stack(r).numpy(), probing)
    same = {name: fitted.row[name] for name in ("sae_id", "hookpoint", "expansion", "k", "steps", "fvu")}
    return {**same, "method": "ard", "dead_fraction": fitted.row["dead_fraction"], "reused": fitted.reused, **scores}


def _fitted(ctx: Context, entry: SAEEntry) -> Fitted:
    """The run's own SAE where all settings agree, otherwise a new one."""
    steps = ctx.config.ablation.steps or ctx.config.train.steps
    saes = ctx.run.read("saes")
    wanted = {"hookpoint": f"layers.{entry.layer}", "k": entry.k, "recipe": entry.recipe, "steps": steps}
    for name, value in wanted.items():
        saes = saes.filter(pc.equal(saes[name], value))
    same = [row for row in saes.to_pylist() if np.float32(row["expansion"]) == np.float32(entry.expansion)]
    if same:
        return Fitted(TopKSAE.load(ctx.run.sae_dir(same[0]["sae_id"])), same[0], reused=True)
    train = replace(ctx.config.train, steps=steps, loss_clips=0)
    new = train_one(replace(ctx, config=replace(ctx.config, train=train)), entry)
    return Fitted(new.sae, new.row, reused=False)


def _scored(ctx: Context, hookpoint: str, r: np.ndarray, probing: Probing) -> Row:
    """Highest m, and the mean of the `top` highest, of latents with clip scores r [clips, latents] (Eq. 2–4)."""
    ranked = representatives(
        r,
        probing.clip_ids,
        recording_ids=probing.recording_ids,
        hookpoint=hookpoint,
        p=ctx.config.rank.p,
        seed=ctx.config.seed,
    )
    ids = ranked.complete.nonzero()[0]
    m = np.sort(monosemanticity_many(probing.vectors, ranked.most[ids], ranked.least[ids]).score)[::-1]
    top = m[: ctx.config.ablation.top]
    return {
        "ms_max": float(top[0]) if len(top) else None,
        "ms_top": float(top.mean()) if len(top) else None,
        "top": len(top),
        "scored": len(m),
    }
