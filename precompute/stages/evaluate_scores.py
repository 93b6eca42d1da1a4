"""Clip scores of all latents for `evaluate`: sparse for an SAE, since a clip fires a small share of them.

At the paper's size, 118,356 clips and 32,768 latents, a dense matrix would take 15 GB; with about 1,000 live latents a
clip the entries above 0 take 1 GB. What is worked with is cut out first: some clips, some latents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from scipy.sparse import csc_matrix, csr_matrix

from ard.ranking import Ranker
from ard.sae import TopKSAE
from ard.scores import clip_scores, monosemanticity_many
from ard.train import TrainConfig, initial_sae
from precompute.shards import Shards
from precompute.stages.base import Context
from precompute.stages.evaluate_data import Labelled, NamedConcepts, texts_of, vectors
from precompute.stages.names import Evidence
from precompute.stages.scores_io import POLY, RANDOM, probe, probe_raw

Matrix: TypeAlias = np.ndarray | csc_matrix
"""Scores [clips, latents]: dense for the raw dimensions of x, sparse for an SAE."""
CENTRE_CLIPS = 1000
"""Training clips behind the centre of an untrained SAE."""


def part(matrix: Matrix, clips: np.ndarray, latents: np.ndarray | None = None) -> Matrix:
    """Some clips and some latents (all where none are given), of the same kind."""
    some = matrix if latents is None else matrix[:, latents]
    return some[clips]


def dense(matrix: Matrix, clips: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Scores of some clips and latents, zeros included."""
    found = part(matrix, clips, latents)
    return found if isinstance(found, np.ndarray) else found.toarray()


class Scores:
    """Clip scores over all usable clips, one SAE and method kept at a time."""

    def __init__(self, ctx: Context):
        self._ctx = ctx
        self._kept: tuple[tuple[str, str], Matrix] | None = None

    def of(self, concepts: NamedConcepts) -> Matrix:
        """All latents' scores by the concepts' own method; `random` scores a clip as `ard` does."""
        method = "ard" if concepts.method == RANDOM else concepts.method
        key = concepts.sae_id, method
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # the other one is let go first
            self._kept = key, self._read(*key)
        return self._kept[1]

    def _read(self, sae_id: str, method: str) -> Matrix:
        if method == POLY:
            return probe_raw(self._ctx, sae_id.removesuffix("/raw"), None).raw_scores()
        return probe(self._ctx, sae_id, None).scores(method)


class Untrained(NamedTuple):
    """The control `untrained_sae`: its named concepts, and all its latents' scores [clips, latents]."""

    concepts: NamedConcepts
    scores: csc_matrix


@torch.no_grad()
def untrained(ctx: Context, clips: Labelled) -> Untrained | None:
    """The default SAE before its first training step, ranked, scored and named as the trained one is.

    None where no latent of it can be named.
    """
    sae_id = ctx.sae_ids()[0]
    trained = TopKSAE.load(ctx.run.sae_dir(sae_id)).cfg
    shards = Shards(ctx.run, trained.hookpoint)
    some = [clips.clip_ids[i] for i in clips.train[:CENTRE_CLIPS]]
    sae = initial_sae(shards.gather(some, "audio").float(), trained, TrainConfig())
    progress: Iterable[str] = ctx.progress(clips.clip_ids)
    r = [csr_matrix(clip_scores(sae.encode(shards.audio(c))).representativeness.numpy()[None]) for c in progress]
    rows = np.concatenate([np.full(one.nnz, i, np.int32) for i, one in enumerate(r)])
    columns, values = (np.concatenate([getattr(one, name) for one in r]) for name in ("indices", "data"))
    scores = csc_matrix((values, (rows, columns)), shape=(len(r), sae.cfg.d_sae))
    ids = [clips.clip_ids[i] for i in clips.train]
    shown = part(scores, clips.train)
    ranker = Ranker(sae.cfg.d_sae, sae.cfg.hookpoint, methods=("ard",), p=ctx.config.rank.p, seed=ctx.config.seed)
    ranker.add_clips(ids, clips.recordings[clips.train].tolist())
    ranker.add_latents(0, shown.indptr.astype(np.int64), shown.indices, shown.data[None])
    ranked = ranker.representatives("ard")
    m = monosemanticity_many(vectors(ctx, ids), ranked.most, ranked.least).score
    top = np.argsort(-np.nan_to_num(m, nan=-np.inf), kind="stable")[: ctx.config.names.top]
    top = top[np.isfinite(m[top])]
    named = Evidence.read(ctx).names([[ids[i] for i in ranked.most[k]] for k in top.tolist()])
    kept = np.array([name is not None for name in named], dtype=bool)
    if not kept.any():
        return None
    names = texts_of(ctx, [name for name in named if name is not None])
    found = NamedConcepts(sae_id, "ard", ctx.config.seed, "untrained_sae", top[kept], names, m[top[kept]], False)
    return Untrained(found, scores)
