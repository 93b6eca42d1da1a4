"""Eq. 2 and token totals from sparse latents, clip by clip, in one pass (AR&D, arXiv 2602.22253).

    μ = (1/T) Σ_t z_t      c = (1/T) Σ_t 1[z_t > 0]      r = μ c          T real tokens of the clip

The same numbers as `ard.scores.clip_scores` gives for dense latents, from the entries above 0 alone: at k = 250 of
32,768 latents that is 1 value in 131. Sums run in float64 in the order of the tokens; totals over clips carry their
rounding error along (Neumaier, "Rundungsfehleranalyse", 1974), so that the order of the clips leaves no trace in the
float32 that is kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ard.scores import ScoreError

LOW, HIGH, PER_OCTAVE = -10, 10, 4
EDGES = 2.0 ** (np.arange(LOW * PER_OCTAVE, HIGH * PER_OCTAVE + 1) / PER_OCTAVE)
"""Edges of the histograms' bins. Ours: four bins an octave; values beyond the ends fall into the first or last bin."""
_BINS = len(EDGES) - 1
_QUARTERS = 2.0 ** (np.arange(1, PER_OCTAVE) / PER_OCTAVE)


class SparseLatents(NamedTuple):
    """Latents above 0 of some clips: clip i has `tokens[i]` tokens and the entries `offsets[i]` to `offsets[i + 1]`."""

    tokens: Int[np.ndarray, " clips"]
    offsets: Int[np.ndarray, " clips_plus_1"]
    latents: Int[np.ndarray, " entries"]
    """Latent of each entry, token after token."""
    values: Float[np.ndarray, " entries"]
    """z of each entry, float32; entries of 0 are passed over."""

    @classmethod
    def of(cls, z: Float[Tensor, "T d_sae"]) -> SparseLatents:
        """One clip from its dense latents."""
        rows, latents = z.nonzero(as_tuple=True)
        values = z[rows, latents].float().cpu().numpy()
        ends = np.array([0, len(values)], np.int64)
        return cls(np.array([len(z)], np.int64), ends, latents.to(torch.int32).cpu().numpy(), values)

    @classmethod
    def together(cls, parts: Sequence[SparseLatents]) -> SparseLatents:
        """Several batches as one."""
        lengths = np.concatenate([np.diff(p.offsets) for p in parts])
        offsets = np.concatenate([np.zeros(1, np.int64), lengths.cumsum()])
        columns = [np.concatenate([getattr(p, name) for p in parts]) for name in ("tokens", "latents", "values")]
        return cls(columns[0], offsets, columns[1], columns[2])


class ClipEntries(NamedTuple):
    """Eq. 2 of some clips for the latents that fire in them: clip i has entries `offsets[i]` to `offsets[i + 1]`."""

    offsets: Int[np.ndarray, " clips_plus_1"]
    latent_id: Int[np.ndarray, " entries"]
    """Ascending within a clip."""
    mean_activation: Float[np.ndarray, " entries"]
    coverage: Float[np.ndarray, " entries"]
    representativeness: Float[np.ndarray, " entries"]
    max_activation: Float[np.ndarray, " entries"]

    @property
    def scores(self) -> Float[np.ndarray, "3 entries"]:
        """r, μ and c, the scores of the methods `ard`, `mean` and `coverage`."""
        return np.stack([self.representativeness, self.mean_activation, self.coverage])


class Totals(NamedTuple):
    """Sums over tokens, for each latent; divided once, at the end."""

    active: Int[np.ndarray, " d_sae"]
    """Tokens with z > 0."""
    total: Float[np.ndarray, "2 d_sae"]
    """Sum of z, and what rounding took from it."""
    largest: Float[np.ndarray, " d_sae"]
    """Largest z."""
    clips: Int[np.ndarray, " d_sae"]
    """Clips with a token z > 0."""
    bins: Int[np.ndarray, "d_sae bins"]
    """Tokens in each bin of `EDGES`."""
    tokens: Int[np.ndarray, " 1"]
    """Tokens counted."""

    @classmethod
    def empty(cls, d_sae: int) -> Totals:
        """Nothing counted."""
        whole = np.zeros(d_sae, np.int64)
        bins = np.zeros((d_sae, _BINS), np.int64)
        return cls(whole, np.zeros((2, d_sae)), np.zeros(d_sae, np.float32), whole.copy(), bins, np.zeros(1, np.int64))

    @property
    def sums(self) -> Float[np.ndarray, " d_sae"]:
        """Sum of z over the counted tokens."""
        return self.total.sum(0)

    def merge(self, other: Totals) -> None:
        """Take in the counts of other clips."""
        for mine, theirs in zip(self, other, strict=True):
            if mine is self.largest:
                np.maximum(mine, theirs, out=mine)
            elif mine is self.total:
                for row in theirs:
                    _add_exactly(mine, row)
            else:
                mine += theirs


