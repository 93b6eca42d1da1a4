"""Clip statistics, coherence and monosemanticity (AR&D, arXiv 2602.22253, Eq. 2, 3 and 4).

    Eq. 2   μ = (1/T) Σ_t z_t      c = (1/T) Σ_t 1[z_t > 0]      r = μ c           per clip and latent, T real tokens
    Eq. 3   E_G = mean of cos(e_i, e_j) over the p (p − 1) / 2 pairs i < j of G     G is H (most) or L (least)
    Eq. 4   m = (E_H − E_L) / (σ_pooled + ε)       σ_pooled = sqrt((σ_H² + σ_L²) / 2)

Ours: σ_G is the population standard deviation of those pairwise cosines, and ε = 1e-6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

EPS = 1e-6
_CHUNK_VALUES = 1 << 24


class ScoreError(ValueError):
    """Arrays from which a score cannot be computed; the message says how to mend it."""


class ClipScores(NamedTuple):
    """Eq. 2 for every latent of one clip, each [d_sae] (or [clips, d_sae]), float32."""

    mean_activation: Tensor
    """μ, mean over the clip's real tokens."""
    coverage: Tensor
    """c, share of the real tokens with z > 0, from 0 to 1."""
    representativeness: Tensor
    """r = μ c."""
    max_activation: Tensor
    """Largest z of the clip."""


def clip_scores(z: Float[Tensor, "T d_sae"]) -> ClipScores:
    """μ = (1/T) Σ z_t,  c = (1/T) Σ 1[z_t > 0],  r = μ c (Eq. 2), over the T real tokens of one clip.

    Sums run in float64. For the method `poly` z may be raw activations, which can be negative.

    Raises:
        ScoreError: the clip has no token.
    """
    if z.ndim != 2 or z.shape[0] == 0:
        raise ScoreError(f"The latents have shape {list(z.shape)}; a clip needs [T, d_sae] with at least 1 real token.")
    batch = batch_clip_scores(z[None], torch.ones(1, z.shape[0], dtype=torch.bool, device=z.device))
    return ClipScores(*(value[0] for value in batch))


def batch_clip_scores(z: Float[Tensor, "clips T d_sae"], real: Bool[Tensor, "clips T"]) -> ClipScores:
    """Eq. 2 for a padded batch: only positions with `real` count, so padding changes nothing.

    Raises:
        ScoreError: shapes differ, or a clip has no real token.
    """
    if z.ndim != 3 or real.shape != z.shape[:2]:
        raise ScoreError(
            f"z has shape {list(z.shape)} and real {list(real.shape)}; give [clips, T, d_sae], [clips, T]."
        )
    tokens = real.sum(1)
    if bool((tokens == 0).any()):
        empty = int((tokens == 0).nonzero()[0])
        raise ScoreError(f"Clip {empty} of the batch has 0 real tokens; leave out clips too short for one token.")
    count, padding = tokens[:, None].double(), ~real[..., None]
    shown = z.masked_fill(padding, 0)
    mean = shown.sum(1, dtype=torch.float64) / count
    coverage = (shown > 0).sum(1).double() / count
    largest = z.masked_fill(padding, -torch.inf).amax(1)
    return ClipScores(mean.float(), coverage.float(), (mean * coverage).float(), largest.float())


class Coherence(NamedTuple):
    """E_G and σ_G of one set of clips (Eq. 3): mean and population standard deviation of its pairwise cosines."""

    mean: float
    std: float


def coherence(e: Float[Tensor, "p d"] | ArrayLike) -> Coherence:
    """E_G = 2 / (p (p − 1)) Σ_{i<j} cos(e_i, e_j), and the population std of these cosines (Eq. 3).

    Raises:
        ScoreError: fewer than two embeddings, a zero vector, or a value that is not finite.
    """
    vectors = _unit(e)
    mean, std = _coherence(vectors[None])
    return Coherence(float(mean[0]), float(std[0]))


class Monosemanticity(NamedTuple):
    """Score m (Eq. 4) with what it is made of, for one latent."""

    score: float
    coherence_most: float
    coherence_least: float
    std_pooled: float


class MonosemanticityTable(NamedTuple):
    """Score m (Eq. 4) with what it is made of, each [latents], float64; NaN where a latent has no full H and L."""

    score: np.ndarray
    coherence_most: np.ndarray
    coherence_least: np.ndarray
    std_pooled: np.ndarray


