"""The seam to a live model: what the app may ask of it. The app itself never imports one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

When = Literal["before_topk", "after_topk"]
Positions = Literal["audio", "prompt", "all"]
Decoding = Literal["replace", "clamp", "off"]


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


class HeardLatent(Protocol):
    """One latent over one recording (Eq. 2, T = all its audio tokens)."""

    @property
    def latent_id(self) -> int:
        """Coordinate of z."""

    @property
    def values(self) -> Sequence[float]:
        """Values of z, one for each audio token in order."""

    @property
    def mean_activation(self) -> float:
        """Mean μ of z (Eq. 2)."""

    @property
    def coverage(self) -> float:
        """Share c of the tokens with z > 0 (Eq. 2)."""

    @property
    def representativeness(self) -> float:
        """Product r = μ·c (Eq. 2)."""

    @property
    def max_activation(self) -> float:
        """Largest z."""


class Listened(Protocol):
    """What an SAE's latents did while the model heard one recording."""

    @property
    def sae_id(self) -> str:
        """The SAE."""

    @property
    def seconds(self) -> float:
        """How much of the recording was heard."""

    @property
    def seconds_per_token(self) -> float:
        """Time between two audio tokens: token i begins at i times this."""

    @property
    def tokens(self) -> int:
        """Audio tokens; every `HeardLatent.values` has as many."""

    @property
    def windows(self) -> int:
        """Windows the recording was cut into, each heard on its own; 1 if it fits the model's window."""

    @property
    def latents(self) -> Sequence[HeardLatent]:
        """Those with the highest r, highest first; only latents that fired."""


class LiveModel(Protocol):
    """A loaded AudioLLM with the run's SAEs. One call at a time: callers queue."""

    def status(self) -> ModelStatus:
        """Whether it can answer now."""

    def steer(
        self,
        audio: Path,
        prompt: str,
        *,
        sae_id: str,
        latents: Sequence[int],
        values: Sequence[float],
        when: When = "before_topk",
        error_term: bool = False,
        positions: Positions = "all",
        decoding: Decoding = "replace",
        should_stop: Callable[[], bool] | None = None,
    ) -> SteerAnswer:
        """Ask `prompt` about the clip, untouched and with z of each latent clamped to its value.

        The switches default to the paper's. `should_stop` is asked after every token, from the calling thread; once it
        says True both answers end there and the note says so.

        Raises:
            ValueError: an input it cannot use, in one sentence.
        """

    def listen(self, audio: Path, *, sae_id: str, top: int) -> Listened:
        """The `top` latents of highest r in any audio file; a long one is heard window by window.

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
        self,
        audio: Path,
        prompt: str,
        *,
        sae_id: str,
        latents: Sequence[int],
        values: Sequence[float],
        when: When = "before_topk",
        error_term: bool = False,
        positions: Positions = "all",
        decoding: Decoding = "replace",
        should_stop: Callable[[], bool] | None = None,
    ) -> SteerAnswer:
        """Always an error that says how to get a model.

        Raises:
            ValueError: always.
        """
        raise ValueError(self._why)

    def listen(self, audio: Path, *, sae_id: str, top: int) -> Listened:
        """Always an error that says how to get a model.

        Raises:
            ValueError: always.
        """
        raise ValueError(self._why)
