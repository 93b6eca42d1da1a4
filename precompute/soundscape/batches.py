"""Training batches of the demo AudioLLM: one clip, several questions, in one sequence.

The audio is read once; every question with its answer is a *branch* behind it. A branch sees the prefix, the audio and
itself, never another branch, and its positions continue those of the audio: each answer is learned exactly as if its
question had been asked alone, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from precompute.soundscape.demo_model import SYSTEM
from precompute.soundscape.grammar import QA, question, speaker_of
from precompute.soundscape.world import ClipTruth

PREFIX = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nAudio 1: <|audio_bos|>"
AFTER_AUDIO = "<|audio_eos|>\n"
ASK = "{question}<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>"


class Branches(NamedTuple):
    """Token ids of a batch of packed sequences, B clips of length L."""

    ids: torch.Tensor
    """int64 [B, L]; the audio positions hold the audio token."""
    positions: torch.Tensor
    """int64 [B, L]: rotary position of each token."""
    mask: torch.Tensor
    """bool [B, 1, L, L]: True where the row's token may look."""
    labels: torch.Tensor
    """int64 [B, L]: the next token where it belongs to an answer, else -100."""


def draw_questions(truth: ClipTruth, rng: np.random.Generator, count: int = 4) -> list[QA]:
    """Questions for one training step: what sounds and a speaker's language (the hardest) always, the rest at times."""
    kinds = ["describe", "which"]
    if speaker_of(truth) is not None:
        kinds += ["language", str(rng.choice(["gender", "emotion"]))][: count - len(kinds)]
    else:
        kinds.append(str(rng.choice(["gender", "emotion", "language"], p=[0.3, 0.4, 0.3])))
    while len(kinds) < count:
        kinds.append(str(rng.choice(["count", "first", "yes_no"], p=[0.2, 0.3, 0.5])))
    return [question(k, truth, rng) for k in kinds]


LENGTH = 208
"""Tokens of a packed sequence. One fixed length, so that the compiled model sees one shape."""


def pack(
    tokenizer: PreTrainedTokenizerFast, batch: Sequence[Sequence[QA]], audio_tokens: Sequence[int], length: int = LENGTH
) -> Branches:
    """Pack questions and answers behind the audio; a question that no longer fits is left out.

    Args:
        batch: the questions of each clip.
        audio_tokens: number of audio tokens of each clip.
        length: tokens of every packed sequence.
    """

    @cache
    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    audio = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    rows = []
    for questions, tokens in zip(batch, audio_tokens, strict=True):
        head = encode(PREFIX) + [audio] * tokens + encode(AFTER_AUDIO)
        ids, positions, branch, labels = list(head), list(range(len(head))), [0] * len(head), [-100] * len(head)
        for number, qa in enumerate(questions, start=1):
            ask, answer = encode(ASK.format(question=qa.question)), encode(qa.answer + END)
            if len(ids) + len(ask) + len(answer) > length:
                continue
            ids += ask + answer
            positions += range(len(head), len(head) + len(ask) + len(answer))
            branch += [number] * (len(ask) + len(answer))
            labels += [-100] * (len(ask) - 1) + answer + [-100]
        rows.append((ids, positions, branch, labels))
    pad = tokenizer.pad_token_id

    def stack(column: int, fill: int) -> torch.Tensor:
        return torch.tensor([r[column] + [fill] * (length - len(r[column])) for r in rows])

    ids, positions, branch, labels = stack(0, pad), stack(1, 0), stack(2, -1), stack(3, -100)
    same = branch[:, :, None] == branch[:, None, :]
    to_head = (branch == 0)[:, None, :] & (branch >= 0)[:, :, None]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return Branches(ids, positions, ((same | to_head) & causal)[:, None], labels)
