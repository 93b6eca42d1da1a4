"""Fit TopK sparse autoencoders to stored activations (AR&D, arXiv 2602.22253, section 2; loss ‖x − x̂‖²).

`paper`: Adam, lr 1e-5, batch 4096, 1e5 steps, nothing else.
`recommended` (ours): b_dec starts at the centre of the data, x is scaled to E‖x‖ = sqrt(d_in), decoder rows keep unit
norm, lr 2e-4 / sqrt(d_sae / 16384) with warm-up and a linear end, and AuxK revives dead latents: k_aux of them
reconstruct what the others left over, with weight 1/32 (Gao et al. 2024, arXiv 2406.04093, A.1, A.2 and 2.4).
`batchtopk`, `matryoshka` (ours): the same with another choice of latents, or a loss of several (see `ard.sae`).

The same activations, configuration, kernels and number of threads give the same weights on the same kind of machine,
interrupted or not. With kernels = `auto` a measurement picks the kernels, so two runs may differ in rounding; the
result names them, and a checkpoint goes on with those it was written by.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ard import train_checkpoint
from ard.metrics import CHUNK, ActivationStats, Metrics, activation_stats, evaluate, geometric_median, measure
from ard.sae import SAEConfig, SAEError, TopKSAE
from ard.token_source import TensorSource, TokenSource, token_batches
from ard.train_config import TrainConfig, learning_rate
from ard.train_plain import auxk_loss
from ard.train_run import SAERun

__all__ = [
    "FitResult",
    "Metrics",
    "TokenSource",
    "TrainConfig",
    "auxk_loss",
    "evaluate",
    "fit",
    "fit_many",
    "initial_sae",
    "learning_rate",
    "token_batches",
]

SAMPLE = 1 << 18
"""Tokens of a `TokenSource` that its scale, mean and training metrics are measured on; a tensor is read whole."""


class FitResult(NamedTuple):
    """A trained SAE, its curves (one dict a row), its metrics, and the training configuration without gaps."""

    sae: TopKSAE
    curves: list[dict[str, float]]
    metrics: Metrics
    train: TrainConfig
    kernels: str = "plain"
    """Which kernels computed the steps: `plain`, `dense` or `sparse`."""
    measured_ms: dict[str, float] | None = None
    """Milliseconds a step of each kind took when `auto` chose; None where nothing was measured."""
    per_latent: Tensor | None = None
    """Tokens of the set behind `metrics` on which each latent is above 0 [d_sae]."""


def initial_sae(
    x: Float[Tensor, "tokens d_in"], cfg: SAEConfig, train: TrainConfig, stats: ActivationStats | None = None
) -> TopKSAE:
    """The SAE before the first step; `stats` are those of x, measured here if not given.

    Ours, all recipes but `paper`: a scale of 1.0 is replaced by sqrt(d_in) / E‖x‖ measured on x (another value is
    kept), and b_dec is the mean or the geometric median (of at most 65,536 evenly spaced tokens) of the scaled x.
    """
    stats = stats or activation_stats(x)
    if cfg.recipe == "paper":
        return TopKSAE(cfg)
    if cfg.scale == 1.0:
        if stats.mean_norm == 0:
            raise SAEError("All activations are zero; there is nothing to train on.")
        cfg = replace(cfg, scale=math.sqrt(cfg.d_in) / stats.mean_norm)
    sae = TopKSAE(cfg)
    centre = stats.mean if train.b_dec_init == "mean" else geometric_median(x[:: -(-len(x) // CHUNK)])
    if sae.b_dec is not None:
        sae.b_dec.data.copy_(centre * cfg.scale)
    return sae


def fit(
    x: Float[Tensor, "tokens d_in"] | TokenSource,
    cfg: SAEConfig,
    train: TrainConfig,
    held_out: Float[Tensor, "held d_in"] | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_row: Callable[[str, dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 1000,
) -> FitResult:
    """Minimise E‖x − x̂‖² (Eq. 1) over x, plus auxk_coef · AuxK for all recipes but `paper`; see `fit_many`."""
    return fit_many(x, [cfg], train, held_out, progress, on_row, checkpoint, checkpoint_every)[0]


def fit_many(
    x: Float[Tensor, "tokens d_in"] | TokenSource,
    cfgs: Sequence[SAEConfig],
    train: TrainConfig,
    held_out: Float[Tensor, "held d_in"] | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_row: Callable[[str, dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 1000,
) -> list[FitResult]:
    """Train several SAEs in one pass over the same activations: each batch is read once and every SAE steps on it.

    Each ends with the weights it would have if trained alone.

    Args:
        x: activations in CPU memory, any floating type, or a source of batches; each batch is converted to float32.
        cfgs: what to train; all recipes but `paper` with scale 1.0 measure their scale on x (see `initial_sae`).
        train: how to train, the same for all; a None is each recipe's own value.
        held_out: tokens for the metrics, disjoint from x; without it the metrics are those of x itself.
        progress: called as progress(steps done, steps in all) after every step.
        on_row: called as on_row(sae_id, row) with each new row of the curves.
        checkpoint: file that holds the state of the run. Where it is there, training goes on from it; the result is
            the same bit for bit with the same kernels and number of threads. It stays when training is done.
        checkpoint_every: steps between two checkpoints; one more is written at the end.

    Returns:
        For each SAE: the trained SAE (on the CPU), curves with step, tokens, loss and fvu in scaled units (both over
        the steps since the last row), l0, dead_fraction, lr and tokens_per_s, the metrics, the resolved configuration,
        and the kernels used.

    Raises:
        SAEError: shapes or values that cannot be trained on, a loss that is no longer finite, or a checkpoint of
            another run.
    """
    source = _source("x", x, cfgs)
    if held_out is not None:
        _source("held_out", held_out, cfgs)
    if checkpoint_every < 1:
        raise SAEError(f"checkpoint_every is {checkpoint_every}; it must be 1 or more.")
    sample = source.x if isinstance(source, TensorSource) else source.sample(SAMPLE, train.seed)
    stats = activation_stats(sample)
    runs = []
    for cfg in cfgs:
        resolved = train.resolve(cfg, source.tokens)
        runs.append(SAERun(initial_sae(sample, cfg, resolved, stats), resolved, stats.mean))
    fingerprint = _fingerprint(runs, stats, source.tokens)
    done = _restore(runs, checkpoint, fingerprint)
    for step, batch in enumerate(source.batches(train.batch, train.steps, train.seed, skip=done), start=done + 1):
        tokens = batch.to(train.device, non_blocking=True).float()
        for run in runs:
            row = run.step(tokens, step)
            if row is not None and on_row is not None:
                on_row(run.sae.cfg.sae_id, row)
        if checkpoint is not None and (step % checkpoint_every == 0 or step == train.steps):
            states = [run.state() for run in runs]
            kernels: list[str] = [run.kernels for run in runs]
            train_checkpoint.write(checkpoint, step, kernels, fingerprint, *map(list, zip(*states, strict=True)))
        if progress is not None:
            progress(step, train.steps)
    on = sample if held_out is None else held_out
    return [_result(run, on) for run in runs]


def _result(run: SAERun, x: Tensor) -> FitResult:
    sae = run.finished()
    found = measure(sae, x)
    return FitResult(sae, run.log.rows, found.metrics, run.train, run.kernels, run.measured_ms, found.per_latent)


def _source(name: str, x: Tensor | TokenSource, cfgs: Sequence[SAEConfig]) -> TokenSource:
    """Batches of x, whatever x is.

    Raises:
        SAEError: its width is not that of every SAE.
    """
    for cfg in cfgs:
        if isinstance(x, Tensor) and (x.ndim != 2 or x.shape[1] != cfg.d_in):
            raise SAEError(f"{name} has shape {list(x.shape)}; it must be [tokens, {cfg.d_in}].")
        if not isinstance(x, Tensor) and x.d_in != cfg.d_in:
            raise SAEError(f"{name} has {x.d_in} values a token; SAE {cfg.sae_id} needs {cfg.d_in}.")
    return TensorSource(x) if isinstance(x, Tensor) else x


def _fingerprint(runs: Sequence[SAERun], stats: ActivationStats, tokens: int) -> str:
    """Hash of everything the result depends on, but the kernels and the machine."""
    parts = [[asdict(run.sae.cfg), {**asdict(run.train), "device": "", "kernels": ""}] for run in runs]
    text = json.dumps([parts, tokens, stats.mean.tolist(), stats.mean_norm], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _restore(runs: Sequence[SAERun], checkpoint: Path | None, fingerprint: str) -> int:
    """Take up a checkpoint where there is one; returns the steps done."""
    found = None if checkpoint is None else train_checkpoint.read(checkpoint, fingerprint)
    if found is None:
        return 0
    for run, kernels, tensors, values in zip(runs, found.kernels, found.tensors, found.values, strict=True):
        run.restore(kernels, tensors, values)
    return found.step
