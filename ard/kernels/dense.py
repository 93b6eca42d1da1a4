"""Dense products in place of the sparse ones, on any device: 2 · tokens · d_sae · d_in operations each.

A matrix unit that does bfloat16 can be faster at them than gathers are at tokens · k · d_in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ard.kernels.active import Active
from ard.kernels.state import AdamStep, Extra, Gradients, Weights


class Products(Protocol):
    """What a step needs of the latents above 0: products with them, dense or sparse."""

    def per_latent(self) -> Tensor: ...  # noqa: D102 - see Dense
    def decode(self, weights: Tensor, bias: Tensor, prefixes: np.ndarray, out: Tensor) -> None: ...  # noqa: D102
    def gradients(  # noqa: D102
        self, g: Tensor, centred: Tensor, prefixes: np.ndarray, w_dec: Tensor, into: Gradients, unit: bool
    ) -> None: ...


@runtime_checkable
class FusedProducts(Products, Protocol):
    """Products that can go from gradients to the update row by row."""

    def gradients_and_update(  # noqa: D102
        self,
        g: Tensor,
        centred: Tensor,
        prefixes: np.ndarray,
        weights: Weights,
        moments: tuple[Tensor, ...],
        extra: Extra | None,
        adam: AdamStep,
    ) -> Tensor: ...


def product(a: Float[Tensor, "rows inner"], b: Float[Tensor, "inner columns"], dtype: torch.dtype) -> Tensor:
    """A b in float32, factors rounded to `dtype` first."""
    if dtype == torch.float32:
        return a.float() @ b.float()
    a, b = a.to(dtype), b.to(dtype)
    return torch.mm(a, b, out_dtype=torch.float32) if a.is_cuda else (a @ b).float()


def _blocks(prefixes: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Number and latents of each block between two prefixes."""
    low = 0
    for p, high in enumerate(prefixes.tolist()):
        yield p, slice(low, high)
        low = high


class Dense:
    """Products with the whole z, zeros included."""

    def __init__(self, active: Active, d_sae: int, dtype: torch.dtype) -> None:
        self.active, self.dtype = active, dtype
        self.z: Float[Tensor, "tokens d_sae"] = active.dense(d_sae, dtype)

    def per_latent(self) -> Int[Tensor, " d_sae"]:
        """Tokens of each latent."""
        _, place = self.active.used()
        return torch.bincount(self.active.ids[place].long(), minlength=self.z.shape[1])

    def decode(
        self,
        weights: Float[Tensor, "d_sae d_in"],
        bias: Float[Tensor, " d_in"],
        prefixes: np.ndarray,
        out: Float[Tensor, "prefixes tokens d_in"],
    ) -> None:
        """out[p] = z W_dec + b_dec with the latents below prefixes[p] alone; the last prefix is d_sae."""
        total: Tensor = bias
        for p, block in _blocks(prefixes):
            total = torch.add(total, product(self.z[:, block], weights[block], self.dtype), out=out[p])

    def gradients(
        self, g: Tensor, centred: Tensor, prefixes: np.ndarray, w_dec: Tensor, into: Gradients, unit: bool
    ) -> None:
        """Add ∂/∂W_enc, ∂/∂W_dec and ∂/∂b_enc to `into`; with `unit` then without the part along each decoder row."""
        for p, block in _blocks(prefixes):
            z = self.z[:, block]
            dz = product(g[p], w_dec[block].T, self.dtype).mul_(z > 0)
            into.W_dec[block] += product(z.T, g[p], self.dtype)
            into.W_enc[block] += product(dz.T, centred, self.dtype)
            into.b_enc[block] += dz.sum(0)
        if unit:
            into.W_dec.sub_((into.W_dec * w_dec).sum(-1, keepdim=True) * w_dec)
