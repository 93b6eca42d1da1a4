"""What the AudioLLM is given: token ids with the role of every position, and the checks that nothing was lost.

One row is `prefix · audio · text`, padded on the left:

    <|im_start|>system … <|im_start|>user Audio 1: <|audio_bos|> | <|AUDIO|> × n | <|audio_eos|> question … answer
    └──────────────── prefix (same in every clip) ─────────────┘   └─ audio ─┘    └──────────── text ──────────┘

The control tokens are Qwen2-Audio's; other families have their own, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """What the model hears of a batch of clips, computed once and ahead of time; `AudioLM.hear` makes it."""

    tensors: dict[str, Tensor]
    """By the names of the model's arguments: input_features [B, mels, frames] and, in most families, a mask."""
    samples: tuple[int, ...]
    """Length of each clip."""

    def __len__(self) -> int:
        return len(self.samples)

    def pinned(self) -> Features:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        return Features({name: value.pin_memory() for name, value in self.tensors.items()}, self.samples)


class InputError(ValueError):
    """Clips, prompts or answers that the AudioLLM cannot take as given; the message says why and what to do."""


@dataclass(frozen=True)
class Inputs:
    """A batch for `model(**tensors)`; every real position is exactly one of prefix, audio and text."""

    tensors: dict[str, Tensor]
    """input_ids, attention_mask [B, L]; input_features [B, mels, frames] and the family's mask of them, if any."""
    audio: Bool[Tensor, "B L"]
    """Audio tokens that hear the clip."""
    text: Bool[Tensor, "B L"]
    """Everything after the audio: end-of-audio mark, question, assistant header and, where given, the answer."""
    answer: Bool[Tensor, "B L"]
    """The answer with its end-of-turn token; a part of `text`."""
    prefix: Bool[Tensor, "B L"]
    """Tokens before the audio: the same in every clip, so left out of training and never replaced. So are the audio
    tokens that hear nothing but the silence behind the clip (Voxtral), which therefore count as prefix."""
    padding: Bool[Tensor, "B L"]
    audio_tokens: Int[Tensor, " B"]
    """Audio tokens per clip: T of Eq. 2."""

    @property
    def batch(self) -> int:
        """B, clips."""
        return self.audio.shape[0]

    @property
    def length(self) -> int:
        """L, positions including padding."""
        return self.audio.shape[1]

    @property
    def prompt(self) -> Bool[Tensor, "B L"]:
        """Text that is prefilled when generating: `text` without the answer."""
        return self.text & ~self.answer

    def to(self, device: str | torch.device) -> Inputs:
        """The same batch on another device; a GPU copies from page-locked memory without being waited for."""
        free = torch.device(device).type == "cuda"
        moved: dict[str, Any] = {"tensors": {k: v.to(device, non_blocking=free) for k, v in self.tensors.items()}}
        moved |= {
            f.name: getattr(self, f.name).to(device, non_blocking=free) for f in fields(self) if f.name != "tensors"
        }
        return Inputs(**moved)


def build_inputs(
    prompt_ids: Sequence[Sequence[int]],
    answer_ids: Sequence[Sequence[int]],
    features: dict[str, Tensor],
    *,
    expected_audio: Sequence[int],
    audio_token_id: int,
    pad_token_id: int,
    silence: Sequence[int] | None = None,
) -> Inputs:
    """Join prompts and answers, pad on the left, and mark the role of every position.

    Args:
        prompt_ids: token ids per clip, audio tokens already expanded.
        answer_ids: token ids per clip, empty when there is no answer. Joined to the prompt's ids as generation would.
        features: the encoder's tensors.
        audio_token_id: of <|AUDIO|>.
        pad_token_id: fills the left.
        expected_audio: tokens the encoder will return per clip; one audio token must stand for each.
        silence: how many of them, at the end, hear only the silence that fills the window; none by default.

    Raises:
        InputError: the audio tokens of a row are not one unbroken run of the expected length.
    """
    rows = [[*prompt, *answer] for prompt, answer in zip(prompt_ids, answer_ids, strict=True)]
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), pad_token_id, dtype=torch.long)
    roles = {name: torch.zeros(len(rows), length, dtype=torch.bool) for name in ("audio", "text", "answer", "prefix")}
    padding = torch.ones(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        start = length - len(row)
        ids[i, start:] = torch.tensor(row)
        padding[i, start:] = False
        first, end = _audio_run(i, ids[i] == audio_token_id, expected_audio[i])
        quiet = end - (silence[i] if silence else 0)
        roles["prefix"][i, start:first] = roles["prefix"][i, quiet:end] = True
        roles["audio"][i, first:quiet] = True
        roles["text"][i, end:] = True
        roles["answer"][i, length - len(answer_ids[i]) :] = True
    tensors = {"input_ids": ids, "attention_mask": (~padding).long(), **features}
    return Inputs(tensors, padding=padding, audio_tokens=roles["audio"].sum(-1), **roles)


def _audio_run(index: int, audio: Bool[Tensor, " L"], expected: int) -> tuple[int, int]:
    where = audio.nonzero().flatten().tolist()
    if len(where) != expected or not where or where[-1] - where[0] + 1 != expected:
        raise InputError(
            f"Clip {index} has {len(where)} audio tokens where the encoder gives {expected} in one run; "
            "use the processor saved with the model and keep its audio token out of prompts and answers."
        )
    return where[0], where[-1] + 1


def expect_matching(audios: int, prompts: int, answers: int | None) -> None:
    """One prompt, and one answer if any, per clip.

    Raises:
        InputError: no clip, or the counts differ.
    """
    if audios == 0:
        raise InputError("No clip was given; give at least one.")
    if prompts != audios or (answers is not None and answers != audios):
        given = f"{audios} clips, {prompts} prompts" + ("" if answers is None else f", {answers} answers")
        raise InputError(f"{given}: give one of each per clip.")


def refuse_special_tokens(what: str, texts: Sequence[str], special: Sequence[str]) -> None:
    """Keep the model's control tokens out of what users write.

    Raises:
        InputError: a text is no string or holds one of `special`.
    """
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{what} {index} is {type(text).__name__}; give a string.")
        found = next((token for token in special if token in text), None)
        if found is not None:
            raise InputError(f"{what} {index} contains the control token {found}; remove it.")
