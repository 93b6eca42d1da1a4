"""A four-stroke engine heard from the kerb: firing pulses through the exhaust, turbulence, valve gear, fan, intake."""

from __future__ import annotations

import numpy as np

from precompute.soundscape.dsp import fade, samples
from precompute.soundscape.registry import SAMPLE_RATE
from precompute.soundscape.sounds._texture import (
    colour,
    drift,
    excite,
    full_rate,
    log_uniform,
    log_uniforms,
    puffs,
    ringing,
    scatter,
    slow,
    uniform,
    unit,
    white,
)


def spin(
    rng: np.random.Generator, pedal: np.ndarray, seconds: float, idle: float, top: float, up: float, down: float
) -> tuple[np.ndarray, np.ndarray]:
    """Crank turns a second and load 0..1 for a pedal position on the times of `slow`; shapes [n], [n].

    The speed follows the pedal with the time constants `up` and `down` in s; the load follows within some 50 ms.
    """
    speed, track = float(pedal[0]), np.empty(len(pedal))
    dt = slow(seconds)[1]
    for i, wanted in enumerate(pedal.tolist()):
        speed += (wanted - speed) * dt / (up if wanted > speed else down)
        track[i] = speed
    revs = (idle + (top - idle) * track) * (1 + drift(rng, seconds, 2.5, 0.012) * (1 - 0.7 * track))
    load = np.clip(0.3 * track + 0.85 * np.convolve(pedal, np.hanning(27) / 13, "same"), 0, 1)
    return full_rate(revs, seconds), full_rate(load, seconds)


def blips(rng: np.random.Generator, seconds: float, count: int) -> np.ndarray:
    """Pedal pressed `count` times from idle, on the times of `slow`."""
    t = slow(seconds)
    pedal, at = np.zeros(len(t)), uniform(rng, 0.05, 0.5)
    for _ in range(count):
        press = uniform(rng, 0.25, 0.9)
        pedal = np.maximum(pedal, uniform(rng, 0.45, 1.0) * ((t > at) & (t < at + press)))
        at += press + uniform(rng, 0.4, 1.3)
    return pedal


