"""Stage `monosemanticity`: Eq. 3–4 for every latent with a full H and L; dead latents are never scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard import tables
from ard.ranking import Ranker
from ard.scores import MonosemanticitySpread, monosemanticity_many, monosemanticity_spread
from precompute.config import Config
from precompute.stages.base import Context
from precompute.stages.scores_io import (
    POLY,
    RANDOM,
    Probe,
    hookpoints,
    most_and_least,
    probe,
    probe_raw,
    random_seeds,
)


class Embedded(NamedTuple):
    """CLAP embeddings [clips, d] and which row belongs to which clip."""

    vectors: np.ndarray
    place: dict[str, int]


def run(ctx: Context) -> None:
    """Write table `monosemanticity` for every SAE, method and seed."""
    stored = ctx.run.read("embeddings")
    place = {clip_id: i for i, clip_id in enumerate(stored["clip_id"].to_pylist())}
    clips = Embedded(np.array(stored["vector"].to_pylist(), dtype=np.float32), place)
    table = ctx.run.read("representatives")
    parts = []
    for sae_id in ctx.sae_ids():
        mine = _of(table, "sae_id", sae_id)
        found = probe(ctx, sae_id)
        ranker = found.ranker(ctx.config, draws=range(ctx.config.rank.draws))
        ranked = [_ranked(found, ranker, ctx.config, method, mine, clips) for method in ctx.config.rank.methods]
        parts += [*ranked, *_random(found, ctx.config, mine, clips)]
        top = f"highest m {ranked[0]['score'][0].as_py():.2f}" if ranked[0].num_rows else "no latent can be scored"
        ctx.say(f"{sae_id}: {ranked[0].num_rows:,} latents scored, {top} ({ctx.config.rank.methods[0]})")
    if ctx.config.rank.poly:
        for hookpoint in hookpoints(ctx):
            found = probe_raw(ctx, hookpoint)
            ranker = found.ranker(ctx.config, draws=range(ctx.config.rank.draws))
            parts.append(_ranked(found, ranker, ctx.config, POLY, _of(table, "sae_id", found.sae_id), clips))
    ctx.out.write("monosemanticity", pa.concat_tables(parts))


def _of(table: pa.Table, column: str, value: str | int) -> pa.Table:
    return table.filter(pc.field(column) == value)


def _ranked(found: Probe, ranker: Ranker, config: Config, method: str, table: pa.Table, clips: Embedded) -> pa.Table:
    """Rows of a method that ranks clips by a score, with the spread over the draws of L."""
    most, least = most_and_least(_of(table, "method", method), found.d_sae, config.rank.p, clips.place)
    ids = (np.minimum(most, least) >= 0).all(1).nonzero()[0]
    inward = np.full(len(clips.vectors), -1)
    outward = np.array([clips.place[c] for c in found.clip_ids])
    inward[outward] = np.arange(len(outward))
    draws = ranker.least_draws(method, np.append(inward, -1)[most])[:, ids]
    spread = monosemanticity_spread(clips.vectors, most[ids], np.append(outward, -1)[draws])
    return _scored(found.sae_id, method, config.seed, clips, most, least, ids, spread)


def _random(found: Probe, config: Config, table: pa.Table, clips: Embedded) -> Iterator[pa.Table]:
    """Rows of the method `random`, seed by seed."""
    table = _of(table, "method", RANDOM)
    for seed in random_seeds(config):
        most, least = most_and_least(_of(table, "seed", seed), found.d_sae, config.rank.p, clips.place)
        ids = (np.minimum(most, least) >= 0).all(1).nonzero()[0]
        yield _scored(found.sae_id, RANDOM, seed, clips, most, least, ids, None)


def _scored(
    sae_id: str,
    method: str,
    seed: int,
    clips: Embedded,
    most: np.ndarray,
    least: np.ndarray,
    ids: np.ndarray,
    spread: MonosemanticitySpread | None,
) -> pa.Table:
    """Rows of `monosemanticity` of the latents `ids`, highest score first; equal scores in the order of latent_id."""
    m = monosemanticity_many(clips.vectors, most[ids], least[ids])
    order = np.argsort(-m.score, kind="stable")
    columns = {
        "sae_id": pa.repeat(sae_id, len(ids)),
        "method": pa.repeat(method, len(ids)),
        "latent_id": ids[order],
        **{k: v[order] for k, v in m._asdict().items()},
        "rank": np.arange(1, len(ids) + 1),
        "seed": np.full(len(ids), seed, dtype=np.int32),
    }
    if spread is not None:
        columns["score_mean"], columns["score_std"] = spread.mean[order], spread.std[order]
        columns["draws"] = np.full(len(ids), spread.draws, dtype=np.int32)
    return tables.check("monosemanticity", pa.table(columns))
