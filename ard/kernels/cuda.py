"""Sparse products on a GPU, by Triton; the functions and the class of `ard.kernels.cpu`.

Each program owns the rows it writes, so there are no atomic additions and the result is the same in every run.
Selection holds one row of pre-activations in the program's registers and finds the k-th largest by bisecting its bits.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from ard.kernels.active import Active
from ard.kernels.state import AdamStep, Gradients, Weights, adam_vector

LONGEST_ROW = 1 << 17
"""Latents of one row that a program can hold."""


@triton.jit
def _select(pre, bias, values, ids, counts, latents, k, BLOCK: tl.constexpr):
    """TopK(ReLU(pre + bias)) of one token; ties to the lowest latent_id."""
    token = tl.program_id(0).to(tl.int64)
    m = tl.arange(0, BLOCK)
    inside = m < latents
    row = tl.load(pre + token * latents + m, mask=inside, other=0.0).to(tl.float32)
    row += tl.load(bias + m, mask=inside, other=0.0)
    # The bits of positive floats, read as integers, keep their order; everything else counts as 0.
    key = tl.where(inside & (row > 0), row, 0.0).to(tl.int32, bitcast=True)
    last = 0
    for i in range(31):
        guess = last | (1 << (30 - i))
        last = tl.where(tl.sum((key >= guess).to(tl.int32)) >= k, guess, last)
    equal = (key == last) & (key > 0)
    room = k - tl.sum((key > last).to(tl.int32))
    keep = (key > last) | (equal & (tl.cumsum(equal.to(tl.int32), 0) <= room))
    place = token * k + tl.cumsum(keep.to(tl.int32), 0) - 1
    tl.store(values + place, row, mask=keep)
    tl.store(ids + place, m, mask=keep)
    tl.store(counts + token, tl.sum(keep.to(tl.int32)))


@triton.jit
def _decode(values, ids, first, counts, weights, base, out, low, high, width, D: tl.constexpr, K: tl.constexpr):
    """out[n] = base[n] + Σ z W_dec over the token's latents in low … high − 1; one program a token and D columns."""
    token = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * D + tl.arange(0, D)
    start, count = tl.load(first + token), tl.load(counts + token)
    total = tl.load(base + token * width + d, mask=d < width, other=0.0)
    for i in range(0, count, K):
        place = i + tl.arange(0, K)
        latent = tl.load(ids + start + place, mask=place < count, other=0).to(tl.int64)
        used = (place < count) & (latent >= low) & (latent < high)
        z = tl.load(values + start + place, mask=used, other=0.0)
        w = tl.load(
            weights + latent[:, None] * width + d[None, :], mask=used[:, None] & (d < width)[None, :], other=0.0
        )
        total += tl.sum(z[:, None] * w, axis=0)
    tl.store(out + token * width + d, total, mask=d < width)


@triton.jit
def _dz(tokens, latents, offset, g, weights, out, n_tokens, width, D: tl.constexpr):
    """Gradient dz of one pair: g_n · W_dec[m], g of the block of prefixes that m lies in."""
    pair = tl.program_id(0).to(tl.int64)
    token, latent = tl.load(tokens + pair).to(tl.int64), tl.load(latents + pair).to(tl.int64)
    row = g + (tl.load(offset + latent) * n_tokens + token) * width
    total = tl.zeros((D,), tl.float32)
    for start in range(0, width, D):
        d = start + tl.arange(0, D)
        a = tl.load(row + d, mask=d < width, other=0.0)
        total += a * tl.load(weights + latent * width + d, mask=d < width, other=0.0)
    tl.store(out + pair, tl.sum(total))


