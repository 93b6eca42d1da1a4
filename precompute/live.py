"""Activations that were not stored: the AudioLLM reads the clips again (`activations.store = "none"`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ard.activations.extract import read_tokens
from ard.models.audio_lm import AudioLM
from ard.store import Run


class LiveClips:
    """Clips, the questions they were asked and what was answered, read at any hookpoint."""

    def __init__(self, run: Run, audio_lm: Callable[[], AudioLM], load: Callable[[Sequence[str]], list[Any]]):
        self._run, self._audio_lm, self._load = run, audio_lm, load

    @cached_property
    def _clips(self) -> dict[str, tuple[str, str, str]]:
        audio = dict(zip(*self._run.read("clips", ["clip_id", "audio"]).to_pydict().values(), strict=True))
        rows = self._run.read("answers").to_pylist()
        return {r["clip_id"]: (audio[r["clip_id"]], r["question"], r["answer"]) for r in rows}

    def read(self, hookpoint: str, clip_ids: Sequence[str]) -> Float[Tensor, "tokens d"]:
        """All tokens of the clips, clip after clip, each audio then text, in the model's precision on its device."""
        lm = self._audio_lm()
        audio, questions, answers = zip(*(self._clips[clip_id] for clip_id in clip_ids), strict=True)
        inputs = lm.prepare(self._load(audio), questions, answers)
        layer = lm.layer_of(hookpoint)
        with torch.no_grad():
            return read_tokens(lm, inputs, [layer]).x[layer]
