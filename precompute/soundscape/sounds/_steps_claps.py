"""What hands and feet do: footsteps and applause."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import irfft, rfft

from precompute.soundscape import dsp
from precompute.soundscape.registry import SAMPLE_RATE, sound
from precompute.soundscape.sounds._voice import drift, soften, thin, tract


def _coloured_bank(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """A second of noise between two frequencies in Hz (6 dB an octave outside), unit power, to cut pieces from."""
    noise = thin(soften(soften(rng.standard_normal(SAMPLE_RATE), high), 1.6 * high), low)
    return noise / noise.std()


def _grit(rng: np.random.Generator, density: float) -> np.ndarray:
    """A second of small stones or grains knocking together, `density` knocks a sample, unit power."""
    n = SAMPLE_RATE
    knocks = (rng.random(n) < density) * rng.exponential(1.0, n) * rng.choice([-1.0, 1.0], n)
    low = rng.uniform(1100, 2200)
    stones = tract(knocks, [[low, low * rng.uniform(1.5, 2.2)]], [rng.uniform(500, 1100), 1800], upper=False)
    stones = thin(stones, 700) + 0.25 * soften(thin(knocks, 1500), 4000)
    return stones / stones.std()


def _piece(rng: np.random.Generator, bank: np.ndarray, n: int) -> np.ndarray:
    start = int(rng.integers(len(bank) - n))
    return bank[start : start + n]


@dataclass(frozen=True)
class _Floor:
    """What is walked on and in which shoes."""

    ring_hz: np.ndarray
    ring_gain: np.ndarray
    ring_decay: np.ndarray
    contact: np.ndarray
    """Noise of the sole's contact."""
    contact_decay: float
    grit: np.ndarray
    """Noise of the sole rolling over grit or through gravel."""
    grit_level: float
    room: float
    """Level of the room's answer."""


def _floor(rng: np.random.Generator, ground: str) -> _Floor:
    low = {"hard": rng.uniform(140, 260), "wood": rng.uniform(80, 140), "gravel": rng.uniform(110, 180)}[ground]
    top = {"hard": rng.uniform(1100, 3600), "wood": rng.uniform(500, 1300), "gravel": rng.uniform(900, 1800)}[ground]
    gains = {"hard": [0.5, 0.55, 0.5, 0.35, 0.2], "wood": [1.0, 0.9, 0.6, 0.35, 0.15], "gravel": [0.25, 0.15, 0, 0, 0]}[
        ground
    ]
    density = rng.uniform(0.04, 0.16) if ground == "gravel" else rng.uniform(0.01, 0.05)
    return _Floor(
        ring_hz=low * np.array([1, 1.7, 2.9, 5.2, 8.7]) * rng.uniform(0.88, 1.12, 5),
        ring_gain=np.array(gains) * rng.uniform(0.5, 1.4, 5),
        ring_decay=np.array([0.16, 0.12, 0.08, 0.05, 0.035]) * (1.0 if ground == "wood" else 0.6),
        contact=_coloured_bank(rng, rng.uniform(120, 350), top),
        contact_decay=rng.uniform(0.007, 0.014) if ground == "hard" else rng.uniform(0.012, 0.025),
        grit=_grit(rng, density),
        grit_level={"hard": rng.uniform(0.02, 0.1), "wood": rng.uniform(0.01, 0.05), "gravel": rng.uniform(0.5, 0.9)}[
            ground
        ],
        room=rng.uniform(0.0, 0.07) if ground == "gravel" else rng.uniform(0.02, 0.14),
    )


def _strike(rng: np.random.Generator, floor: _Floor, seconds: float, hardness: float) -> np.ndarray:
    """One part of the sole landing; `hardness` is small for the toe."""
    t = dsp.times(seconds)
    hz = floor.ring_hz * rng.uniform(0.96, 1.04, 5)
    amount = floor.ring_gain * rng.uniform(0.6, 1.3, 5)
    ring = (amount[:, None] * np.exp((2j * np.pi * hz[:, None] - 6.91 / floor.ring_decay[:, None]) * t)).imag.sum(0)
    fall = floor.contact_decay * rng.uniform(0.8, 1.3)
    contact = _piece(rng, floor.contact, len(t)) * (np.exp(-t / fall) + floor.room * np.exp(-t / 0.05))
    return (0.6 * ring + hardness * contact) * np.minimum(t / (0.0008 + 0.002 * (1 - hardness)), 1)


