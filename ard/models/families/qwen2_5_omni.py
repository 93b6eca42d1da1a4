"""Qwen2.5-Omni's thinker: the part that hears and writes; the talker, which speaks, is not loaded.

Its own processor cannot be had without torchvision, for videos, so tokenizer, feature extractor and template are loaded
one by one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    AutoTokenizer,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)

from ard.models.common import ModelError, load_part
from ard.models.families.base import Parts, WhisperFamily, encoder_frames

AUDIO_TOKEN = "<|AUDIO|>"


class Qwen25Omni(WhisperFamily):
    """25 tokens a second between <|audio_bos|> and <|audio_eos|>; positions of sound and text count alike.

    Ours: the window. The extractor's is 300 s, but the encoder attends within 2 s at a time and its batches are padded
    to the window, so a clip is as long as `max_source_positions`: 30 s, as in the other families.
    """

    name = "Qwen2.5-Omni (thinker)"
    model_types: tuple[str, ...] = ("qwen2_5_omni", "qwen2_5_omni_thinker")
    unused: tuple[str, ...] = ("talker.", "token2wav.")

    def model_class(self) -> Any:
        """Sound in, text out."""
        return Qwen2_5OmniThinkerForConditionalGeneration

    def own_config(self, config: Any) -> Any:
        """The thinker's."""
        return getattr(config, "thinker_config", config)

    def load_processor(self, source: Path | str) -> Any:
        """Tokenizer, feature extractor and chat template."""
        extractor = load_part("feature extractor", WhisperFeatureExtractor.from_pretrained, source)
        tokenizer = load_part("tokenizer", AutoTokenizer.from_pretrained, source)
        settings, _ = load_part("processor settings", Qwen2_5OmniProcessor.get_processor_dict, source)
        template = settings.get("chat_template") or tokenizer.chat_template
        if template is None:
            raise ModelError(f"{source} has no chat template; take it from the checkpoint's own files.")
        return Parts(tokenizer, extractor, AUDIO_TOKEN, template)

    def window_frames(self, model: Any, processor: Any) -> int:
        """Mel frames of the window: the shorter of the encoder's and the extractor's."""
        return min(encoder_frames(model), int(processor.feature_extractor.nb_max_frames))
