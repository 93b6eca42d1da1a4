"""Whose voice it is and how an emotion colours it.

Ours: the acoustic recipe of each emotion (`MANNERS`) follows what is usually reported of acted speech: level and range
of the pitch, pace, effort, voice quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from precompute.soundscape import espeak

Interval = tuple[float, float]


@dataclass(frozen=True)
class Manner:
    """How an emotion sounds; intervals are drawn from uniformly, factors are relative to the speaker's calm voice."""

    pitch: Interval
    """Factor on the mean pitch."""
    span: Interval
    """Range of the pitch as a share of its mean."""
    rate: Interval
    """Factor on the speaking rate."""
    stop: str
    """Closing punctuation, which chooses espeak's tune."""
    contour: tuple[tuple[float, float], ...]
    """(Fraction of the utterance, pitch change in octaves) added to espeak's tune."""
    waves: Interval
    """Depth in octaves of slow swings (about 1.5 a second) of the pitch."""
    tremble: Interval
    """Depth in octaves of a 4.5-6.5 Hz trembling of pitch and, with it, of loudness."""
    tract: float
    """Factor on the formants: a smile shortens the tract, slack lips lengthen it."""
    tilt: Interval
    """Change of the spectral tilt, dB an octave."""
    breath: Interval
    """Aspiration noise relative to the voice."""
    rough: Interval
    """Depth of the 30-55 Hz beating of a pressed voice, 0 to 1."""
    drive: float
    """Soft clipping; 0 for none."""
    stress: float
    """Exponent on the loudness contour: above 1 the stressed syllables stand out."""
    decay: float
    """Change of level from first to last word, dB."""
    level: float
    """Level relative to neutral speech, dB."""


MANNERS: dict[str, Manner] = {
    "neutral": Manner(
        pitch=(0.97, 1.03),
        span=(0.22, 0.32),
        rate=(0.95, 1.05),
        stop=".",
        contour=((0, 0.02), (1, -0.03)),
        waves=(0.0, 0.01),
        tremble=(0.0, 0.004),
        tract=1.0,
        tilt=(-0.5, 0.5),
        breath=(0.02, 0.05),
        rough=(0.0, 0.0),
        drive=0.0,
        stress=1.0,
        decay=-1.5,
        level=0.0,
    ),
    "happy": Manner(
        pitch=(1.18, 1.3),
        span=(0.6, 0.85),
        rate=(1.08, 1.2),
        stop="!",
        contour=((0, -0.05), (0.35, 0.08), (0.7, 0.0), (1, 0.16)),
        waves=(0.06, 0.1),
        tremble=(0.0, 0.006),
        tract=1.04,
        tilt=(1.0, 2.2),
        breath=(0.03, 0.08),
        rough=(0.0, 0.0),
        drive=0.0,
        stress=1.15,
        decay=1.0,
        level=2.0,
    ),
    "sad": Manner(
        pitch=(0.84, 0.92),
        span=(0.08, 0.16),
        rate=(0.72, 0.82),
        stop=".",
        contour=((0, 0.06), (0.5, -0.02), (1, -0.14)),
        waves=(0.0, 0.02),
        tremble=(0.02, 0.035),
        tract=0.98,
        tilt=(-5.0, -3.5),
        breath=(0.3, 0.5),
        rough=(0.0, 0.0),
        drive=0.0,
        stress=0.85,
        decay=-6.0,
        level=-5.0,
    ),
    "angry": Manner(
        pitch=(1.1, 1.22),
        span=(0.4, 0.6),
        rate=(1.08, 1.18),
        stop="!",
        contour=((0, 0.08), (0.3, 0.0), (0.8, 0.02), (1, -0.12)),
        waves=(0.01, 0.04),
        tremble=(0.0, 0.006),
        tract=1.02,
        tilt=(2.5, 4.0),
        breath=(0.02, 0.05),
        rough=(0.5, 0.8),
        drive=3.0,
        stress=1.4,
        decay=0.0,
        level=5.0,
    ),
}
"""The recipe of each emotion. Ours."""

LANGUAGE_FILES: dict[str, tuple[str, ...]] = {
    "english": ("gmw/en", "gmw/en-US"),
    "spanish": ("roa/es", "roa/es-419"),
    "french": ("roa/fr",),
    "german": ("gmw/de",),
}
"""Espeak's accents of each language."""
LANGUAGE_RATE: dict[str, float] = {"english": 0.97, "spanish": 1.02, "french": 0.95, "german": 0.97}
"""Spanish and French syllables follow each other faster."""


class Timbre(NamedTuple):
    """One person's voice."""

    pitch: float
    """Mean in calm speech, Hz."""
    formants: tuple[float, ...]
    """Factor on each of espeak's nine formants."""
    width: int
    """Formant widths, percent of espeak's."""
    height: int
    """Formant heights, percent of espeak's."""
    rate: float
    """Factor on the speaking rate."""
    language_file: str
    """Espeak's file of the accent."""


def draw_timbre(rng: np.random.Generator, gender: str, language: str) -> Timbre:
    """Draw a person of the gender who speaks the language."""
    female = gender == "female"
    pitch = rng.uniform(182, 222) if female else rng.uniform(94, 124)
    tract = rng.uniform(1.11, 1.2) if female else rng.uniform(0.93, 1.01)
    files = LANGUAGE_FILES[language]
    return Timbre(
        pitch=float(pitch),
        formants=tuple(float(f) for f in tract * rng.uniform(0.97, 1.03, size=9)),
        width=int(rng.integers(120, 150) if female else rng.integers(95, 115)),
        height=int(rng.integers(80, 95) if female else rng.integers(92, 105)),
        rate=float(rng.uniform(0.94, 1.06)),
        language_file=files[int(rng.integers(len(files)))],
    )


class Delivery(NamedTuple):
    """One draw from a `Manner`."""

    pitch: float
    span: float
    rate: float
    waves: float
    tremble: float
    tilt: float
    breath: float
    rough: float


def draw_delivery(rng: np.random.Generator, manner: Manner) -> Delivery:
    """Draw one reading in the manner."""
    return Delivery(*(float(rng.uniform(*getattr(manner, field))) for field in Delivery._fields))


def voice_lines(timbre: Timbre, manner: Manner, delivery: Delivery) -> str:
    """The voice in espeak's voice-file format."""
    # flutter, roughness and breath are off: in espeak they depend on what was spoken before.
    mean = timbre.pitch * delivery.pitch
    width = mean * delivery.span
    lines = [
        espeak.language_lines(timbre.language_file),
        "flutter 0",
        "roughness 0",
        # Measured: the mean of a sentence lies at 0.62 of the way from base to top.
        f"pitch {round(mean - 0.62 * width)} {round(mean + 0.38 * width)}",
    ]
    for number, factor in enumerate(timbre.formants):
        lines.append(f"formant {number} {round(100 * factor * manner.tract)} {timbre.height} {timbre.width}")
    return "\n".join(lines) + "\n"
