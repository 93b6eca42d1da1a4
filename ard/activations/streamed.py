"""Training tokens straight from the model, in the same random order as from disk: nothing is stored.

Ours. The shards then hold norms and marks alone, which say how many tokens each clip has and which of them train; a
block is a batch of clips that lie one behind the other, and reading it is a forward pass. Order, passes and memory are
those of `ShuffledReader`; while training works on one half of the buffer, the model fills the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ard.activations.buffer import Block, ReaderError
from ard.activations.formats import Stored, decode, encode, to_numpy
from ard.activations.shuffled import BUFFER, ShuffledReader, seeded


class Stretch(NamedTuple):
    """Clips whose rows lie one behind the other in a shard."""

    start: int
    stop: int
    clip_ids: list[str]


ReadClips = Callable[[Sequence[str]], Float[Tensor, "tokens d"]]
"""All tokens of clips, clip after clip, each audio then text: as many as the index says."""


class StreamedReader(ShuffledReader):
    """A `TokenSource` that runs the model.

    Args:
        weights: for each shard file, how often each of its rows counts (uint8; 0: never).
        stretches: for each shard file, all of its clips in batches of the size that the model works on.
        read_clips: runs the model; called from one thread, never twice at a time.
        buffer_bytes: as for `ShuffledReader`; the model's own memory comes on top.

    Raises:
        ReaderError: as `ShuffledReader`.
    """

    most_readers = 1

    def __init__(
        self,
        weights: Mapping[Path, np.ndarray],
        stretches: Mapping[Path, Sequence[Stretch]],
        read_clips: ReadClips,
        buffer_bytes: int = BUFFER,
    ):
        self._stretches = [list(stretches[path]) for path in weights]
        self._read_clips = read_clips
        super().__init__(weights, buffer_bytes, readers=1)

    def _cut(self, rows: int) -> list[Block]:
        """One block a batch of clips."""
        blocks = []
        for number, (weight, stretches) in enumerate(zip(self._weights, self._stretches, strict=True)):
            for start, stop, _ in stretches:
                tokens = int(weight[start:stop].sum(dtype=np.int64))
                if tokens:
                    blocks.append(Block(number, start, stop, tokens))
        return blocks

    def _rows_into(self, block: Block, x: np.ndarray, scales: np.ndarray | None) -> None:
        stored = self._stored(self._stretch(block.shard, block.start))
        x[:] = to_numpy(stored.x)
        if scales is not None and stored.scale is not None:
            scales[:] = stored.scale.numpy()

    def sample(self, n: int, seed: int) -> Float[Tensor, "n d_in"]:
        """min(n, tokens) tokens of batches of clips drawn by `seed`: single tokens would need a pass over all clips."""
        wanted = min(n, self.tokens)
        parts, have = [], 0
        for number in seeded(seed, 2).permutation(len(self._blocks)):
            if have >= wanted:
                break
            block = self._blocks[number]
            weight = self._weights[block.shard][block.start : block.stop]
            rows = torch.from_numpy(np.repeat(np.arange(len(weight)), weight))
            parts.append(decode(self._stored(self._stretch(block.shard, block.start))).index_select(0, rows))
            have += len(rows)
        return torch.cat(parts)[:wanted]

    def _stretch(self, shard: int, start: int) -> Stretch:
        return next(stretch for stretch in self._stretches[shard] if stretch.start == start)

    def _stored(self, stretch: Stretch) -> Stored:
        """The clips' tokens as they would lie on disk."""
        x = self._read_clips(stretch.clip_ids)
        if len(x) != stretch.stop - stretch.start:
            raise ReaderError(
                f"The model gave {len(x)} tokens for {len(stretch.clip_ids)} clips where table answers has "
                f"{stretch.stop - stretch.start}; run the stage activations again."
            )
        x, scale = encode(x, self._header.format)
        return Stored(x.cpu(), None if scale is None else scale.cpu())
