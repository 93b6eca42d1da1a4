"""Rows of `stability`: the default SAE trained again with other seeds, and which concepts return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ard.sae import TopKSAE
from ard.stability import FOUND, returned, share_found
from precompute.config import Config, SAEEntry
from precompute.shards import Shards
from precompute.stages.base import Context
from precompute.stages.evaluate_data import Labelled, NamedConcepts
from precompute.stages.evaluate_scores import CENTRE_CLIPS
from precompute.stages.sae import forget_checkpoints, train_one

Row = dict[str, Any]


def stability_rows(ctx: Context, clips: Labelled, found: Sequence[NamedConcepts]) -> list[Row]:
    """Two rows a seed: the SAE trained with it, and chance, the same SAE before its first step (random directions).

    Concepts are looked for among the latents of the other SAE that fire on the first 1,000 training clips; in the
    untrained one among all of them, which favours chance.
    """
    sae_id, seeds = ctx.sae_ids()[0], ctx.config.evaluate.stability_seeds
    mine = [c for c in found if (c.sae_id, c.method) == (sae_id, "ard")]
    if not seeds or not mine:
        return []
    sae = TopKSAE.load(ctx.run.sae_dir(sae_id))
    entry = _entry(ctx.config, sae)
    if entry is None:
        ctx.say(f"{sae_id} is none of the configured SAEs, so it is not trained again; table stability is empty")
        return []
    ours = _decoder(sae)[mine[0].latent_ids]
    rows: list[Row] = []
    for seed in range(ctx.config.seed + 1, ctx.config.seed + 1 + seeds):
        other = train_one(replace(ctx, config=_with_seed(ctx.config, seed)), entry)
        live = _live(ctx, clips, other.sae)
        key = {"sae_id": sae_id, "seed": seed, "concepts": len(ours), "threshold": FOUND}
        if live.any():
            rows.append(key | {"control": "none", "fvu": other.row["fvu"]} | _row(ctx, ours, _decoder(other.sae)[live]))
        chance = TopKSAE(replace(sae.cfg, seed=seed))
        rows.append(key | {"control": "untrained_sae", "fvu": None} | _row(ctx, ours, _decoder(chance)))
    forget_checkpoints(ctx)
    for row in rows[:2]:
        which = f"the SAE of seed {row['seed']}" if row["control"] == "none" else "random directions"
        ctx.say(f"{sae_id}: {row['share']:.0%} of {len(ours)} concepts have a latent like them in {which}")
    return rows


def _with_seed(config: Config, seed: int) -> Config:
    """The same settings with another seed; what only describes the SAE's effect on the model is left out."""
    return replace(config, seed=seed, train=replace(config.train, loss_clips=0))


def _entry(config: Config, sae: TopKSAE) -> SAEEntry | None:
    """The settings behind the default SAE; None where it came from elsewhere."""
    wanted = sae.cfg.hookpoint, sae.cfg.expansion, sae.cfg.k, sae.cfg.recipe
    same = (e for e in config.sae if (f"layers.{e.layer}", e.expansion, e.k, e.recipe) == wanted)
    return next(same, None)


def _decoder(sae: TopKSAE) -> np.ndarray:
    return sae.W_dec.detach().cpu().numpy()


@torch.no_grad()
def _live(ctx: Context, clips: Labelled, sae: TopKSAE) -> np.ndarray:
    """Latents that fire on some audio token of the first training clips."""
    shards = Shards(ctx.run, sae.cfg.hookpoint)
    live = torch.zeros(sae.cfg.d_sae, dtype=torch.bool)
    sae = sae.cpu()
    for clip_id in _some(ctx, clips):
        live |= (sae.encode(shards.audio(clip_id)) > 0).any(0)
    return live.numpy()


def _some(ctx: Context, clips: Labelled) -> Iterator[str]:
    return ctx.progress([clips.clip_ids[i] for i in clips.train[:CENTRE_CLIPS]])


def _row(ctx: Context, ours: np.ndarray, theirs: np.ndarray) -> Row:
    found = returned(ours, theirs)
    share = share_found(found.nearest, ctx.config.evaluate.bootstrap, ctx.config.seed)
    row: Row = {"latents": len(theirs), "median": float(np.median(found.nearest))}
    row |= dict(zip(("share", "share_low", "share_high"), share, strict=True))
    if found.one_to_one is None:
        return row | {"share_one_to_one": None, "median_one_to_one": None}
    one = found.one_to_one
    return row | {"share_one_to_one": float((one >= FOUND).mean()), "median_one_to_one": float(np.median(one))}
