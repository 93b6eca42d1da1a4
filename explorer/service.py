"""The seam to a live model: what the app may ask of it. The app itself never imports one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class ModelStatus(Protocol):
    """What a model can do at this moment."""

    @property
    def available(self) -> bool:
        """A question can be asked now."""

    @property
    def loading(self) -> bool:
        """A question can be asked later."""

    @property
    def message(self) -> str:
        """One sentence for people."""


class Status(NamedTuple):
    """A plain `ModelStatus`."""

    available: bool
    loading: bool
    message: str


class SteerAnswer(Protocol):
    """One question answered twice: untouched, and with the latents clamped."""

    @property
    def baseline(self) -> str:
        """Answer of the untouched model."""

    @property
    def steered(self) -> str:
        """Answer with the clamp."""

    @property
    def note(self) -> str:
        """One sentence on what the clamp did, or an empty string."""


class LiveModel(Protocol):
    """A loaded AudioLLM with the run's SAEs. One call at a time: callers queue."""

    def status(self) -> ModelStatus:
        """Whether it can answer now."""

    def steer(
        self, audio: Path, prompt: str, *, sae_id: str, latents: Sequence[int], values: Sequence[float]
    ) -> SteerAnswer:
        """Ask `prompt` about the clip, untouched and with z of each latent clamped to its value.

        Raises:
            ValueError: an input it cannot use, in one sentence.
        """


class NoModel:
    """Stands in when the app was started without a model."""

    def __init__(self, why: str):
        self._why = why

    def status(self) -> ModelStatus:
        """Never available; says why."""
        return Status(available=False, loading=False, message=self._why)

    def steer(
        self, audio: Path, prompt: str, *, sae_id: str, latents: Sequence[int], values: Sequence[float]
    ) -> SteerAnswer:
        """Always an error that says how to get a model.

        Raises:
            ValueError: always.
        """
        raise ValueError(self._why)
