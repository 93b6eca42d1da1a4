"""One sparse autoencoder in training: which kernels it steps with, its moments, its log, its state on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ard.sae import SAEError, TopKSAE
from ard.train_config import TrainConfig, learning_rate
from ard.train_log import Log
from ard.train_plain import PlainStep
from ard.train_step import CompiledStep, Moments, Outcome

Step = Callable[[Tensor, Tensor, float, int], Outcome]

REPEATS = 5
"""Steps of each kind timed when the kernels are chosen, after one that compiles; the fastest counts."""
_MEASURED: dict[tuple, dict[str, float]] = {}
"""Milliseconds a step by kernels, for each size, type, device and number of threads met in this process."""

MAKE: dict[str, Callable[..., Step]] = {
    "plain": PlainStep,
    "dense": partial(CompiledStep, sparse=False),
    "sparse": partial(CompiledStep, sparse=True),
}


def measure(sae: TopKSAE, train: TrainConfig, target: Float[Tensor, "tokens d_in"]) -> dict[str, float]:
    """Milliseconds of one step with each kind of compiled kernels, on copies of the weights; measured once a size."""
    cfg, device = sae.cfg, sae.W_enc.device
    size = (cfg.d_in, cfg.d_sae, cfg.k, cfg.recipe, *target.shape)
    key = (*size, train.compute, train.clip is None, str(device), torch.get_num_threads())
    if key not in _MEASURED:
        _MEASURED[key] = {name: _milliseconds(name, sae, train, target) for name in ("dense", "sparse")}
    return _MEASURED[key]


def _milliseconds(name: str, sae: TopKSAE, train: TrainConfig, target: Tensor) -> float:
    copy = TopKSAE(sae.cfg, init_weights=False).to(sae.W_enc.device)
    copy.load_state_dict(sae.state_dict())
    step, nobody = MAKE[name](copy, train, Moments.zeros(copy)), torch.empty(0, dtype=torch.long)
    times = []
    for i in range(REPEATS + 1):
        began = time.perf_counter()
        step(target, nobody, 0.0, i + 1)
        if target.is_cuda:
            torch.cuda.synchronize(target.device)
        times.append((time.perf_counter() - began) * 1e3)
    return min(times[1:])


class SAERun:
    """One SAE, stepped batch by batch."""

    def __init__(self, sae: TopKSAE, train: TrainConfig, mean: Float[Tensor, " d_in"]) -> None:
        """`train` is resolved; `mean` is that of x, for the FVU of the curves."""
        self.sae, self.train = sae.to(train.device), train
        self.mean = (mean * sae.cfg.scale).float().to(train.device)
        self.moments, self.log = Moments.zeros(self.sae), Log(self.sae, train)
        self.kernels: str = train.kernels
        self.measured_ms: dict[str, float] | None = None
        if self.kernels != "plain" and self.sae.W_enc.device.type not in ("cpu", "cuda"):
            if self.kernels != "auto":
                raise SAEError(f"kernels is {self.kernels}, which {train.device} has none of; choose plain or auto.")
            self.kernels = "plain"
        self._step: Step | None = None

    @torch.no_grad()
    def step(self, x: Float[Tensor, "tokens d_in"], step: int) -> dict[str, float] | None:
        """Step number `step` (from 1) on a batch; returns the row of the curves if one was closed."""
        target = x * self.sae.cfg.scale
        if self._step is None:
            self._step = self._choose(target)
        lr = learning_rate(step - 1, self.train)
        dead = self.log.dead() if self.train.auxk_coef else torch.empty(0, dtype=torch.long)
        with torch.set_grad_enabled(self.kernels == "plain"):
            outcome = self._step(target, dead, lr, step)
        self.log.add(outcome, (target - self.mean).square().sum(), len(target))
        if step % self.train.log_every == 0 or step == self.train.steps:
            return self.log.close_row(step, lr)
        return None

    def _choose(self, target: Tensor) -> Step:
        if self.kernels == "auto":
            self.measured_ms = found = measure(self.sae, self.train, target)
            self.kernels = min(found, key=lambda name: found[name])
        return MAKE[self.kernels](self.sae, self.train, self.moments)

    def finished(self) -> TopKSAE:
        """The trained SAE, on the CPU; that of a `batchtopk` SAE knows its threshold."""
        sae = self.sae.cpu().eval()
        theta = self.log.mean_threshold()
        if sae.cfg.recipe == "batchtopk" and theta is not None:
            sae.cfg = replace(sae.cfg, extra={**sae.cfg.extra, "threshold": theta})
        return sae

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values that `restore` takes."""
        tensors, values = self.log.state()
        out = {f"log.{name}": tensor for name, tensor in tensors.items()}
        for name, weight in self.sae.named_parameters():
            out |= {f"weight.{name}": weight.data}
            out |= {f"first.{name}": self.moments.first[name], f"second.{name}": self.moments.second[name]}
        return out, values

    def restore(self, kernels: str, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            SAEError: other kernels are asked for than those that computed it.
        """
        if self.train.kernels not in ("auto", kernels):
            raise SAEError(
                f"The checkpoint was computed with kernels = {kernels}, not {self.train.kernels}; "
                f"set kernels to {kernels} or auto, or delete the checkpoint."
            )
        self.kernels = kernels
        self.log.restore({name[4:]: t for name, t in tensors.items() if name.startswith("log.")}, values)
        for name, weight in self.sae.named_parameters():
            weight.data.copy_(tensors[f"weight.{name}"])
            self.moments.first[name].copy_(tensors[f"first.{name}"])
            self.moments.second[name].copy_(tensors[f"second.{name}"])
