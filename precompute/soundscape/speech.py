"""Spoken sentences of the demo world: a gender, an emotion and a language, told by the voice alone.

espeak-ng speaks the words with a voice drawn for the speaker (pitch in Hz, vocal tract length, rate). What it cannot do
is added here: contour and trembling of the pitch, breath, roughness, spectral tilt, stress.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import soxr
from scipy import fft, ndimage

from precompute.soundscape import dsp, espeak
from precompute.soundscape.registry import SAMPLE_RATE
from precompute.soundscape.sentences import SENTENCES, SPLITS
from precompute.soundscape.voices import (
    LANGUAGE_RATE,
    MANNERS,
    Delivery,
    Manner,
    Timbre,
    draw_delivery,
    draw_timbre,
    voice_lines,
)

Gender = Literal["female", "male"]
Emotion = Literal["neutral", "happy", "sad", "angry"]
Language = Literal["english", "spanish", "french", "german"]
GENDERS: tuple[Gender, ...] = get_args(Gender)
EMOTIONS: tuple[Emotion, ...] = get_args(Emotion)
LANGUAGES: tuple[Language, ...] = get_args(Language)

SHORTEST_SECONDS = 0.3
"""No word fits into less."""

_WORDS_PER_MINUTE = 160
_LETTERS_PER_SECOND = {"english": 18.6, "spanish": 17.6, "french": 19.6, "german": 18.4}
"""Measured at rate 1; only to choose sentences that are likely to fit."""
_HURRY = 1.15
"""Factor on the rate when no sentence fits otherwise."""
_MARGIN = 0.02
"""Seconds of silence around the words."""
_FRAME = 320
"""Samples of a frame when the spectral envelope is followed."""
_CONTROL = 80
"""Samples between two values of a slow contour (5 ms)."""


@dataclass(frozen=True)
class Speaker:
    """Who speaks, and how.

    Raises:
        ValueError: a value is not among those of its field.
    """

    gender: Gender
    emotion: Emotion
    language: Language

    def __post_init__(self) -> None:
        for field, allowed in (("gender", GENDERS), ("emotion", EMOTIONS), ("language", LANGUAGES)):
            value = getattr(self, field)
            if value not in allowed:
                raise ValueError(f"{field} {value!r} of the speaker is not one of {allowed}; use one of these")


@dataclass(frozen=True)
class Utterance:
    """A spoken sentence."""

    audio: np.ndarray
    """Float64 mono samples at `SAMPLE_RATE`, shape [n], largest magnitude below 1."""
    speaker: Speaker
    text: str
    """The words spoken."""


class _Reading(NamedTuple):
    text: str
    samples: np.ndarray


def texts(split: str, language: Language) -> tuple[str, ...]:
    """The sentences of a split in a language.

    Raises:
        ValueError: there is no such split or language.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {SPLITS}; use one of these")
    if language not in SENTENCES:
        raise ValueError(f"language {language!r} is not one of {LANGUAGES}; use one of these")
    return SENTENCES[language][split]


def speak(rng: np.random.Generator, split: str, speaker: Speaker, seconds: float) -> Utterance:
    """Speak a sentence of the split as the speaker would, at most `seconds` long.

    The same generator state gives the same samples; the same state with another emotion gives the same person and,
    where it fits, the same sentence. A sentence that would be too long gives way to another one, then to a faster
    reading, then to its first words.

    Raises:
        ValueError: an unknown split, or `seconds` below `SHORTEST_SECONDS`.
        SpeechLibraryError: libespeak-ng is missing.
    """
    sentences = texts(split, speaker.language)
    if not seconds >= SHORTEST_SECONDS:
        raise ValueError(f"speech of {seconds} s is too short for a word; ask for at least {SHORTEST_SECONDS} s")
    for_text, for_timbre, for_delivery, for_sound = (np.random.default_rng(s) for s in rng.integers(2**62, size=4))
    manner = MANNERS[speaker.emotion]
    timbre = draw_timbre(for_timbre, speaker.gender, speaker.language)
    delivery = draw_delivery(for_delivery, manner)
    order = [sentences[i] for i in for_text.permutation(len(sentences))]
    rate = LANGUAGE_RATE[speaker.language] * timbre.rate * delivery.rate
    likely = [text for text in order if len(text) / (_LETTERS_PER_SECOND[speaker.language] * rate) + 0.1 <= seconds]
    reading = _fitting(order, likely, timbre, manner, delivery, rate, dsp.samples(seconds))
    audio = _levelled(_acted(for_sound, reading.samples, manner, delivery), manner.level)
    return Utterance(audio, speaker, reading.text)


def _fitting(
    order: list[str], likely: list[str], timbre: Timbre, manner: Manner, delivery: Delivery, rate: float, room: int
) -> _Reading:
    """First reading that fits into `room` samples."""
    shortest = min(order, key=len)
    words = shortest.rstrip(".").split()
    tries = [(text, rate) for text in [*likely[:3], shortest]]
    tries += [(" ".join(words[:n]) + ".", rate * _HURRY) for n in range(len(words), 0, -1)]
    for text, tried_rate in tries:
        x = _spoken(text, timbre, manner, delivery, tried_rate)
        if len(x) <= room:
            return _Reading(text, x)
    # Not even the first word fits: the only case in which a word is cut.
    return _Reading(text, x[:room])


