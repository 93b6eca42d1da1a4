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
from ard.rank import Representatives, random_representatives
from ard.sae import TopKSAE
from precompute.config import Config
from precompute.shards import Shards
from precompute.stages.base import Context
from precompute.stages.scores_io import POLY, RANDOM, Probe, hookpoints, probe, probe_raw, random_seeds


def run(ctx: Context) -> None:
    """Write table `representatives` for every method, and `traces` for those that rank the SAEs' latents."""
    parts, traces = [], []
    for sae_id in ctx.sae_ids():
        found = probe(ctx, sae_id)
        mine = [rank_rows(found, ctx.config, method) for method in ctx.config.rank.methods]
        parts += [*mine, *_random(found, ctx.config)]
        traces.append(_traces(ctx, sae_id, pa.concat_tables(mine)))
    if ctx.config.rank.poly:
        parts += [rank_rows(probe_raw(ctx, hookpoint), ctx.config, POLY) for hookpoint in hookpoints(ctx)]
    ctx.out.write("representatives", pa.concat_tables(parts))
    ctx.out.write("traces", pa.concat_tables(traces))


def rank_rows(found: Probe, config: Config, method: str) -> pa.Table:
    """Rows of `representatives` of one SAE and method."""
    return _rows(found, method, config.seed, np.arange(found.d_sae), found.rank(config, method))


def _random(found: Probe, config: Config) -> Iterator[pa.Table]:
    """The method `random`, once a seed: random clips in place of the H of every latent that `ard` can score."""
    if not config.rank.random_seeds:
        return
    scores = found.scores("ard")
    base = found.rank(config, "ard", scores=scores)
    ids = base.complete.nonzero()[0]
    base, scores = Representatives(*(value[ids] for value in base)), scores[:, ids]
    for seed in random_seeds(config):
        drawn = random_representatives(
            base,
            scores,
            found.clip_ids,
            recording_ids=found.recording_ids,
            hookpoint=found.hookpoint,
            seed=seed,
            latent_ids=ids.tolist(),
        )
        yield _rows(found, RANDOM, seed, ids, drawn)


def _rows(found: Probe, method: str, seed: int, ids: np.ndarray, ranked: Representatives) -> pa.Table:
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
                    "latent_id": ids[latent],
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
