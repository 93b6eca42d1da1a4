"""Steer an AudioLLM: where in the sequence the clamp acts, and what it did.

Paper, after its ref [9]: the clamp acts on every prefill position, text included, and x̂ replaces x there; while
decoding, x̂ still replaces x but unclamped. Ours: the constant prefix, padding and attention sinks are never touched,
and an answer that is given (for losses and dose-response) counts as decoded, exactly as if the model had written it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ard.clamp_rows import EachRow
from ard.clamps import (
    Change,
    Clamp,
    Decoding,
    DiffOfMeans,
    PolyClamp,
    Positions,
    Steered,
    SteeringError,
    When,
    apply_clamp,
    difference_of_means,
    poly_clamp,
)
from ard.models.audio_lm import AudioLM
from ard.models.inputs import Inputs
from ard.sae import TopKSAE
from ard.steering_hook import Steering
from ard.steering_report import SteeringReport

__all__ = [
    "Change",
    "Clamp",
    "Decoding",
    "DiffOfMeans",
    "DoseResponse",
    "EachRow",
    "PolyClamp",
    "Positions",
    "Steered",
    "SteeredText",
    "Steering",
    "SteeringError",
    "SteeringReport",
    "When",
    "apply_clamp",
    "difference_of_means",
    "dose_response",
    "poly_clamp",
    "steer",
    "steer_generate",
    "steering",
]


class SteeredText(NamedTuple):
    """Answers under steering and what it took."""

    texts: list[str]
    report: SteeringReport


class DoseResponse(NamedTuple):
    """Log-probabilities of answers as a steering value grows; V values, B clips, A answers."""

    values: list[float]
    log_probs: Float[Tensor, "V B A"]
    """Σ log p of each answer's tokens, end-of-turn token included."""
    baseline: Float[Tensor, "B A"]
    """The same without any steering."""
    dead_zone: list[float]
    """Per value: share of positions at which the clamp vanished in TopK."""


def steering(lm: AudioLM, sae: TopKSAE | None, change: Change | EachRow, inputs: Inputs, **options: Any) -> Steering:
    """Steer `lm` by `change` while the block runs.

    For instance: `with steering(lm, sae, clamp, inputs) as active: lm.generate(inputs)`, then `active.report`.

    Args:
        lm: the AudioLLM.
        change: a `Clamp`, `PolyClamp` or `DiffOfMeans`, or `EachRow` with a clamp for each row of the batch.
        inputs: the batch that will run inside the block.
        sae: needed by `Clamp`; None for `PolyClamp` and `DiffOfMeans` (give `hookpoint` then).
        **options: `hookpoint` (default: the SAE's), `exclude` [B, L] (positions never touched), `sink_factor` (None:
            attention sinks are touched too).

    Raises:
        SteeringError, SAEError, ValueError: the change, SAE or hookpoint does not fit the model.
    """
    return Steering(lm, sae, change, inputs, **options)


def steer(
    lm: AudioLM,
    sae: TopKSAE | None,
    change: Change | None,
    audios: Sequence[np.ndarray],
    prompts: Sequence[str],
    *,
    batch_size: int = 8,
    max_new_tokens: int = 48,
    seed: int | None = None,
    do_sample: bool = False,
    should_stop: Callable[[], bool] | None = None,
    **options: Any,
) -> SteeredText:
    """Answers of the steered model, and what steering did; with `change=None` the unsteered answers.

    Args:
        lm: the AudioLLM.
        sae: as in `steering`.
        change: as in `steering`, or None.
        audios: mono clips at the model's rate.
        prompts: the question about each clip.
        batch_size: clips per `generate`.
        max_new_tokens: longest answer, in tokens.
        seed: of the sampling.
        do_sample: draw instead of taking the likeliest token.
        should_stop: asked after every token; True ends the answers there.
        **options: as in `steering`.

    Raises:
        SteeringError, SAEError, AudioError, InputError: as `steering` and `AudioLM.prepare`.
    """
    _check_batch_size(batch_size)
    texts, report = [], SteeringReport()
    for start in range(0, len(audios), batch_size):
        some = slice(start, start + batch_size)
        inputs = lm.prepare(audios[some], prompts[some])
        with ExitStack() as stack:
            active = None if change is None else stack.enter_context(Steering(lm, sae, change, inputs, **options))
            texts += lm.generate(inputs, max_new_tokens, seed, do_sample, should_stop)
        if active is not None:
            report.add(active.report)
    return SteeredText(texts, report)


def steer_generate(
    lm: AudioLM,
    sae: TopKSAE | None,
    change: Change,
    audios: Sequence[np.ndarray],
    prompts: Sequence[str],
    **options: Any,
) -> list[str]:
    """The texts of `steer`."""
    return steer(lm, sae, change, audios, prompts, **options).texts


def dose_response(
    lm: AudioLM,
    sae: TopKSAE | None,
    clamp: Change,
    values: Sequence[float],
    audios: Sequence[np.ndarray],
    prompts: Sequence[str],
    answers: Sequence[str],
    *,
    batch_size: int = 16,
    **options: Any,
) -> DoseResponse:
    """Log-probability of each answer option for each clip as the steering value takes each of `values`.

    Args:
        lm: the AudioLLM.
        sae: as in `steering`.
        values: steering values to try.
        audios: mono clips at the model's rate.
        prompts: the question about each clip.
        clamp: every latent (dimension, alpha) of it is set to the value; its other switches stay.
        answers: options, the same for every clip.
        batch_size: clip-answer pairs per forward pass.
        **options: as in `steering`.

    Raises:
        SteeringError: no value or no answer was given, or as `steering`.
    """
    _check_batch_size(batch_size)
    if not len(values) or not len(answers):
        raise SteeringError(f"{len(values)} values and {len(answers)} answers were given; give at least one of each.")
    if len(audios) != len(prompts):
        raise SteeringError(f"{len(audios)} clips and {len(prompts)} prompts were given; give one prompt per clip.")
    pairs = [(clip, answer) for clip in range(len(audios)) for answer in answers]
    table = torch.zeros(len(values) + 1, len(pairs))
    reports = [SteeringReport() for _ in values]
    for start in range(0, len(pairs), batch_size):
        some = pairs[start : start + batch_size]
        inputs = lm.prepare([audios[i] for i, _ in some], [prompts[i] for i, _ in some], [text for _, text in some])
        span = slice(start, start + len(some))
        table[-1, span] = lm.answer_log_probs(inputs).cpu()
        for row, value in enumerate(values):
            with Steering(lm, sae, clamp.with_value(value), inputs, **options) as active:
                table[row, span] = lm.answer_log_probs(inputs).cpu()
            reports[row].add(active.report)
    table = table.reshape(len(values) + 1, len(audios), len(answers))
    return DoseResponse(list(map(float, values)), table[:-1], table[-1], [report.dead_zone for report in reports])


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise SteeringError(f"batch_size is {batch_size}; give 1 or more.")
