"""Stage `representatives`: H and L of every latent, and the latents' traces over the clips of H."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ard import tables
from ard.sae import TopKSAE
from precompute.config import Config
from precompute.shards import Shards
from precompute.stages.base import Context, Stage
from precompute.stages.scores_io import Probe, probe


def run(ctx: Context) -> None:
    """Write tables `representatives` and `traces` for every SAE."""
    parts, traces = [], []
    for sae_id in ctx.sae_ids():
        found = probe(ctx, sae_id)
        mine = [rank_rows(found, ctx.config, method) for method in ctx.config.rank.methods]
        parts += mine
        traces.append(_traces(ctx, sae_id, pa.concat_tables(mine)))
    ctx.out.write("representatives", pa.concat_tables(parts))
    ctx.out.write("traces", pa.concat_tables(traces))


def rank_rows(found: Probe, config: Config, method: str) -> pa.Table:
    """Rows of `representatives` of one SAE and method."""
    ranked = found.rank(config, method)
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
                    "seed": pa.repeat(pa.scalar(config.seed, pa.int32()), len(latent)),
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


def _uses(config: Config) -> Any:
    rank = asdict(config.rank)
    del rank["draws"]
    return {"rank": rank, "seed": config.seed}


STAGE = Stage(
    "representatives",
    run,
    version=1,
    needs=("clips", "activations", "sae", "latents"),
    uses=_uses,
    models=("audio_lm",),
    tables=("representatives", "traces"),
)
