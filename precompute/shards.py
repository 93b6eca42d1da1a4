"""Activations on disk: one folder a hookpoint, memory-mapped files of consecutive clips, an index in table `answers`.

The rows of one clip are its audio tokens in order, then its text tokens (question and answer). Beside each file of
activations lies a boolean file that marks attention sinks, which are left out of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from ard.store import Run, RunError


def write_shard(folder: Path, shard: int, x: Float[np.ndarray, "tokens d"], sinks: np.ndarray) -> None:
    """Write one shard of one hookpoint into an unpublished folder.

    Raises:
        RunError: a value is not finite, for instance too large for float16.
    """
    if not np.isfinite(x).all():
        raise RunError(
            f"Activations of {folder.name} are not finite as {x.dtype}; use --set activations.dtype=float32."
        )
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{shard:05d}.npy", x)
    np.save(folder / f"{shard:05d}.sinks.npy", sinks)


class Shards:
    """Reads the activations of one hookpoint clip by clip."""

    def __init__(self, run: Run, hookpoint: str):
        self.folder = run.activations_dir / hookpoint
        if not self.folder.is_dir():
            raise RunError(f"{run.path} has no activations of {hookpoint}; run the stage activations with that layer.")
        index = run.read("answers")
        self._rows = {row["clip_id"]: row for row in _index_rows(index)}
        self._open: dict[str, np.ndarray] = {}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._rows

    @property
    def d_in(self) -> int:
        """Width of the activations."""
        return int(self._map("00000").shape[1])

    def audio(self, clip_id: str) -> Float[Tensor, "T d"]:
        """Activations over the clip's T audio tokens, float32."""
        row = self._rows[clip_id]
        part = self._map(f"{row['shard']:05d}")[row["row"] : row["row"] + row["audio_tokens"]]
        return torch.from_numpy(part.astype(np.float32))

    def gather(
        self, clip_ids: Sequence[str], tokens: Literal["all", "audio"], text_weight: int = 1
    ) -> Float[Tensor, "tokens d"]:
        """Activations of many clips one below the other, without attention sinks, in the type they have on disk.

        A text token comes `text_weight` times.
        """
        parts = []
        for clip_id in clip_ids:
            row, shard = self._rows[clip_id], f"{self._rows[clip_id]['shard']:05d}"
            text = row["row"] + row["audio_tokens"]
            pieces = [(row["row"], text)] + (
                [(text, text + row["text_tokens"])] * text_weight if tokens == "all" else []
            )
            for start, stop in pieces:
                keep = ~self._map(f"{shard}.sinks")[start:stop]
                parts.append(self._map(shard)[start:stop][keep])
        return torch.from_numpy(np.concatenate(parts)) if parts else torch.empty(0, self.d_in)

    def _map(self, name: str) -> np.ndarray:
        if name not in self._open:
            self._open[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self._open[name]


def _index_rows(index: pa.Table) -> list[dict]:
    return index.select(["clip_id", "shard", "row", "audio_tokens", "text_tokens"]).to_pylist()
