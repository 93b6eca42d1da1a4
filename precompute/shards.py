"""The activations of a run, clip by clip: one folder a hookpoint, its files in `ard/activations/shard.py`'s form.

The rows of one clip are its audio tokens in order, then its text tokens (question and answer); table `answers` says
where. Tokens that are marked as attention sinks are left out of training and kept everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ard.activations.formats import Stored, decode, from_numpy
from ard.activations.index import ClipIndex, Tokens, pieces
from ard.activations.shard import Shard, open_shard, shard_path
from ard.activations.shuffled import BUFFER, ShuffledReader
from ard.store import Run, RunError


class Shards:
    """Reads the activations of one hookpoint."""

    def __init__(self, run: Run, hookpoint: str):
        self.folder = run.activations_dir / hookpoint
        if not self.folder.is_dir():
            raise RunError(f"{run.path} has no activations of {hookpoint}; run the stage activations with that layer.")
        self._index = ClipIndex(run.read("answers"))
        self._open: dict[int, Shard] = {}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._index

    @property
    def d_in(self) -> int:
        """Width of the activations."""
        return self.shard(self._index.shards[0]).header.d_in

    def shard(self, number: int) -> Shard:
        """One file, opened when first asked for.

        Raises:
            RunError: it is missing or cut short.
        """
        if number not in self._open:
            self._open[number] = open_shard(shard_path(self.folder, number))
        return self._open[number]

    def audio(self, clip_id: str) -> Float[Tensor, "T d"]:
        """Activations over the clip's T audio tokens, float32."""
        place = self._index[clip_id]
        return self._rows(place.shard, place.row, place.text, masked=False).float()

    def gather(self, clip_ids: Sequence[str], tokens: Tokens, text_weight: int = 1) -> Float[Tensor, "tokens d"]:
        """Activations of many clips one below the other, without attention sinks, in the type they have on disk.

        A text token comes `text_weight` times; `int8` becomes float32.
        """
        places = [self._index[clip_id] for clip_id in clip_ids]
        parts = [
            self._rows(place.shard, start, stop, masked=True)
            for place in places
            for start, stop in pieces(place, tokens, text_weight)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.d_in)

    def _rows(self, number: int, start: int, stop: int, *, masked: bool) -> Tensor:
        shard = self.shard(number)
        rows = np.arange(start, stop)
        if masked:
            rows = rows[shard.trains(start, stop)]
        scale = None if shard.scale is None else torch.from_numpy(shard.scale[rows])
        return decode(Stored(from_numpy(shard.x[rows], shard.header.format), scale))

    def reader(
        self, clip_ids: Sequence[str], tokens: Tokens, text_weight: int = 1, buffer_bytes: int = BUFFER
    ) -> ShuffledReader:
        """The tokens that `gather` would give, in random order and never more than a buffer of them in memory."""
        weights = self._index.weights(clip_ids, tokens, text_weight)
        for number, weight in weights.items():
            weight[~self.shard(number).trains(0, len(weight))] = 0
        return ShuffledReader({shard_path(self.folder, n): w for n, w in weights.items() if w.any()}, buffer_bytes)
