"""A batch whose sound has been encoded once: the decoder's input embeddings stand in place of the audio.

The encoder is the larger part of a short answer's work; one batch may be answered, read and steered many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ard.models.audio_lm import AudioLM
from ard.models.inputs import InputError, Inputs, expect_matching

ROLES = ("audio", "text", "answer", "prefix")


class _HaveEmbeddingsError(Exception):
    """Ends a forward pass once the decoder's input is there."""


@torch.no_grad()
def embedded(lm: AudioLM, inputs: Inputs) -> Inputs:
    """The same batch with the decoder's input embeddings in place of the sound, so that it is encoded only once."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept.append(kwargs["inputs_embeds"])
        raise _HaveEmbeddingsError

    handle = lm.model.get_decoder().register_forward_pre_hook(keep, with_kwargs=True)
    try:
        lm.model(**inputs.tensors, use_cache=False)
    except _HaveEmbeddingsError:
        pass
    finally:
        handle.remove()
    if kept[0].shape[1] != inputs.length:
        raise InputError("The model grew the sequence merging the audio; use a processor that expands <|AUDIO|>.")
    tensors = {name: inputs.tensors[name] for name in ("input_ids", "attention_mask")}
    return replace(inputs, tensors={**tensors, "inputs_embeds": kept[0]})


def rows_of(inputs: Inputs, rows: Sequence[int]) -> Inputs:
    """The rows of a batch in this order; a row may come more than once."""
    index = torch.tensor(list(rows), dtype=torch.long, device=inputs.audio.device)
    roles = {name: getattr(inputs, name)[index] for name in (*ROLES, "padding", "audio_tokens")}
    return Inputs({name: value[index] for name, value in inputs.tensors.items()}, **roles)


def joined(parts: Sequence[Inputs]) -> Inputs:
    """Embedded batches one below the other, padded on the left to the longest."""
    length = max(part.length for part in parts)

    def pad(value: Tensor, missing: int, fill: Literal[0, 1] = 0) -> Tensor:
        return F.pad(value, ((0, 0) if value.ndim == 3 else ()) + (missing, 0), value=fill)

    out: dict[str, list[Tensor]] = {}
    for part in parts:
        missing = length - part.length
        roles = {name: getattr(part, name) for name in ROLES} | part.tensors
        padded = {name: pad(value, missing) for name, value in roles.items()}
        padded |= {"padding": pad(part.padding, missing, 1), "audio_tokens": part.audio_tokens}
        for name, value in padded.items():
            out.setdefault(name, []).append(value)
    joined = {name: torch.cat(values) for name, values in out.items()}
    tensors = {name: joined.pop(name) for name in ("input_ids", "attention_mask", "inputs_embeds")}
    return Inputs(tensors, **joined)


@torch.no_grad()
def with_answers(lm: AudioLM, inputs: Inputs, answers: Sequence[str]) -> Inputs:
    """The embedded batch with an answer and its end-of-turn token after each row: what `lm.prepare` makes of them.

    Raises:
        InputError: the rows already hold an answer, the numbers differ, or an answer holds a control token.
    """
    if bool(inputs.answer.any()):
        raise InputError("These inputs already hold answers; give the questions alone.")
    ids = lm.answer_ids(answers)
    expect_matching(inputs.batch, inputs.batch, len(ids))
    return joined([_with_answer(lm, rows_of(inputs, [i]), row) for i, row in enumerate(ids)])


def _with_answer(lm: AudioLM, row: Inputs, ids: list[int]) -> Inputs:
    """One row [1, L] without its padding, then the answer."""
    own, more, added = ~row.padding[0], len(ids), torch.tensor([ids], device=row.padding.device)
    tensors = {name: value[:, own] for name, value in row.tensors.items()}
    embeds = lm.model.get_input_embeddings()(added).to(tensors["inputs_embeds"].dtype)
    tensors = {
        "input_ids": torch.cat([tensors["input_ids"], added], 1),
        "attention_mask": F.pad(tensors["attention_mask"], (0, more), value=1),
        "inputs_embeds": torch.cat([tensors["inputs_embeds"], embeds], 1),
    }
    roles = {name: F.pad(getattr(row, name)[:, own], (0, more), value=name in ("text", "answer")) for name in ROLES}
    return Inputs(tensors, padding=torch.zeros_like(roles["audio"]), audio_tokens=row.audio_tokens, **roles)
