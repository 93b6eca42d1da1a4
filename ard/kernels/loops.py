"""Loops over tokens on a CPU, compiled by numba: top-k, decode, pairs of a token and a latent sorted by latent.

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
