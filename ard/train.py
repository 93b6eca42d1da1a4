"""Fit a TopK sparse autoencoder to stored activations (AR&D, arXiv 2602.22253, section 2; loss ‖x − x̂‖²).

`paper`: Adam, lr 1e-5, batch 4096, 1e5 steps, nothing else.
`recommended` (ours): b_dec starts at the centre of the data, x is scaled to E‖x‖ = sqrt(d_in), decoder rows keep unit
norm, lr 2e-4 / sqrt(d_sae / 16384) with warm-up and a linear end, and AuxK revives dead latents: k_aux of them
reconstruct what the others left over, with weight 1/32 (Gao et al. 2024, arXiv 2406.04093, A.1, A.2 and 2.4).

The same activations, configurations and number of threads give the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ard.metrics import CHUNK, Metrics, activation_stats, evaluate, geometric_median
from ard.sae import SAEConfig, SAEError, TopKSAE, topk_relu

__all__ = ["FitResult", "Metrics", "TrainConfig", "evaluate", "fit"]

PAPER_LR = 1e-5
T = TypeVar("T")


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train; None means the recipe's own value (see `resolve`)."""

    steps: int = 3000
    """Optimiser steps (paper: 100,000)."""
    batch: int = 2048
    """Tokens a step (paper: 4096)."""
    lr: float | None = None
    """Learning rate of Adam. `paper` 1e-5; `recommended` 2e-4 / sqrt(d_sae / 16384)."""
    warmup: int | None = None
    """Steps over which lr rises from 0. `paper` 0; `recommended` a twentieth of the steps, at most 1000."""
    decay: int | None = None
    """Last steps, over which lr falls to 0. `paper` 0; `recommended` a fifth of the steps."""
    auxk_coef: float | None = None
    """Weight of the AuxK loss. `paper` 0; `recommended` 1/32."""
    auxk: int | None = None
    """Dead latents that reconstruct the residual. Default d_in / 2, as Gao et al."""
    dead_after_tokens: int | None = None
    """A latent that fired nowhere in this many tokens counts as dead. Default one pass over the set, at most 10 M."""
    b_dec_init: Literal["mean", "median"] = "mean"
    """`recommended`: b_dec starts at the mean or the geometric median of the tokens."""
    seed: int = 0
    """Seed of the order of the tokens."""
    log_every: int = 100
    """Steps between two rows of the curves."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products; the weights and the optimiser stay float32."""
    device: str = "cpu"
    """Where to train; activations stay in CPU memory."""

    def resolve(self, cfg: SAEConfig, tokens: int) -> TrainConfig:
        """This configuration with every None replaced by the recipe's value for `cfg` and a set of `tokens` tokens.

        Raises:
            SAEError: a value is out of range.
        """
        paper = cfg.recipe == "paper"
        filled = replace(
            self,
            lr=_or(self.lr, PAPER_LR if paper else 2e-4 / math.sqrt(cfg.d_sae / 16384)),
            warmup=_or(self.warmup, 0 if paper else min(1000, self.steps // 20)),
            decay=_or(self.decay, 0 if paper else self.steps // 5),
            auxk_coef=_or(self.auxk_coef, 0.0 if paper else 1 / 32),
            auxk=_or(self.auxk, max(1, cfg.d_in // 2)),
            dead_after_tokens=_or(self.dead_after_tokens, min(10_000_000, max(1, tokens))),
        )
        for name in ("steps", "batch", "log_every", "auxk", "dead_after_tokens", "lr"):
            if not getattr(filled, name) > 0:
                raise SAEError(f"{name} is {getattr(filled, name)}; it must be above 0.")
        for name in ("warmup", "decay", "auxk_coef"):
            if not getattr(filled, name) >= 0:
                raise SAEError(f"{name} is {getattr(filled, name)}; it must be 0 or more.")
        for name, allowed in (("compute", ("float32", "bfloat16")), ("b_dec_init", ("mean", "median"))):
            if getattr(filled, name) not in allowed:
                raise SAEError(f"{name} is {getattr(filled, name)!r}; choose one of {', '.join(allowed)}.")
        return filled


def _or(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value


class FitResult(NamedTuple):
    """A trained SAE, its curves (one dict a row), its metrics, and the training configuration without gaps."""

    sae: TopKSAE
    curves: list[dict[str, float]]
    metrics: Metrics
    train: TrainConfig


def token_batches(tokens: int, batch: int, steps: int, seed: int) -> Iterator[Int[Tensor, " batch"]]:
    """`steps` index batches of exactly `batch` tokens: passes in random order, one after the other, nothing dropped."""
    generator = torch.Generator().manual_seed(seed)
    waiting = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        parts, have = [waiting], len(waiting)
        while have < batch:
            parts.append(torch.randperm(tokens, generator=generator))
            have += tokens
        joined = torch.cat(parts)
        waiting = joined[batch:]
        yield joined[:batch]


def learning_rate(step: int, train: TrainConfig) -> float:
    """Learning rate of step `step` (0-based) of a resolved configuration: linear rise, plateau, linear fall to 0."""
    lr, warmup, decay = float(train.lr or 0), int(train.warmup or 0), int(train.decay or 0)
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    fall = min(1.0, (train.steps - step) / decay) if decay else 1.0
    return lr * min(rise, fall)


def initial_sae(x: Float[Tensor, "tokens d_in"], cfg: SAEConfig, train: TrainConfig) -> TopKSAE:
    """The SAE before the first step.

    Ours, `recommended`: a scale of 1.0 is replaced by sqrt(d_in) / E‖x‖ measured on x (another value is kept), and
    b_dec is the mean or the geometric median (of at most 65,536 evenly spaced tokens) of the scaled x.
    """
    stats = activation_stats(x)
    if cfg.recipe == "paper":
        return TopKSAE(cfg)
    if cfg.scale == 1.0:
        if stats.mean_norm == 0:
            raise SAEError("All activations are zero; there is nothing to train on.")
        cfg = replace(cfg, scale=math.sqrt(cfg.d_in) / stats.mean_norm)
    sae = TopKSAE(cfg)
    centre = stats.mean if train.b_dec_init == "mean" else geometric_median(x[:: -(-len(x) // CHUNK)])
    if sae.b_dec is not None:
        sae.b_dec.data.copy_(centre * cfg.scale)
    return sae


def auxk_loss(
    sae: TopKSAE,
    pre: Float[Tensor, "tokens d_sae"],
    residual: Float[Tensor, "tokens d_in"],
    dead: Int[Tensor, " n_dead"],
    auxk: int,
) -> Float[Tensor, ""]:
    """E‖e − ê‖², e = x − x̂ held fixed, ê its reconstruction by the k_aux strongest dead latents (2406.04093, A.2)."""
    z = topk_relu(pre.index_select(-1, dead), min(auxk, len(dead)))
    return (residual.detach() - (z @ sae.W_dec[dead]).float()).square().sum(-1).mean()


@torch.no_grad()
def _drop_radial_gradient(sae: TopKSAE) -> None:
    """Remove the part of each decoder row's gradient along the row: it would only change the norm that is reset."""
    grad = sae.W_dec.grad
    if grad is not None:
        grad.sub_((grad * sae.W_dec).sum(-1, keepdim=True) * sae.W_dec)


@torch.no_grad()
def _unit_rows(sae: TopKSAE) -> None:
    sae.W_dec.copy_(F.normalize(sae.W_dec, dim=-1))


class _Log:
    """Sums between two rows of the curves, and how long each latent has been silent."""

    def __init__(self, sae: TopKSAE, train: TrainConfig) -> None:
        device = sae.W_enc.device
        self.rows: list[dict[str, float]] = []
        self.silent = torch.zeros(sae.cfg.d_sae, dtype=torch.long, device=device)
        self.train, self.seen, self.window = train, 0, int(train.dead_after_tokens or 1)
        self._restart(device)

    def _restart(self, device: torch.device) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)  # loss, Σ‖x−x̂‖², Σ‖x−x̄‖², Σ active
        self.steps, self.tokens, self.since = 0, 0, time.perf_counter()

    @torch.no_grad()
    def add(self, loss: Tensor, residual: Tensor, deviation: Tensor, z: Tensor) -> None:
        active = torch.count_nonzero(z, dim=0)  # z is never negative
        parts = (loss.detach(), residual.detach().square().sum(), deviation.square().sum(), active.sum())
        self.sums += torch.stack([part.double() for part in parts])
        self.silent += len(z)
        self.silent[active > 0] = 0
        self.steps, self.tokens, self.seen = self.steps + 1, self.tokens + len(z), self.seen + len(z)

    def dead(self) -> Tensor:
        """Ids of the latents that fired nowhere in the last `dead_after_tokens` tokens."""
        return (self.silent >= self.window).nonzero().squeeze(-1)

    def row(self, step: int, lr: float) -> None:
        """Close one row; dead_fraction is over the window, or over all tokens so far while these are fewer."""
        loss, residual, variance, active = self.sums.tolist()
        if not math.isfinite(loss):
            raise SAEError(f"The loss is {loss} at step {step}; lower lr ({self.train.lr:g}) or check the activations.")
        self.rows.append(
            {
                "step": step,
                "tokens": self.seen,
                "loss": loss / self.steps,
                "fvu": residual / variance if variance else math.nan,
                "l0": active / self.tokens,
                "dead_fraction": float((self.silent >= min(self.window, self.seen)).double().mean()),
                "lr": lr,
                "tokens_per_s": self.tokens / max(time.perf_counter() - self.since, 1e-9),
            }
        )
        self._restart(self.sums.device)


def fit(
    x: Float[Tensor, "tokens d_in"],
    cfg: SAEConfig,
    train: TrainConfig,
    held_out: Float[Tensor, "held d_in"] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Minimise E‖x − x̂‖² (Eq. 1) over x, plus auxk_coef · AuxK for `recommended`.

    Args:
        x: activations in CPU memory, any floating type; each step converts its batch to float32.
        cfg: what to train; `recommended` with scale 1.0 measures its scale on x (see `initial_sae`).
        train: how to train.
        held_out: tokens for the metrics, disjoint from x; without it the metrics are those of x itself.
        progress: called as progress(steps done, steps in all) after every step.

    Returns:
        The trained SAE (on the CPU), curves with step, tokens, loss and fvu in scaled units (both over the steps since
        the last row), l0, dead_fraction, lr and tokens_per_s, the metrics, and the resolved training configuration.

    Raises:
        SAEError: shapes or values that cannot be trained on, or a loss that is no longer finite.
    """
    for name, data in (("x", x), ("held_out", held_out)):
        if data is not None and (data.ndim != 2 or data.shape[1] != cfg.d_in):
            raise SAEError(f"{name} has shape {list(data.shape)}; it must be [tokens, {cfg.d_in}].")
    train = train.resolve(cfg, len(x))
    sae = initial_sae(x, cfg, train).to(train.device)
    mean = (activation_stats(x).mean * sae.cfg.scale).float().to(train.device)
    fused = sae.W_enc.device.type in ("cpu", "cuda")
    adam = torch.optim.Adam(sae.parameters(), lr=float(train.lr or 0), fused=fused)
    log = _Log(sae, train)
    for step, rows in enumerate(token_batches(len(x), train.batch, train.steps, train.seed)):
        lr = learning_rate(step, train)
        for group in adam.param_groups:
            group["lr"] = lr
        _step(sae, x[rows].to(train.device).float(), adam, train, log, mean)
        if (step + 1) % train.log_every == 0 or step + 1 == train.steps:
            log.row(step + 1, lr)
        if progress is not None:
            progress(step + 1, train.steps)
    sae = sae.cpu().eval()
    return FitResult(sae, log.rows, evaluate(sae, x if held_out is None else held_out), train)


def _step(
    sae: TopKSAE, x: Tensor, adam: torch.optim.Optimizer, train: TrainConfig, log: _Log, mean: Float[Tensor, " d_in"]
) -> None:
    """One optimiser step on the batch x; `mean` is the scaled mean of the set, for the curves' FVU."""
    target = x * sae.cfg.scale
    with torch.autocast(x.device.type, torch.bfloat16, enabled=train.compute == "bfloat16"):
        pre = sae.pre_activations(x)
        z = sae.topk(pre)
        residual = target - sae.decode_scaled(z).float()
        loss = residual.square().sum(-1).mean()
        total, dead = loss, log.dead() if train.auxk_coef else ()
        if len(dead):
            total = loss + train.auxk_coef * auxk_loss(sae, pre, residual, dead, int(train.auxk or 1))
    adam.zero_grad(set_to_none=True)
    total.backward()
    unit_rows = sae.cfg.recipe == "recommended"
    if unit_rows:
        _drop_radial_gradient(sae)
    adam.step()
    if unit_rows:
        _unit_rows(sae)
    log.add(loss, residual, target - mean, z)
