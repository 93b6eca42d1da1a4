"""The step in dense float64: what every path in this package is compared with. Written to be read, not to be fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ard.kernels.state import Gradients


class Reference(NamedTuple):
    """One step without its update: latents, reconstruction of each prefix, loss and gradients."""

    z: Float[Tensor, "tokens d_sae"]
    x_hat: Float[Tensor, "prefixes tokens d_in"]
    loss: Float[Tensor, ""]
    gradients: Gradients
    b_dec: Float[Tensor, " d_in"]


def topk(pre: Float[Tensor, "tokens d_sae"], k: int) -> Float[Tensor, "tokens d_sae"]:
    """The k largest positive values of each row; among equals the lowest latent_id stays (a stable sort)."""
    order = torch.sort(pre, dim=-1, descending=True, stable=True).indices[:, :k]
    keep = torch.zeros_like(pre, dtype=torch.bool).scatter(-1, order, True)
    return torch.where(keep & (pre > 0), pre, 0)


def batch_topk(pre: Float[Tensor, "tokens d_sae"], k: int) -> Float[Tensor, "tokens d_sae"]:
    """The k · tokens largest positive values of the batch; among equals the first token, then the lowest latent_id."""
    return topk(pre.reshape(1, -1), k * len(pre)).reshape(pre.shape)


def step(
    target: Float[Tensor, "tokens d_in"],
    w_enc: Float[Tensor, "d_sae d_in"],
    b_enc: Float[Tensor, " d_sae"],
    w_dec: Float[Tensor, "d_sae d_in"],
    b_dec: Float[Tensor, " d_in"],
    k: int,
    prefixes: Sequence[int] = (),
    over_batch: bool = False,
    chosen: Bool[Tensor, "tokens d_sae"] | None = None,
) -> Reference:
    """Loss Σ_p E‖x − x̂_p‖² with x̂_p from the latents below prefixes[p] (default: all, once), and its gradients.

    z = TopK(ReLU(W_enc (x − b_dec) + b_enc)),  x̂ = z W_dec + b_dec;  everything in float64.
    With `chosen` these latents are kept in place of the k largest.
    """
    target, w_enc, b_enc, w_dec, b_dec = (t.double() for t in (target, w_enc, b_enc, w_dec, b_dec))
    centred = target - b_dec
    pre = centred @ w_enc.T + b_enc
    z = pre * chosen if chosen is not None else (batch_topk if over_batch else topk)(pre, k)
    d_x_hat = []
    x_hat, dz, dw_dec = [], torch.zeros_like(z), torch.zeros_like(w_dec)
    for prefix in prefixes or (len(w_enc),):
        x_hat.append(z[:, :prefix] @ w_dec[:prefix] + b_dec)
        d_x_hat.append(2 * (x_hat[-1] - target) / len(target))
        dz[:, :prefix] += d_x_hat[-1] @ w_dec[:prefix].T
        dw_dec[:prefix] += z[:, :prefix].T @ d_x_hat[-1]
    dz = dz * (z != 0)
    gradients = Gradients(dz.T @ centred, dw_dec, dz.sum(0))
    db_dec = torch.stack(d_x_hat).sum((0, 1)) - dz.sum(0) @ w_enc
    loss = sum((x - target).square().sum(-1).mean() for x in x_hat)
    return Reference(z, torch.stack(x_hat), torch.as_tensor(loss), gradients, db_dec)
