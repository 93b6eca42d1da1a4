"""Stage `ablation`: highest monosemanticity over layers, expansions and k, and of raw dimensions (Table 4).

Every SAE is trained and scored like the run's own (Eq. 1–4, method `ard`) on the same clips; only its row is kept. The
clips are ranked in one pass (`ard/ranking.py`), so memory grows with the latents and not with clips × latents.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import torch

from ard import tables
from ard.clip_stats import ClipStats
from ard.ranking import Block, Ranker
from ard.sae import TopKSAE
from ard.scores import monosemanticity_many
from precompute.config import SAEEntry
from precompute.stages.base import TRAIN, Context
from precompute.stages.latents import sparse_batches
from precompute.stages.monosemanticity import Embedded
from precompute.stages.sae import forget_checkpoints, train_one
from precompute.stages.scores_io import POLY, probe_raw, raw_id

Row = dict[str, Any]


class Fitted(NamedTuple):
    """An SAE with its row of `saes`."""

    sae: TopKSAE
    row: Row
    reused: bool


def run(ctx: Context) -> None:
    """Fit what is missing, score everything; write table `ablation`."""
    part, rows = ctx.config.ablation, []
    clips = _embedded(ctx)
    layers = part.layers or ctx.config.layers
    grid = [(layer, expansion, k) for layer in layers for expansion in part.expansions for k in part.ks or (part.k,)]
    for layer in layers:
        rows.append(_poly(ctx, ctx.models.audio_lm.hookpoint(layer), clips))
    for layer, expansion, k in ctx.progress(grid, unit="SAE"):
        rows.append(_sae(ctx, SAEEntry(layer, expansion, k, part.recipe), clips))
        _say(ctx, rows[-1])
    ctx.out.write("ablation", tables.from_rows("ablation", rows))
    forget_checkpoints(ctx)
    scored = [row for row in rows if row["ms_max"] is not None]
    if scored:
        best = max(scored, key=lambda row: row["ms_max"])
        ctx.say(f"highest m {best['ms_max']:.2f} at {best['sae_id']} ({len(rows)} rows)")


def _say(ctx: Context, row: Row) -> None:
    m = "no latent can be scored" if row["ms_max"] is None else f"highest m {row['ms_max']:.2f}"
    ctx.say(f"{row['sae_id']}: {m}, FVU {row['fvu']:.4f}{', reused' if row['reused'] else ''}")


def _embedded(ctx: Context) -> Embedded:
    stored = ctx.run.read("embeddings")
    place = {clip_id: i for i, clip_id in enumerate(stored["clip_id"].to_pylist())}
    return Embedded(np.array(stored["vector"].to_pylist(), dtype=np.float32), place)


def _poly(ctx: Context, hookpoint: str, clips: Embedded) -> Row:
    """Method `poly`: raw dimensions of x as the latents."""
    ranker = probe_raw(ctx, hookpoint).ranker(ctx.config)
    return {
        "hookpoint": hookpoint,
        "method": "poly",
        "sae_id": raw_id(hookpoint),
        **_scored(ctx, ranker, POLY, clips),
    }


def _sae(ctx: Context, entry: SAEEntry, clips: Embedded) -> Row:
    """Method `ard`: the latents of one SAE."""
    fitted = _fitted(ctx, entry)
    same = {name: fitted.row[name] for name in ("sae_id", "hookpoint", "expansion", "k", "steps", "fvu")}
    scores = _scored(ctx, _ranked(ctx, fitted.sae), "ard", clips)
    return {**same, "method": "ard", "dead_fraction": fitted.row["dead_fraction"], "reused": fitted.reused, **scores}


@torch.no_grad()
def _ranked(ctx: Context, sae: TopKSAE) -> Ranker:
    """The probing clips' r of every latent, taken in some clips at a time."""
    clips = ctx.ok_clips(TRAIN)
    ids, recordings = clips["clip_id"].to_pylist(), clips["recording_id"].to_pylist()
    stats, at = ClipStats(sae.cfg.d_sae), 0
    ranker = Ranker(sae.cfg.d_sae, sae.cfg.hookpoint, methods=("ard",), p=ctx.config.rank.p, seed=ctx.config.seed)
    for batch in sparse_batches(ctx.run, sae, iter(ids)):
        here = slice(at, at + len(batch.tokens))
        found = stats.add(batch)
        ranker.add(Block(ids[here], recordings[here], found.offsets, found.latent_id, found.scores[:1]))
        at = here.stop
    return ranker


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


def _scored(ctx: Context, ranker: Ranker, method: str, clips: Embedded) -> Row:
    """Highest m, and the mean of the `top` highest, of the latents with a full H and L (Eq. 2–4)."""
    ranked = ranker.representatives(method)
    ids = ranked.complete.nonzero()[0]
    place = np.array([clips.place[clip_id] for clip_id in ranker.clip_ids])
    m = np.sort(monosemanticity_many(clips.vectors, place[ranked.most[ids]], place[ranked.least[ids]]).score)[::-1]
    top = m[: ctx.config.ablation.top]
    return {
        "ms_max": float(top[0]) if len(top) else None,
        "ms_top": float(top.mean()) if len(top) else None,
        "top": len(top),
        "scored": len(m),
    }