@triton.jit
def _rows(
    pointer, tokens, z, dz, offset, g, centred, enc, dec, bias, n_tokens, width, D: tl.constexpr, K: tl.constexpr
):
    """Add the gradient rows of one latent, D columns of them: Σ z_n g_n, Σ dz_n c_n and Σ dz_n."""
    latent = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * D + tl.arange(0, D)
    start, stop = tl.load(pointer + latent), tl.load(pointer + latent + 1)
    block = tl.load(offset + latent) * n_tokens
    of_enc, of_dec = tl.zeros((D,), tl.float32), tl.zeros((D,), tl.float32)
    of_bias = 0.0
    for at in range(start, stop, K):
        pair = at + tl.arange(0, K)
        used = pair < stop
        token = tl.load(tokens + pair, mask=used, other=0).to(tl.int64)
        both = used[:, None] & (d < width)[None, :]
        gn = tl.load(g + (block + token)[:, None] * width + d[None, :], mask=both, other=0.0)
        cn = tl.load(centred + token[:, None] * width + d[None, :], mask=both, other=0.0)
        slope = tl.load(dz + pair, mask=used, other=0.0)
        of_dec += tl.sum(tl.load(z + pair, mask=used, other=0.0)[:, None] * gn, axis=0)
        of_enc += tl.sum(slope[:, None] * cn, axis=0)
        of_bias += tl.sum(slope)
    cell = latent * width + d
    tl.store(enc + cell, of_enc + tl.load(enc + cell, mask=d < width, other=0.0), mask=d < width)
    tl.store(dec + cell, of_dec + tl.load(dec + cell, mask=d < width, other=0.0), mask=d < width)
    if tl.program_id(1) == 0:
        tl.store(bias + latent, of_bias + tl.load(bias + latent))


@triton.jit
def _adam(
    w,
    m,
    v,
    grad,
    low,
    scale,
    rate,
    root,
    beta1,
    beta2,
    eps,
    width,
    unit: tl.constexpr,
    copy: tl.constexpr,
    D: tl.constexpr,
):
    """One step of Adam on one row; then norm 1 (`unit`), then its bfloat16 copy (`copy`)."""
    d = tl.arange(0, D)
    inside = d < width
    cell = tl.program_id(0).to(tl.int64) * width + d
    x = tl.load(grad + cell, mask=inside, other=0.0) * scale
    a = tl.load(m + cell, mask=inside, other=0.0)
    a += (1 - beta1) * (x - a)
    b = beta2 * tl.load(v + cell, mask=inside, other=0.0) + (1 - beta2) * x * x
    new = tl.load(w + cell, mask=inside, other=0.0) - rate * a / (tl.sqrt(b) * root + eps)
    if unit:
        new = new / tl.maximum(tl.sqrt(tl.sum(tl.where(inside, new * new, 0.0))), 1e-12)
    tl.store(m + cell, a, mask=inside)
    tl.store(v + cell, b, mask=inside)
    tl.store(w + cell, new, mask=inside)
    if copy:
        tl.store(low + cell, new.to(tl.bfloat16), mask=inside)


@triton.jit
def _drop_radial(grad, w, width, D: tl.constexpr):
    """Take from one row of grad its part along w."""
    d = tl.arange(0, D)
    inside = d < width
    cell = tl.program_id(0).to(tl.int64) * width + d
    x, u = tl.load(grad + cell, mask=inside, other=0.0), tl.load(w + cell, mask=inside, other=0.0)
    tl.store(grad + cell, x - tl.sum(x * u) * u, mask=inside)


def _columns(width: int) -> int:
    return min(256, triton.next_power_of_2(width))


