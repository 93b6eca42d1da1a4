"""Compile the kernels of ranking, clip statistics and evaluation, ahead of the first run; numba keeps them on disk."""

from __future__ import annotations

import numpy as np
import torch

from ard.average_precision import ranked
from ard.clip_stats import ClipStats, SparseLatents
from ard.interpretability import clip_reading
from ard.predictions import Firing, said
from ard.ranking import Block, Ranker


def run() -> None:
    """Rank and evaluate two clips: every kernel then lies compiled for the types that the stages use."""
    z = torch.eye(2)
    entries = ClipStats(2).add(SparseLatents.together([SparseLatents.of(z), SparseLatents.of(z)]))
    ranker = Ranker(2, "layers.0", random_seeds=(0,), examples=1)
    ranker.add(Block(["a", "b"], ["a", "b"], entries.offsets, entries.latent_id, entries.scores))
    ranker.random(ranker.representatives("ard"), 0)
    poly = Ranker(2, "layers.0", methods=("poly",), sparse=False)
    poly.add_dense(["a"], ["a"], np.ones((1, 2), np.float32))
    poly.representatives("poly")
    group, carried = np.arange(2), np.eye(2, dtype=bool)
    clip_reading(said(Firing.of(np.eye(2), group), group, 2), carried, ranked(np.eye(2)), 0.7, np.ones((1, 2)))
