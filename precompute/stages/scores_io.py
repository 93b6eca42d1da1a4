"""Between tables and arrays: clip scores as a matrix, representatives as clip indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard.rank import Representatives, representatives
from ard.store import Run
from precompute.config import Config
from precompute.stages.base import TRAIN, Context

COLUMN = {"ard": "representativeness", "mean": "mean_activation", "coverage": "coverage"}
"""Column of `clip_latents` that each method ranks by (Eq. 2)."""


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
    """The probing set of one SAE, ready to be ranked."""

    sae_id: str
    hookpoint: str
    clip_ids: list[str]
    recording_ids: list[str]
    clip_latents: pa.Table
    d_sae: int

    def scores(self, method: str) -> np.ndarray:
        """Scores [clips, d_sae] of one method."""
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


def probe(ctx: Context, sae_id: str) -> Probe:
    """The training clips with their scores under one SAE."""
    clips = ctx.ok_clips(TRAIN)
    sae = ctx.run.read("saes").filter(pc.field("sae_id") == sae_id).to_pylist()[0]
    return Probe(
        sae_id,
        sae["hookpoint"],
        clips["clip_id"].to_pylist(),
        clips["recording_id"].to_pylist(),
        rows_of_sae(ctx.run, sae_id),
        sae["d_sae"],
    )


def rows_of_sae(run: Run, sae_id: str) -> pa.Table:
    """The rows of `clip_latents` of one SAE."""
    return run.read("clip_latents").filter(pc.field("sae_id") == sae_id)


def most_and_least(table: pa.Table, d_sae: int, p: int, place: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """H and L [d_sae, p] as indices into the clips of `place`, −1 where there is none; rows of one SAE and method."""
    sides = {"most": np.full((d_sae, p), -1), "least": np.full((d_sae, p), -1)}
    for row in table.select(["side", "latent_id", "rank", "clip_id"]).to_pylist():
        sides[row["side"]][row["latent_id"], row["rank"] - 1] = place[row["clip_id"]]
    return sides["most"], sides["least"]
