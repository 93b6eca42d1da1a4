"""Where training tokens come from: a tensor in memory, or anything that hands out batches of activations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor


class TokenSource(Protocol):
    """Activations x of one hookpoint, in batches whose order depends only on the seed."""

    tokens: int
    """Tokens in the set."""
    d_in: int
    """Width of x."""

    def batches(self, batch: int, steps: int, seed: int, skip: int = 0) -> Iterator[Float[Tensor, "batch d_in"]]:
        """`steps` batches of exactly `batch` tokens, less the first `skip` of them (a run that goes on)."""

    def sample(self, n: int, seed: int) -> Float[Tensor, "n d_in"]:
        """N tokens of the set, drawn by `seed`; all of them where the set has no more."""


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


class TensorSource:
    """The rows of a tensor in CPU memory, in whole passes (`token_batches`)."""

    def __init__(self, x: Float[Tensor, "tokens d_in"]) -> None:
        self.x = x
        self.tokens, self.d_in = x.shape

    def batches(self, batch: int, steps: int, seed: int, skip: int = 0) -> Iterator[Float[Tensor, "batch d_in"]]:
        """See `TokenSource`."""
        for rows in islice(token_batches(self.tokens, batch, steps, seed), skip, None):
            yield self.x[rows]

    def sample(self, n: int, seed: int) -> Float[Tensor, "n d_in"]:
        """See `TokenSource`."""
        if n >= self.tokens:
            return self.x
        return self.x[torch.randperm(self.tokens, generator=torch.Generator().manual_seed(seed))[:n]]
