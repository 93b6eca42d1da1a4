"""Loops over the dictionary's rows on a CPU, compiled by numba: weight gradients, Adam, unit norm.

As in `ard.kernels.loops`, a call works on rows that nobody else writes, and sums run in a fixed order.
"""

from __future__ import annotations

import numpy as np

from ard.kernels.loops import _jit


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
