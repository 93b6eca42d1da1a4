"""CLAP: sounds and words in one space, for Eq. 3 and for matching names (transformers' `ClapModel`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, ClapModel, ClapProcessor

from ard.models.common import (
    AudioError,
    ModelError,
    check_audios,
    compute_dtype,
    find_model,
    load_part,
    load_weights,
    revision_of,
)

MAX_TEXT_TOKENS = 77
"""Ours: LAION's CLAP was trained on captions cut at 77 tokens, so longer texts keep their first 77."""


class Clap:
    """A loaded CLAP with its processor.

    Attributes:
        name: folder name or hub id.
        sampling_rate: the model's own rate in Hz; other rates are resampled.
        window_s: seconds the model hears at once.
        dim: size d of the shared space.
        max_text_tokens: longer texts keep this many tokens from their start.
    """

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
        self.window_s = self._window / self.sampling_rate
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

    @torch.no_grad()
    def embed_audio(
        self, audios: Sequence[np.ndarray], sampling_rate: int, *, batch_size: int = 16
    ) -> Float[Tensor, "N d"]:
        """Unit-norm embeddings of clips, float32 on CPU.

        Ours: a clip longer than the window is heard in ⌈length/window⌉ full windows with evenly spaced starts (they
        overlap rather than leave a stub); the unit vectors are averaged and renormalised. A shorter clip is repeated
        and padded as the checkpoint's processor does.

        Raises:
            AudioError: a clip is not usable, or the rate is not positive.
        """
        if sampling_rate <= 0:
            raise AudioError(
                f"sampling_rate is {sampling_rate} Hz; give the clips' own rate, such as {self.sampling_rate}."
            )
        clips = [self._resample(clip, sampling_rate) for clip in check_audios(audios)]
        pieces = [(i, window) for i, clip in enumerate(clips) for window in self._windows(clip)]
        sums = torch.zeros(len(clips), self.dim)
        for start in range(0, len(pieces), batch_size):
            rows, windows = zip(*pieces[start : start + batch_size], strict=True)
            sums.index_add_(0, torch.tensor(rows), self._embed_windows(list(windows)))
        return F.normalize(sums, dim=-1)

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str], *, batch_size: int = 64) -> Float[Tensor, "N d"]:
        """Unit-norm embeddings of texts, float32 on CPU; each keeps its first `max_text_tokens` tokens.

        Raises:
            ValueError: a text is no string or is blank.
        """
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"Text {index} is {text!r}; give a non-empty string.")
        out = [torch.zeros(0, self.dim)]
        for start in range(0, len(texts), batch_size):
            tokens = self.processor.tokenizer(
                list(texts[start : start + batch_size]),
                padding=True,
                truncation=True,
                max_length=self.max_text_tokens,
                return_tensors="pt",
            )
            ids, mask = tokens["input_ids"].to(self.model.device), tokens["attention_mask"].to(self.model.device)
            out.append(_unit(self.model.get_text_features(input_ids=ids, attention_mask=mask)))
        return torch.cat(out)

    def _resample(self, clip: np.ndarray, sampling_rate: int) -> np.ndarray:
        if sampling_rate == self.sampling_rate:
            return clip
        resampled = np.asarray(soxr.resample(clip, sampling_rate, self.sampling_rate), dtype=np.float32)
        if resampled.size == 0:
            raise AudioError(f"A clip of {clip.size} samples at {sampling_rate} Hz is too short to hear; leave it out.")
        return resampled

    def _windows(self, clip: np.ndarray) -> list[np.ndarray]:
        count = math.ceil(clip.size / self._window)
        if count <= 1:
            return [clip]
        starts = np.linspace(0, clip.size - self._window, count).round().astype(int)
        return [clip[start : start + self._window] for start in starts]

    def _embed_windows(self, windows: list[np.ndarray]) -> Float[Tensor, "N d"]:
        features = self.processor.feature_extractor(windows, sampling_rate=self.sampling_rate, return_tensors="pt")
        mel = features["input_features"].to(self.model.device, self.model.dtype)
        # The extractor marks a random clip "longer" when none is (fused checkpoints); no window here ever is.
        is_longer = torch.zeros(mel.shape[0], 1, dtype=torch.bool, device=mel.device)
        return _unit(self.model.get_audio_features(input_features=mel, is_longer=is_longer))


def _unit(output: Any) -> Float[Tensor, "N d"]:
    vectors = output if isinstance(output, Tensor) else output.pooler_output
    return F.normalize(vectors.float().cpu(), dim=-1)
