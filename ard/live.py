"""A live AudioLLM with a run's SAEs, loaded in the background, one question at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ard.clamps import Decoding, Positions, When
    from ard.listening import Listened
    from ard.models.audio_lm import AudioLM
    from ard.sae import TopKSAE

from ard.store import Run

MAX_NEW_TOKENS = 48
STOPPED = "Stopped before the answers were complete."
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


class _Latch:
    """Asks `should_stop` until it once said True, and remembers that it did."""

    def __init__(self, should_stop: Callable[[], bool] | None):
        self._should_stop, self.raised = should_stop, False

    def __call__(self) -> bool:
        self.raised = self.raised or (self._should_stop is not None and bool(self._should_stop()))
        return self.raised

    @property
    def or_none(self) -> _Latch | None:
        """Itself, or None where nobody can ask to stop."""
        return None if self._should_stop is None else self


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
            from ard.models.common import named_dtype

            if self._device == "auto":
                self._device = "cuda" if torch.cuda.is_available() else "cpu"
            how = self._run.manifest.get("config", {}).get("model", {})  # as the run loaded it
            self._lm = AudioLM.load(
                self._model,
                self._device,
                named_dtype(how.get("dtype", "auto")),
                quantisation=how.get("quantisation", "none"),
                device_map=how.get("device_map", ""),
            )
        except Exception as error:  # noqa: BLE001 (a thread's error has nobody else to tell it)
            self._status = Status(False, False, f"The model {name} could not be loaded: {error}")
        else:
            self._status = Status(True, False, f"The model {name} is ready.")

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
    ) -> Answer:
        """Greedy answers to `prompt` about the clip: untouched, and with z of each latent clamped (`ard.clamps`).

        Args:
            audio: an audio file no longer than the model's window.
            prompt: the question.
            sae_id: SAE of the run.
            latents: latent_ids to clamp.
            values: one steering value for each.
            when: as in `Clamp`, like the three after it; the defaults are the paper's.
            error_term: as in `Clamp`.
            positions: as in `Clamp`.
            decoding: as in `Clamp`.
            should_stop: asked after every token; True ends both answers there, and the note says so.

        Raises:
            ValueError: not loaded, or a clip, prompt, SAE, latent, value or switch that cannot be used.
        """
        lm = self._loaded()
        from ard.steering import Clamp, steer

        clamp = Clamp(
            tuple(int(i) for i in latents), tuple(float(v) for v in values), when, error_term, positions, decoding
        )
        stop = _Latch(should_stop)
        with self._one_at_a_time:
            if stop():
                return Answer("", "", STOPPED)
            sae, samples = self._sae(sae_id), read_mono(audio, lm.sampling_rate)
            baseline = self._baseline(audio, prompt, samples, stop)
            if stop.raised:
                return Answer(baseline, "", STOPPED)
            steered = steer(
                lm, sae, clamp, [samples], [prompt], max_new_tokens=MAX_NEW_TOKENS, should_stop=stop.or_none
            )
        note = STOPPED if stop.raised else _note(steered.report.positions, steered.report.dead_zone)
        return Answer(baseline, steered.texts[0], note)

    def listen(self, audio: Path, *, sae_id: str, top: int) -> Listened:
        """The `top` latents of highest r (Eq. 2) in an audio file, with z at each of its audio tokens.

        Raises:
            ValueError: not loaded, or a file, SAE or number that cannot be used.
        """
        lm = self._loaded()
        from ard.listening import listen

        with self._one_at_a_time:
            return listen(lm, self._sae(sae_id), read_mono(audio, lm.sampling_rate), top=top)

    def _loaded(self) -> AudioLM:
        if self._lm is None:
            raise LiveError(self._status.message)
        return self._lm

    def _baseline(self, audio: Path, prompt: str, samples: np.ndarray, stop: _Latch) -> str:
        from ard.steering import steer

        key = (audio, prompt)
        if key in self._baselines:
            return self._baselines[key]
        answer = steer(
            self._loaded(), None, None, [samples], [prompt], max_new_tokens=MAX_NEW_TOKENS, should_stop=stop.or_none
        ).texts[0]
        if not stop.raised:
            self._baselines[key] = answer
            while len(self._baselines) > REMEMBERED:
                self._baselines.popitem(last=False)
        return answer

    def _sae(self, sae_id: str) -> TopKSAE:
        from ard.sae import TopKSAE

        if sae_id not in self._saes:
            sae = TopKSAE.load(self._run.sae_dir(sae_id), device=self._device)
            sae.check_fits(self._loaded().d_model, sae.cfg.hookpoint)
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