def _spoken(text: str, timbre: Timbre, manner: Manner, delivery: Delivery, rate: float) -> np.ndarray:
    """Espeak's reading at `SAMPLE_RATE`, without the silence around it."""
    lines = voice_lines(timbre, manner, delivery)
    x = espeak.synthesise(text.rstrip(".") + manner.stop, lines, words_per_minute=round(_WORDS_PER_MINUTE * rate))
    x = soxr.resample(x, espeak.engine().sample_rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(x) > 0.01 * np.abs(x).max())
    return np.pad(x[loud[0] : loud[-1] + 1], dsp.samples(_MARGIN))


def _tilted(x: np.ndarray, slope_db_per_octave: float) -> np.ndarray:
    """Tilt the spectrum of `x` [n] and return it at twice the rate, [2n]."""
    size = fft.next_fast_len(len(x), real=True)
    spectrum = fft.rfft(x, size)
    frequency = np.clip(fft.rfftfreq(size, 1 / SAMPLE_RATE), 150.0, 5000.0)
    spectrum *= (frequency / 700.0) ** (slope_db_per_octave / 6.0206)
    return 2 * fft.irfft(spectrum, 2 * size)[: 2 * len(x)]


def _with_contour(fine: np.ndarray, octaves: np.ndarray) -> np.ndarray:
    """Shift the pitch by `octaves` [n] through playing faster or slower; the length stays.

    `fine` [2n] is at twice the rate of the result [n], so that straight lines between its samples are good enough.
    """
    position = np.cumsum(2.0**octaves)
    return np.interp(position * ((len(fine) - 1) / position[-1]), np.arange(len(fine)), fine)


def _breath(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Whispered copy of `x` [n]: noise with its spectral envelope over time, fading out below about 1 kHz."""
    padded = np.pad(x.astype(np.float32), _FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[:: _FRAME // 2]
    window = np.sin(np.pi * (np.arange(_FRAME, dtype=np.float32) + 0.5) / _FRAME)
    spectrum = fft.rfft(frames * window, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    # The running sum of the filter can fall a hair below zero.
    envelope = np.sqrt(np.maximum(ndimage.uniform_filter1d(power, 9, axis=1), 0.0))
    envelope *= np.minimum(fft.rfftfreq(_FRAME, 1 / SAMPLE_RATE) / 1200.0, 1.6).astype(np.float32)
    phase = np.float32(2 * np.pi) * rng.random(envelope.shape, dtype=np.float32)
    noise = fft.irfft(envelope * (np.cos(phase) + 1j * np.sin(phase)), axis=1) * window
    out = np.zeros((len(noise) + 1) * (_FRAME // 2))
    out[: -(_FRAME // 2)] += noise[:, : _FRAME // 2].ravel()
    out[_FRAME // 2 :] += noise[:, _FRAME // 2 :].ravel()
    return out[_FRAME : _FRAME + len(x)]


def _loudness(x: np.ndarray) -> np.ndarray:
    """Syllable-by-syllable loudness contour, largest value 1."""
    contour = np.sqrt(np.maximum(ndimage.uniform_filter1d(x * x, dsp.samples(0.06)), 0.0) + 1e-9)
    return contour / contour.max()


def _beating(rng: np.random.Generator, seconds: float, depth: float) -> np.ndarray:
    """Gain contour of a pressed voice: irregular dips at 30-55 Hz."""
    hertz = rng.uniform(30, 55) * 2.0 ** dsp.wander(rng, seconds, 6.0, 0.12)
    depths = np.clip(depth * (1 + dsp.wander(rng, seconds, 4.0, 0.25)), 0, 0.95)
    return 1 - depths * (0.5 - 0.5 * np.sin(dsp.phase_of(hertz)))


class _Contours(NamedTuple):
    octaves: np.ndarray
    gain: np.ndarray


def _contours(rng: np.random.Generator, n: int, manner: Manner, delivery: Delivery) -> _Contours:
    """Slow changes of pitch and level over the utterance, each [n]."""
    # Drawn as if time ran _CONTROL times as fast, then stretched: a sixtieth of the work.
    seconds = n / SAMPLE_RATE / _CONTROL
    hertz = rng.uniform(4.5, 6.5) * 2.0 ** dsp.wander(rng, seconds, 2.0 * _CONTROL, 0.15)
    tremble = delivery.tremble * np.sin(_CONTROL * dsp.phase_of(hertz) + rng.uniform(0, 2 * np.pi))
    octaves = dsp.curve(list(manner.contour), seconds) + tremble
    octaves += dsp.wander(rng, seconds, 1.5 * _CONTROL, delivery.waves)
    gain = 10 ** (dsp.curve([(0, 0.0), (1, manner.decay)], seconds) / 20) * (1 + 6 * tremble)
    at, grid = np.linspace(0, 1, n), np.linspace(0, 1, len(octaves))
    return _Contours(np.interp(at, grid, octaves), np.interp(at, grid, gain))


def _acted(rng: np.random.Generator, x: np.ndarray, manner: Manner, delivery: Delivery) -> np.ndarray:
    """Give the reading `x` [n] its emotion."""
    octaves, gain = _contours(rng, len(x), manner, delivery)
    x = _with_contour(_tilted(x, delivery.tilt), octaves)
    x = x * gain * _loudness(x) ** (manner.stress - 1)
    if delivery.rough > 0:
        x = x * _beating(rng, len(x) / SAMPLE_RATE, delivery.rough)
    if manner.drive > 0:
        x = dsp.soft_clip(x / np.abs(x).max(), manner.drive)
    x = x + delivery.breath * _breath(rng, x)
    return dsp.fade(x, _MARGIN / 2, _MARGIN / 2)


def _levelled(x: np.ndarray, level: float) -> np.ndarray:
    x = x * (0.08 * 10 ** (level / 20) / np.sqrt(np.mean(x * x)))
    return x * min(1.0, 0.95 / np.abs(x).max())
