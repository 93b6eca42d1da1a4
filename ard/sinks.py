"""Attention sinks: the few tokens with massive activations that would swamp training and must not be replaced."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SINK_FACTOR = 10.0
"""Ours: a token is a sink when its norm exceeds this many times the median norm of its own clip."""


def find_sinks(
    activations: Float[Tensor, "*B L d"], mask: Bool[Tensor, "*B L"] | None = None, *, factor: float = SINK_FACTOR
) -> Bool[Tensor, "*B L"]:
    """Tokens t with ‖x_t‖ > factor · median over the clip's masked tokens of ‖x‖. Ours; the paper is silent.

    Args:
        activations: x, [B, L, d] or [L, d]; each row of the batch is one clip with its own median, so a clip's
            sinks do not depend on its neighbours in the batch.
        mask: tokens to look at (real ones); all when left out. Others are never sinks.
        factor: multiple of the median norm, above 1.

    Raises:
        ValueError: factor not above 1, or the mask's shape differs.
    """
    if not factor > 1:
        raise ValueError(f"factor is {factor}; a sink is a multiple of the median above 1, such as {SINK_FACTOR}.")
    norms = activations.detach().float().norm(dim=-1)
    if mask is None:
        mask = torch.ones_like(norms, dtype=torch.bool)
    if mask.shape != norms.shape:
        raise ValueError(f"The mask has shape {tuple(mask.shape)}; the activations need {tuple(norms.shape)}.")
    median = norms.masked_fill(~mask, torch.nan).nanmedian(dim=-1, keepdim=True).values
    return mask & (norms > factor * median)
