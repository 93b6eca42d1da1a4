"""What can be clamped: latents of an SAE (`ard`) or raw dimensions of x (`poly`); which to try, at which values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow.compute as pc

from ard.clamps import Clamp, PolyClamp
from ard.labels import auroc
from ard.sae import TopKSAE
from ard.steering_search import interleaved, matched_latents
from ard.steering_task import SteeringTask
from precompute.config import SteeringConfig
from precompute.shards import Shards
from precompute.stages.base import TRAIN, Context
from precompute.stages.scores_io import probe
from precompute.steering_tasks import label_matrix, named

SCALE_CLIPS = 200
"""Training clips over whose audio tokens the largest |x| of a raw dimension is taken."""


class Method(Protocol):
    """One method's latents, as far as the search needs to know them."""

    @property
    def name(self) -> str:
        """`ard` or `poly`."""

    @property
    def sae_id(self) -> str:
        """As in the tables."""

    @property
    def switches(self) -> str:
        """Switches of its clamps, as JSON."""

    def clamp(self, latent: int, value: float) -> Clamp | PolyClamp:
        """Clamp one latent."""

    def rankings(self, task: SteeringTask, slope: np.ndarray) -> dict[str, list[int]]:
        """Latents best first, by each way of choosing; `slope` [d_in] is that of `Bench.answer_slope`."""

    def candidates(self, rankings: dict[str, list[int]], count: int) -> list[int]:
        """Latents to try, the most promising first."""

    def values(self, latent: int, slope: np.ndarray) -> list[float]:
        """Values to try: the configured multiples of the latent's largest activation."""

    def alike(self, latent: int, count: int, seed: int) -> list[int]:
        """Random others for the control."""


@dataclass
class SaeLatents:
    """Method `ard`: candidates from AUROC for the target's label, the answer's slope, and the name, in turn."""

    ctx: Context
    sae: TopKSAE
    tasks: Sequence[SteeringTask]
    name: str = "ard"

    def __post_init__(self) -> None:
        rows = self.ctx.run.read("latents")
        rows = rows.filter(pc.equal(rows["sae_id"], self.sae_id)).sort_by("latent_id")
        self.largest = rows["max_activation"].to_numpy().astype(np.float64)
        self.density = rows["density"].to_numpy().astype(np.float64)
        self._unit_of_dead = float(np.median(self.largest[self.largest > 0])) if (self.largest > 0).any() else 1.0
        self._decoder = self.sae.W_dec.detach().float().cpu().numpy()

    @property
    def sae_id(self) -> str:
        """The SAE's own."""
        return self.sae.cfg.sae_id

    @property
    def switches(self) -> str:
        """When, error term, positions, decoding."""
        part = self.ctx.config.steering
        return json.dumps({name: getattr(part, name) for name in ("when", "error_term", "positions", "decoding")})

    def clamp(self, latent: int, value: float) -> Clamp:
        """Z of one latent, with the configured switches."""
        part = self.ctx.config.steering
        return Clamp((latent,), (value,), part.when, part.error_term, part.positions, part.decoding)

    @property
    def reconstruct_only(self) -> Clamp:
        """The control that clamps nothing."""
        return self.clamp(0, 0.0).without_latents()

    @cached_property
    def _areas(self) -> dict[str, np.ndarray]:
        """AUROC [d_sae] of r on the training clips for each target label that some of them carry."""
        clips = self.ctx.ok_clips(TRAIN)
        labels = sorted({task.target_label for task in self.tasks})
        truth = label_matrix(clips, labels)
        there = truth.any(0) & ~truth.all(0)
        areas = auroc(probe(self.ctx, self.sae_id).scores("ard"), truth[:, there])
        return dict(zip(np.array(labels)[there].tolist(), areas.T, strict=True))

    def area(self, task: SteeringTask, latent: int) -> float | None:
        """AUROC of one latent for the task's target; None where no training clip carries it."""
        area = self._areas.get(task.target_label)
        return None if area is None else float(area[latent])

    def rankings(self, task: SteeringTask, slope: np.ndarray) -> dict[str, list[int]]:
        """By effect (slope along the decoder row), by AUROC for the target's label, by name."""
        effect = np.where(self.largest > 0, self._decoder @ slope * self._unit(), -np.inf)
        found = {"effect": np.argsort(-effect, kind="stable").tolist()}
        if task.target_label in self._areas:
            found["auroc"] = np.argsort(-self._areas[task.target_label], kind="stable").tolist()
        by_name = named(self.ctx.run.read("concepts"), self.sae_id, task.target_answer)
        return found | ({"name": by_name} if by_name else {})

    def candidates(self, rankings: dict[str, list[int]], count: int) -> list[int]:
        """AUROC and effect in turn, then the best by name."""
        orders = [rankings[how][:count] for how in ("auroc", "effect") if how in rankings]
        return list(dict.fromkeys([*interleaved(orders, count), *rankings.get("name", [])[:1]]))

    def values(self, latent: int, slope: np.ndarray) -> list[float]:
        """Multiples of its largest z on audio tokens (the median latent's for one that never fires there)."""
        return [multiple * float(self._unit()[latent]) for multiple in self.ctx.config.steering.values]

    def _unit(self) -> np.ndarray:
        return np.where(self.largest > 0, self.largest, self._unit_of_dead)

    def alike(self, latent: int, count: int, seed: int) -> list[int]:
        """Random live latents of matched density."""
        return matched_latents(self.density, latent, count, seed)


