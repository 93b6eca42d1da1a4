"""Voxtral (`mistralai/Voxtral-Mini-3B-2507`, `-Small-24B-2507`): every clip fills 30 s, with silence after the sound.

The published checkpoints hold their tokenizer as tekken.json, which needs the package mistral-common.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import VoxtralForConditionalGeneration, VoxtralProcessor

from ard.models.common import ModelError, load_part
from ard.models.families.base import AudioRun, WhisperFamily


class Voxtral(WhisperFamily):
    """12.5 tokens a second: <s> [INST] [BEGIN_AUDIO] [AUDIO]×375 question [/INST] answer </s>.

    The encoder takes no mask and the model was trained on full windows, so the silence stays in. Ours: T of Eq. 2
    counts the tokens that hear the clip, ⌈samples/1280⌉; those of the silence are, like the prefix, neither read nor
    steered.
    """

    name = "Voxtral"
    model_types: tuple[str, ...] = ("voxtral",)
    mask_name = ""

    def model_class(self) -> Any:
        """Sound in, text out."""
        return VoxtralForConditionalGeneration

    def load_processor(self, source: Path | str) -> Any:
        """The checkpoint's own processor."""
        return load_part("processor", VoxtralProcessor.from_pretrained, source)

    def pooled(self, model: Any) -> int:
        """Encoder steps that the projector lays side by side."""
        encoder = model.config.audio_config
        return int(encoder.intermediate_size // encoder.hidden_size)

    def tokens_of_frames(self, model: Any, frames: Tensor) -> Tensor:
        """Audio tokens for numbers of mel frames F: ⌈F/8⌉."""
        return -(frames // -(2 * self.pooled(model)))

    def audio_run(self, model: Any, processor: Any, samples: int) -> AudioRun:
        """The clip's tokens, then those of the rest of the window."""
        sound = super().audio_run(model, processor, samples).sound
        window = self.window_frames(model, processor)
        return AudioRun(sound, int(self.tokens_of_frames(model, torch.tensor([window]))[0]) - sound)

    def prompt_ids(self, processor: Any, prompt: str) -> list[int]:
        """Control tokens by name, the question in between: the same with mistral-common's tokenizer and a fast one."""
        marks = [_id(processor, mark) for mark in ("<s>", "[INST]", "[BEGIN_AUDIO]", "[AUDIO]", "[/INST]")]
        question = processor.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return [*marks[:4], *question, marks[4]]

    def end_of_turn(self, processor: Any) -> int:
        """</s>."""
        return _id(processor, "</s>")


def _id(processor: Any, mark: str) -> int:
    found = processor.tokenizer.convert_tokens_to_ids(mark)
    if found is None or found == getattr(processor.tokenizer, "unk_token_id", None):
        raise ModelError(f"The tokenizer has no token {mark}; use the one saved with the Voxtral checkpoint.")
    return int(found)