class ClipStats:
    """Takes in sparse latents of clips, gives back Eq. 2 for each, and keeps the totals of those that are counted."""

    def __init__(self, d_sae: int, threads: int | None = None):
        self.d_sae, self.threads = d_sae, threads or len(os.sched_getaffinity(0))
        self._totals = [Totals.empty(d_sae) for _ in range(self.threads)]

    def add(self, z: SparseLatents, counted: np.ndarray | None = None) -> ClipEntries:
        """Eq. 2 for every clip of a batch; those that are `counted` (by default all) enter the totals.

        Raises:
            ScoreError: a clip has no token, or a latent is negative or not finite.
        """
        if (z.tokens < 1).any():
            raise ScoreError(f"Clip {int((z.tokens < 1).argmax())} of the batch has 0 real tokens; leave it out.")
        clips = len(z.tokens)
        room = np.minimum(np.diff(z.offsets), self.d_sae)
        begins = np.concatenate([np.zeros(1, np.int64), room.cumsum()])
        found, values = np.zeros(clips, np.int64), np.ascontiguousarray(z.values, np.float32)
        out = (np.empty(begins[-1], np.int32), np.empty((4, begins[-1]), np.float32))
        counted = np.ones(clips, bool) if counted is None else counted

        def work(thread: int) -> int:
            some = np.array_split(np.arange(clips), self.threads)[thread]
            return _clip_stats(some, z, values.view(np.int32), counted, begins, found, *out, self._totals[thread])

        with ThreadPoolExecutor(self.threads) as pool:
            bad = max(pool.map(work, range(self.threads)))
        if bad >= 0:
            raise ScoreError(f"Clip {bad} of the batch has a latent that is negative or not finite; encode it again.")
        offsets = np.concatenate([np.zeros(1, np.int64), found.cumsum()])
        rows = np.repeat(begins[:-1] - offsets[:-1], found) + np.arange(offsets[-1])
        return ClipEntries(offsets, out[0][rows], *out[1][:, rows])

    def totals(self) -> Totals:
        """Totals over the counted clips so far."""
        whole = Totals.empty(self.d_sae)
        for part in self._totals:
            whole.merge(part)
        return whole


@numba.njit(cache=True, nogil=True)
def _clip_stats(clips, z, bits, counted, begins, found, latent_out, score_out, totals):
    """Fill the places of some clips in the results; returns the first clip with a value that cannot be, or −1."""
    d_sae = totals.active.shape[0]
    total, count, largest = np.zeros(d_sae), np.zeros(d_sae, np.int32), np.zeros(d_sae, np.float32)
    for clip in clips:
        add = counted[clip]
        for e in range(z.offsets[clip], z.offsets[clip + 1]):
            k, value = z.latents[e], z.values[e]
            if not value > 0:
                if value == 0:
                    continue
                return clip
            if value == np.inf:
                return clip
            total[k] += value
            count[k] += 1
            largest[k] = max(largest[k], value)
            if add:
                totals.bins[k, _bin(bits[e])] += 1
        at, tokens = begins[clip], z.tokens[clip]
        for k in range(d_sae):
            if count[k] == 0:
                continue
            mean, share = total[k] / tokens, count[k] / tokens
            latent_out[at] = k
            score_out[0, at], score_out[1, at] = mean, share
            score_out[2, at], score_out[3, at] = mean * share, largest[k]
            if add:
                totals.active[k] += count[k]
                totals.clips[k] += 1
                totals.largest[k] = max(totals.largest[k], largest[k])
                _carry(totals.total, k, total[k])
            at += 1
            total[k], count[k], largest[k] = 0.0, 0, 0.0
        found[clip] = at - begins[clip]
        if add:
            totals.tokens[0] += tokens
    return -1


@numba.njit(cache=True, nogil=True, inline="always")
def _bin(bits):
    """Bin of `EDGES` of a positive float32 given by its bits: its exponent and its mantissa say it without a search."""
    octave = (bits >> 23) - 127
    mantissa = 1.0 + (bits & 0x7FFFFF) / 8388608.0
    quarter = (mantissa >= _QUARTERS[0]) + (mantissa >= _QUARTERS[1]) + (mantissa >= _QUARTERS[2])
    return min(max((octave - LOW) * PER_OCTAVE + quarter, 0), _BINS - 1)


@numba.njit(cache=True, nogil=True, inline="always")
def _carry(total, k, value):
    """Neumaier's sum: what the addition rounds away is kept apart."""
    s = total[0, k] + value
    if abs(total[0, k]) >= abs(value):
        total[1, k] += (total[0, k] - s) + value
    else:
        total[1, k] += (value - s) + total[0, k]
    total[0, k] = s


def _add_exactly(total: np.ndarray, values: np.ndarray) -> None:
    """The same for all latents at once."""
    s = total[0] + values
    larger = np.abs(total[0]) >= np.abs(values)
    total[1] += np.where(larger, (total[0] - s) + values, (values - s) + total[0])
    total[0] = s
