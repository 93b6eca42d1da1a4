"""One optimiser step of one sparse autoencoder, its gradients written out, by compiled kernels (`ard.kernels`).

With x̂ = z W_dec + b_dec, z = TopK(ReLU(W_enc c + b_enc)), c = s x − b_dec, loss E‖x̂ − s x‖² and g = ∂loss/∂x̂:

    ∂/∂W_dec = zᵀ g      dz = (g W_decᵀ) · 1[z > 0]      ∂/∂W_enc = dzᵀ c      ∂/∂b_enc = Σ dz
    ∂/∂b_dec = Σ g − (Σ dz) W_enc

`matryoshka`: latents of block b reach every prefix p ≥ b, so their g is Σ_{p ≥ b} g_p. AuxK adds rows for dead latents.
`ard.train_plain` is the same step under autograd.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ard.kernels import backend, dense
from ard.kernels.active import Active
from ard.kernels.state import AdamStep, Extra, Gradients, Weights, adam_vector
from ard.sae import TopKSAE
from ard.train_config import TrainConfig

UNIT = ("recommended", "batchtopk", "matryoshka")
"""Recipes whose decoder rows keep norm 1."""


class Outcome(NamedTuple):
    """What one step tells the log."""

    loss: Float[Tensor, ""]
    """Reconstruction loss, summed over the prefixes, without AuxK."""
    residual: Float[Tensor, ""]
    """Σ‖x̂ − x‖² of the whole dictionary over the batch, scaled units."""
    per_latent: Int[Tensor, " d_sae"]
    """Tokens on which each latent was above 0."""
    active: Active
    """The latents above 0."""


class Moments(NamedTuple):
    """Adam's moments, in the shapes of the weights, and how many steps were taken."""

    first: dict[str, Tensor]
    second: dict[str, Tensor]

    @classmethod
    def zeros(cls, sae: TopKSAE) -> Moments:
        """Before the first step."""
        names = dict(sae.named_parameters())
        return cls(*({n: torch.zeros_like(p.data) for n, p in names.items()} for _ in range(2)))

    def of(self, *names: str) -> tuple[Tensor, ...]:
        """First and second moment of each weight in turn, as the kernels take them."""
        return tuple(m[name] for name in names for m in (self.first, self.second))