def _firings(
    rng: np.random.Generator, revs: np.ndarray, load: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of every firing and its cylinder; combustion timing scatters more at low load."""
    cycles = np.cumsum(revs) * (0.5 / SAMPLE_RATE)
    whole = np.arange(int(cycles[-1]) + 1)
    target = (whole[:, None] + offsets).ravel()
    cylinder = np.tile(np.arange(len(offsets)), len(whole))
    keep = (target > 0.01) & (target < cycles[-1] - 0.01)
    sample = np.searchsorted(cycles, target[keep])
    scattered = uniform(rng, 0.002, 0.006) * (1 - 0.75 * load[sample]) * 2 / revs[sample]
    return sample / SAMPLE_RATE + scattered * rng.standard_normal(len(sample)), cylinder[keep]


def exhaust(rng: np.random.Generator, brightness: float) -> np.ndarray:
    """Impulse response of unit energy from cylinder to ear: pipe resonances and shell modes; `brightness` 0..1.5."""
    pipe = uniform(rng, 38, 75)
    odd = np.arange(1, 16) * 2 - 1
    hz = np.concatenate([pipe * odd * rng.uniform(0.93, 1.07, len(odd)), log_uniforms(rng, 150, 4000, 18)])
    corner = 160 + 1100 * brightness
    gain = (hz / 70) / (1 + hz / 70) / (1 + (hz / corner) ** 2) ** 0.6 * np.exp(rng.normal(0, 0.35, len(hz)))
    t60 = np.clip(16 / hz, 0.012, 0.12) * rng.uniform(0.7, 1.5, len(hz))
    x = ringing(0.064, hz, t60, gain, rng.uniform(-0.6, 0.6, len(hz)))
    return fade(x / np.sqrt((x**2).sum()), 0.0012, 0.02)


def engine(
    rng: np.random.Generator, revs: np.ndarray, load: np.ndarray, offsets: np.ndarray, open_pipe: float, clatter: float
) -> np.ndarray:
    """Sound of an engine turning `revs` times a second under `load` 0..1; shape [n].

    `offsets` are the firing moments within the cycle of two turns; `open_pipe` 0 (quiet muffler) to 1.5 (none);
    `clatter` is the level of valves and injectors against the exhaust. Cylinders and cycles differ a little.
    """
    n = len(revs)
    seconds = n / SAMPLE_RATE
    at, cylinder = _firings(rng, revs, load, offsets)
    here = np.clip((at * SAMPLE_RATE).astype(int), 0, n - 1)
    pull = load[here]
    even = 1 + uniform(rng, 0.06, 0.22) * rng.standard_normal(len(offsets))
    force = (
        even[cylinder] * np.exp(rng.normal(0, uniform(rng, 0.1, 0.25), len(at)) * (1 - 0.7 * pull)) * (0.4 + 0.6 * pull)
    )
    dull = scatter(n, at, force)
    bright = scatter(n, at, force * (0.25 + pull))
    ticking = np.concatenate([at, at + 0.85 / revs[here] / len(offsets)]) + rng.normal(0, 0.0005, 2 * len(at))
    taps = scatter(n, ticking, np.exp(rng.normal(0, 0.5, len(ticking))) * np.tile(0.5 + revs[here] / 60, 2))
    noise = white(rng, seconds)
    rasp = puffs(bright, uniform(rng, 0.002, 0.006)) * noise
    rush = white(rng, seconds) * (0.3 + revs / 50) ** 1.3
    tick = puffs(taps, uniform(rng, 0.0007, 0.002)) * noise[::-1]
    level = float(np.sqrt(np.mean(dull**2)))
    rushing = level * uniform(rng, 0.15, 0.35) / (1 + 0.6 * open_pipe)
    middle = log_uniform(rng, 1400, 3500)
    sources = [
        (dull, exhaust(rng, 0.3 * open_pipe)),
        (bright * (0.5 + open_pipe), exhaust(rng, 0.4 + open_pipe)),
        (
            unit(rasp) * level * uniform(rng, 0.08, 0.16) * (1 + 1.2 * open_pipe),
            colour([(60, -12), (250, 0), (900, -3), (3000, -12), (8000, -25)]),
        ),
        (rush * rushing, colour([(25, -6), (80, 0), (300, -8), (1200, -16), (4000, -27), (8000, -40)])),
        (
            unit(tick) * level * clatter,
            colour([(200, -26), (middle / 2, -7), (middle, 0), (middle * 2, -7), (8000, -20)]),
        ),
    ]
    return excite(n, sources)


def starter(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Electric starter turning the engine over: a gear whine labouring at each compression; peak about 1; shape [n]."""
    t = slow(seconds)
    strokes = uniform(rng, 7, 11)
    labour = 1 - uniform(rng, 0.03, 0.06) * np.cos(2 * np.pi * strokes * t) + drift(rng, seconds, 6, 0.02)
    turns = np.cumsum(full_rate(labour, seconds)) * (uniform(rng, 260, 420) / SAMPLE_RATE)
    gains = np.exp(-np.arange(14) / 4.0) * np.exp(rng.normal(0, 0.5, 14))
    whine = sum(g * np.sin(2 * np.pi * k * turns) for k, g in enumerate(gains[:6], start=1))
    grind = white(rng, seconds) * uniform(rng, 1.0, 2.0) + whine
    heave = full_rate(0.55 - 0.45 * np.cos(2 * np.pi * strokes * t + 0.6), seconds)
    x = excite(samples(seconds), [(grind * heave, colour([(60, -12), (250, 0), (900, 0), (2500, -6), (8000, -22)]))])
    return fade(x / (np.abs(x).max() + 1e-12), 0.01, 0.03)
