"""Stage `monosemanticity`: Eq. 3–4 for every latent with a full H and L; dead latents are never scored."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard import tables
from ard.scores import MonosemanticitySpread, monosemanticity_many, monosemanticity_spread
from precompute.config import Config
from precompute.stages.base import Context, Stage
from precompute.stages.scores_io import Probe, most_and_least, probe


def run(ctx: Context) -> None:
    """Write table `monosemanticity` for every SAE and method."""
    embeddings = ctx.run.read("embeddings")
    vectors = np.array(embeddings["vector"].to_pylist(), dtype=np.float32)
    place = {clip_id: i for i, clip_id in enumerate(embeddings["clip_id"].to_pylist())}
    table = ctx.run.read("representatives")
    parts = []
    for sae_id in ctx.sae_ids():
        found = probe(ctx, sae_id)
        for method in ctx.config.rank.methods:
            rows = table.filter((pc.field("sae_id") == sae_id) & (pc.field("method") == method))
            most, least = most_and_least(rows, found.d_sae, ctx.config.rank.p, place)
            spread = _spread(found, ctx.config, method, vectors, place)
            parts.append(_scored(sae_id, method, vectors, most, least, spread))
        best = parts[-len(ctx.config.rank.methods)]
        top = f"highest m {best['score'][0].as_py():.2f}" if best.num_rows else "no latent can be scored"
        ctx.say(f"{sae_id}: {best.num_rows:,} latents scored, {top} ({ctx.config.rank.methods[0]})")
    ctx.out.write("monosemanticity", pa.concat_tables(parts))


def _spread(
    found: Probe, config: Config, method: str, vectors: np.ndarray, place: dict[str, int]
) -> MonosemanticitySpread:
    """M over several draws of L among its ties."""
    scores = found.scores(method)
    outward = np.array([place[c] for c in found.clip_ids] + [-1])
    draws = [found.rank(config, method, draw, scores) for draw in range(config.rank.draws)]
    return monosemanticity_spread(vectors, outward[draws[0].most], np.stack([outward[d.least] for d in draws]))


def _scored(
    sae_id: str,
    method: str,
    vectors: np.ndarray,
    most: np.ndarray,
    least: np.ndarray,
    spread: MonosemanticitySpread,
) -> pa.Table:
    """Rows of `monosemanticity`, highest score first; equal scores in the order of latent_id."""
    m = monosemanticity_many(vectors, most, least)
    scored = np.isfinite(m.score).nonzero()[0]
    ids = scored[np.argsort(-m.score[scored], kind="stable")]
    return tables.check(
        "monosemanticity",
        pa.table(
            {
                "sae_id": pa.repeat(sae_id, len(ids)),
                "method": pa.repeat(method, len(ids)),
                "latent_id": ids,
                **{k: v[ids] for k, v in m._asdict().items()},
                "rank": np.arange(1, len(ids) + 1),
                "score_mean": spread.mean[ids],
                "score_std": spread.std[ids],
                "draws": np.full(len(ids), spread.draws, dtype=np.int32),
            }
        ),
    )


def _uses(config: Config) -> Any:
    return {"rank": asdict(config.rank), "seed": config.seed}


STAGE = Stage(
    "monosemanticity",
    run,
    version=1,
    needs=("clips", "sae", "latents", "representatives", "embeddings"),
    uses=_uses,
    tables=("monosemanticity",),
)