def select(pre: Float[Tensor, "tokens d_sae"], bias: Float[Tensor, " d_sae"], k: int) -> Active:
    """Latents z = TopK(ReLU(pre + bias)): the k largest positive values of each token, ties to the lowest latent_id.

    Raises:
        ValueError: the dictionary is too wide for one program.
    """
    tokens, latents = pre.shape
    if latents > LONGEST_ROW:
        raise ValueError(f"d_sae is {latents}; the compiled top-k goes up to {LONGEST_ROW}, so set kernels to plain.")
    values = torch.empty(tokens * k, device=pre.device)
    ids, count = (torch.empty(n, dtype=torch.int32, device=pre.device) for n in (tokens * k, tokens))
    block = triton.next_power_of_2(latents)
    warps = min(32, max(4, block // 1024))
    _select[(tokens,)](pre.contiguous(), bias, values, ids, count, latents, k, BLOCK=block, num_warps=warps)
    return Active(values, ids, torch.arange(0, tokens * k, k, dtype=torch.int32, device=pre.device), count)


def select_batch(pre: Float[Tensor, "tokens d_sae"], bias: Float[Tensor, " d_sae"], k: int) -> Active:
    """The k · tokens largest positive values of pre + bias; among equals the first token, then the lowest latent_id."""
    tokens, latents = pre.shape
    flat = (pre.float() + bias).relu_().reshape(-1)
    wanted = min(k * tokens, flat.numel())
    last = flat.topk(wanted, sorted=False).values.min()
    equal = (flat == last) & (last > 0)
    room = wanted - (flat > last).sum()
    keep = ((flat > last) | (equal & (equal.cumsum(0) <= room))).reshape(tokens, latents)
    token, latent = keep.nonzero(as_tuple=True)
    count = torch.bincount(token, minlength=tokens)
    return Active(
        flat.reshape(tokens, latents)[token, latent], latent.int(), (count.cumsum(0) - count).int(), count.int()
    )


class Sparse:
    """Products with the latents above 0 alone, on a GPU."""

    def __init__(self, active: Active, d_sae: int) -> None:
        self.active, self.d_sae = active, d_sae
        token, place = active.used()
        latent = active.ids[place]
        order = torch.sort(latent, stable=True).indices  # pairs come token by token, so tokens stay in order
        self.latents, self.tokens = latent[order].contiguous(), token[order].int()
        self.z = active.values[place][order].contiguous()
        self.counts = torch.bincount(latent, minlength=d_sae)
        self.pointer = torch.cat([self.counts.new_zeros(1), self.counts.cumsum(0)]).int()

    def per_latent(self) -> Int[Tensor, " d_sae"]:
        """Tokens of each latent."""
        return self.counts

    def decode(
        self,
        weights: Float[Tensor, "d_sae d_in"],
        bias: Float[Tensor, " d_in"],
        prefixes: np.ndarray,
        out: Float[Tensor, "prefixes tokens d_in"],
    ) -> None:
        """out[p] = z W_dec + b_dec with the latents below prefixes[p] alone; the last prefix is d_sae."""
        _, tokens, width = out.shape
        columns, low = _columns(width), 0
        base = bias.expand(tokens, width).contiguous()
        grid = (tokens, triton.cdiv(width, columns))
        for p, high in enumerate(prefixes.tolist()):
            _decode[grid](*self.active, weights, base, out[p], low, high, width, D=columns, K=16)
            base, low = out[p], high

    def gradients(
        self, g: Tensor, centred: Tensor, prefixes: np.ndarray, w_dec: Tensor, into: Gradients, unit: bool
    ) -> None:
        """Add ∂/∂W_enc, ∂/∂W_dec and ∂/∂b_enc to `into`; with `unit` then without the part along each decoder row."""
        _, tokens, width = g.shape
        block = np.searchsorted(prefixes, np.arange(self.d_sae), side="right")
        offset, columns = torch.from_numpy(block).to(g.device), _columns(width)
        dz = torch.empty_like(self.z)
        if len(dz):
            _dz[(len(dz),)](self.tokens, self.latents, offset, g, w_dec, dz, tokens, width, D=columns)
        arrays = (self.pointer, self.tokens, self.z, dz, offset, g, centred, *into, tokens, width)
        _rows[(self.d_sae, triton.cdiv(width, columns))](*arrays, D=columns, K=16)
        if unit:
            _drop_radial[(self.d_sae,)](into.W_dec, w_dec, width, D=triton.next_power_of_2(width))


def update(weights: Weights, moments: tuple[Tensor, ...], grad: Gradients, scale: float, adam: AdamStep) -> None:
    """Adam on W_enc, W_dec and b_enc from finished gradients, then unit rows where `weights.unit`."""
    d_sae, width = weights.W_dec.shape
    shape = {"width": width, "D": triton.next_power_of_2(width)}
    low = weights.low if weights.low is not None else weights.W_enc
    _adam[(d_sae,)](
        weights.W_enc, *moments[:2], grad.W_enc, low, scale, *adam, unit=False, copy=weights.low is not None, **shape
    )
    _adam[(d_sae,)](weights.W_dec, *moments[2:4], grad.W_dec, low, scale, *adam, unit=weights.unit, copy=False, **shape)
    first, second = moments[4:6]
    adam_vector(weights.b_enc, first, second, grad.b_enc, scale, adam)
