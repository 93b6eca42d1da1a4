"""Stage `neighbours`: what each live latent is close to: other latents, and the AudioLLM's output tokens.

A stage of its own, because it asks for nothing but the SAEs and their clip scores: another seed of the maps, other
names or other captions leave it as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard import tables
from ard.neighbours import Neighbours, Side, across, within
from ard.output_tokens import OutputSide, output_side, output_tokens
from ard.sae import TopKSAE
from precompute.stages.base import Context
from precompute.stages.scores_io import probe

TOP = 10
"""Ours: entries of each list."""


class Live(NamedTuple):
    """The live latents of one SAE."""

    sae_id: str
    hookpoint: str
    latent_ids: np.ndarray
    side: Side
    scale: float


def run(ctx: Context) -> None:
    """Write tables `neighbours` and `output_tokens`."""
    found = [_live(ctx, sae_id) for sae_id in ctx.sae_ids()]
    near = [_rows(a, b) for a in ctx.progress(found, unit="SAE") for b in found]
    ctx.out.write("neighbours", pa.concat_tables(near))
    head = output_side(ctx.models.audio_lm)
    ctx.out.write("output_tokens", pa.concat_tables([_tokens(live, head) for live in found]))


def _live(ctx: Context, sae_id: str) -> Live:
    """Scores r over the probing set and decoder rows of the latents that fire there."""
    latents = ctx.run.read("latents", ["sae_id", "latent_id", "dead"])
    latents = latents.filter((pc.field("sae_id") == sae_id) & ~pc.field("dead"))
    ids = np.sort(latents["latent_id"].to_numpy())
    sae = TopKSAE.load(ctx.run.sae_dir(sae_id))
    scores = probe(ctx, sae_id).scores("ard")[:, ids]
    decoder = sae.W_dec.detach().numpy()[ids]
    return Live(sae_id, sae.cfg.hookpoint, ids, Side(scores, decoder), sae.cfg.scale)


def _rows(a: Live, b: Live) -> pa.Table:
    """Neighbours among the latents of `b` for every latent of `a`."""
    if not len(a.latent_ids) or not len(b.latent_ids):
        return tables.empty("neighbours")
    same = a.hookpoint == b.hookpoint
    found: Neighbours = within(a.side, TOP) if a is b else across(a.side, b.side, TOP, same_hookpoint=same)
    latent, rank = (found.index >= 0).nonzero()
    return tables.check(
        "neighbours",
        pa.table(
            {
                "sae_id": pa.repeat(a.sae_id, len(latent)),
                "latent_id": a.latent_ids[latent],
                "rank": rank + 1,
                "neighbour_sae_id": pa.repeat(b.sae_id, len(latent)),
                "neighbour_id": b.latent_ids[found.index[latent, rank]],
                "cosine": pa.array(found.cosine[latent, rank], from_pandas=True),  # NaN becomes empty
                "coactivation": pa.array(found.coactivation[latent, rank], from_pandas=True),
            }
        ),
    )


def _tokens(live: Live, head: OutputSide) -> pa.Table:
    """Rows of `output_tokens` of one SAE."""
    if not len(live.latent_ids):
        return tables.empty("output_tokens")
    directions = head.norm.new_tensor(live.side.decoder / live.scale)
    found = output_tokens(directions, head.norm, head.unembedding, TOP)
    names = np.array(head.tokens, dtype=object)
    parts: list[dict[str, Any]] = []
    for side, index, logit in (
        ("promoted", found.promoted, found.promoted_logit),
        ("suppressed", found.suppressed, found.suppressed_logit),
    ):
        latents, top = index.shape
        parts.append(
            {
                "sae_id": pa.repeat(live.sae_id, latents * top),
                "latent_id": np.repeat(live.latent_ids, top),
                "side": pa.repeat(side, latents * top),
                "rank": np.tile(np.arange(1, top + 1), latents),
                "token": pa.array(names[index.numpy().ravel()], pa.string()),
                "logit": logit.numpy().ravel(),
            }
        )
    return tables.check("output_tokens", pa.concat_tables([pa.table(part) for part in parts]))
