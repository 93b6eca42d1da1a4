"""Training tokens from disk in random order, in large reads, with a stated amount of memory.

Ours. A shard is a row of blocks of consecutive tokens. Each pass draws an order of all blocks, fills a buffer with as
many of them as it holds, and hands out the buffer's tokens in an order drawn for that buffer, while the next one is
being filled. So each token of a pass comes exactly once, reads are as long as a block, and a batch mixes tokens of as
many places as the buffer has blocks. The order depends on the seed and the sizes alone: every block has its place in
the buffer before it is read, however many threads read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate, islice
from pathlib import Path
from threading import Event

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ard.activations.buffer import Block, Buffer, ReaderError, read_block, same_kind, stored_rows
from ard.activations.formats import TORCH, Stored, decode, from_numpy, number_bytes
from ard.activations.shard import open_shard

BUFFER = 1 << 30
"""Default memory for tokens, in bytes: two halves, one handed out while the other is filled."""
BLOCK = 1 << 20
"""Longest read, in bytes."""
READERS = 4
"""Threads that read."""


class ShuffledReader:
    """A `TokenSource` over shards on disk; see `ard/token_source.py` for what it promises.

    Args:
        weights: for each shard file, how often each of its rows counts (uint8; 0: never).
        buffer_bytes: memory for activations and their order, reading included; the weights (one byte a token) and the
            batch that is handed out come on top.
        block_bytes: longest read; less where a block would take more than a 64th of the buffer: it mixes many places.
        readers: threads that read, at most `READERS`; no influence on the order.

    Raises:
        ReaderError: no token counts, files of different kinds, or a buffer that cannot hold two blocks.
    """

    most_readers = READERS
    """Threads that memory is kept for."""

    def __init__(
        self,
        weights: Mapping[Path, np.ndarray],
        buffer_bytes: int = BUFFER,
        block_bytes: int = BLOCK,
        readers: int = READERS,
    ):
        self._shards = [open_shard(path) for path in weights]
        self._weights = list(weights.values())
        self._readers = readers
        self.tokens = int(sum(int(w.sum(dtype=np.int64)) for w in self._weights))
        if not self.tokens:
            raise ReaderError("No token is left to train on; check the split, train.tokens and activations.sinks.")
        self._header = same_kind(self._shards)
        self.d_in = self._header.d_in
        self._row = self.d_in * TORCH[self._header.format].itemsize
        if not 1 <= readers <= self.most_readers:
            raise ReaderError(f"readers is {readers}; choose 1 to {self.most_readers}.")
        heaviest = max(int(weight.max()) for weight in self._weights)
        self._blocks = self._cut(max(1, min(block_bytes, buffer_bytes // (64 * heaviest)) // self._row))
        token = number_bytes(self.d_in, self._header.format) + 8  # with its place in the order
        spare = self.most_readers * self._row * max(block.stop - block.start for block in self._blocks)
        largest = max(block.tokens for block in self._blocks)
        self._half = (buffer_bytes - spare) // (2 * token)
        if self._half < largest:
            raise ReaderError(
                f"A buffer of {buffer_bytes:,} bytes cannot hold two blocks of {largest:,} tokens; "
                f"give {spare + 2 * token * largest:,} bytes or more."
            )

    def _cut(self, rows: int) -> list[Block]:
        """Blocks of at most `rows` rows, trimmed to the rows that count."""
        blocks = []
        for number, weight in enumerate(self._weights):
            for start in range(0, len(weight), rows):
                used = np.flatnonzero(weight[start : start + rows])
                if len(used):
                    first, last = start + int(used[0]), start + int(used[-1]) + 1
                    blocks.append(Block(number, first, last, int(weight[first:last].sum(dtype=np.int64))))
        return blocks

    # -- the order ------------------------------------------------------------------------------------------------

    def _fills(self, seed: int) -> Iterator[tuple[list[Block], np.random.Generator]]:
        """Without end: the blocks of the next buffer, and the generator that draws the order of their tokens."""
        turn = 0
        while True:
            order = seeded(seed, 0, turn).permutation(len(self._blocks))
            waiting: list[Block] = []
            part, have = 0, 0
            for number in order:
                block = self._blocks[number]
                if have + block.tokens > self._half:
                    yield waiting, seeded(seed, 1, turn, part)
                    waiting, have, part = [], 0, part + 1
                waiting.append(block)
                have += block.tokens
            yield waiting, seeded(seed, 1, turn, part)
            turn += 1

    def batches(self, batch: int, steps: int, seed: int, skip: int = 0) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Batches number `skip` to `steps - 1` of the order of `seed`; what is skipped is not read.

        Raises:
            ReaderError: batch below 1, or skip not from 0 to steps.
        """
        if batch < 1 or not 0 <= skip <= steps:
            raise ReaderError(
                f"batch is {batch}, skip {skip} of {steps} steps; give a batch of 1 or more, skip ≤ steps."
            )
        left, ahead = (steps - skip) * batch, skip * batch
        parts: list[Tensor] = []
        have = 0
        for buffer, order in self._filled(seed, ahead, left):
            for start in range(-have, len(order), batch):  # the first batch lacks what an older buffer gave
                rows = order[max(0, start) : start + batch]
                parts.append(buffer.take(rows))
                have += len(rows)
                if have == batch:
                    yield parts[0] if len(parts) == 1 else torch.cat(parts)
                    parts, have = [], 0

    def _filled(self, seed: int, ahead: int, left: int) -> Iterator[tuple[Buffer, np.ndarray]]:
        """Filled buffers with the order of their rows, from token `ahead` on, `left` tokens in all."""
        with ExitStack() as stack:
            pool = ThreadPoolExecutor(self._readers, thread_name_prefix="read")
            stop = Event()
            stack.callback(pool.shutdown)
            stack.callback(stop.set)  # leaving early waits for the blocks that are being read, not for the buffer
            room = min(self._half, self.tokens)
            halves = [Buffer(room, self._header) for _ in range(2 if left else 0)]
            waiting: list[tuple[Buffer, np.ndarray, list[Future[None]]]] = []
            for turn, (blocks, order) in enumerate(self._plan(seed, ahead, left)):
                waiting.append((halves[turn % 2], order, self._fill(pool, stop, halves[turn % 2], blocks)))
                if len(waiting) == 2:  # the other half is full or filling: hand it out before it is filled again
                    yield _ready(waiting.pop(0))
            for item in waiting:
                yield _ready(item)

    def _plan(self, seed: int, ahead: int, left: int) -> Iterator[tuple[list[Block], np.ndarray]]:
        """Blocks and row order of each buffer that is needed, without the tokens that are skipped or too many."""
        for blocks, rng in self._fills(seed):
            if not left:
                return
            have = sum(block.tokens for block in blocks)
            if ahead >= have:
                ahead -= have
                continue
            order = rng.permutation(have)[ahead : ahead + left]
            ahead, left = 0, left - len(order)
            yield blocks, order

    # -- reading --------------------------------------------------------------------------------------------------

    def _fill(self, pool: ThreadPoolExecutor, stop: Event, buffer: Buffer, blocks: list[Block]) -> list[Future[None]]:
        """Start reading blocks into their places, one behind the other; each thread takes every so manieth block."""
        places = [0, *accumulate(block.tokens for block in blocks)]

        def work(first: int) -> None:
            for at, block in islice(zip(places, blocks, strict=False), first, None, self._readers):
                if stop.is_set():
                    return
                self._read(buffer, at, block)

        return [pool.submit(work, first) for first in range(self._readers)]

    def _read(self, buffer: Buffer, at: int, block: Block) -> None:
        """Put a block's tokens at their place; its rows come from `rows_into`."""
        weight = self._weights[block.shard][block.start : block.stop]
        target = buffer.x[at : at + block.tokens]
        scales = None if buffer.scale is None else buffer.scale[at : at + block.tokens]
        if weight.min() == weight.max() == 1:  # every row once: straight into its place
            self._rows_into(block, target, scales)
            return
        rows = np.repeat(np.arange(len(weight)), weight)
        raw = np.empty((len(weight), self.d_in), buffer.x.dtype)
        raw_scales = None if scales is None else np.empty(len(weight), np.float32)
        self._rows_into(block, raw, raw_scales)
        np.take(raw, rows, axis=0, out=target, mode="clip")  # mode "raise" would copy the output once more
        if scales is not None and raw_scales is not None:
            np.take(raw_scales, rows, out=scales, mode="clip")

    def _rows_into(self, block: Block, x: np.ndarray, scales: np.ndarray | None) -> None:
        read_block(self._shards[block.shard], block, x, scales)

    def sample(self, n: int, seed: int) -> Float[Tensor, "n d_in"]:
        """min(n, tokens) different tokens of a pass, drawn evenly, in the order they lie on disk."""
        count = min(n, self.tokens)
        chosen = np.sort(seeded(seed, 2).choice(self.tokens, count, replace=False, shuffle=False))
        parts, before = [], 0
        for shard, weight in zip(self._shards, self._weights, strict=True):
            total = np.cumsum(weight, dtype=np.int64)
            mine = chosen[(chosen >= before) & (chosen < before + int(total[-1]))] - before
            rows = np.searchsorted(total, mine, side="right")
            scale = None if shard.scale is None else torch.from_numpy(shard.scale[rows])
            parts.append(decode(Stored(from_numpy(stored_rows(shard)[rows], shard.header.format), scale)))
            before += int(total[-1])
        return torch.cat(parts)


def seeded(seed: int, *key: int) -> np.random.Generator:
    """A generator of its own for each key."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _ready(item: tuple[Buffer, np.ndarray, list[Future[None]]]) -> tuple[Buffer, np.ndarray]:
    buffer, order, jobs = item
    for job in jobs:
        job.result()
    return buffer, order
