"""The loops of the sparse path on a CPU, compiled by numba: top-k, decode, weight gradients, Adam.

Every function works on a range of rows that nobody else writes, so several threads share the work and the result does
not depend on how many they are. Sums run in a fixed order: the latents of a token as selected, the tokens of a latent
in ascending order. `fastmath` lets the compiler add the terms of one dot product in vector lanes and fuse multiply and
add; it is never told that values are finite.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types
from numba.extending import overload

FAST = {"reassoc", "contract", "nsz"}


def _jit(function):
    return numba.njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy", boundscheck=False)(function)


def _load(row, bias, out):
    """Out = row + bias in float32; a row of uint16 holds the bits of bfloat16 values."""
    raise NotImplementedError("called from compiled code only")


@overload(_load, inline="always")
def _load_of_type(row, bias, out):  # noqa: ARG001 - numba matches the names
    if row.dtype == types.uint16:

        def from_bfloat16(row, bias, out):
            bits = out.view(np.uint32)
            for i in range(len(row)):
                bits[i] = np.uint32(row[i]) << np.uint32(16)
            for i in range(len(row)):
                out[i] += bias[i]

        return from_bfloat16

    def from_float32(row, bias, out):
        for i in range(len(row)):
            out[i] = row[i] + bias[i]

    return from_float32


@_jit
def _kth_largest(a, n, k):
    """The k-th largest of a[:n] by Hoare's quickselect; reorders a."""
    low, high, place = 0, n - 1, k - 1
    while low < high:
        pivot = a[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while a[i] > pivot:
                i += 1
            while a[j] < pivot:
                j -= 1
            if i <= j:
                a[i], a[j] = a[j], a[i]
                i += 1
                j -= 1
        if place <= j:
            high = j
        elif place >= i:
            low = i
        else:
            break
    return a[place]


@_jit
def _group_maxima(row, groups, out):
    """out[g] = the largest of row[g], row[g + groups], row[g + 2·groups] and so on."""
    for g in range(groups):
        out[g] = row[g]
    start = groups
    while start < len(row):
        width = min(groups, len(row) - start)
        part = row[start : start + width]
        for g in range(width):
            out[g] = part[g] if part[g] > out[g] else out[g]
        start += groups


@_jit
def _smallest_first(ids, n):
    """Insertion sort of ids[:n]: the few latents that tie for the last places."""
    for i in range(1, n):
        one, j = ids[i], i - 1
        while j >= 0 and ids[j] > one:
            ids[j + 1] = ids[j]
            j -= 1
        ids[j + 1] = one


@_jit
def select(pre, bias, k, values, ids, count, start, stop):
    """TopK(ReLU(pre + bias)) of tokens start … stop − 1: values and ids [tokens, k], how many are above 0 in count.

    The k-th largest of 8k group maxima is at most the k-th largest of all, so every chosen value lies in a group whose
    maximum reaches it; among the few candidates left the k-th is found exactly. Ties go to the lowest latent_id.
    """
    latents = pre.shape[1]
    groups = min(latents, 8 * k)
    row, top = np.empty(latents, np.float32), np.empty(groups, np.float32)
    scratch = np.empty(max(groups, latents), np.float32)
    found, found_ids = np.empty(latents, np.float32), np.empty(latents, np.int32)
    tied = np.empty(latents, np.int32)
    for n in range(start, stop):
        _load(pre[n], bias, row)
        _group_maxima(row, groups, top)
        scratch[:groups] = top
        bound = _kth_largest(scratch, groups, k)
        c = 0
        for g in range(groups):
            if top[g] >= bound and top[g] > 0:
                for m in range(g, latents, groups):
                    if row[m] >= bound and row[m] > 0:
                        found[c], found_ids[c] = row[m], m
                        c += 1
        if c <= k:
            for i in range(c):
                values[n, i], ids[n, i] = found[i], found_ids[i]
            count[n] = c
            continue
        scratch[:c] = found[:c]
        kth = _kth_largest(scratch, c, k)
        kept, equal = 0, 0
        for i in range(c):
            if found[i] > kth:
                values[n, kept], ids[n, kept] = found[i], found_ids[i]
                kept += 1
            elif found[i] == kth:
                tied[equal] = found_ids[i]
                equal += 1
        if equal > k - kept:
            _smallest_first(tied, equal)
        for i in range(k - kept):
            values[n, kept + i], ids[n, kept + i] = kth, tied[i]
        count[n] = k


@_jit
def decode(values, ids, first, count, weights, bias, prefixes, out, start, stop):
    """out[p, n] = bias + Σ over the token's latents below prefixes[p] of z · W_dec, for tokens start … stop − 1.

    The latents of token n lie at first[n] … first[n] + count[n] − 1 of values and ids.
    """
    width = weights.shape[1]
    for n in range(start, stop):
        low = 0
        for p in range(len(prefixes)):
            total, high = out[p, n], prefixes[p]
            if p == 0:
                total[:] = bias
            else:
                total[:] = out[p - 1, n]
            i, stop_at = first[n], first[n] + count[n]
            if len(prefixes) == 1:
                while i + 4 <= stop_at:
                    a, b, c, d = values[i], values[i + 1], values[i + 2], values[i + 3]
                    wa, wb, wc, wd = weights[ids[i]], weights[ids[i + 1]], weights[ids[i + 2]], weights[ids[i + 3]]
                    for j in range(width):
                        total[j] += a * wa[j] + b * wb[j] + c * wc[j] + d * wd[j]
                    i += 4
            while i < stop_at:
                if low <= ids[i] < high:
                    z, w = values[i], weights[ids[i]]
                    for j in range(width):
                        total[j] += z * w[j]
                i += 1
            low = high


@_jit
def by_latent(values, ids, first, count, pointer, tokens, z):
    """The same pairs sorted by latent, then token: those of latent m at pointer[m] … pointer[m + 1] − 1."""
    pointer[:] = 0
    for n in range(len(count)):
        for i in range(first[n], first[n] + count[n]):
            pointer[ids[i] + 1] += 1
    for m in range(len(pointer) - 1):
        pointer[m + 1] += pointer[m]
    place = pointer[:-1].copy()
    for n in range(len(count)):
        for i in range(first[n], first[n] + count[n]):
            at = place[ids[i]]
            tokens[at], z[at] = n, values[i]
            place[ids[i]] = at + 1


@_jit
def _gradient_row(m, pointer, tokens, z, g, centred, w_dec, enc, dec):
    """Add to enc and dec the gradient rows of latent m; returns that of its bias.

    ∂/∂W_dec[m] = Σ_n z_nm g_n,  ∂/∂W_enc[m] = Σ_n (g_n · W_dec[m]) c_n, over the tokens n where latent m is above 0.
    """
    width = len(w_dec)
    bias = np.float32(0)
    at, stop = pointer[m], pointer[m + 1]
    while (
        at + 4 <= stop
    ):  # four tokens at a time: their rows are fetched together, and sums are stored a quarter as often
        t0, t1, t2, t3 = tokens[at], tokens[at + 1], tokens[at + 2], tokens[at + 3]
        z0, z1, z2, z3 = z[at], z[at + 1], z[at + 2], z[at + 3]
        g0, g1, g2, g3 = g[t0], g[t1], g[t2], g[t3]
        d0, d1, d2, d3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for j in range(width):
            w = w_dec[j]
            d0 += g0[j] * w
            d1 += g1[j] * w
            d2 += g2[j] * w
            d3 += g3[j] * w
            dec[j] += z0 * g0[j] + z1 * g1[j] + z2 * g2[j] + z3 * g3[j]
        c0, c1, c2, c3 = centred[t0], centred[t1], centred[t2], centred[t3]
        for j in range(width):
            enc[j] += d0 * c0[j] + d1 * c1[j] + d2 * c2[j] + d3 * c3[j]
        bias += d0 + d1 + d2 + d3
        at += 4
    while at < stop:
        gn, cn, zn = g[tokens[at]], centred[tokens[at]], z[at]
        dz = np.float32(0)
        for j in range(width):
            dz += gn[j] * w_dec[j]
            dec[j] += zn * gn[j]
        for j in range(width):
            enc[j] += dz * cn[j]
        bias += dz
        at += 1
    return bias


@_jit
def _drop_radial(grad, w):
    """Grad −= (grad · w) w: what would only change the norm of a row that is reset to 1."""
    along = np.float32(0)
    for j in range(len(w)):
        along += grad[j] * w[j]
    for j in range(len(w)):
        grad[j] -= along * w[j]


@_jit
def _adam_row(w, grad, m, v, scale, rate, root, beta1, beta2, eps):
    """One step of Adam on a row in place; `rate` = lr / (1 − β₁ᵗ), `root` = 1 / √(1 − β₂ᵗ)."""
    one = np.float32(1)
    for j in range(len(w)):
        x = grad[j] * scale
        a = m[j] + (one - beta1) * (x - m[j])
        b = beta2 * v[j] + (one - beta2) * x * x
        m[j], v[j] = a, b
        w[j] -= rate * a / (np.sqrt(b) * root + eps)


@_jit
def _unit(w):
    """Divide a row by its norm, or by 1e-12 where that is larger."""
    square = np.float32(0)
    for j in range(len(w)):
        square += w[j] * w[j]
    inverse = np.float32(1) / max(np.sqrt(square), np.float32(1e-12))
    for j in range(len(w)):
        w[j] *= inverse


@_jit
def _to_bfloat16(row, low):
    """Bits of the bfloat16 values nearest to row, ties to even."""
    bits = row.view(np.uint32)
    for j in range(len(row)):
        x = bits[j]
        low[j] = np.uint16((x + np.uint32(0x7FFF) + ((x >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@_jit
def gradients(pairs, g, centred, prefixes, w_dec, enc, dec, bias, unit, start, stop):
    """Gradient rows start … stop − 1 of W_enc, W_dec and b_enc, added to enc, dec and bias (see `_gradient_row`).

    g[p] [tokens, d_in] is the gradient that reaches latents below prefixes[p] (and not below prefixes[p − 1]).
    """
    pointer, tokens, z = pairs
    p = 0
    for m in range(start, stop):
        while prefixes[p] <= m:
            p += 1
        bias[m] += _gradient_row(m, pointer, tokens, z, g[p], centred, w_dec[m], enc[m], dec[m])
        if unit:
            _drop_radial(dec[m], w_dec[m])


@_jit
def _update_row(m, weights, moments, enc, dec, bias, scale, adam, unit, low):
    """Adam on row m of W_enc, W_dec and b_enc, unit norm, and the bfloat16 copy of W_enc where one is kept."""
    w_enc, w_dec, b_enc = weights
    m_enc, v_enc, m_dec, v_dec, m_bias, v_bias = moments
    rate, root, beta1, beta2, eps = adam
    _adam_row(w_enc[m], enc, m_enc[m], v_enc[m], scale, rate, root, beta1, beta2, eps)
    _adam_row(w_dec[m], dec, m_dec[m], v_dec[m], scale, rate, root, beta1, beta2, eps)
    at = slice(m, m + 1)
    _adam_row(b_enc[at], bias, m_bias[at], v_bias[at], scale, rate, root, beta1, beta2, eps)
    if unit:
        _unit(w_dec[m])
    if len(low):
        _to_bfloat16(w_enc[m], low[m])


@_jit
def update(weights, moments, enc, dec, bias, scale, adam, unit, low, start, stop):
    """Adam on rows start … stop − 1 from finished gradients; `scale` multiplies them (clipping)."""
    for m in range(start, stop):
        _update_row(m, weights, moments, enc[m], dec[m], bias[m : m + 1], scale, adam, unit, low)


@_jit
def gradients_and_update(
    pairs, g, centred, prefixes, weights, moments, extra, adam, unit, low, b_dec_share, start, stop
):
    """`gradients` and `update` row by row: a gradient lives in a few kilobytes and is never written to memory.

    extra = (row, enc, dec, bias): where row[m] ≥ 0, that row of the other three is added (AuxK). b_dec_share [d_in]
    receives Σ_m ∂/∂b_enc[m] · W_enc[m] before the update: what b_dec gets through the encoder, with a minus.
    """
    w_enc, w_dec, _ = weights
    pointer, tokens, z = pairs
    extra_row, extra_enc, extra_dec, extra_bias = extra
    width = w_enc.shape[1]
    enc, dec, bias = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(1, np.float32)
    p = 0
    for m in range(start, stop):
        while prefixes[p] <= m:
            p += 1
        at = extra_row[m]
        if at >= 0:
            enc[:] = extra_enc[at]
            dec[:] = extra_dec[at]
            bias[0] = extra_bias[at]
        else:
            enc[:] = 0
            dec[:] = 0
            bias[0] = 0
        bias[0] += _gradient_row(m, pointer, tokens, z, g[p], centred, w_dec[m], enc, dec)
        if bias[0] != 0:
            for j in range(width):
                b_dec_share[j] += bias[0] * w_enc[m, j]
        if unit:
            _drop_radial(dec, w_dec[m])
        _update_row(m, weights, moments, enc, dec, bias, np.float32(1), adam, unit, low)
