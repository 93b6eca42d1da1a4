"""Audio Flamingo 3 (`nvidia/audio-flamingo-3-hf`): a Whisper encoder that ignores padding, a Qwen2 language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AudioFlamingo3ForConditionalGeneration, AudioFlamingo3Processor

from ard.models.common import load_part
from ard.models.families.base import WhisperFamily


class AudioFlamingo3(WhisperFamily):
    """25 tokens a second in place of <sound>.

    Ours: the model joins up to twenty windows of 30 s; here a clip is one window, as in every other family, so that T
    of Eq. 2 counts the same seconds.
    """

    name = "Audio Flamingo 3"
    model_types: tuple[str, ...] = ("audioflamingo3",)
    mask_name = "input_features_mask"

    def model_class(self) -> Any:
        """Sound in, text out."""
        return AudioFlamingo3ForConditionalGeneration

    def load_processor(self, source: Path | str) -> Any:
        """The checkpoint's own processor."""
        return load_part("processor", AudioFlamingo3Processor.from_pretrained, source)
