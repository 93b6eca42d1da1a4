"""One optimiser step as the equations say it, under autograd: kernels = `plain`, on any device.

Slower than `ard.train_step` (z, its gradient and both weight gradients are dense), and what that one is tested against.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.optim.adam import adam as adam_update

from ard.kernels.active import Active
from ard.sae import TopKSAE, topk_relu
from ard.train_config import TrainConfig
from ard.train_step import UNIT, Moments, Outcome


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


class PlainStep:
    """Steps of one SAE under autograd, with torch's own Adam."""

    def __init__(self, sae: TopKSAE, train: TrainConfig, moments: Moments) -> None:
        self.sae, self.train, self.moments = sae, train, moments
        self.unit = sae.cfg.recipe in UNIT

    def __call__(
        self, target: Float[Tensor, "tokens d_in"], dead: Int[Tensor, " dead"], lr: float, step: int
    ) -> Outcome:
        """One step on s x; `dead` are the latents AuxK revives (none: no AuxK), `step` counts from 1."""
        sae, train = self.sae, self.train
        with torch.autocast(target.device.type, torch.bfloat16, enabled=train.compute == "bfloat16"):
            centred = target if sae.b_dec is None else target - sae.b_dec
            pre = F.linear(centred, sae.W_enc, sae.b_enc)
            z = self._latents(pre)
            residuals = [target - part.float() for part in self._decoded(z)]
            loss = torch.stack([r.square().sum(-1).mean() for r in residuals]).sum()
            total = loss
            if len(dead):
                total = loss + train.auxk_coef * auxk_loss(sae, pre, residuals[-1], dead, int(train.auxk or 1))
        sae.zero_grad(set_to_none=True)
        total.backward()
        self._update(lr, step)
        z = z.detach().float()
        token, latent = z.nonzero(as_tuple=True)
        count = torch.count_nonzero(z, dim=1).int()
        active = Active(z[token, latent], latent.int(), (count.cumsum(0) - count).int(), count)
        return Outcome(loss.detach(), residuals[-1].detach().square().sum(), torch.count_nonzero(z, dim=0), active)

    def _latents(self, pre: Tensor) -> Tensor:
        k = self.sae.cfg.k
        if self.sae.cfg.recipe == "batchtopk":
            return topk_relu(pre.reshape(1, -1), k * len(pre)).reshape(pre.shape)
        return topk_relu(pre, k)

    def _decoded(self, z: Tensor) -> list[Tensor]:
        """Reconstruction s x̂ by each prefix."""
        sae = self.sae
        parts = [z[:, :p] @ sae.W_dec[:p] for p in sae.cfg.prefixes]
        return parts if sae.b_dec is None else [part + sae.b_dec for part in parts]

    @torch.no_grad()
    def _update(self, lr: float, step: int) -> None:
        """The radial part of the decoder's gradient dropped, clipping, Adam, unit rows."""
        w_dec, named = self.sae.W_dec, dict(self.sae.named_parameters())
        if self.unit:
            w_dec.grad.sub_((w_dec.grad * w_dec).sum(-1, keepdim=True) * w_dec)
        if self.train.clip is not None:
            torch.nn.utils.clip_grad_norm_(named.values(), self.train.clip)
        adam_update(
            list(named.values()),
            [p.grad for p in named.values()],
            [self.moments.first[name] for name in named],
            [self.moments.second[name] for name in named],
            [],
            [torch.tensor(float(step - 1), device=w_dec.device) for _ in named],
            fused=w_dec.device.type in ("cpu", "cuda"),
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        if self.unit:
            w_dec.copy_(F.normalize(w_dec, dim=-1))
