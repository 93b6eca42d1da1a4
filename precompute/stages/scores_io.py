"""Between tables and arrays: clip scores as a matrix, representatives as clip indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard.rank import Representatives, least_draws, representatives
from ard.scores import clip_scores
from ard.store import Run
from precompute.config import Config
from precompute.shards import Shards
from precompute.stages.base import TRAIN, Context

RANDOM, POLY = "random", "poly"
COLUMN = {
    "ard": "representativeness",
    "mean": "mean_activation",
    "coverage": "coverage",
    RANDOM: "representativeness",
    POLY: "representativeness",
}
"""Column of `clip_latents` that each method ranks by (Eq. 2); `random` keeps the L and the clip score of `ard`."""


def score_matrix(clip_latents: pa.Table, column: str, clip_ids: Sequence[str], d_sae: int) -> np.ndarray:
    """Scores [clips, d_sae] float32 of one SAE; pairs without a row are 0, rows of other clips are left out."""
    place = pc.index_in(clip_latents["clip_id"], value_set=pa.array(clip_ids, pa.string()))
    keep = pc.is_valid(place)
    rows = place.filter(keep).to_numpy()
    columns = clip_latents["latent_id"].filter(keep).to_numpy()
    matrix = np.zeros((len(clip_ids), d_sae), dtype=np.float32)
    matrix[rows, columns] = clip_latents[column].filter(keep).to_numpy()
    return matrix


class Probe(NamedTuple):
    """Clips with their scores under one SAE, or under the raw dimensions of x (`poly`), ready to be ranked."""

    sae_id: str
    hookpoint: str
    clip_ids: list[str]
    recording_ids: list[str]
    clip_latents: pa.Table
    """Rows of the SAE; none for `poly`."""
    d_sae: int
    """Number of latents; d_in for `poly`."""
    raw: np.ndarray | None = None
    """For `poly`: r = mean(x) · share(x > 0), [clips, d_in]."""

    def scores(self, method: str) -> np.ndarray:
        """Scores [clips, d_sae] of one method."""
        if self.raw is not None:
            return self.raw
        return score_matrix(self.clip_latents, COLUMN[method], self.clip_ids, self.d_sae)

    def rank(self, config: Config, method: str, draw: int = 0, scores: np.ndarray | None = None) -> Representatives:
        """H and L of every latent."""
        return representatives(
            self.scores(method) if scores is None else scores,
            self.clip_ids,
            recording_ids=self.recording_ids,
            hookpoint=self.hookpoint,
            p=config.rank.p,
            seed=config.seed,
            draw=draw,
        )

    def draws(self, config: Config, method: str, most: np.ndarray, latent_ids: np.ndarray) -> np.ndarray:
        """L [draws, latents, p] of some latents under each draw of the order among its ties."""
        return least_draws(
            most,
            self.scores(method)[:, latent_ids],
            self.clip_ids,
            recording_ids=self.recording_ids,
            hookpoint=self.hookpoint,
            seed=config.seed,
            draws=range(config.rank.draws),
            latent_ids=latent_ids.tolist(),
        )


def probe(ctx: Context, sae_id: str, split: str | None = TRAIN) -> Probe:
    """The clips of one split (all usable ones where it is None) with their scores under one SAE."""
    clips = ctx.ok_clips(split)
    sae = ctx.run.read("saes").filter(pc.field("sae_id") == sae_id).to_pylist()[0]
    return Probe(
        sae_id,
        sae["hookpoint"],
        clips["clip_id"].to_pylist(),
        clips["recording_id"].to_pylist(),
        rows_of_sae(ctx.run, sae_id),
        sae["d_sae"],
    )


def probe_raw(ctx: Context, hookpoint: str, split: str | None = TRAIN) -> Probe:
    """The same for the method `poly`: one pass over the stored activations of the clips' audio tokens.

    Ours: x is used as it is, signs included, so r is negative where the mean is. A dimension whose r is above 0 in
    no clip counts as dead, as a latent would.
    """
    clips = ctx.ok_clips(split)
    ids = clips["clip_id"].to_pylist()
    shards = Shards(ctx.run, hookpoint)
    raw = np.stack([clip_scores(shards.audio(clip_id)).representativeness.numpy() for clip_id in ids])
    none = ctx.run.read("clip_latents").slice(0, 0)
    return Probe(raw_id(hookpoint), hookpoint, ids, clips["recording_id"].to_pylist(), none, raw.shape[1], raw)


def raw_id(hookpoint: str) -> str:
    """The `sae_id` of the raw dimensions of x."""
    return f"{hookpoint}/raw"


def hookpoints(ctx: Context) -> list[str]:
    """Hookpoints of the run's SAEs, in their order."""
    by_sae = dict(zip(*(ctx.run.read("saes")[c].to_pylist() for c in ("sae_id", "hookpoint")), strict=True))
    return list(dict.fromkeys(by_sae[sae_id] for sae_id in ctx.sae_ids()))


def random_seeds(config: Config) -> range:
    """Seeds of the draws of method `random`; the first one is the seed that all other methods carry."""
    return range(config.seed, config.seed + config.rank.random_seeds)


def rows_of_sae(run: Run, sae_id: str) -> pa.Table:
    """The rows of `clip_latents` of one SAE."""
    return run.read("clip_latents").filter(pc.field("sae_id") == sae_id)


def most_and_least(table: pa.Table, d_sae: int, p: int, place: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """H and L [d_sae, p] as indices into the clips of `place`, −1 where there is none; rows of one SAE, method, seed.

    Raises:
        KeyError: a clip of the rows is not in `place`.
    """
    found = pc.index_in(table["clip_id"], value_set=pa.array(list(place), pa.string()))
    if found.null_count:
        raise KeyError(table["clip_id"].filter(pc.is_null(found))[0].as_py())
    index = np.fromiter(place.values(), np.int64, len(place))[found.to_numpy()] if table.num_rows else np.empty(0, int)
    latent, rank = table["latent_id"].to_numpy(), table["rank"].to_numpy() - 1
    sides = {}
    for side in ("most", "least"):
        here = pc.equal(table["side"], side).to_numpy()
        sides[side] = np.full((d_sae, p), -1)
        sides[side][latent[here], rank[here]] = index[here]
    return sides["most"], sides["least"]
