"""Sparse latents of clips that do not exist, made as fast as they can be ranked: the paper's sizes, a plausible skew.

A clip has up to six sources out of 4,096, drawn by Zipf's law; a source is a set of 192 latents, itself drawn with a
skew, and 48 latents belong to every clip. Together they are the clip's pool, about 1,000 of 32,768 latents, four times
k, as in the demo run. A token takes k neighbours of the shuffled pool, early places more often than late ones, so that
coverage runs from one token to all of them; activations are log-normal around a strength of the latent. Everything
follows from the clip's number alone, so any part of the corpus can be made anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

from ard.clip_stats import SparseLatents

PAPER_CLIPS, PAPER_D_SAE, PAPER_K = 118_356, 32_768, 250
SOURCES, OF_A_SOURCE, ALWAYS, MOST_SOURCES = 4096, 192, 48, 6


class Batch(NamedTuple):
    clip_ids: list[str]
    recording_ids: list[str]
    z: SparseLatents


class Corpus:
    """`clips` clips of `tokens` tokens (by default about 250) with `k` of `d_sae` latents each."""

    def __init__(
        self, clips: int = PAPER_CLIPS, d_sae: int = PAPER_D_SAE, k: int = PAPER_K, seed: int = 0, tokens: int = 0
    ):
        self.clips, self.d_sae, self.k, self.tokens = clips, d_sae, k, tokens
        rng = np.random.default_rng(seed)
        common = 1 / np.arange(1, d_sae + 1) ** 0.5
        self._latent = rng.permutation(d_sae).astype(np.int32)
        drawn = np.searchsorted(common.cumsum() / common.sum(), rng.random((SOURCES, OF_A_SOURCE)))
        self._sources = self._latent[drawn.clip(0, d_sae - 1)]
        zipf = 1 / np.arange(1, SOURCES + 1)
        self._popular = (zipf.cumsum() / zipf.sum()).astype(np.float64)
        self._strength = np.exp(rng.normal(0, 0.7, d_sae)).astype(np.float32)
        self._spread = np.exp(rng.normal(0, 0.6, 4096)).astype(np.float32)

    def batches(self, size: int = 64) -> Iterator[Batch]:
        for start in range(0, self.clips, size):
            yield self.batch(np.arange(start, min(start + size, self.clips)))

    def batch(self, numbers: np.ndarray) -> Batch:
        """Any clips of the corpus. One recording in ten has two windows."""
        tokens = np.full(len(numbers), self.tokens) if self.tokens else 225 + (numbers * 7919) % 50
        offsets = np.concatenate([np.zeros(1, np.int64), (tokens * self.k).cumsum()])
        latents, values = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
        parts = np.array_split(np.arange(len(numbers)), len(os.sched_getaffinity(0)))

        def fill(part: np.ndarray) -> None:
            tables = (self._latent, self._sources, self._popular, self._strength, self._spread)
            _fill(part, numbers, tokens, offsets, self.k, *tables, latents, values)

        with ThreadPoolExecutor() as pool:
            list(pool.map(fill, parts))
        ids = [f"clip_{i:06d}" for i in numbers.tolist()]
        recordings = [f"rec_{i - (i % 11 == 10):06d}" for i in numbers.tolist()]
        return Batch(ids, recordings, SparseLatents(tokens, offsets, latents, values))


@numba.njit(cache=True, nogil=True, inline="always")
def _next(state):
    state[0] ^= state[0] << np.uint64(13)
    state[0] ^= state[0] >> np.uint64(7)
    state[0] ^= state[0] << np.uint64(17)
    return state[0]


@numba.njit(cache=True, nogil=True, inline="always")
def _uniform(state):
    return (_next(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@numba.njit(cache=True, nogil=True)
def _fill(part, numbers, tokens, offsets, k, latent, sources, popular, strength, spread, latents_out, values_out):
    state, seen = np.zeros(1, np.uint64), np.zeros(latent.shape[0], np.int64) - 1
    pool = np.empty(ALWAYS + MOST_SOURCES * OF_A_SOURCE, np.int32)
    for place in part:
        number = numbers[place]
        state[0] = (np.uint64(number) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        for _ in range(4):
            _next(state)
        size = 0
        for i in range(ALWAYS):
            pool[size] = latent[i]
            seen[latent[i]] = number
            size += 1
        drawn = 0
        while drawn < MOST_SOURCES or size < k:
            source = np.searchsorted(popular, _uniform(state))
            for i in range(OF_A_SOURCE):
                new = sources[min(source, sources.shape[0] - 1), i]
                if seen[new] != number and size < pool.shape[0]:
                    seen[new] = number
                    pool[size] = new
                    size += 1
            drawn += 1
        for i in range(size - 1, 0, -1):
            j = int(_uniform(state) * (i + 1))
            pool[i], pool[j] = pool[j], pool[i]
        at = offsets[place]
        for _ in range(tokens[place]):
            u = _uniform(state)
            begin, noise = int(u * u * size), int(_next(state) & np.uint64(4095))
            for j in range(k):
                index = begin + j
                new = pool[index - size if index >= size else index]
                latents_out[at] = new
                values_out[at] = strength[new] * spread[(noise + 7 * j) & 4095]
                at += 1
