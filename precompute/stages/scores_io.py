"""Between tables and arrays: clip scores as a matrix, representatives as clip indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from scipy.sparse import csc_matrix

from ard.ranking import Ranker
from ard.scores import clip_scores
from ard.store import Run
from precompute.config import Config
from precompute.shards import Shards
from precompute.stages.base import TRAIN, Context
from precompute.stages.clip_latents_io import latent_blocks

RANDOM, POLY = "random", "poly"
RANKED = ("ard", "mean", "coverage")
"""Methods that rank the latents by a score, in the order of `LatentBlock.scores`."""
_RAW_CLIPS = 512
COLUMN = {
    "ard": "representativeness",
    "mean": "mean_activation",
    "coverage": "coverage",
    RANDOM: "representativeness",
    POLY: "representativeness",
}
"""Column of `clip_latents` that each method ranks by (Eq. 2); `random` keeps the L and the clip score of `ard`."""


@dataclass(frozen=True)
class Probe:
    """Clips with their scores under one SAE, or under the raw dimensions of x (`poly`), ready to be ranked."""

    run: Run
    sae_id: str
    hookpoint: str
    clip_ids: list[str]
    recording_ids: list[str]
    d_sae: int
    """Number of latents; d_in for `poly`."""
    raw: bool = False
    """The raw dimensions of x: r = mean(x) · share(x > 0).

    Ours: x is used as it is, signs included, so r is negative where the mean is. A dimension whose r is above 0 in no
    clip counts as dead, as a latent would."""

    def raw_scores(self) -> np.ndarray:
        """Scores r [clips, d_in] of the raw dimensions, all of them at once: d_in is small."""
        return np.concatenate([r for _, r in self._raw_scores()])

    def scores(self, method: str) -> csc_matrix:
        """Scores [clips, d_sae] float32 of an SAE by one method, from `clip_latents` latent by latent.

        At the paper's size a dense matrix would take 15 GB; the entries above 0 take about 1 GB.
        """
        counts = np.zeros(self.d_sae, np.int64)
        clips, values = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for block in latent_blocks(self.run, self.sae_id, self.clip_ids):
            counts[block.first : block.first + len(block.indptr) - 1] += np.diff(block.indptr)
            clips.append(block.clips)
            values.append(block.columns[COLUMN[method]])
        indptr = np.append(0, np.cumsum(counts))
        shape = len(self.clip_ids), self.d_sae
        return csc_matrix((np.concatenate(values), np.concatenate(clips), indptr), shape=shape)

    def ranker(
        self, config: Config, *, draws: Sequence[int] = (0,), random_seeds: Sequence[int] = (), examples: int = 0
    ) -> Ranker:
        """H and L of every latent by every method that ranks the latents (by `poly` alone for the raw dimensions).

        Scores are read some latents at a time from `clip_latents`, or some clips at a time from the activations.
        """
        ranker = Ranker(
            self.d_sae,
            self.hookpoint,
            methods=(POLY,) if self.raw else RANKED,
            p=config.rank.p,
            seed=config.seed,
            draws=draws,
            random_seeds=random_seeds,
            examples=examples,
            sparse=not self.raw,
        )
        if self.raw:
            for span, r in self._raw_scores():
                ranker.add_dense(self.clip_ids[span], self.recording_ids[span], r)
            return ranker
        ranker.add_clips(self.clip_ids, self.recording_ids)
        for block in latent_blocks(self.run, self.sae_id, self.clip_ids):
            ranker.add_latents(block.first, block.indptr, block.clips, block.scores)
        return ranker

    def _raw_scores(self) -> Iterator[tuple[slice, np.ndarray]]:
        """One pass over the stored activations of the clips' audio tokens."""
        shards = Shards(self.run, self.hookpoint)
        for start in range(0, len(self.clip_ids), _RAW_CLIPS):
            span = slice(start, start + _RAW_CLIPS)
            some = [clip_scores(shards.audio(clip_id)).representativeness for clip_id in self.clip_ids[span]]
            yield span, torch.stack(some).numpy()


def probe(ctx: Context, sae_id: str, split: str | None = TRAIN) -> Probe:
    """The clips of one split (all usable ones where it is None) with their scores under one SAE."""
    clips = ctx.ok_clips(split)
    sae = ctx.run.read("saes").filter(pc.field("sae_id") == sae_id).to_pylist()[0]
    ids, recordings = clips["clip_id"].to_pylist(), clips["recording_id"].to_pylist()
    return Probe(ctx.run, sae_id, sae["hookpoint"], ids, recordings, sae["d_sae"])


def probe_raw(ctx: Context, hookpoint: str, split: str | None = TRAIN) -> Probe:
    """The same for the method `poly`."""
    clips, d_in = ctx.ok_clips(split), Shards(ctx.run, hookpoint).d_in
    ids, recordings = clips["clip_id"].to_pylist(), clips["recording_id"].to_pylist()
    return Probe(ctx.run, raw_id(hookpoint), hookpoint, ids, recordings, d_in, raw=True)


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
