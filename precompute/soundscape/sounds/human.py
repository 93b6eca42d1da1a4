"""Sounds people make without words: laughter, cough, sneeze, snore, cry, breath, whistling.

Steps and applause come with `_steps_claps`.
"""

from __future__ import annotations

import numpy as np

from precompute.soundscape import dsp
from precompute.soundscape.registry import sound
from precompute.soundscape.sounds import (
    _steps_claps,  # noqa: F401  (imported for its registrations)
)
from precompute.soundscape.sounds._voice import (
    Throat,
    cycles,
    drift,
    glide,
    in_turn,
    soften,
    source,
    swell,
    thin,
    tone,
    tract,
    turbulence,
    voice,
)

_AH = np.array([760, 1250, 2550, 3500, 4500])
_UH = np.array([620, 1200, 2450, 3450, 4400])
_HE = np.array([500, 1850, 2550, 3550, 4500])
_WIDTHS = (90, 110, 160, 220, 300)


def _breath_noise(rng: np.random.Generator, seconds: float, track: list[np.ndarray], wide: float = 2.0) -> np.ndarray:
    """Turbulence through a throat, unit power, [n]."""
    noise = tract(soften(turbulence(rng, dsp.samples(seconds), 0.5), 2600), track, [wide * w for w in _WIDTHS])
    return noise / (noise.std() + 1e-9)


def _ha(rng: np.random.Generator, f0: float, seconds: float, breathy: float) -> np.ndarray:
    """What drives the throat in one laugh note: a puff of breath, then a short voiced stretch."""
    pitch = f0 * glide([(0, 0.93), (0.3, 1.04), (1, rng.uniform(0.8, 0.92))], seconds)
    puff = glide([(0, 6), (0.3, 2.5), (0.5, 1), (0.8, 1.3), (1, 3)], seconds)
    throat = Throat([], [], tilt_hz=1300, breath=breathy, jitter=0.018, shimmer=0.12)
    voiced = glide([(0, 0.03), (0.25, 0.25), (0.42, 1), (0.7, 0.8), (1, 0.04)], seconds)
    return dsp.fade(source(rng, pitch, throat, puff) * voiced, 0.015, 0.02)