class CompiledStep:
    """Steps of one SAE by the kernels of its device; `sparse` or dense products."""

    def __init__(self, sae: TopKSAE, train: TrainConfig, moments: Moments, sparse: bool) -> None:
        self.sae, self.train, self.moments, self.sparse = sae, train, moments, sparse
        self.device = sae.W_enc.device
        self.ops = backend(self.device)
        self.dtype = torch.bfloat16 if train.compute == "bfloat16" else torch.float32
        self.prefixes = np.array(sae.cfg.prefixes, np.int64)
        low = None if self.dtype == torch.float32 else sae.W_enc.data.to(self.dtype)
        rows = (sae.W_enc.data, sae.W_dec.data, sae.b_enc.data)
        self.weights = Weights(*rows, unit=sae.cfg.recipe in UNIT, low=low)
        self.no_bias = torch.zeros(sae.cfg.d_in, device=self.device)
        self.buffers: dict[str, Tensor] = {}

    def __call__(
        self, target: Float[Tensor, "tokens d_in"], dead: Int[Tensor, " dead"], lr: float, step: int
    ) -> Outcome:
        """One step on s x; `dead` are the latents AuxK revives (none: no AuxK), `step` counts from 1."""
        b_dec = self.no_bias if self.sae.b_dec is None else self.sae.b_dec.data
        centred = target - b_dec
        pre = self._encode(centred)
        choose = self.ops.select_batch if self.sae.cfg.recipe == "batchtopk" else self.ops.select
        active = choose(pre, self.weights.b_enc, self.sae.cfg.k)
        d_sae = len(self.weights.W_dec)
        products = self.ops.Sparse(active, d_sae) if self.sparse else dense.Dense(active, d_sae, self.dtype)
        residual = self._buffer("x_hat", (len(self.prefixes), *target.shape))
        products.decode(self.weights.W_dec, b_dec, self.prefixes, residual)
        residual.sub_(target)
        squares = residual.square().sum((1, 2))
        extra = self._auxk(pre, centred, residual[-1], dead) if len(dead) else None
        g = residual.mul_(2 / len(target))
        for p in range(len(g) - 2, -1, -1):
            g[p] += g[p + 1]
        self._update(products, g, centred, extra, AdamStep.at(step, lr))
        return Outcome(squares.sum() / len(target), squares[-1], products.per_latent(), active)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Memory kept from step to step: fresh pages cost as much as the arithmetic on them."""
        if name not in self.buffers or self.buffers[name].shape != shape:
            self.buffers[name] = torch.empty(shape, dtype=dtype, device=self.device)
        return self.buffers[name]

    def _encode(self, centred: Tensor) -> Float[Tensor, "tokens d_sae"]:
        """W_enc c, without b_enc, in the type of the products."""
        w = self.weights.W_enc if self.weights.low is None else self.weights.low
        out = self._buffer("pre", (len(centred), len(w)), self.dtype)
        return torch.mm(centred.to(self.dtype), w.T, out=out)

    def _auxk(
        self,
        pre: Float[Tensor, "tokens d_sae"],
        centred: Float[Tensor, "tokens d_in"],
        residual: Float[Tensor, "tokens d_in"],
        dead: Int[Tensor, " dead"],
    ) -> Extra:
        """Gradients of auxk_coef · E‖e − ê‖², ê = z W_dec of the k_aux strongest dead latents (2406.04093, A.2).

        e = x − x̂ is held fixed. The dead part of the dictionary is small and z dense in it, so products are dense.
        """
        k, bias = min(int(self.train.auxk or 1), len(dead)), self.weights.b_enc[dead]
        chosen = pre.index_select(1, dead)
        if k < len(dead):
            z = self.ops.select(chosen, bias, k).dense(len(dead), self.dtype)
        else:
            z = (chosen + bias).relu_().to(self.dtype)
        w_dec = self.weights.W_dec[dead]
        error = dense.product(z, w_dec, self.dtype).add_(residual)  # ê − e
        d_error = error.mul_(2 * float(self.train.auxk_coef or 0) / len(pre))
        dz = dense.product(d_error, w_dec.T, self.dtype).mul_(z > 0)
        of_dec, of_enc = (dense.product(a.T, b, self.dtype) for a, b in ((z, d_error), (dz, centred)))
        return Extra(dead, Gradients(of_enc, of_dec, dz.sum(0)))

    def _update(
        self, products: dense.Products, g: Tensor, centred: Tensor, extra: Extra | None, adam: AdamStep
    ) -> None:
        """Gradients of every weight, clipped where asked for, and Adam."""
        moments = self.moments.of("W_enc", "W_dec", "b_enc")
        if isinstance(products, dense.FusedProducts) and self.train.clip is None:
            through = products.gradients_and_update(g, centred, self.prefixes, self.weights, moments, extra, adam)
            self._update_b_dec(g[0].sum(0) - through, 1.0, adam)
            return
        shapes = {name: w.shape for name, w in zip(Gradients._fields, self.weights.rows, strict=True)}
        into = Gradients(*(self._buffer(f"grad_{name}", shape).zero_() for name, shape in shapes.items()))
        if extra is not None:
            for whole, part in zip(into, extra.gradients, strict=True):
                whole[extra.ids] = part
        products.gradients(g, centred, self.prefixes, self.weights.W_dec, into, self.weights.unit)
        of_b_dec = g[0].sum(0) - into.b_enc @ self.weights.W_enc
        scale = self._clip((*into, of_b_dec) if self.sae.b_dec is not None else into)
        self.ops.update(self.weights, moments, into, scale, adam)
        self._update_b_dec(of_b_dec, scale, adam)

    def _clip(self, gradients: tuple[Tensor, ...]) -> float:
        """What every gradient is multiplied by: 1, or clip / norm where the norm of all of them is larger."""
        if self.train.clip is None:
            return 1.0
        norm = float(torch.stack([grad.norm() for grad in gradients]).norm())
        return min(1.0, self.train.clip / (norm + 1e-6))

    def _update_b_dec(self, grad: Float[Tensor, " d_in"], scale: float, adam: AdamStep) -> None:
        if self.sae.b_dec is None:
            return
        first, second = self.moments.of("b_dec")
        adam_vector(self.sae.b_dec.data, first, second, grad, scale, adam)
