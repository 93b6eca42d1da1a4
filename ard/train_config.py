"""How long and how to train a sparse autoencoder: settings, each recipe's own values, the learning rate's course."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

from ard.sae_config import SAEConfig, SAEError

PAPER_LR = 1e-5
Kernels = Literal["auto", "plain", "dense", "sparse"]
T = TypeVar("T")


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train; None means the recipe's own value (see `resolve`)."""

    steps: int = 3000
    """Optimiser steps (paper: 100,000)."""
    batch: int = 2048
    """Tokens a step (paper: 4096)."""
    lr: float | None = None
    """Learning rate of Adam. `paper` 1e-5; the other recipes 2e-4 / sqrt(d_sae / 16384)."""
    warmup: int | None = None
    """Steps over which lr rises from 0. `paper` 0; the others a twentieth of the steps, at most 1000."""
    decay: int | None = None
    """Last steps, over which lr falls to 0. `paper` 0; the others a fifth of the steps."""
    auxk_coef: float | None = None
    """Weight of the AuxK loss. `paper` 0; the others 1/32."""
    auxk: int | None = None
    """Dead latents that reconstruct the residual. Default d_in / 2, as Gao et al."""
    dead_after_tokens: int | None = None
    """A latent that fired nowhere in this many tokens counts as dead. Default one pass over the set, at most 10 M."""
    b_dec_init: Literal["mean", "median"] = "mean"
    """All recipes but `paper`: b_dec starts at the mean or the geometric median of the tokens."""
    clip: float | None = None
    """Largest norm of the whole gradient, to which a larger one is scaled down; None: never."""
    seed: int = 0
    """Seed of the order of the tokens."""
    log_every: int = 100
    """Steps between two rows of the curves."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products; the weights and the optimiser stay float32."""
    kernels: Kernels = "auto"
    """How a step is computed: `plain` (the equations under autograd), `dense` (compiled top-k and update, dense matrix
    products), `sparse` (compiled, only the latents above 0), or `auto`: the faster of the last two, measured once on
    the first batch. Their sums round differently, so name one where weights must be equal bit for bit."""
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
        if filled.clip is not None and not filled.clip > 0:
            raise SAEError(f"clip is {filled.clip}; it must be above 0, or None to leave the gradient as it is.")
        choices = {"compute": ("float32", "bfloat16"), "b_dec_init": ("mean", "median"), "kernels": get_args(Kernels)}
        for name, allowed in choices.items():
            if getattr(filled, name) not in allowed:
                raise SAEError(f"{name} is {getattr(filled, name)!r}; choose one of {', '.join(allowed)}.")
        return filled


def _or(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value


def learning_rate(step: int, train: TrainConfig) -> float:
    """Learning rate of step `step` (0-based) of a resolved configuration: linear rise, plateau, linear fall to 0."""
    lr, warmup, decay = float(train.lr or 0), int(train.warmup or 0), int(train.decay or 0)
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    fall = min(1.0, (train.steps - step) / decay) if decay else 1.0
    return lr * min(rise, fall)
