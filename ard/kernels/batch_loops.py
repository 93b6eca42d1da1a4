"""The loops of BatchTopK on a CPU: the k · tokens largest positive values of a whole batch, found exactly.

A positive float32 read as an integer keeps its order. One histogram over the upper 16 bits finds the bin of the last
value kept, a second one over the lower 16 bits of that bin finds the value itself.
"""

from __future__ import annotations

import numpy as np

from ard.kernels.loops import _jit, _load

BINS = 1 << 16


@_jit
def upper_bits(pre, bias, counts, start, stop):
    """counts[b] += how many positive values of tokens start … stop − 1 have the upper 16 bits b."""
    row = np.empty(pre.shape[1], np.float32)
    bits = row.view(np.uint32)
    for n in range(start, stop):
        _load(pre[n], bias, row)
        for m in range(len(row)):
            if row[m] > 0:
                counts[bits[m] >> np.uint32(16)] += 1


@_jit
def lower_bits(pre, bias, upper, counts, start, stop):
    """The same for the lower 16 bits of the positive values whose upper bits are `upper`."""
    row = np.empty(pre.shape[1], np.float32)
    bits = row.view(np.uint32)
    for n in range(start, stop):
        _load(pre[n], bias, row)
        for m in range(len(row)):
            if row[m] > 0 and bits[m] >> np.uint32(16) == upper:
                counts[bits[m] & np.uint32(0xFFFF)] += 1


@_jit
def count_kept(pre, bias, last, above, equal, start, stop):
    """Values of each token above `last`, the smallest one kept, and equal to it."""
    row = np.empty(pre.shape[1], np.float32)
    for n in range(start, stop):
        _load(pre[n], bias, row)
        above[n], equal[n] = 0, 0
        for m in range(len(row)):
            if row[m] > last:
                above[n] += 1
            elif row[m] == last:
                equal[n] += 1


@_jit
def write_kept(pre, bias, last, first, ties, values, ids, start, stop):
    """Write the values of each token above `last`, and its first ties[n] values equal to it, from first[n] on."""
    row = np.empty(pre.shape[1], np.float32)
    for n in range(start, stop):
        _load(pre[n], bias, row)
        at, room = first[n], ties[n]
        for m in range(len(row)):
            if row[m] > last or (row[m] == last and room > 0):
                if row[m] == last:
                    room -= 1
                values[at], ids[at] = row[m], m
                at += 1
