"""Difference-of-means steering: the comparator that needs no SAE (Table 3, ours)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ard.clamps import DiffOfMeans, PlainDecoding
from ard.steering_task import SteeringTask
from precompute.config import SteeringConfig
from precompute.shards import Shards
from precompute.stages.base import TRAIN, Context

NAME = "diff_means"
MEAN_CLIPS = 200
"""Training clips behind a mean, at most; evenly spaced over those that carry the label."""


class Direction(NamedTuple):
    """v of one task and what it was made from."""

    vector: Tensor
    clips_source: int
    clips_target: int


class _Mean(NamedTuple):
    mean: Tensor
    clips: int


class MeanDirection:
    """v = mean of x over audio tokens of training clips with the target's label − the same with the source's.

    Ours: a clip that carries both labels counts on both sides, and cancels out there.
    """

    def __init__(self, ctx: Context, hookpoint: str) -> None:
        self.hookpoint, self._part = hookpoint, ctx.config.steering
        self._shards = Shards(ctx.run, hookpoint)
        clips = ctx.ok_clips(TRAIN)
        self._clips = list(zip(clips["clip_id"].to_pylist(), map(set, clips["labels"].to_pylist()), strict=True))
        self._means: dict[str, _Mean | None] = {}

    @property
    def values(self) -> Sequence[float]:
        """Factors α to try."""
        return self._part.direction

    @property
    def switches(self) -> str:
        """Positions and decoding, as JSON: there is no TopK and no x̂."""
        return json.dumps({"positions": self._part.positions, "decoding": _decoding(self._part)})

    def of(self, task: SteeringTask) -> Direction | None:
        """The task's direction; None where no training clip carries one of its labels."""
        source, target = self._mean(task.source_label), self._mean(task.target_label)
        if source is None or target is None:
            return None
        return Direction((target.mean - source.mean).float(), source.clips, target.clips)

    def change(self, direction: Direction, value: float) -> DiffOfMeans:
        """X + value · v, at the configured positions."""
        return DiffOfMeans(direction.vector, value, self._part.positions, _decoding(self._part))

    def _mean(self, label: str) -> _Mean | None:
        """Mean of x over all audio tokens of the label's clips: summed, then divided once."""
        if label not in self._means:
            ids = [clip_id for clip_id, labels in self._clips if label in labels]
            ids = [ids[i * len(ids) // MEAN_CLIPS] for i in range(MEAN_CLIPS)] if len(ids) > MEAN_CLIPS else ids
            total, tokens = torch.zeros(self._shards.d_in, dtype=torch.float64), 0
            for clip_id in ids:
                x = self._shards.gather([clip_id], "audio")
                total, tokens = total + x.double().sum(0), tokens + len(x)
            self._means[label] = _Mean(total / tokens, len(ids)) if tokens else None
        return self._means[label]


def _decoding(part: SteeringConfig) -> PlainDecoding:
    return "clamp" if part.decoding == "clamp" else "off"