def monosemanticity(
    e_most: Float[Tensor, "p d"] | ArrayLike, e_least: Float[Tensor, "p d"] | ArrayLike, eps: float = EPS
) -> Monosemanticity:
    """Score m = (E_H − E_L) / (σ_pooled + ε), σ_pooled = sqrt((σ_H² + σ_L²) / 2) (Eq. 4).

    With p = 2 there is a single pair, σ is 0, and m is (E_H − E_L) / ε.

    Raises:
        ScoreError: see `coherence`.
    """
    most, least = coherence(e_most), coherence(e_least)
    pooled = float(np.sqrt((most.std**2 + least.std**2) / 2))
    return Monosemanticity((most.mean - least.mean) / (pooled + eps), most.mean, least.mean, pooled)


def monosemanticity_many(
    embeddings: Float[Tensor, "clips d"] | ArrayLike,
    most: Int[np.ndarray, "latents p"],
    least: Int[np.ndarray, "latents p"],
    eps: float = EPS,
) -> MonosemanticityTable:
    """Eq. 3 and 4 for many latents at once; row i equals `monosemanticity(embeddings[most[i]], embeddings[least[i]])`.

    `most` and `least` index the embeddings; −1 stands for a missing clip, and a latent that misses any gets NaN:
    dead latents and latents of too few clips are never scored.

    Raises:
        ScoreError: shapes do not fit, an index is out of range, or see `coherence`.
    """
    vectors, most, least = _unit(embeddings, fewest=1), np.asarray(most), np.asarray(least)
    if most.ndim != 2 or least.ndim != 2 or len(most) != len(least) or min(most.shape[1], least.shape[1]) < 2:
        raise ScoreError(f"most and least have shapes {most.shape} and {least.shape}; give [latents, p] with p ≥ 2.")
    for name, index in (("most", most), ("least", least)):
        if index.size and not -1 <= index.min() <= index.max() < len(vectors):
            raise ScoreError(f"{name} runs from {index.min()} to {index.max()}; allowed are -1 to {len(vectors) - 1}.")
    full = (most >= 0).all(1) & (least >= 0).all(1)
    values = np.full((4, len(most)), np.nan)
    chunk = max(1, _CHUNK_VALUES // (vectors.shape[1] * max(most.shape[1], least.shape[1])))
    ids = np.flatnonzero(full)
    for start in range(0, len(ids), chunk):
        rows = ids[start : start + chunk]
        mean_h, std_h = _coherence(vectors[most[rows]])
        mean_l, std_l = _coherence(vectors[least[rows]])
        pooled = np.sqrt((std_h**2 + std_l**2) / 2)
        values[:, rows] = (mean_h - mean_l) / (pooled + eps), mean_h, mean_l, pooled
    return MonosemanticityTable(*values)


class MonosemanticitySpread(NamedTuple):
    """m over several draws of L: mean and population standard deviation, each [latents], and the number of draws."""

    mean: np.ndarray
    std: np.ndarray
    draws: int


def monosemanticity_spread(
    embeddings: Float[Tensor, "clips d"] | ArrayLike,
    most: Int[np.ndarray, "latents p"],
    leasts: Int[np.ndarray, "draws latents p"],
    eps: float = EPS,
) -> MonosemanticitySpread:
    """Eq. 4 averaged over draws of L (ours: for most latents "lowest p" is a tie of almost all clips)."""
    leasts = np.asarray(leasts)
    if leasts.ndim != 3 or len(leasts) == 0:
        raise ScoreError(f"leasts has shape {leasts.shape}; give [draws, latents, p] with at least 1 draw.")
    scores = np.stack([monosemanticity_many(embeddings, most, least, eps).score for least in leasts])
    return MonosemanticitySpread(scores.mean(0), scores.std(0), len(leasts))


def _unit(e: Tensor | ArrayLike, fewest: int = 2) -> np.ndarray:
    """Embeddings as float64 rows of norm 1, so that a dot product is a cosine."""
    values = e.detach().cpu().double().numpy() if isinstance(e, Tensor) else np.asarray(e, dtype=np.float64)
    if values.ndim != 2 or len(values) < fewest:
        raise ScoreError(f"The embeddings have shape {values.shape}; give [clips, d] with at least {fewest} clips.")
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not (norms > 0).all():
        bad = int((~np.isfinite(norms) | (norms == 0)).argmax())
        raise ScoreError(f"Embedding {bad} has norm {norms[bad, 0]}; it must be finite and above 0, so embed it again.")
    return values / norms


def _coherence(unit: Float[np.ndarray, "sets p d"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population std of the pairwise cosines of each set (Eq. 3)."""
    i, j = np.triu_indices(unit.shape[1], k=1)
    cosines = np.einsum("spd,sqd->spq", unit, unit)[:, i, j]
    return cosines.mean(1), cosines.std(1)
