"""How an answer of a checkpoint ends, and how sampling would draw it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation import StoppingCriteria

_SAMPLING = ("temperature", "top_p", "top_k")


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


def stop_settings(config: GenerationConfig, tokenizer: Any, end_id: int) -> StopSettings:
    """Every token that ends an answer, the padding token, and the checkpoint's sampling settings."""
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    stops = {int(one) for one in [*ends, tokenizer.eos_token_id, end_id] if one is not None}
    pad = config.pad_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    sampling = {name: value for name in _SAMPLING if (value := getattr(config, name, None)) is not None}
    return StopSettings(stops, int(end_id if pad is None else pad), sampling)
