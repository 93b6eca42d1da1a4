"""Quality of a sparse autoencoder, and statistics of its activations: sums over the whole set, divided once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ard.sae import SAEError, TopKSAE

CHUNK = 1 << 16
"""Tokens converted to float64 at a time."""


class Metrics(NamedTuple):
    """Quality of an SAE on a named set of tokens."""

    fvu: float
    """Fraction of variance unexplained: Σ‖x − x̂‖² / Σ‖x − x̄‖²."""
    l0: float
    """Latents above 0 per token, on average over the tokens."""
    dead_fraction: float
    """Share of the latents that are above 0 nowhere in these tokens."""
    tokens: int
    """Tokens evaluated: the window of `dead_fraction`."""


class ActivationStats(NamedTuple):
    """Mean [d_in] and mean norm ‖x‖ of a set of tokens, in float64."""

    mean: Tensor
    mean_norm: float


def activation_stats(x: Float[Tensor, "tokens d_in"]) -> ActivationStats:
    """Mean of x and of ‖x‖ over all tokens; sums are accumulated and divided once.

    Raises:
        SAEError: there is no token, or a value is not finite (float16 overflows above 65504).
    """
    if len(x) == 0:
        raise SAEError("There are 0 tokens; give at least one activation.")
    total, norms = torch.zeros(x.shape[1], dtype=torch.float64), 0.0
    for part in x.split(CHUNK):
        part = part.double()
        total += part.sum(0)
        norms += float(part.norm(dim=-1).sum())
    if not bool(total.isfinite().all()):
        raise SAEError("Some activations are not finite; store them as bfloat16 or float32 and extract them again.")
    return ActivationStats(total / len(x), norms / len(x))


def geometric_median(x: Float[Tensor, "tokens d_in"], steps: int = 100, tol: float = 1e-7) -> Float[Tensor, " d_in"]:
    """argmin_m Σ‖x − m‖ by Weiszfeld's iteration, in float64; stops when m moves less than `tol` relative."""
    x = x.double()
    median = x.mean(0)
    for _ in range(steps):
        weight = 1 / (x - median).norm(dim=-1).clamp_min(1e-12)
        moved = (weight[:, None] * x).sum(0) / weight.sum()
        done = float((moved - median).norm()) <= tol * max(1.0, float(moved.norm()))
        median = moved
        if done:
            break
    return median


class Measured(NamedTuple):
    """Metrics of an SAE, and on how many of the tokens each latent is above 0 [d_sae]."""

    metrics: Metrics
    per_latent: Tensor


class DensityBin(NamedTuple):
    """Latents whose density (share of tokens with z > 0) is above `low` and at most `high`; 0 and 0: those at 0."""

    low: float
    high: float
    latents: int


DENSITY_EDGES = (0.0, *(10 ** (half / 2) for half in range(-12, 1)))
"""Edges of the density histogram: half powers of ten from 1e-6 to 1."""


def density_histogram(per_latent: Tensor, tokens: int) -> list[DensityBin]:
    """How many latents are how dense; every latent is in one bin, and the first holds those that never fire."""
    edges = torch.tensor(DENSITY_EDGES, dtype=torch.float64)
    edges[-1] = 1.0
    places = torch.bucketize(per_latent.double() / tokens, edges)
    counts = torch.bincount(places, minlength=len(edges)).tolist()
    lows = [0.0, *edges[:-1].tolist()]
    return [DensityBin(low, high, n) for low, high, n in zip(lows, edges.tolist(), counts, strict=True)]


def evaluate(sae: TopKSAE, x: Float[Tensor, "tokens d_in"], batch: int = 4096) -> Metrics:
    """The metrics of `measure` alone."""
    return measure(sae, x, batch).metrics


@torch.no_grad()
def measure(sae: TopKSAE, x: Float[Tensor, "tokens d_in"], batch: int = 4096) -> Measured:
    """FVU = Σ‖x − x̂‖² / Σ‖x − x̄‖², L0, dead fraction and tokens per latent over all tokens of x.

    Sums are accumulated in float64 over the whole set and divided once: a mean of the batches' ratios would weigh
    quiet batches as much as loud ones.

    Raises:
        SAEError: no token, all tokens equal (no variance to explain), or a value that is not finite.
    """
    mean = activation_stats(x).mean
    device = sae.W_enc.device
    residual = variance = 0.0
    per_latent = torch.zeros(sae.cfg.d_sae, dtype=torch.long, device=device)
    for part in x.split(batch):
        out = sae(part.to(device))
        residual += float((part.double() - out.x_hat.cpu().double()).square().sum())
        variance += float((part.double() - mean).square().sum())
        per_latent += torch.count_nonzero(out.z, dim=0)  # z is never negative
    if variance == 0:
        raise SAEError(f"All {len(x)} tokens are equal, so FVU is undefined; give more varied activations.")
    active, dead = int(per_latent.sum()), 1 - int((per_latent > 0).sum()) / sae.cfg.d_sae
    return Measured(Metrics(residual / variance, active / len(x), dead, len(x)), per_latent.cpu())