def _step(rng: np.random.Generator, floor: _Floor, roll: float, toe: float) -> np.ndarray:
    """Heel, the sole rolling for `roll` seconds, toe of relative strength `toe`; 0.36 s."""
    out = np.zeros(dsp.samples(0.36))
    dsp.place(out, _strike(rng, floor, 0.3, rng.uniform(0.8, 1.0)), 0.0)
    dsp.place(out, _strike(rng, floor, 0.22, 0.5), roll, toe)
    n = dsp.samples(roll + 0.12)
    t = np.arange(n) / SAMPLE_RATE
    press = np.exp(-t / 0.03) + 0.7 * np.exp(-(((t - roll) / 0.035) ** 2)) + 0.12
    grit = _piece(rng, floor.grit, n) * press * (1 + drift(rng, n, 60, 0.35))
    dsp.place(out, dsp.fade(grit, 0.004, 0.07), 0.0, floor.grit_level)
    return dsp.fade(out, 0.001, 0.1)


@sound(
    "footsteps",
    family="human",
    label="footsteps",
    clauses=("a person walks", "someone is walking", "someone's steps pass by"),
)
def footsteps(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Steps 0.43-0.7 s apart: heel, roll, then toe 60-130 ms later, on a hard floor, wood or gravel."""
    ground = str(rng.choice(["hard", "wood", "gravel"], p=[0.45, 0.25, 0.3]))
    feet = [_floor(rng, ground)]
    feet.append(replace(feet[0], ring_hz=feet[0].ring_hz * rng.uniform(0.93, 1.07, 5)))
    interval, roll = rng.uniform(0.43, 0.7), rng.uniform(0.06, 0.13)
    toe, limp, nearer = rng.uniform(0.2, 0.65), rng.uniform(0.8, 1.0), rng.uniform(-0.3, 0.3)
    canvas = np.zeros(dsp.samples(seconds))
    at, foot, end = rng.uniform(0.0, 0.2), 0, 0.0
    while at < seconds - 0.36 or end == 0.0:
        gain = rng.uniform(0.75, 1.0) * (limp if foot else 1.0) * (1 + nearer * (at / seconds - 0.5))
        step = _step(rng, feet[foot], roll * rng.uniform(0.88, 1.14), toe * rng.uniform(0.7, 1.3))
        dsp.place(canvas, step, at, gain)
        end = at + 0.36
        at += interval * (1 + 0.025 * rng.standard_normal())
        foot = 1 - foot
    return canvas[: dsp.samples(end)]


def _clap_kinds(rng: np.random.Generator, kinds: int, length: int) -> np.ndarray:
    """Different pairs of hands, shape [kinds, length]: noise bursts around 0.6-2.8 kHz of 5-20 ms."""
    t = np.arange(length) / SAMPLE_RATE
    hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE) + 1.0
    centre = np.exp(rng.uniform(np.log(650), np.log(2600), kinds))[:, None]
    width = rng.uniform(0.35, 0.7, kinds)[:, None]
    gain = np.exp(-0.5 * (np.log(hz / centre) / width) ** 2) + 0.16 * hz**2 / (hz**2 + 400**2) * (hz / 2000) ** -0.5
    hands = irfft(rfft(rng.standard_normal((kinds, length)), axis=1) * gain, length, axis=1)
    envelope = np.exp(-t / rng.uniform(0.004, 0.011, kinds)[:, None]) + 0.05 * np.exp(-t / 0.035)
    return hands / hands.std(axis=1, keepdims=True) * envelope * np.minimum(t / 0.0006, 1)


@sound(
    "clapping", family="human", label="applause", clauses=("people applaud", "a crowd is clapping", "an audience claps")
)
def clapping(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Eight to ninety people clapping 3-5 times a second, each with hands, pace and distance of their own."""
    people = int(np.exp(rng.uniform(np.log(8), np.log(90))))
    n, length, kinds = dsp.samples(seconds), 640, 24
    hands = _clap_kinds(rng, kinds, length)
    canvas = np.zeros(n + length)
    for person in range(people):
        rate, gain = rng.uniform(2.9, 5.2), 10 ** rng.uniform(-0.9, 0.0)
        steps = (1 + 0.06 * rng.standard_normal(int(seconds * rate) + 2)) / rate
        moments = ((rng.uniform(0, 1 / rate) + np.cumsum(steps) - steps[0]) * SAMPLE_RATE).astype(int)
        heights = gain * rng.uniform(0.6, 1.0, len(moments))
        for moment, height in zip(moments[moments < n].tolist(), heights.tolist(), strict=False):
            canvas[moment : moment + length] += height * hands[person % kinds]
    hall = thin(thin(soften(rng.standard_normal(n), 2500), 700), 500)
    hall *= rng.uniform(0.1, 0.5) * (people / 90) * canvas.std() / hall.std()
    return dsp.fade(canvas[:n] + hall, 0.02, 0.08)
