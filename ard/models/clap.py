"""CLAP: sounds and words in one space, for Eq. 3 and for matching names.

The default is transformers' `ClapModel` (the same weights as LAION's package, and the demo's own). Checkpoints of the
packages laion-clap and msclap come in by `ard/models/clap_packages.py`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoConfig, ClapModel, ClapProcessor

from ard.model_files import package_checkpoint
from ard.models.clap_base import AnyClap
from ard.models.common import (
    ModelError,
    compute_dtype,
    find_model,
    load_part,
    load_weights,
    revision_of,
)

MAX_TEXT_TOKENS = 77
"""Ours: LAION's CLAP was trained on captions cut at 77 tokens, so longer texts keep their first 77."""


class Clap(AnyClap):
    """transformers' CLAP with its processor."""

    def __init__(self, model: ClapModel, processor: ClapProcessor, source: Path | str = "in-memory") -> None:
        self.model, self.processor, self._source = model.eval(), processor, source
        self.name = source.name if isinstance(source, Path) else source
        extractor, text = processor.feature_extractor, model.config.text_config
        if extractor.feature_size != model.config.audio_config.num_mel_bins:
            raise ModelError(
                f"The processor makes {extractor.feature_size} mels and the model takes "
                f"{model.config.audio_config.num_mel_bins}; use the processor saved with the model."
            )
        if processor.tokenizer.pad_token_id != text.pad_token_id:
            raise ModelError(
                f"The padding token is {processor.tokenizer.pad_token_id} in the tokenizer and {text.pad_token_id} in "
                "the model; use the processor saved with the model."
            )
        self.sampling_rate = int(extractor.sampling_rate)
        self._window = int(extractor.nb_max_samples)
        self.dim = int(model.config.projection_dim)
        positions = (
            int(text.max_position_embeddings) - int(text.pad_token_id) - 1
        )  # positions count from pad_token_id + 1
        self.max_text_tokens = min(MAX_TEXT_TOKENS, positions, int(processor.tokenizer.model_max_length))

    @classmethod
    def load(cls, path_or_id: str | Path, device: str = "cpu", dtype: torch.dtype | None = None) -> Clap:
        """Load from a folder or a hub id such as `laion/clap-htsat-unfused`; float32 unless asked otherwise.

        Raises:
            ModelError: not found, not a CLAP, a precision the device lacks, or model and processor disagree.
        """
        source = find_model(path_or_id)
        if isinstance(source, Path):
            source = source.resolve()
        config = load_part("model configuration", AutoConfig.from_pretrained, source)
        if config.model_type != "clap":
            raise ModelError(f"{path_or_id} is a {config.model_type!r} model; this adapter takes 'clap' checkpoints.")
        processor = load_part("processor", ClapProcessor.from_pretrained, source)
        dtype = compute_dtype(device, dtype or torch.float32)
        model = load_weights(ClapModel.from_pretrained, source, dtype=dtype)
        return cls(model.to(device), processor, source)

    @cached_property
    def revision(self) -> str:
        """sha256 over the weight files (12 hex digits) for a folder, commit hash for a hub id."""
        return revision_of(self._source, self.model.config)

    def _embed_texts(self, texts: list[str]) -> Float[Tensor, "N d"]:
        tokens = self.processor.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_text_tokens, return_tensors="pt"
        )
        ids, mask = tokens["input_ids"].to(self.model.device), tokens["attention_mask"].to(self.model.device)
        return _vectors(self.model.get_text_features(input_ids=ids, attention_mask=mask))

    def _embed_windows(self, windows: list[np.ndarray]) -> Float[Tensor, "N d"]:
        features = self.processor.feature_extractor(windows, sampling_rate=self.sampling_rate, return_tensors="pt")
        mel = features["input_features"].to(self.model.device, self.model.dtype)
        # The extractor marks a random clip "longer" when none is (fused checkpoints); no window here ever is.
        is_longer = torch.zeros(mel.shape[0], 1, dtype=torch.bool, device=mel.device)
        return _vectors(self.model.get_audio_features(input_features=mel, is_longer=is_longer))


def _vectors(output: Any) -> Float[Tensor, "N d"]:
    return output if isinstance(output, Tensor) else output.pooler_output


def load_clap(path_or_id: str | Path, device: str = "cpu") -> AnyClap:
    """Any CLAP: a folder or hub id of transformers, or `laion-clap:FILE.pt`, `msclap:FILE.pth`.

    Raises:
        ModelError: not found, not a CLAP, or its package is not installed.
    """
    if found := package_checkpoint(path_or_id):
        from ard.models.clap_packages import load_package

        return load_package(*found, device)
    return Clap.load(path_or_id, device)