@dataclass
class RawDimensions:
    """Method `poly`: candidates by the answer's slope times the dimension's largest |x|, in that direction."""

    ctx: Context
    hookpoint: str
    name: str = "poly"

    @property
    def sae_id(self) -> str:
        """Raw activations of the hookpoint."""
        return f"{self.hookpoint}/raw"

    @property
    def switches(self) -> str:
        """Positions and decoding: there is no TopK and no x̂."""
        clamp = self.clamp(0, 0.0)
        return json.dumps({"positions": clamp.positions, "decoding": clamp.decoding})

    def clamp(self, latent: int, value: float) -> PolyClamp:
        """One dimension of x; where `ard` would replace x by x̂ while decoding, x stays."""
        part = self.ctx.config.steering
        return PolyClamp((latent,), (value,), part.positions, "clamp" if part.decoding == "clamp" else "off")

    @cached_property
    def largest(self) -> np.ndarray:
        """Largest |x| of each dimension over audio tokens of training clips."""
        ids = self.ctx.ok_clips(TRAIN)["clip_id"].to_pylist()[:SCALE_CLIPS]
        shards = Shards(self.ctx.run, self.hookpoint)
        return shards.gather(ids, "audio").float().abs().amax(0).double().numpy()

    def rankings(self, task: SteeringTask, slope: np.ndarray) -> dict[str, list[int]]:
        """By effect only: a raw dimension has no name, and its sign is free."""
        return {"effect": np.argsort(-np.abs(slope) * self.largest, kind="stable").tolist()}

    def candidates(self, rankings: dict[str, list[int]], count: int) -> list[int]:
        """The steepest ones."""
        return rankings["effect"][:count]

    def values(self, latent: int, slope: np.ndarray) -> list[float]:
        """Multiples of its largest |x|, with the sign that the slope asks for."""
        unit = float(self.largest[latent]) * (1.0 if slope[latent] >= 0 else -1.0)
        return [multiple * unit for multiple in self.ctx.config.steering.values]

    def alike(self, latent: int, count: int, seed: int) -> list[int]:
        """Random dimensions of similar largest |x|."""
        return matched_latents(self.largest, latent, count, seed)


def settings_of(part: SteeringConfig) -> dict[str, Any]:
    """How the search is batched."""
    return {"batch_size": part.batch, "max_new_tokens": part.max_new_tokens}
