"""Stage `representatives`: H and L of every latent by every method, and the latents' traces over the clips of H.

`random` (all its seeds) covers the latents that `ard` can score; `poly` takes the raw dimensions of x as the latents.
Neither gets traces: those of `random` would be zeros nearly everywhere, and `poly` has no SAE.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ard import tables
from ard.rank import Representatives
from ard.ranking import Ranker
from ard.sae import TopKSAE
from precompute.config import Config
from precompute.shards import Shards
from precompute.stages.base import Context
from precompute.stages.scores_io import POLY, RANDOM, Probe, hookpoints, probe, probe_raw, random_seeds

SAMPLE, QUANTILES, RANDOM_EXAMPLES = 64, 10, 5
"""Ours: active clips sampled of each latent, and how many of them are shown as examples of either kind."""


def run(ctx: Context) -> None:
    """Write tables `representatives` and `examples`, and `traces` for the methods that rank the SAEs' latents."""
    parts, traces, examples = [], [], []
    for sae_id in ctx.sae_ids():
        found = probe(ctx, sae_id)
        ranker = found.ranker(ctx.config, random_seeds=random_seeds(ctx.config), examples=SAMPLE)
        mine = [_rows(found, m, ctx.config.seed, ranker.representatives(m)) for m in ctx.config.rank.methods]
        parts += [*mine, *_random(found, ctx.config, ranker)]
        examples.append(example_rows(found, ranker))
        traces.append(_traces(ctx, sae_id, pa.concat_tables(mine)))
    if ctx.config.rank.poly:
        for hookpoint in hookpoints(ctx):
            found = probe_raw(ctx, hookpoint)
            parts.append(_rows(found, POLY, ctx.config.seed, found.ranker(ctx.config).representatives(POLY)))
    ctx.out.write("representatives", pa.concat_tables(parts))
    ctx.out.write("examples", pa.concat_tables(examples))
    ctx.out.write("traces", pa.concat_tables(traces))


def _random(found: Probe, config: Config, ranker: Ranker) -> Iterator[pa.Table]:
    """The method `random`, once a seed: random clips in place of the H of every latent that `ard` can score."""
    base = ranker.representatives("ard")
    for seed in random_seeds(config):
        drawn = ranker.random(base, seed)
        keep = base.complete[:, None]
        scored = drawn._replace(most=np.where(keep, drawn.most, -1), least=np.where(keep, drawn.least, -1))
        yield _rows(found, RANDOM, seed, scored)


def example_rows(found: Probe, ranker: Ranker) -> pa.Table:
    """Rows of `examples`: the sample's clips at even percentiles of r, and the first of them in the order of the draw.

    At the i-th of n percentiles, (2i + 1) / 2n, stands the clip of that place in the sample by r; a smaller sample is
    shown whole.
    """
    clip, score = ranker.examples()
    size = (clip >= 0).sum(1)
    rising = np.argsort(np.where(clip >= 0, score, np.inf), axis=1, kind="stable")
    n = np.minimum(size, QUANTILES)[:, None]
    places = np.arange(QUANTILES)[None, :]
    at = (2 * places + 1) * size[:, None] // np.maximum(2 * n, 1)
    quantile = np.take_along_axis(rising, at.clip(0, clip.shape[1] - 1), 1)
    sides = []
    for kind, index, there in (
        ("quantile", quantile, places < n),
        ("random", np.broadcast_to(np.arange(RANDOM_EXAMPLES), (len(clip), RANDOM_EXAMPLES)), None),
    ):
        there = np.arange(RANDOM_EXAMPLES) < size[:, None] if there is None else there
        latent, rank = there.nonzero()
        chosen = index[latent, rank]
        sides.append(
            pa.table(
                {
                    "sae_id": pa.repeat(found.sae_id, len(latent)),
                    "latent_id": latent,
                    "kind": pa.repeat(kind, len(latent)),
                    "rank": rank + 1,
                    "clip_id": pa.array(np.array(found.clip_ids, dtype=object)[clip[latent, chosen]], pa.string()),
                    "value": score[latent, chosen],
                }
            )
        )
    return tables.check("examples", pa.concat_tables(sides))


def _rows(found: Probe, method: str, seed: int, ranked: Representatives) -> pa.Table:
    clip_ids = np.array(found.clip_ids, dtype=object)
    sides = []
    for side, index, score in (
        ("most", ranked.most, ranked.most_score),
        ("least", ranked.least, ranked.least_score),
    ):
        latent, rank = (index >= 0).nonzero()
        sides.append(
            pa.table(
                {
                    "sae_id": pa.repeat(found.sae_id, len(latent)),
                    "method": pa.repeat(method, len(latent)),
                    "seed": pa.repeat(pa.scalar(seed, pa.int32()), len(latent)),
                    "latent_id": latent,
                    "side": pa.repeat(side, len(latent)),
                    "rank": rank + 1,
                    "clip_id": pa.array(clip_ids[index[latent, rank]], pa.string()),
                    "score": score[latent, rank],
                }
            )
        )
    return tables.check("representatives", pa.concat_tables(sides))


@torch.no_grad()
def _traces(ctx: Context, sae_id: str, rows: pa.Table) -> pa.Table:
    """Z at every audio token for each latent and clip of its H, whatever the method; absent pairs of L are mostly 0."""
    wanted: dict[str, set[int]] = defaultdict(set)
    most = rows.filter(pc.field("side") == "most").select(["clip_id", "latent_id"])
    for row in most.to_pylist():
        wanted[row["clip_id"]].add(row["latent_id"])
    if not wanted:
        return tables.empty("traces")
    sae = TopKSAE.load(ctx.run.sae_dir(sae_id))
    shards = Shards(ctx.run, sae.cfg.hookpoint)
    step = 1 / ctx.models.audio_lm.tokens_per_second
    out: list[dict[str, Any]] = []
    for clip_id in ctx.progress(sorted(wanted)):
        z = sae.encode(shards.audio(clip_id)).T
        out += [
            {"sae_id": sae_id, "latent_id": k, "clip_id": clip_id, "values": z[k].numpy(), "seconds_per_token": step}
            for k in sorted(wanted[clip_id])
        ]
    return tables.from_rows("traces", out)
