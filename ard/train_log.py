"""What training remembers of its steps: sums between two rows of the curves, silent latents, the threshold."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ard.sae import SAEError, TopKSAE
from ard.train_config import TrainConfig
from ard.train_step import Outcome

THRESHOLD_MEMORY = 0.9
"""Weight of the past in the running mean of a batch's smallest latent above 0 (`batchtopk`): about 10 batches."""


class Log:
    """Sums between two rows of the curves, how long each latent has been silent, the mean smallest latent above 0."""

    def __init__(self, sae: TopKSAE, train: TrainConfig) -> None:
        device = sae.W_enc.device
        self.sae, self.train, self.window = sae, train, int(train.dead_after_tokens or 1)
        self.rows: list[dict[str, float]] = []
        self.silent = torch.zeros(sae.cfg.d_sae, dtype=torch.long, device=device)
        self.threshold = torch.zeros(2, dtype=torch.float64, device=device)  # weighted sum, weights
        self.seen = 0
        self._restart()

    def _restart(self) -> None:
        # loss, Σ‖x−x̂‖², Σ‖x−x̄‖², Σ active
        self.sums = torch.zeros(4, dtype=torch.float64, device=self.silent.device)
        self.steps, self.tokens, self.since = 0, 0, time.perf_counter()

    def add(self, outcome: Outcome, deviation: Float[Tensor, ""], tokens: int) -> None:
        """Count one step; `deviation` is Σ‖x − x̄‖² of its batch."""
        parts = (outcome.loss, outcome.residual, deviation, outcome.per_latent.sum())
        self.sums += torch.stack([part.double() for part in parts])
        self.silent += tokens
        self.silent[outcome.per_latent > 0] = 0
        self.steps, self.tokens, self.seen = self.steps + 1, self.tokens + tokens, self.seen + tokens
        if self.sae.cfg.recipe == "batchtopk":
            values = outcome.active.values
            if len(values):
                smallest = torch.stack([values.min().double(), torch.ones_like(self.threshold[1])])
                self.threshold = THRESHOLD_MEMORY * self.threshold + (1 - THRESHOLD_MEMORY) * smallest

    def dead(self) -> Int[Tensor, " dead"]:
        """Ids of the latents that fired nowhere in the last `dead_after_tokens` tokens."""
        return (self.silent >= self.window).nonzero().squeeze(-1)

    def close_row(self, step: int, lr: float) -> dict[str, float]:
        """Close one row; dead_fraction is over the window, or over all tokens so far while these are fewer.

        Raises:
            SAEError: the loss or a weight is no longer finite.
        """
        loss, residual, variance, active = self.sums.tolist()
        # A latent whose weights are NaN is never chosen again, so the loss alone would not show it.
        sound = all(bool(p.data.sum().isfinite()) for p in self.sae.parameters())
        if not math.isfinite(loss) or not sound:
            raise SAEError(
                f"The loss is {loss} at step {step}{'' if sound else ' and a weight is not finite'}; "
                f"lower lr ({self.train.lr:g}) or check the activations."
            )
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
        self._restart()
        return self.rows[-1]

    def mean_threshold(self) -> float | None:
        """θ of a `batchtopk` SAE: the smallest latent above 0 of a batch, averaged over the last ten or so."""
        total, weight = self.threshold.tolist()
        return total / weight if weight else None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values that `restore` takes."""
        tensors = {"silent": self.silent, "threshold": self.threshold, "sums": self.sums}
        return tensors, {"rows": self.rows, "seen": self.seen, "steps": self.steps, "tokens": self.tokens}

    def restore(self, tensors: dict[str, Tensor], values: dict) -> None:
        """Go on where `state` was taken; the clock starts anew."""
        self.silent, self.threshold, self.sums = (
            tensors[name].to(self.silent.device) for name in ("silent", "threshold", "sums")
        )
        self.rows, self.seen, self.steps, self.tokens = (values[n] for n in ("rows", "seen", "steps", "tokens"))
        self.since = time.perf_counter()
