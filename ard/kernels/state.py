"""What the kernels share beside the active latents: weights, gradients, one step of Adam."""

from __future__ import annotations

import math
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Weights(NamedTuple):
    """Weights of one SAE, float32, changed in place."""

    W_enc: Float[Tensor, "d_sae d_in"]
    W_dec: Float[Tensor, "d_sae d_in"]
    b_enc: Float[Tensor, " d_sae"]
    unit: bool
    """Decoder rows keep norm 1."""
    low: Float[Tensor, "d_sae d_in"] | None
    """bfloat16 copy of W_enc for the encoder's product, renewed with each update; None where float32 is used."""

    @property
    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """W_enc, W_dec and b_enc."""
        return self.W_enc, self.W_dec, self.b_enc


class Gradients(NamedTuple):
    """Gradients of the loss, one row a latent."""

    W_enc: Float[Tensor, "rows d_in"]
    W_dec: Float[Tensor, "rows d_in"]
    b_enc: Float[Tensor, " rows"]


class Extra(NamedTuple):
    """Gradients of some latents beside those of the main loss (AuxK)."""

    ids: Int[Tensor, " rows"]
    gradients: Gradients


class AdamStep(NamedTuple):
    """Scalars of one step of Adam (Kingma & Ba 2015): w −= rate · m / (√v · root + ε)."""

    rate: float
    """lr / (1 − β₁ᵗ)"""
    root: float
    """1 / √(1 − β₂ᵗ)"""
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @classmethod
    def at(cls, step: int, lr: float) -> AdamStep:
        """Step `step`, counted from 1, with learning rate lr."""
        return cls(lr / (1 - 0.9**step), 1 / math.sqrt(1 - 0.999**step))


def adam_vector(w: Tensor, first: Tensor, second: Tensor, grad: Tensor, scale: float, adam: AdamStep) -> None:
    """One step of Adam on a weight of any shape, in place, by torch: for the biases."""
    grad = grad * scale
    first.lerp_(grad, 1 - adam.beta1)
    second.mul_(adam.beta2).addcmul_(grad, grad, value=1 - adam.beta2)
    w.addcdiv_(first, second.sqrt().mul_(adam.root).add_(adam.eps), value=-adam.rate)
