"""What a Qwen2-Audio checkpoint says about itself: window, rates, control tokens, stop tokens; checked to agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor
from transformers.generation import StoppingCriteria

from ard.models.common import ModelError

MIN_AUDIO_TOKENS = 2
"""Ours: a batch in which every clip has one audio token sends transformers down its old merge path, which guesses."""
_SAMPLING = ("temperature", "top_p", "top_k")


class FrontEnd(NamedTuple):
    """How sound becomes audio tokens."""

    sampling_rate: int
    window_s: float
    tokens_per_s: float
    shortest_samples: int
    """Shortest clip that gives `MIN_AUDIO_TOKENS`."""


class StopSettings(NamedTuple):
    """How an answer ends and how sampling would draw it."""

    stop_ids: set[int]
    pad_id: int
    sampling: dict[str, Any]


class StopWhen(StoppingCriteria):
    """Ends every answer of the batch once `should_stop` says so."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """True for every row, or for none."""
        return torch.full((input_ids.shape[0],), self._should_stop(), dtype=torch.bool, device=input_ids.device)


def encoder_tokens(model: Qwen2AudioForConditionalGeneration, frames: Tensor) -> Tensor:
    """Audio tokens for numbers of mel frames F: ((F−1)//2+1−2)//2+1, asked of the encoder itself."""
    return model.base_model.audio_tower._get_feat_extract_output_lengths(frames)[1]


def read_front_end(model: Qwen2AudioForConditionalGeneration, processor: Qwen2AudioProcessor) -> FrontEnd:
    """Window, rate and token rate, from the processor and the encoder.

    Raises:
        ModelError: window, mels or audio token differ between processor and model.
    """
    extractor, encoder = processor.feature_extractor, model.config.audio_config
    tower = model.base_model.audio_tower
    stride = tower.conv1.stride[0] * tower.conv2.stride[0]
    needs = encoder.max_source_positions * stride
    if extractor.nb_max_frames != needs:
        raise ModelError(
            f"The processor's chunk_length of {extractor.chunk_length} s makes {extractor.nb_max_frames} mel frames, "
            f"but max_source_positions={encoder.max_source_positions} needs {needs}; make the two agree."
        )
    if extractor.feature_size != encoder.num_mel_bins:
        raise ModelError(
            f"The processor makes {extractor.feature_size} mels and the encoder takes {encoder.num_mel_bins}; "
            "use the processor saved with the model."
        )
    if processor.audio_token_id != model.config.audio_token_id:
        raise ModelError(
            f"The audio token is {processor.audio_token_id} in the processor and "
            f"{model.config.audio_token_id} in the model; use the processor saved with the model."
        )
    rate, hop = int(extractor.sampling_rate), extractor.hop_length
    pool = tower.avg_pooler.stride
    pool = pool[0] if isinstance(pool, tuple) else pool
    too_few = int((encoder_tokens(model, torch.arange(1, needs + 1)) < MIN_AUDIO_TOKENS).sum())
    return FrontEnd(rate, extractor.n_samples / rate, rate / (hop * stride * pool), too_few * hop + 1)


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Control tokens by id: those no user text may contain."""
    found = {index: token.content for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return found | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def end_of_turn(processor: Qwen2AudioProcessor) -> int:
    """The token the chat template puts after an assistant's answer.

    Raises:
        ModelError: there is none, so an answer could not end.
    """
    mark = "ANSWER"
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": mark}]
    text = processor.apply_chat_template(turns, tokenize=False)
    after = processor.tokenizer(text.rpartition(mark)[2], add_special_tokens=False)["input_ids"]
    if not after or after[0] not in special_tokens(processor.tokenizer):
        raise ModelError(
            "The chat template ends an answer with no control token; use the processor saved with the model."
        )
    return int(after[0])


def stop_settings(
    model: Qwen2AudioForConditionalGeneration, processor: Qwen2AudioProcessor, end_id: int
) -> StopSettings:
    """Every token that ends an answer, the padding token, and the checkpoint's sampling settings."""
    config, tokenizer = model.generation_config, processor.tokenizer
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    stops = {int(one) for one in [*ends, tokenizer.eos_token_id, end_id] if one is not None}
    pad = config.pad_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    sampling = {name: value for name in _SAMPLING if (value := getattr(config, name, None)) is not None}
    return StopSettings(stops, int(end_id if pad is None else pad), sampling)
