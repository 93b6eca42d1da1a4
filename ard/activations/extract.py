"""The model's side of extraction: one forward pass over a batch gives the tokens of several hookpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from ard.models.audio_lm import AudioLM
from ard.models.inputs import Inputs
from ard.sinks import SINK_FACTOR, find_sinks


class TokenRows(NamedTuple):
    """The tokens of a batch, clip after clip, each clip's audio tokens and then its text tokens."""

    x: dict[int, Float[Tensor, "tokens d"]]
    """By layer, in the model's precision, on its device."""
    outliers: dict[int, Bool[Tensor, " tokens"]]
    """By layer: tokens whose norm stands out of their clip (`ard/sinks.py`)."""
    audio_tokens: list[int]
    """By clip."""
    text_tokens: list[int]
    """By clip."""


def read_tokens(lm: AudioLM, inputs: Inputs, layers: Sequence[int], factor: float = SINK_FACTOR) -> TokenRows:
    """Activations x of Eq. 1 at the asked layers over audio and text; one pass, which ends after the highest of them.

    Whatever needs an answer from a GPU is asked before the pass is started, so that the caller can prepare the next
    batch while this one is computed.

    Raises:
        ValueError: no layer asked for, or one the model lacks; factor not above 1.
    """
    keep = inputs.audio | inputs.text  # in a row: prefix, audio, text; so the rows below are audio, then text
    counts = [role.sum(-1).tolist() for role in (inputs.audio, inputs.text)]
    where = keep.flatten().nonzero().squeeze(1)
    x, outliers = {}, {}
    for layer, values in lm.activations(inputs, layers, as_computed=True).items():
        x[layer] = values.flatten(0, 1).index_select(0, where)
        outliers[layer] = find_sinks(values, keep, factor=factor).flatten().index_select(0, where)
    return TokenRows(x, outliers, *counts)
