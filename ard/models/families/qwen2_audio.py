"""Qwen2-Audio-7B(-Instruct), and SeaLLMs-Audio-7B, which is the same class with another language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

from ard.models.common import load_part
from ard.models.families.base import WhisperFamily


class Qwen2Audio(WhisperFamily):
    """25 tokens a second, 30 s; the sound stands between <|audio_bos|> and <|audio_eos|>."""

    name = "Qwen2-Audio, SeaLLMs-Audio"
    model_types: tuple[str, ...] = ("qwen2_audio",)

    def model_class(self) -> Any:
        """Sound in, text out."""
        return Qwen2AudioForConditionalGeneration

    def load_processor(self, source: Path | str) -> Any:
        """The checkpoint's own processor."""
        return load_part("processor", Qwen2AudioProcessor.from_pretrained, source)
