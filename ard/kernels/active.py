"""The latents that are above 0, token by token: what passes between the kernels in place of a dense z."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Active(NamedTuple):
    """Latents above 0 of each token: those of token n lie at first[n] … first[n] + count[n] − 1 of values and ids.

    What lies between the tokens' stretches is undefined. Within a stretch the order is that of the selection.
    """

    values: Float[Tensor, " places"]
    """z, all above 0."""
    ids: Int[Tensor, " places"]
    """latent_id, int32."""
    first: Int[Tensor, " tokens"]
    """Where a token's stretch starts, int32."""
    count: Int[Tensor, " tokens"]
    """Latents above 0 of the token, int32."""

    def used(self) -> tuple[Tensor, Tensor]:
        """Token of every pair [pairs] and its place in values and ids [pairs], token by token."""
        count = self.count.long()
        token = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        before = count.cumsum(0) - count
        return token, torch.arange(len(token), device=count.device) + (self.first.long() - before)[token]

    def dense(self, d_sae: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "tokens d_sae"]:
        """Z with its zeros."""
        token, place = self.used()
        z = torch.zeros(len(self.count), d_sae, dtype=dtype, device=self.values.device)
        z.view(-1).scatter_(0, token * d_sae + self.ids[place], self.values[place].to(dtype))
        return z
