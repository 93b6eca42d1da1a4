"""Sparse products on a CPU: the loops of this package, shared among as many threads as torch uses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ard.kernels import batch_loops, loops, row_loops
from ard.kernels.active import Active
from ard.kernels.state import AdamStep, Extra, Gradients, Weights

ROW_COST = 6
"""Adam on one row costs about as much as this many pairs of a token and a latent."""
PARTS = 32
"""Stretches that rows are cut into: fixed, so that sums over stretches do not depend on the number of threads."""


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="ard-kernels")


def _shared(bounds: np.ndarray, call: Callable[[int, int, int], Any]) -> None:
    """call(part, start, stop) for each stretch of rows between `bounds`, by as many threads as torch uses.

    Each thread, this one among them, takes the next stretch that nobody has: one hand-over a thread, not a stretch.
    """
    waiting = iter(range(len(bounds) - 1))

    def work() -> None:
        for part in waiting:
            call(part, int(bounds[part]), int(bounds[part + 1]))

    threads = torch.get_num_threads()
    others = [_pool(threads).submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        other.result()


def _even(rows: int) -> np.ndarray:
    return np.linspace(0, rows, min(PARTS, rows) + 1).astype(np.int64)


def _numpy(tensor: Tensor) -> np.ndarray:
    """The same memory as an array; bfloat16 as the uint16 of its bits."""
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def select(pre: Float[Tensor, "tokens d_sae"], bias: Float[Tensor, " d_sae"], k: int) -> Active:
    """Z = TopK(ReLU(pre + bias)): the k largest positive values of each token, ties to the lowest latent_id."""
    tokens = len(pre)
    values, ids, count = np.empty((tokens, k), np.float32), np.empty((tokens, k), np.int32), np.empty(tokens, np.int32)
    p, b = _numpy(pre), _numpy(bias)
    _shared(_even(tokens), lambda _, start, stop: loops.select(p, b, k, values, ids, count, start, stop))
    first = torch.arange(0, tokens * k, k, dtype=torch.int32)
    flat_values, flat_ids = torch.from_numpy(values.reshape(-1)), torch.from_numpy(ids.reshape(-1))
    return Active(flat_values, flat_ids, first, torch.from_numpy(count))


def select_batch(pre: Float[Tensor, "tokens d_sae"], bias: Float[Tensor, " d_sae"], k: int) -> Active:
    """The k · tokens largest positive values of pre + bias; among equals the first token, then the lowest latent_id."""
    p, b, tokens = _numpy(pre), _numpy(bias), len(pre)
    rows, wanted = _even(tokens), k * tokens
    counts = np.zeros((len(rows) - 1, batch_loops.BINS), np.int64)
    _shared(rows, lambda part, start, stop: batch_loops.upper_bits(p, b, counts[part], start, stop))
    total, last = counts.sum(0), np.float32(0)
    above, equal = np.empty(tokens, np.int64), np.zeros(tokens, np.int64)
    if total.sum() > wanted:
        upper, before = _bin_of(total, wanted)
        counts[:] = 0
        _shared(rows, lambda part, start, stop: batch_loops.lower_bits(p, b, upper, counts[part], start, stop))
        lower, _ = _bin_of(counts.sum(0), wanted - before)
        last = np.array([upper << 16 | lower], np.uint32).view(np.float32)[0]
    _shared(rows, lambda _, start, stop: batch_loops.count_kept(p, b, last, above, equal, start, stop))
    # Room left for values equal to the last one goes to the tokens in order; without a last one (0) nothing is equal.
    room = wanted - above.sum() if last > 0 else 0
    ties = np.diff(np.minimum(np.concatenate([[0], equal.cumsum()]), room))
    count = above + ties
    first = np.concatenate([[0], count.cumsum()[:-1]]).astype(np.int32)
    values, ids = np.empty(int(count.sum()), np.float32), np.empty(int(count.sum()), np.int32)
    _shared(rows, lambda _, start, stop: batch_loops.write_kept(p, b, last, first, ties, values, ids, start, stop))
    return Active(*map(torch.from_numpy, (values, ids, first, count.astype(np.int32))))


def _bin_of(counts: np.ndarray, wanted: int) -> tuple[int, int]:
    """The bin that holds the `wanted`-th largest value, and how many values lie in the bins above it."""
    down = counts[::-1].cumsum()
    place = int(np.searchsorted(down, wanted))
    return len(counts) - 1 - place, int(down[place - 1]) if place else 0


def _adam(adam: AdamStep) -> tuple[np.float32, ...]:
    return tuple(map(np.float32, (adam.rate, adam.root, adam.beta1, adam.beta2, adam.eps)))


def _low(weights: Weights) -> np.ndarray:
    return np.empty((0, 0), np.uint16) if weights.low is None else _numpy(weights.low)


def update(weights: Weights, moments: tuple[Tensor, ...], grad: Gradients, scale: float, adam: AdamStep) -> None:
    """Adam on W_enc, W_dec and b_enc from finished gradients, then unit rows where `weights.unit`."""
    fixed = (
        tuple(map(_numpy, weights.rows)),
        tuple(map(_numpy, moments)),
        *map(_numpy, grad),
        np.float32(scale),
        _adam(adam),
        weights.unit,
        _low(weights),
    )
    _shared(_even(len(weights.W_dec)), lambda _, start, stop: row_loops.update(*fixed, start, stop))


class Sparse:
    """Products with the latents above 0 alone, on a CPU."""

    def __init__(self, active: Active, d_sae: int) -> None:
        places = len(active.values)
        self.active = tuple(map(_numpy, active))
        pointer, tokens, z = np.empty(d_sae + 1, np.int32), np.empty(places, np.int32), np.empty(places, np.float32)
        loops.by_latent(*self.active, pointer, tokens, z)
        self.pairs = (pointer, tokens, z)
        cost = pointer + ROW_COST * np.arange(d_sae + 1, dtype=np.int64)
        self.bounds = np.searchsorted(cost, np.linspace(0, cost[-1], min(PARTS, d_sae) + 1))
        self.bounds[0], self.bounds[-1] = 0, d_sae

    def per_latent(self) -> Int[Tensor, " d_sae"]:
        """Tokens of each latent."""
        return torch.from_numpy(np.diff(self.pairs[0]).astype(np.int64))

    def decode(
        self,
        weights: Float[Tensor, "d_sae d_in"],
        bias: Float[Tensor, " d_in"],
        prefixes: np.ndarray,
        out: Float[Tensor, "prefixes tokens d_in"],
    ) -> None:
        """out[p] = z W_dec + b_dec with the latents below prefixes[p] alone; the last prefix is d_sae."""
        w, b, o = map(_numpy, (weights, bias, out))
        _shared(_even(out.shape[1]), lambda _, start, stop: loops.decode(*self.active, w, b, prefixes, o, start, stop))

    def gradients(
        self, g: Tensor, centred: Tensor, prefixes: np.ndarray, w_dec: Tensor, into: Gradients, unit: bool
    ) -> None:
        """Add ∂/∂W_enc, ∂/∂W_dec and ∂/∂b_enc to `into`; with `unit` then without the part along each decoder row."""
        fixed = (self.pairs, _numpy(g), _numpy(centred), prefixes, _numpy(w_dec), *map(_numpy, into), unit)
        _shared(self.bounds, lambda _, start, stop: row_loops.gradients(*fixed, start, stop))

    def gradients_and_update(
        self,
        g: Tensor,
        centred: Tensor,
        prefixes: np.ndarray,
        weights: Weights,
        moments: tuple[Tensor, ...],
        extra: Extra | None,
        adam: AdamStep,
    ) -> Float[Tensor, " d_in"]:
        """`gradients` and `update` in one pass over the rows; returns Σ_m ∂/∂b_enc[m] · W_enc[m] before the update."""
        d_sae, width = weights.W_dec.shape
        row = np.full(d_sae, -1, np.int32)
        added: tuple[np.ndarray, ...] = (*(np.empty((0, width), np.float32),) * 2, np.empty(0, np.float32))
        if extra is not None:
            row[_numpy(extra.ids)] = np.arange(len(extra.ids), dtype=np.int32)
            added = tuple(map(_numpy, extra.gradients))
        share = np.zeros((len(self.bounds) - 1, width), np.float32)
        fixed = (
            *(self.pairs, _numpy(g), _numpy(centred), prefixes),
            *(tuple(map(_numpy, weights.rows)), tuple(map(_numpy, moments)), (row, *added)),
            *(_adam(adam), weights.unit, _low(weights)),
        )
        _shared(self.bounds, lambda part, start, stop: row_loops.gradients_and_update(*fixed, share[part], start, stop))
        return torch.from_numpy(share.sum(0))
