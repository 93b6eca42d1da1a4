"""What every CLAP does alike: check and resample clips, cut long ones into windows, batch, average, normalise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import soxr
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ard.models.common import AudioError, check_audios


class AnyClap(ABC):
    """A loaded CLAP of any package.

    Attributes:
        name: folder or file name, or hub id.
        sampling_rate: the model's own rate in Hz; other rates are resampled.
        window_s: seconds the model hears at once.
        dim: size d of the shared space.
        max_text_tokens: longer texts keep this many tokens from their start.
    """

    name: str
    sampling_rate: int
    dim: int
    max_text_tokens: int
    _window: int

    @property
    def window_s(self) -> float:
        """Seconds the model hears at once."""
        return self._window / self.sampling_rate

    @property
    @abstractmethod
    def revision(self) -> str:
        """sha256 over the weight files (12 hex digits) for a folder or file, commit hash for a hub id."""

    @abstractmethod
    def _embed_windows(self, windows: list[np.ndarray]) -> Float[Tensor, "N d"]:
        """Embeddings of clips of at most one window, at the model's rate; of any length and on any device."""

    @abstractmethod
    def _embed_texts(self, texts: list[str]) -> Float[Tensor, "N d"]:
        """Embeddings of texts; of any length and on any device."""

    @torch.no_grad()
    def embed_audio(
        self, audios: Sequence[np.ndarray], sampling_rate: int, *, batch_size: int = 16
    ) -> Float[Tensor, "N d"]:
        """Unit-norm embeddings of clips, float32 on CPU.

        Ours: a clip longer than the window is heard in ⌈length/window⌉ full windows with evenly spaced starts (they
        overlap rather than leave a stub); the unit vectors are averaged and renormalised. A shorter clip is repeated
        and padded as the checkpoint's own package does.

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
            sums.index_add_(0, torch.tensor(rows), unit(self._embed_windows(list(windows))))
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
            out.append(unit(self._embed_texts(list(texts[start : start + batch_size]))))
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


def unit(vectors: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
    """Unit norm, float32, on CPU."""
    return F.normalize(vectors.float().cpu(), dim=-1)
