"""Stage `latents`: Eq. 2 for every clip and latent, and how often and how strongly each latent fires."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ard import tables
from ard.sae import TopKSAE
from ard.scores import ClipScores, clip_scores
from precompute.shards import Shards
from precompute.stages.base import TRAIN, Context
from precompute.stages.scores_io import score_matrix

LOW, HIGH, PER_OCTAVE = -10, 10, 4
EDGES = 2.0 ** (np.arange(LOW * PER_OCTAVE, HIGH * PER_OCTAVE + 1) / PER_OCTAVE)
"""Ours: four bins an octave; values beyond the ends fall into the first or last bin."""


class Totals:
    """Sums over audio tokens of the probing set, for one SAE; divided once at the end."""

    def __init__(self, d_sae: int):
        self.tokens = 0
        self.active = torch.zeros(d_sae, dtype=torch.int64)
        self.total = torch.zeros(d_sae, dtype=torch.float64)
        self.largest = torch.zeros(d_sae)
        self.clips = torch.zeros(d_sae, dtype=torch.int64)
        self.bins = torch.zeros(d_sae, len(EDGES) - 1, dtype=torch.int64)

    def add(self, z: Tensor) -> None:
        """Count one clip's latents z [T, d_sae]."""
        fires = z > 0
        self.tokens += len(z)
        self.active += fires.sum(0)
        self.total += z.sum(0, dtype=torch.float64)
        self.largest = torch.maximum(self.largest, z.amax(0))
        self.clips += fires.any(0)
        latent = fires.nonzero()[:, 1]
        place = np.searchsorted(EDGES, z[fires].double().numpy(), side="right") - 1
        place = torch.from_numpy(place.clip(0, len(EDGES) - 2))
        self.bins.index_put_((latent, place), torch.ones_like(latent), accumulate=True)


def run(ctx: Context) -> None:
    """Write tables `clip_latents`, `latents` and `histograms` for every SAE."""
    parts: dict[str, list[pa.Table]] = {"clip_latents": [], "latents": [], "histograms": []}
    for sae_id in ctx.sae_ids():
        clip_latents, totals = _encode(ctx, sae_id)
        parts["clip_latents"].append(clip_latents)
        latents = _latents(ctx, sae_id, totals, clip_latents)
        parts["latents"].append(latents)
        parts["histograms"].append(_histograms(sae_id, totals))
        dead = int((totals.active == 0).sum())
        ctx.say(f"{sae_id}: {len(totals.active) - dead:,} live latents, {dead:,} dead, {totals.tokens:,} audio tokens")
    for name, found in parts.items():
        ctx.out.write(name, pa.concat_tables(found))


@torch.no_grad()
def _encode(ctx: Context, sae_id: str) -> tuple[pa.Table, Totals]:
    """Latents of every usable clip over its audio tokens: sparse rows of Eq. 2, and totals of the probing set."""
    sae = TopKSAE.load(ctx.run.sae_dir(sae_id))
    shards, totals = Shards(ctx.run, sae.cfg.hookpoint), Totals(sae.cfg.d_sae)
    clips = ctx.ok_clips().select(["clip_id", "split"]).to_pylist()
    pieces: list[dict[str, np.ndarray]] = []
    lengths: list[int] = []
    for clip in ctx.progress(clips):
        z = sae.encode(shards.audio(clip["clip_id"]))
        if clip["split"] == TRAIN:
            totals.add(z)
        scores = clip_scores(z)
        pieces.append(_nonzero(scores))
        lengths.append(len(pieces[-1]["latent_id"]))
    columns: dict[str, Any] = {k: np.concatenate([p[k] for p in pieces]) for k in pieces[0]}
    columns["clip_id"] = np.repeat(np.array([c["clip_id"] for c in clips], dtype=object), lengths)
    columns["sae_id"] = pa.repeat(sae_id, sum(lengths))
    return tables.check("clip_latents", pa.table(columns)), totals


def _nonzero(scores: ClipScores) -> dict[str, np.ndarray]:
    """Columns of `clip_latents` for the latents that fire in one clip."""
    ids = scores.max_activation.gt(0).nonzero().squeeze(1)
    return {"latent_id": ids.to(torch.int32).numpy()} | {k: v[ids].numpy() for k, v in scores._asdict().items()}


def _latents(ctx: Context, sae_id: str, totals: Totals, clip_latents: pa.Table) -> pa.Table:
    d_sae = len(totals.active)
    active, total = totals.active.numpy(), totals.total.numpy()
    probe = ctx.ok_clips(TRAIN)
    r = score_matrix(clip_latents, "representativeness", probe["clip_id"].to_pylist(), d_sae)
    recordings = np.unique(probe["recording_id"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    firing = np.zeros((recordings.max() + 1, d_sae), dtype=bool)
    np.logical_or.at(firing, recordings, r > 0)
    few = firing.sum(0) < ctx.config.rank.p
    status = np.where(active == 0, "dead", np.where(few, "few_clips", "ok"))
    return tables.check(
        "latents",
        pa.table(
            {
                "sae_id": pa.repeat(sae_id, d_sae),
                "latent_id": np.arange(d_sae, dtype=np.int32),
                "density": active / totals.tokens,
                "mean_active": np.divide(total, active, out=np.zeros(d_sae), where=active > 0),
                "max_activation": totals.largest.numpy(),
                "clips_active": totals.clips.numpy(),
                "dead": active == 0,
                "status": status,
                "mean_all": total / totals.tokens,
                "p99": np.percentile(r, 99, axis=0),
            }
        ),
    )


def _histograms(sae_id: str, totals: Totals) -> pa.Table:
    """One row for each live latent, empty bins at both ends left out."""
    rows = []
    for latent_id in totals.active.nonzero().squeeze(1).tolist():
        counts = totals.bins[latent_id].numpy()
        used = counts.nonzero()[0]
        first, last = used[0], used[-1] + 1
        rows.append(
            {
                "sae_id": sae_id,
                "latent_id": latent_id,
                "edges": EDGES[first : last + 1].tolist(),
                "counts": counts[first:last].tolist(),
            }
        )
    return tables.from_rows("histograms", rows)
