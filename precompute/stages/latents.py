"""Stage `latents`: Eq. 2 for every clip and latent, and how often and how strongly each latent fires.

One pass over the clips; no matrix of clips by latents is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from ard import tables
from ard.clip_stats import EDGES, ClipStats, SparseLatents, Totals
from ard.sae import TopKSAE
from ard.store import Run
from precompute.shards import Shards
from precompute.stages.base import TRAIN, Context
from precompute.stages.clip_latents_io import LatentBlock, LatentSort, by_clip_table, by_latent_table

_BATCH_ENTRIES, _BATCH_CLIPS = 4_000_000, 512
Write = Callable[[pa.Table], None]


class PerLatent(NamedTuple):
    """What the probing clips' scores say of each latent, [d_sae]."""

    recordings: np.ndarray
    """Recordings with a clip of r > 0, counted up to p."""
    p99: np.ndarray
    """99th percentile of r over the probing set, zeros included."""


class Clips(NamedTuple):
    """Usable clips in the order of their ids."""

    clip_ids: list[str]
    probing: np.ndarray
    recordings: np.ndarray
    """Number of each clip's recording."""

    @classmethod
    def of(cls, ctx: Context) -> Clips:
        """The run's usable clips."""
        clips = ctx.ok_clips()
        split = np.array(clips["split"].to_pylist(), dtype=object)
        recordings = np.unique(np.array(clips["recording_id"].to_pylist()), return_inverse=True)[1]
        return cls(clips["clip_id"].to_pylist(), split == TRAIN, recordings)


def run(ctx: Context) -> None:
    """Write tables `clip_latents`, `latents_by_clip`, `latents` and `histograms` for every SAE."""
    clips = Clips.of(ctx)
    latents, histograms = [], []
    with ctx.out.writer("clip_latents") as by_latent, ctx.out.writer("latents_by_clip") as by_clip:
        for number, sae_id in enumerate(sorted(ctx.sae_ids())):
            rows, totals = encode(ctx, sae_id, clips, by_clip, number)
            found = sort_rows(sae_id, rows, clips, ctx.config.rank.p, by_latent)
            latents.append(_latents(sae_id, totals, found, ctx.config.rank.p))
            histograms.append(_histograms(sae_id, totals))
            dead = int((totals.active == 0).sum())
            ctx.say(f"{sae_id}: {len(totals.active) - dead:,} live latents, {dead:,} dead, {totals.tokens[0]:,} tokens")
    ctx.out.write("latents", pa.concat_tables(latents))
    ctx.out.write("histograms", pa.concat_tables(histograms))


@torch.no_grad()
def encode(ctx: Context, sae_id: str, clips: Clips, write: Write, number: int) -> tuple[LatentSort, Totals]:
    """Latents of every usable clip over its audio tokens: rows of Eq. 2, and totals of the probing set."""
    sae = TopKSAE.load(ctx.run.sae_dir(sae_id))
    stats = ClipStats(sae.cfg.d_sae)
    rows = LatentSort(sae.cfg.d_sae, ctx.out.scratch(f"clip_latents-{number}"))
    at = 0
    for batch in sparse_batches(ctx.run, sae, ctx.progress(clips.clip_ids)):
        here = slice(at, at + len(batch.tokens))
        found = stats.add(batch, clips.probing[here])
        write(by_clip_table(sae_id, found, clips.clip_ids[here]))
        rows.add(found)
        at = here.stop
    return rows, stats.totals()


def sparse_batches(run: Run, sae: TopKSAE, clip_ids: Iterator[str]) -> Iterator[SparseLatents]:
    """Latents above 0 of some clips at a time, in the order of their ids."""
    shards, parts, entries = Shards(run, sae.cfg.hookpoint), list[SparseLatents](), 0
    for clip_id in clip_ids:
        parts.append(SparseLatents.of(sae.encode(shards.audio(clip_id))))
        entries += len(parts[-1].values)
        if entries >= _BATCH_ENTRIES or len(parts) >= _BATCH_CLIPS:
            yield SparseLatents.together(parts)
            parts, entries = [], 0
    if parts:
        yield SparseLatents.together(parts)


def sort_rows(sae_id: str, rows: LatentSort, clips: Clips, p: int, write: Write) -> PerLatent:
    """Write the rows latent by latent, and look at each latent's probing clips in passing."""
    ids = pa.array(clips.clip_ids, pa.string())
    found = PerLatent(np.zeros(rows.d_sae, np.int64), np.zeros(rows.d_sae, np.float32))
    for block in rows.blocks():
        write(by_latent_table(sae_id, block, ids))
        _look(block, clips, p, found)
    return found


def _look(block: LatentBlock, clips: Clips, p: int, found: PerLatent) -> None:
    keep = clips.probing[block.clips] & (block.columns["representativeness"] > 0)
    ends = np.concatenate([np.zeros(1, np.int64), keep.cumsum()])[block.indptr]
    r, recordings = block.columns["representativeness"][keep], clips.recordings[block.clips[keep]]
    probing = int(clips.probing.sum())
    for latent, (begin, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True), block.first):
        found.p99[latent] = _percentile(r[begin:end], probing)
        some = recordings[begin : min(end, begin + 8 * p)]
        seen = len(np.unique(some))
        found.recordings[latent] = seen if seen >= p else len(np.unique(recordings[begin:end]))


def _percentile(falling: np.ndarray, n: int, share: float = 0.99) -> float:
    """Percentile of n values of which these are the ones above 0, highest first; as `numpy.percentile` takes it."""
    place = share * (n - 1)
    below = int(place)
    low, high = (
        float(falling[n - 1 - i]) if 0 <= n - 1 - i < len(falling) else 0.0 for i in (below, min(below + 1, n - 1))
    )
    return low + (high - low) * (place - below)


def _latents(sae_id: str, totals: Totals, found: PerLatent, p: int) -> pa.Table:
    d_sae, active, tokens = len(totals.active), totals.active, totals.tokens[0]
    status = np.where(active == 0, "dead", np.where(found.recordings < p, "few_clips", "ok"))
    return tables.check(
        "latents",
        pa.table(
            {
                "sae_id": pa.repeat(sae_id, d_sae),
                "latent_id": np.arange(d_sae, dtype=np.int32),
                "density": active / tokens,
                "mean_active": np.divide(totals.sums, active, out=np.zeros(d_sae), where=active > 0),
                "max_activation": totals.largest,
                "clips_active": totals.clips,
                "dead": active == 0,
                "status": status,
                "mean_all": totals.sums / tokens,
                "p99": found.p99,
            }
        ),
    )


def _histograms(sae_id: str, totals: Totals) -> pa.Table:
    """One row for each live latent, empty bins at both ends left out."""
    rows = []
    for latent_id in totals.active.nonzero()[0].tolist():
        counts = totals.bins[latent_id]
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
