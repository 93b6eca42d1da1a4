"""The activations of a run, clip by clip: one folder a hookpoint, its files in `ard/activations/shard.py`'s form.

The rows of one clip are its audio tokens in order, then its text tokens (question and answer); table `answers` says
where. Tokens that are marked as attention sinks are left out of training and kept everywhere else. Where activations
are not stored, the run's `live` reader computes those that are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ard.activations.formats import Stored, decode, encode, from_numpy
from ard.activations.index import ClipIndex, Place, Tokens, pieces
from ard.activations.shard import Shard, open_shard, shard_path
from ard.activations.shuffled import BUFFER, ShuffledReader
from ard.activations.streamed import ReadClips, StreamedReader, Stretch
from ard.store import Run, RunError

STREAMED_CLIPS = 16
"""Clips of one forward pass when activations are streamed."""


class Shards:
    """Reads the activations of one hookpoint."""

    def __init__(self, run: Run, hookpoint: str):
        self.folder = run.activations_dir / hookpoint
        if not self.folder.is_dir():
            raise RunError(f"{run.path} has no activations of {hookpoint}; run the stage activations with that layer.")
        self._run, self._hookpoint = run, hookpoint
        self._index = ClipIndex(run.read("answers"))
        self._open: dict[int, Shard] = {}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._index

    @property
    def d_in(self) -> int:
        """Width of the activations."""
        return self.shard(self._index.shards[0]).header.d_in

    @property
    def stored(self) -> bool:
        """False where every use computes them again."""
        return self.shard(self._index.shards[0]).header.stored

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
        return self._rows(clip_id, place, np.arange(place.row, place.text)).float()

    def gather(self, clip_ids: Sequence[str], tokens: Tokens, text_weight: int = 1) -> Float[Tensor, "tokens d"]:
        """Activations of many clips one below the other, without attention sinks, in the type they have on disk.

        A text token comes `text_weight` times; `int8` becomes float32.
        """
        parts = []
        for clip_id in clip_ids:
            place = self._index[clip_id]
            rows = np.concatenate([np.arange(*span) for span in pieces(place, tokens, text_weight)])
            keep = self.shard(place.shard).trains(place.row, place.end)[rows - place.row]
            parts.append(self._rows(clip_id, place, rows[keep]))
        return torch.cat(parts) if parts else torch.empty(0, self.d_in)

    def _rows(self, clip_id: str, place: Place, rows: np.ndarray) -> Tensor:
        """Rows of one clip, decoded."""
        shard = self.shard(place.shard)
        if shard.x is None:
            stored = encode(self._live([clip_id]), shard.header.format)
            return decode(Stored(*(None if s is None else s.cpu() for s in stored)))[torch.from_numpy(rows - place.row)]
        scale = None if shard.scale is None else torch.from_numpy(shard.scale[rows])
        return decode(Stored(from_numpy(shard.x[rows], shard.header.format), scale))

    def _live(self, clip_ids: Sequence[str]) -> Tensor:
        if self._run.live is None:
            raise RunError(
                f"{self._run.path} stores no activations of {self._hookpoint} and no model is loaded; "
                "extract with --set activations.store=disk."
            )
        return self._run.live(self._hookpoint, clip_ids)

    def reader(
        self, clip_ids: Sequence[str], tokens: Tokens, text_weight: int = 1, buffer_bytes: int = BUFFER
    ) -> ShuffledReader:
        """The tokens that `gather` would give, in random order and never more than a buffer of them in memory.

        Raises:
            ReaderError: no token is left, or the buffer is too small.
        """
        weights = self._index.weights(clip_ids, tokens, text_weight)
        for number, weight in weights.items():
            weight[~self.shard(number).trains(0, len(weight))] = 0
        files = {shard_path(self.folder, n): w for n, w in weights.items() if w.any()}
        if self.stored:
            return ShuffledReader(files, buffer_bytes)
        read: ReadClips = self._live
        return StreamedReader(files, self._stretches(), read, buffer_bytes)

    def _stretches(self) -> dict[Path, list[Stretch]]:
        """Per file, its clips in batches, in the order they lie."""
        found: dict[Path, list[Stretch]] = {}
        for number, clips in self._index.clips().items():
            batches = found.setdefault(shard_path(self.folder, number), [])
            for i in range(0, len(clips), STREAMED_CLIPS):
                ids = clips[i : i + STREAMED_CLIPS]
                batches.append(Stretch(self._index[ids[0]].row, self._index[ids[-1]].end, ids))
        return found
