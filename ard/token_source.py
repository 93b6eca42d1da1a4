"""Where the tokens an SAE is trained on come from: memory, disk, or the AudioLLM itself, behind one Protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from jaxtyping import Float
from torch import Tensor


class TokenSource(Protocol):
    """Activations x [tokens, d_in] of one hookpoint, handed out in a random order that the seed alone decides.

    One pass holds every token exactly once; passes follow each other, each in an order of its own, and a batch may
    reach from one pass into the next, so every batch is full. Values come in a floating type, on the CPU.
    """

    tokens: int
    """Tokens of one pass; a token that counts several times (`text_weight`) is counted as often."""
    d_in: int
    """Width of x."""

    def batches(self, batch: int, steps: int, seed: int, skip: int = 0) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Batches number `skip` to `steps - 1` (from 0) of the order of `seed`: what a resumed training still needs."""
        ...

    def sample(self, n: int, seed: int) -> Float[Tensor, "n d_in"]:
        """min(n, tokens) different tokens of a pass, drawn evenly: for the mean, the scale, or a first look."""
        ...
