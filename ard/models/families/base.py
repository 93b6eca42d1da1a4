"""What an AudioLLM family is: everything that differs between checkpoints of two families, behind one Protocol.

A family is one file in this folder. Everything else (hooks, roles of positions, losses, answers) is written once, in
`ard/models/audio_lm.py`, and knows families only by this Protocol.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ard.models.common import ModelError

MIN_AUDIO_TOKENS = 2
"""Ours: a batch in which every clip has one audio token sends Qwen2-Audio down its old merge path, which guesses."""


class FrontEnd(NamedTuple):
    """How sound becomes audio tokens."""

    sampling_rate: int
    window_samples: int
    """Longest clip that is heard whole."""
    tokens_per_s: float
    shortest_samples: int
    """Shortest clip that gives `MIN_AUDIO_TOKENS`."""

    @property
    def window_s(self) -> float:
        """The window in seconds."""
        return self.window_samples / self.sampling_rate


class AudioRun(NamedTuple):
    """The audio tokens of one clip: those that hear it, then those that hear the silence which fills the window."""

    sound: int
    silence: int = 0


class Family(Protocol):
    """Checkpoints that are loaded, fed and read in the same way."""

    name: str
    """For people, such as "Qwen2-Audio"."""
    model_types: tuple[str, ...]
    """`model_type` in the `config.json` of its checkpoints."""

    unused: tuple[str, ...]
    """Beginnings of the names of weights that the checkpoint holds and the class leaves out."""

    def model_class(self) -> Any:
        """The transformers class whose `from_pretrained` loads it."""
        ...

    def own_config(self, config: Any) -> Any:
        """The part of a checkpoint's configuration that describes the loaded class."""
        ...

    def load_processor(self, source: Path | str) -> Any:
        """An object with `tokenizer` and `feature_extractor`."""
        ...

    def front_end(self, model: Any, processor: Any) -> FrontEnd:
        """Window and rates, read from the checkpoint.

        Raises:
            ModelError: model and processor disagree.
        """
        ...

    def tensors(self, model: Any, processor: Any, clips: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """The encoder's arguments for these clips, by the names of the model's arguments; row i is clip i."""
        ...

    def audio_run(self, model: Any, processor: Any, samples: int) -> AudioRun:
        """Audio tokens of a clip of `samples` samples."""
        ...

    def audio_token_id(self, model: Any, processor: Any) -> int:
        """The token that the model replaces by what it hears."""
        ...

    def prompt_ids(self, processor: Any, prompt: str) -> list[int]:
        """One user turn, the clip before the question, up to where the answer begins; one audio token for the clip."""
        ...

    def end_of_turn(self, processor: Any) -> int:
        """The token that ends an answer.

        Raises:
            ModelError: there is none.
        """
        ...


@dataclass
class Parts:
    """Tokenizer and feature extractor of a checkpoint whose own processor also wants what pictures need."""

    tokenizer: Any
    feature_extractor: Any
    audio_token: str
    chat_template: str | None = None

    @property
    def audio_token_id(self) -> int:
        """Id of `audio_token`."""
        return int(self.tokenizer.convert_tokens_to_ids(self.audio_token))

    def apply_chat_template(self, turns: list[dict[str, Any]], **options: Any) -> Any:
        """The conversation as one text, by the processor's template or else the tokenizer's."""
        return self.tokenizer.apply_chat_template(turns, chat_template=self.chat_template, **options)


class WhisperFamily:
    """What families with a Whisper-like encoder and a chat template share: 10 ms mels, padded to a whole window."""

    name: str
    model_types: tuple[str, ...]
    mask_name: str = "feature_attention_mask"
    """Name of the model's argument that says which mel frames are sound; empty where it has none."""

    unused: tuple[str, ...] = ()

    def own_config(self, config: Any) -> Any:
        """All of it."""
        return config

    def audio_token_id(self, model: Any, processor: Any) -> int:
        """The token that the model replaces by what it hears; the same in model and processor."""
        return int(model.config.audio_token_id)

    def pooled(self, model: Any) -> int:
        """Encoder steps in one audio token."""
        stride = model.base_model.audio_tower.avg_pooler.stride
        return int(stride[0] if isinstance(stride, tuple) else stride)

    def tokens_of_frames(self, model: Any, frames: Tensor) -> Tensor:
        """Audio tokens for numbers of mel frames F: ((F−1)//2+1−2)//2+1, asked of the encoder itself."""
        return model.base_model.audio_tower._get_feat_extract_output_lengths(frames)[1]

    def window_frames(self, model: Any, processor: Any) -> int:
        """Mel frames of a full window, on which processor and encoder must agree."""
        extractor, needs = processor.feature_extractor, encoder_frames(model)
        if extractor.nb_max_frames != needs:
            raise ModelError(
                f"The processor's chunk_length of {extractor.chunk_length} s makes {extractor.nb_max_frames} mel "
                f"frames, but max_source_positions={model.config.audio_config.max_source_positions} needs {needs}; "
                "make the two agree."
            )
        return needs

    def front_end(self, model: Any, processor: Any) -> FrontEnd:
        """Window, rate and token rate, from the processor and the encoder."""
        extractor, encoder = processor.feature_extractor, model.config.audio_config
        frames = self.window_frames(model, processor)
        if extractor.feature_size != encoder.num_mel_bins:
            raise ModelError(
                f"The processor makes {extractor.feature_size} mels and the encoder takes {encoder.num_mel_bins}; "
                "use the processor saved with the model."
            )
        if processor.audio_token_id != self.audio_token_id(model, processor):
            raise ModelError(
                f"The audio token is {processor.audio_token_id} in the processor and "
                f"{self.audio_token_id(model, processor)} in the model; use the processor saved with the model."
            )
        rate, hop = int(extractor.sampling_rate), int(extractor.hop_length)
        samples_per_token = hop * _conv_stride(model) * self.pooled(model)
        too_few = int((self.tokens_of_frames(model, torch.arange(1, frames + 1)) < MIN_AUDIO_TOKENS).sum())
        return FrontEnd(rate, frames * hop, rate / samples_per_token, too_few * hop + 1)

    def tensors(self, model: Any, processor: Any, clips: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Mels [B, mels, frames] of a full window, and where the family has one the mask [B, frames] of the sound."""
        extractor = processor.feature_extractor
        out = extractor(
            list(clips),
            sampling_rate=extractor.sampling_rate,
            return_attention_mask=True,
            padding="max_length",
            max_length=self.window_frames(model, processor) * extractor.hop_length,
            return_tensors="pt",
        )
        mask = {self.mask_name: out["attention_mask"]} if self.mask_name else {}
        # Audio Flamingo 3 does not cast what it hears, the others do: the same numbers either way.
        return {"input_features": out["input_features"].to(model.base_model.audio_tower.conv1.weight.dtype), **mask}

    def audio_run(self, model: Any, processor: Any, samples: int) -> AudioRun:
        """Tokens for F = ⌈samples/hop⌉ mel frames."""
        frames = math.ceil(samples / processor.feature_extractor.hop_length)
        return AudioRun(max(int(self.tokens_of_frames(model, torch.tensor([frames]))[0]), 0))

    def prompt_ids(self, processor: Any, prompt: str) -> list[int]:
        """The chat template's user turn, in token ids."""
        # Templates of different families look for different keys of the audio part.
        content = [{"type": "audio", "audio_url": "", "audio": ""}, {"type": "text", "text": prompt}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return list(processor.tokenizer(text)["input_ids"])

    def end_of_turn(self, processor: Any) -> int:
        """The control token that the chat template puts after an assistant's answer."""
        mark = "ANSWER"
        turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": mark}]
        text = processor.apply_chat_template(turns, tokenize=False)
        after = processor.tokenizer(text.rpartition(mark)[2], add_special_tokens=False)["input_ids"]
        if not after or after[0] not in special_tokens(processor.tokenizer):
            raise ModelError(
                "The chat template ends an answer with no control token; use the processor saved with the model."
            )
        return int(after[0])


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Control tokens by id: those no user text may contain."""
    added = getattr(tokenizer, "added_tokens_decoder", None)  # mistral-common's has none, and reads no marks in texts
    found = {i: token.content for i, token in added.items() if token.special} if isinstance(added, dict) else {}
    return found | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def _conv_stride(model: Any) -> int:
    """Mel frames in one encoder step."""
    tower = model.base_model.audio_tower
    return int(tower.conv1.stride[0] * tower.conv2.stride[0])


def encoder_frames(model: Any) -> int:
    """Mel frames that fill the encoder."""
    return int(model.config.audio_config.max_source_positions) * _conv_stride(model)
