"""A live AudioLLM with a run's SAEs, loaded in the background, one question at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ard.models.audio_lm import AudioLM
    from ard.sae import TopKSAE

from ard.store import Run

MAX_NEW_TOKENS = 48
REMEMBERED = 64  # untouched answers kept, so that moving a slider asks for the steered one alone


class Status(NamedTuple):
    """`available`: a question can be asked now. `loading`: it will be. `message`: one sentence for people."""

    available: bool
    loading: bool
    message: str


class Answer(NamedTuple):
    """One question answered untouched and with latents clamped; `note` says what the clamp did."""

    baseline: str
    steered: str
    note: str


class LiveError(ValueError):
    """The model cannot answer; the message says why and what to do."""


class Live:
    """Loads `model` (a folder or hub id) in a thread; `steer` answers once `status().available`."""

    def __init__(self, run: Run, model: str | Path, device: str = "auto"):
        self._run, self._model, self._device = run, model, device
        self._lm: AudioLM | None = None
        self._saes: dict[str, TopKSAE] = {}
        self._baselines: OrderedDict[tuple[Path, str], str] = OrderedDict()
        self._one_at_a_time = threading.Lock()
        self._status = Status(False, True, f"The model {Path(model).name} is loading; everything else already works.")

    def start(self) -> Live:
        """Begin loading; returns at once."""
        threading.Thread(target=self._load, name="load-model", daemon=True).start()
        return self

    def status(self) -> Status:
        """Whether it can answer now."""
        return self._status

    def _load(self) -> None:
        name = Path(self._model).name
        try:
            import torch  # seconds of imports: not before the page is open

            from ard.models.audio_lm import AudioLM

            if self._device == "auto":
                self._device = "cuda" if torch.cuda.is_available() else "cpu"
            self._lm = AudioLM.load(self._model, device=self._device)
        except Exception as error:  # noqa: BLE001 (a thread's error has nobody else to tell it)
            self._status = Status(False, False, f"The model {name} could not be loaded: {error}")
        else:
            self._status = Status(True, False, f"The model {name} is ready.")

    def steer(
        self, audio: Path, prompt: str, *, sae_id: str, latents: Sequence[int], values: Sequence[float], **switches: Any
    ) -> Answer:
        """Greedy answers to `prompt` about the clip: untouched, and with z of each latent clamped (`ard.clamps`).

        Args:
            audio: an audio file no longer than the model's window.
            switches: further fields of `Clamp` (`when`, `error_term`, `positions`, `decoding`); the paper's otherwise.

        Raises:
            ValueError: not loaded, or a clip, prompt, SAE, latent or value that cannot be used.
        """
        if self._lm is None:
            raise LiveError(self._status.message)
        from ard.steering import Clamp, steer

        clamp = Clamp(tuple(int(i) for i in latents), tuple(float(v) for v in values), **switches)
        with self._one_at_a_time:
            sae, samples = self._sae(sae_id), read_mono(audio, self._lm.sampling_rate)
            baseline = self._baseline(audio, prompt, samples)
            steered = steer(self._lm, sae, clamp, [samples], [prompt], max_new_tokens=MAX_NEW_TOKENS)
        return Answer(baseline, steered.texts[0], _note(steered.report.positions, steered.report.dead_zone))

    def _baseline(self, audio: Path, prompt: str, samples: np.ndarray) -> str:
        from ard.steering import steer

        key = (audio, prompt)
        if key not in self._baselines:
            assert self._lm is not None  # checked by `steer`
            self._baselines[key] = steer(
                self._lm, None, None, [samples], [prompt], max_new_tokens=MAX_NEW_TOKENS
            ).texts[0]
            while len(self._baselines) > REMEMBERED:
                self._baselines.popitem(last=False)
        return self._baselines[key]

    def _sae(self, sae_id: str) -> TopKSAE:
        from ard.sae import TopKSAE

        if sae_id not in self._saes:
            sae = TopKSAE.load(self._run.sae_dir(sae_id), device=self._device)
            sae.check_fits(self._lm.d_model if self._lm else sae.cfg.d_in, sae.cfg.hookpoint)
            self._saes[sae_id] = sae
        return self._saes[sae_id]


def read_mono(path: Path, sampling_rate: int) -> np.ndarray:
    """An audio file as mono float32 at `sampling_rate` Hz.

    Raises:
        LiveError: it cannot be read.
    """
    import soundfile
    import soxr

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError):
        raise LiveError(f"The audio file {path.name} is missing or unreadable; choose another clip.") from None
    return np.ascontiguousarray(soxr.resample(samples.mean(axis=1), rate, sampling_rate), dtype=np.float32)


def _note(positions: int, dead_zone: float) -> str:
    if not positions:
        return "No position was steered."
    if dead_zone >= 0.995:
        return f"The clamp vanished in TopK at all {positions} positions: the value is too small, try a larger one."
    if dead_zone > 0.005:
        return f"Clamped at {positions} positions; at {100 * dead_zone:.0f} % of them the value vanished in TopK."
    return f"Clamped at {positions} positions, and kept by TopK at all of them."
