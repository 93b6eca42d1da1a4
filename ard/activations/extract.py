"""The model's side of extraction: one forward pass over a batch gives the tokens of several hookpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ard.models.audio_lm import AudioLM
from ard.models.inputs import Inputs
from ard.sinks import SINK_FACTOR, find_sinks


class TokenRows(NamedTuple):
    """The tokens of a batch, clip after clip, each clip's audio tokens and then its text tokens, on the CPU."""

    x: dict[int, Float[Tensor, "tokens d"]]
    """By layer, in the model's precision."""
    outliers: dict[int, Bool[Tensor, " tokens"]]
    """By layer: tokens whose norm stands out of their clip (`ard/sinks.py`)."""
    audio_tokens: Int[Tensor, " B"]
    text_tokens: Int[Tensor, " B"]


def read_tokens(lm: AudioLM, inputs: Inputs, layers: Sequence[int], factor: float = SINK_FACTOR) -> TokenRows:
    """Activations x of Eq. 1 at the asked layers over audio and text; one pass, which ends after the highest of them.

    Prefix and padding are left behind on the device, so that only what is kept crosses to the CPU.

    Raises:
        ValueError: no layer asked for, or one the model lacks; factor not above 1.
    """
    keep = inputs.audio | inputs.text  # in a row: prefix, audio, text; so the rows below are audio, then text
    x, outliers = {}, {}
    for layer, values in lm.activations(inputs, layers, as_computed=True).items():
        outliers[layer] = find_sinks(values, keep, factor=factor)[keep].cpu()
        x[layer] = _to_cpu(values[keep])
    if inputs.audio.is_cuda:
        torch.cuda.synchronize(inputs.audio.device)
    return TokenRows(x, outliers, inputs.audio.sum(-1).cpu(), inputs.text.sum(-1).cpu())


def _to_cpu(x: Tensor) -> Tensor:
    """A copy on the CPU; from a GPU into page-locked memory, not waited for."""
    if not x.is_cuda:
        return x
    return torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