@sound(
    "laughter", family="human", label="laughter", clauses=("a person laughs", "someone is laughing", "someone giggles")
)
def laughter(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Runs of 4-11 ha-ha notes, 4-6 a second, sinking in pitch and loudness, with a breath between runs."""
    high = rng.random()
    f0 = 165 * 2.3**high * rng.uniform(0.9, 1.15)
    vowel = (_AH, _UH, _HE)[int(rng.integers(3))] * (1 + 0.17 * high) * rng.uniform(0.95, 1.05)
    rate, share, breathy = rng.uniform(4.0, 6.2), rng.uniform(0.6, 0.85), rng.uniform(0.12, 0.4)
    canvas = np.zeros(dsp.samples(seconds))
    at, end = rng.uniform(0, 0.15), 0.0
    while at < seconds - 0.7:
        count, start = int(rng.integers(4, 12)), rng.uniform(1.15, 1.5)
        for i in range(count):
            length = share / rate * rng.uniform(0.85, 1.15)
            if at + length > seconds - 0.03:
                break
            fall = i / count
            note = _ha(rng, f0 * (start - 0.4 * fall) * rng.uniform(0.94, 1.06), length, breathy)
            dsp.place(canvas, note, at, (1 - 0.65 * fall) * rng.uniform(0.7, 1.0))
            end = at + length + 0.03
            at += 1 / (rate * (1 - 0.15 * fall)) * rng.uniform(0.93, 1.07)
        gasp = rng.uniform(0.25, 0.45)
        if at + gasp < seconds and rng.random() < 0.75:
            inhaled = turbulence(rng, dsp.samples(gasp), 0.5) * swell(gasp, 0.12, 0.1)
            dsp.place(canvas, inhaled, at + 0.06, rng.uniform(0.08, 0.25))
            at += gasp + 0.1
        at += rng.uniform(0.1, 0.35)
    laugh = tract(canvas, [vowel * 1.02, vowel * 0.98], [1.1 * w for w in _WIDTHS])
    return dsp.peak_normalise(dsp.fade(laugh[: dsp.samples(end)], 0.0, 0.02))


def _cough(rng: np.random.Generator, f0: float, shape: np.ndarray, voiced: float, wet: float) -> np.ndarray:
    """Burst of air as the glottis springs open, a noisy middle, often a short voiced end."""
    seconds = rng.uniform(0.24, 0.42)
    n, t = dsp.samples(seconds), dsp.times(seconds)
    burst = np.exp(-t / rng.uniform(0.02, 0.04)) + rng.uniform(0.35, 0.55) * np.exp(-t / rng.uniform(0.08, 0.14))
    crackle = 1 + wet * tone(cycles(rng.uniform(40, 80) * (1 + drift(rng, n, 20, 0.3))))
    air = 1.8 * turbulence(rng, n, 0.3) * burst * crackle
    pitch = f0 * glide([(0, 1.25), (0.35, 1.1), (1, 0.7)], seconds)
    throat = Throat([], [], tilt_hz=1500, breath=0.4, jitter=0.05, shimmer=0.3, subharmonic=rng.uniform(0, 0.5))
    late = glide([(0, 0.5), (0.15, 0.35), (0.35, 0.4), (0.55, rng.uniform(0.6, 1.1)), (0.8, 0.4), (1, 0)], seconds)
    drive = air + voiced * late * source(rng, pitch, throat)
    sound_out = tract(drive, [shape * 1.12, shape, shape * 0.95, shape * 0.85], [1.7 * w for w in _WIDTHS])
    return dsp.fade(dsp.soft_clip(0.9 * dsp.peak_normalise(sound_out), 2.0), 0.004, 0.09)


@sound("cough", family="human", label="human coughing", clauses=("a person coughs", "someone is coughing"))
def cough(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Bouts of two to four coughs, each weaker and shorter of breath than the one before."""
    high = rng.random()
    f0, shape = 150 * 2**high * rng.uniform(0.85, 1.2), _UH * (1 + 0.18 * high) * rng.uniform(0.95, 1.05)
    voiced, wet, gap = rng.uniform(0.2, 0.9), rng.uniform(0, 0.4), rng.uniform(0.06, 0.2)
    bout = int(rng.integers(2, 5))

    def pause(i: int) -> float:
        return rng.uniform(0.5, 1.0) if (i + 1) % bout == 0 else gap * rng.uniform(0.8, 1.4)

    return in_turn(
        seconds,
        lambda i: _cough(rng, f0, shape, voiced, wet) * (1 - 0.18 * (i % bout)) * rng.uniform(0.8, 1),
        pause,
        rng.uniform(0, 0.25),
    )


@sound(
    "breathing",
    family="human",
    label="heavy breathing",
    clauses=("a person breathes heavily", "someone is breathing hard", "someone pants out of breath"),
    min_seconds=1.5,
)
def breathing(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """In-breaths (brighter, rising) and out-breaths (darker, sinking) in turn, with short rests."""
    cycle, scale = rng.uniform(0.9, 2.2), rng.uniform(0.95, 1.2)
    inward = [np.array([700, 1700, 2700, 3700, 4700]) * scale * f for f in (0.95, 1.1)]
    outward = [np.array([560, 1300, 2400, 3400, 4400]) * scale * f for f in (1.05, 0.95)]
    louder, flutter = rng.uniform(0.5, 1.6), rng.uniform(0.1, 0.3)
    first = int(rng.integers(2))

    def breath(i: int) -> np.ndarray:
        out = (i + first) % 2 == 0
        length = cycle * (0.47 if out else 0.38) * rng.uniform(0.9, 1.1)
        noise = _breath_noise(rng, length, outward if out else inward, 2.2 if out else 1.6)
        noise *= 1 + drift(rng, len(noise), 25, flutter)
        if out:
            return louder * noise * glide([(0, 0), (0.12, 1), (0.5, 0.55), (1, 0)], length)
        return noise * glide([(0, 0), (0.35, 0.55), (0.8, 1), (1, 0)], length)

    return in_turn(seconds, breath, lambda _: cycle * 0.075 * rng.uniform(0.6, 1.6), rng.uniform(0, 0.15))


@sound(
    "sneeze",
    family="human",
    label="human sneezing",
    clauses=("a person sneezes", "someone is sneezing", "someone goes achoo"),
)
def sneeze(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A drawn-in ah, a held breath, an explosive hiss (ch) and a falling voiced oo."""
    high = rng.random()
    f0, scale = 140 * 2**high * rng.uniform(0.9, 1.15), 1 + 0.18 * high

    def one(_: int) -> np.ndarray:
        ah, burst, oo = rng.uniform(0.18, 0.4), rng.uniform(0.09, 0.18), rng.uniform(0.16, 0.32)
        gasp = Throat([_UH * scale, _AH * scale], _WIDTHS, tilt_hz=700, breath=0.7, jitter=0.02, shimmer=0.1)
        first = voice(rng, f0 * glide([(0, 1.0), (1, 1.5)], ah), gasp, 1.5) * glide([(0, 0), (0.7, 0.3), (1, 0)], ah)
        hiss = dsp.bandpass(dsp.white(rng, burst + oo), 1900 * scale, 6800, 2)
        hiss += 0.5 * _breath_noise(rng, burst + oo, [_HE * scale, _UH * scale]) * hiss.std()
        t = dsp.times(burst + oo)
        hiss *= np.minimum(t / 0.008, 1) * np.exp(-np.maximum(t - 0.6 * burst, 0) / (0.5 * burst)) / hiss.std()
        pitch = f0 * glide([(0, 2.1), (0.3, 1.7), (1, 0.9)], oo)
        vowel = np.array([[450, 1500, 2500, 3500, 4500], [400, 1000, 2400, 3400, 4400]]) * scale
        tail = Throat(vowel, _WIDTHS, tilt_hz=1200, breath=0.6, jitter=0.02, shimmer=0.15)
        last = voice(rng, pitch, tail) * glide([(0, 0.2), (0.2, 1), (0.5, 0.5), (1, 0)], oo)
        explosion = 0.33 * hiss
        explosion[len(hiss) - len(last) :] += rng.uniform(0.4, 0.9) * last
        still = np.zeros(dsp.samples(rng.uniform(0.05, 0.2)))
        return np.concatenate([first, still, dsp.fade(explosion, 0.002, 0.05)])

    return in_turn(seconds, one, lambda _: rng.uniform(0.4, 1.0), rng.uniform(0, 0.2), most=int(rng.integers(1, 4)))


@sound(
    "snoring", family="human", label="human snoring", clauses=("a person snores", "someone is snoring"), min_seconds=1.5
)
def snoring(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A rattling in-breath (soft palate beating 28-75 times a second), then a quiet blown out-breath."""
    beat, scale, rattle = rng.uniform(28, 75), rng.uniform(0.85, 1.15), rng.uniform(0.25, 0.8)
    inhale, exhale = rng.uniform(0.75, 1.3), rng.uniform(0.45, 0.9)

    def breath(i: int) -> np.ndarray:
        if i % 2 == 1:
            air = _breath_noise(rng, exhale, [np.array([450, 1100, 2300, 3400, 4400]) * scale], 3)
            return 0.05 * air * glide([(0, 0), (0.2, 1), (1, 0)], exhale)
        length = inhale * rng.uniform(0.92, 1.08)
        pitch = (
            beat * glide([(0, 0.9), (0.5, 1.05), (1, 0.95)], length) * (1 + drift(rng, dsp.samples(length), 8, 0.06))
        )
        mouth = np.array([[300, 900, 1900, 2900], [380, 1100, 2200, 3100], [330, 1000, 2100, 3000]]) * scale
        throat = Throat(
            mouth, [90, 160, 300, 450], tilt_hz=900, breath=rattle, jitter=0.06, shimmer=0.3, subharmonic=0.2
        )
        air = 0.4 + 0.6 * (0.5 + 0.5 * tone(cycles(pitch) + 0.25))
        return voice(rng, pitch, throat, air) * glide([(0, 0), (0.25, 0.5), (0.75, 1.0), (1, 0)], length)

    return in_turn(seconds, breath, lambda _: rng.uniform(0.1, 0.25), rng.uniform(0, 0.15))


def _wail(rng: np.random.Generator, f0: float, seconds: float, harsh: float, scale: float) -> np.ndarray:
    top = f0 * rng.uniform(0.93, 1.1)
    rise, crest, stop = rng.uniform(0.6, 0.85), rng.uniform(0.1, 0.4), rng.uniform(0.55, 0.85)
    pitch = top * glide([(0, rise), (crest, 1.0), (0.6, rng.uniform(0.88, 1.05)), (0.85, 0.86), (1, stop)], seconds)
    quaver = rng.uniform(0, 0.02) * tone(rng.uniform(5, 9) * dsp.times(seconds))
    pitch *= 1 + drift(rng, len(pitch), 12, 0.015) + quaver
    open_mouth = np.array([1150, 2250, 3800, 5400]) * scale
    throat = Throat(
        [open_mouth * [0.7, 1.1, 1, 1], open_mouth, open_mouth * [1.08, 0.95, 1, 1], open_mouth * [0.8, 0.95, 1, 1]],
        [150, 200, 280, 400],
        tilt_hz=3000,
        breath=0.1 + 0.2 * harsh,
        jitter=0.006 + 0.015 * harsh,
        shimmer=0.06 + 0.1 * harsh,
        subharmonic=rng.uniform(0, 0.4) * harsh,
        rough_hz=rng.uniform(30, 70),
        rough=0.3 * harsh,
    )
    shape = glide([(0, 0), (0.12, 0.8), (0.35, 1), (0.75, 0.85), (1, 0)], seconds)
    return dsp.soft_clip(voice(rng, pitch, throat) * 1.4) * shape


@sound(
    "baby_cry", family="human", label="baby crying", clauses=("a baby cries", "an infant is crying", "a newborn wails")
)
def baby_cry(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Wails of 0.5-1.3 s at 350-600 Hz whose pitch rises and falls, with gasps for air between."""
    f0, harsh, scale = rng.uniform(350, 560), rng.random(), rng.uniform(0.92, 1.12)
    length, gasps = rng.uniform(0.55, 1.15), rng.random() < 0.8

    def turn(i: int) -> np.ndarray:
        if gasps and i % 2 == 1:
            gasp = rng.uniform(0.12, 0.22)
            return 0.07 * _breath_noise(rng, gasp, [_HE * 1.5, _AH * 1.6], 1.5) * swell(gasp, 0.06, 0.04)
        return _wail(rng, f0, min(seconds, length * rng.uniform(0.8, 1.2)), harsh, scale)

    return in_turn(
        seconds, turn, lambda _: rng.uniform(0.06, 0.16) if gasps else rng.uniform(0.2, 0.5), rng.uniform(0, 0.15)
    )


def _reflect(degree: int) -> int:
    """Keep a scale degree between 0 and 7 by turning back at the ends."""
    return 7 - abs(7 - abs(degree))


@sound(
    "whistling",
    family="human",
    label="whistling a tune",
    clauses=("a person whistles a tune", "someone is whistling a melody"),
    min_seconds=1.5,
)
def whistling(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A melody in a major or minor scale at 0.8-2.4 kHz, sliding between notes, with a little breath."""
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12] if rng.random() < 0.7 else [0, 2, 3, 5, 7, 8, 10, 12])
    tonic, beat = np.exp(rng.uniform(np.log(750), np.log(1250))), rng.uniform(0.16, 0.3)
    n = dsp.samples(seconds)
    pitch, level = np.empty(n), np.zeros(n)
    place, degree = 0, int(rng.choice([0, 2, 4, 7]))
    while place < n:
        rest = place > 0 and rng.random() < 0.06
        length = dsp.samples(beat * (1 if rest else int(rng.choice([1, 2, 3], p=[0.6, 0.32, 0.08]))))
        pitch[place : place + length] = tonic * 2 ** (scale[degree] / 12)
        gap = dsp.samples(rng.uniform(0.015, 0.05)) if rng.random() < 0.55 else 0
        level[place : place + length - gap] = 0.0 if rest else rng.uniform(0.7, 1.0)
        place += length
        degree = _reflect(degree + int(rng.choice([-3, -2, -1, -1, 1, 1, 2, 4, -4, 0])))
    pitch = np.exp(dsp.lowpass(np.log(pitch / pitch[0]), rng.uniform(7, 14), 2)) * pitch[0]
    level = np.maximum(dsp.lowpass(level, 12, 2), 0)
    sway = tone(rng.uniform(4.8, 6.2) * dsp.times(seconds)) * np.clip(drift(rng, n, 2, 0.5), 0, 1)
    pitch *= 1 + 0.012 * sway + drift(rng, n, 14, 0.003)
    cycle = cycles(pitch)
    note = tone(cycle + 0.024 * drift(rng, n, 150, 1.0)) + rng.uniform(0.01, 0.06) * tone(2 * cycle)
    air = thin(soften(rng.standard_normal(n), 5000), 1000)
    breath = 10 ** rng.uniform(-2.1, -1.4) * air / air.std()
    return dsp.fade((note * (1 + drift(rng, n, 25, 0.07)) + breath) * level, 0.02, 0.05)
