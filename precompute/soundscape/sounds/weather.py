"""Weather and fire: rain, thunder, wind, campfire. Ours: every constant here is our choice."""

from __future__ import annotations

import numpy as np

from precompute.soundscape.dsp import samples
from precompute.soundscape.registry import sound
from precompute.soundscape.sounds._texture import (
    bubbles,
    canvas,
    colour,
    drift,
    excite,
    finish,
    gain_at,
    hump,
    log_uniform,
    log_uniforms,
    painted,
    poisson,
    puffs,
    scatter,
    slow,
    uniform,
    unit,
    white,
    wobble,
)

FAMILY = "weather and water"


@sound(
    "rain",
    family=FAMILY,
    label="rain falling",
    clauses=("rain falls", "rain is coming down", "rain patters on the ground"),
    min_seconds=1.0,
)
def rain(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Thousands of drop impacts of heavy-tailed size on three surfaces, near drips, and the far shower behind."""
    n = samples(seconds)
    density = log_uniform(rng, 450, 4000)
    spread = uniform(rng, 0.6, 1.0)
    tilt = uniform(rng, -3, 2)
    noise = white(rng, seconds)
    pairs = []
    for low, high, share, weight in ((3000, 6500, 1.0, 0.9), (1200, 3000, 0.8, 1.0), (350, 1200, 0.25, 0.4)):
        at = poisson(rng, seconds, density * share)
        hits = puffs(scatter(n, at, np.exp(rng.normal(0, spread, len(at)))), uniform(rng, 0.0004, 0.0015)) * noise
        weight *= 10 ** (tilt * np.log2(low / 1600) / 20) * uniform(rng, 0.7, 1.4)
        pairs.append(
            (
                unit(hits) * weight,
                colour(hump(log_uniform(rng, low, high), uniform(rng, 6, 9), uniform(rng, 4, 9)), 256),
            )
        )
    far = [(50, -24), (250, -13), (900, -4), (2500, 0), (5000, -4), (8000, -9)]
    pairs.append((white(rng, seconds) * uniform(rng, 0.3, 0.8), colour(far, 512)))
    x = excite(n, pairs)
    drips = poisson(rng, seconds, uniform(rng, 4, 30))
    near = bubbles(
        rng, n, drips, log_uniforms(rng, 700, 4000, len(drips)), rng.pareto(2.5, len(drips)) + 0.2, 0.08, 0.03
    )
    x += near * uniform(rng, 0.2, 1.0)
    return finish(rng, x * (1 + wobble(rng, seconds, 0.6, 0.12)), 0.05, 0.08)


def _claps(
    rng: np.random.Generator, seconds: float, centres: np.ndarray, strength: np.ndarray, near: float
) -> np.ndarray:
    """N-waves from the kinked lightning channel in clusters from seconds `centres` on: crack and tear; shape [n]."""
    n = samples(seconds)
    pairs = []
    for width, weight in ((0.0025, near), (0.007, 0.4 + 0.6 * near), (0.016, 1.0), (0.032, 1.0)):
        which = np.repeat(np.arange(len(centres)), rng.integers(12, 60, len(centres)))
        at = centres[which] + rng.exponential(0.02 + 0.05 * rng.random(len(centres)))[which] * rng.exponential(
            1.0, len(which)
        )
        size = (
            strength[which] * np.exp(rng.normal(0, 0.8, len(which))) * rng.choice([-1, 1], len(which), p=[0.25, 0.75])
        )
        length = samples(width * uniform(rng, 0.7, 1.3))
        wave = np.linspace(1, -1, length) * np.hanning(length + 2)[1:-1] ** 0.3
        pairs.append((scatter(n, at, size * weight), wave))
    return excite(n, pairs)


def _rumble(
    rng: np.random.Generator, seconds: float, start: float, near: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rolling of overlapping bursts whose spectra sink with time; the onsets and strengths of the bursts too."""
    t, hz = canvas(seconds)
    count = int(rng.integers(8, 17))
    onset = start + np.concatenate([[0.0], np.sort(rng.uniform(0.08, max(seconds - start - 0.2, 0.3), count - 1))])
    level = np.exp(-(onset - start) / uniform(rng, 1.4, 3.5)) * np.exp(rng.normal(-0.2, 0.6, count))
    level[0] = max(0.7, near)
    rise, fall = rng.uniform(0.01, 0.2, count) * (1.2 - near), rng.uniform(0.2, 1.1, count)
    corner = (70 + 330 * near * np.exp(-(onset - start) / 0.7)) * rng.uniform(0.6, 1.6, count)
    since = np.maximum(t - onset, 0)
    swell = level * since / (since + rise + 1e-3) * np.exp(-since / fall) * (t >= onset)
    power = uniform(rng, 1.6, 2.2)
    bass = (hz[0] / 50) ** 1.5 / (1 + (hz[0] / 50) ** 1.5)
    shape = bass / (1 + (hz[0] / corner[:, None]) ** power)
    tear = bass / (1 + (hz[0] / (600 + 2500 * near)) ** 1.6)
    gain = np.sqrt(swell**2 @ shape**2)
    for at, size in zip(onset[: int(2 + 5 * near)], level, strict=False):
        sharp = near * size * uniform(rng, 0.05, 0.35) * np.exp(-(at - start) / 1.2)
        gain += sharp * (t >= at) * np.exp(-np.maximum(t - at, 0) / uniform(rng, 0.04, 0.25)) * tear
    return painted(rng, seconds, gain) * np.exp(wobble(rng, seconds, uniform(rng, 8, 16), 0.4)), onset, level


@sound(
    "thunder",
    family=FAMILY,
    label="rolling thunder",
    clauses=("it thunders", "a thunderclap booms", "thunder rumbles"),
    min_seconds=2.5,
)
def thunder(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A crack (close) or thud (far) of N-waves, further claps, and a rumble that rolls on to the end."""
    near = uniform(rng, 0.05, 1.0)
    start = uniform(rng, 0.05, 0.35)
    rumble, onset, level = _rumble(rng, seconds, start, near)
    some = rng.random(len(onset)) < 0.5
    some[0] = True
    crack = _claps(rng, seconds, onset[some], level[some] * np.exp(-(onset[some] - start) / 0.8), near)
    crack *= uniform(rng, 0.4, 0.8) * (0.5 + near) / (np.abs(crack).max() + 1e-12)
    return finish(rng, crack + rumble / (np.abs(rumble).max() + 1e-12), 0.02, 0.3)


@sound(
    "wind",
    family=FAMILY,
    label="wind blowing",
    clauses=("the wind blows hard", "wind is howling", "gusts of wind sweep past"),
    min_seconds=1.5,
)
def wind(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Gusts: buffeting below 200 Hz, howls whose pitch follows the gust, rustle in the strongest air."""
    t, hz = canvas(seconds)
    gust = np.interp(t, slow(seconds), drift(rng, seconds, uniform(rng, 0.35, 0.9), 1.0))
    gust = np.exp(0.5 * np.clip(gust, -1.4, 2) + 0.12 * rng.standard_normal(t.shape))
    corner = uniform(rng, 110, 300) * gust**0.5
    gain = gust * (hz / 35) / (1 + hz / 35) / (1 + (hz / corner) ** uniform(rng, 1.4, 2.0))
    for _ in range(int(rng.integers(1, 4))):
        own = np.exp(0.25 * np.interp(t, np.linspace(0, seconds, 8), rng.standard_normal(8)))
        centre = log_uniform(rng, 280, 1100) * gust**0.38 * own
        width = centre * uniform(rng, 0.05, 0.16)
        gain = gain + uniform(rng, 0.08, 0.35) * gust**1.5 / (1 + ((hz - centre) / width) ** 2)
    rustle = log_uniform(rng, 0.003, 0.03) * gust**1.6 * gain_at(hz[0], [(100, -30), (800, -6), (2500, 0), (8000, -10)])
    return finish(rng, painted(rng, seconds, gain + rustle), 0.1, 0.15)


def _crackles(rng: np.random.Generator, seconds: float, rate: float, hot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and sizes of crackles: bursts of power-law size, livelier where the control signal `hot` is high."""
    parents = poisson(rng, seconds, rate * 0.4)
    children = rng.geometric(0.4, len(parents))
    at = np.repeat(parents, children) + rng.exponential(0.02, children.sum()) * (rng.random(children.sum()) < 0.8)
    at = at[at < seconds - 0.005]
    size = np.minimum(rng.pareto(1.3, len(at)) + 0.15, 9)
    return at, size * np.exp(0.6 * np.interp(at, slow(seconds), hot))


@sound(
    "fire",
    family=FAMILY,
    label="crackling fire",
    clauses=("a fire crackles", "a campfire is burning", "logs crackle and pop in the flames"),
    min_seconds=1.5,
)
def fire(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Bursty crackles of power-law size (sub-millisecond clicks through wood resonances), pops, flutter and hiss."""
    n = samples(seconds)
    hot = np.maximum(drift(rng, seconds, 1.2, 1.0), -1.2)
    noise = white(rng, seconds)
    busy = log_uniform(rng, 0.6, 1.8)
    pairs = []
    for rate, decay, low, high, weight in (
        (60, 0.0003, 4000, 7000, 0.8),
        (40, 0.0007, 1800, 4500, 1.0),
        (14, 0.0018, 800, 2400, 1.0),
        (2.0, 0.005, 250, 900, 1.0),
    ):
        at, size = _crackles(rng, seconds, rate * busy * uniform(rng, 0.5, 1.6), hot)
        clicks = scatter(n, at, size * weight)
        snap = puffs(clicks, decay * uniform(rng, 0.7, 1.4)) * noise * 0.7 + clicks
        pairs.append((snap, colour(hump(log_uniform(rng, low, high), uniform(rng, 4, 7), uniform(rng, 2, 5)), 256)))
    loudest = max(float(np.abs(snap).max() * np.abs(response).max()) for snap, response in pairs)
    flutter = np.exp(wobble(rng, seconds, uniform(rng, 5, 9), 0.45)) * log_uniform(rng, 0.005, 0.022)
    roar = [(20, -10), (60, 0), (130, -3), (400, -15), (1500, -26), (8000, -40)]
    hiss = [(200, -30), (2000, -4), (5000, 0), (8000, -4)]
    pairs += [
        (noise[::-1] * flutter * loudest, colour(roar)),
        (white(rng, seconds) * log_uniform(rng, 0.0006, 0.004) * loudest, colour(hiss, 256)),
    ]
    return finish(rng, excite(n, pairs), 0.02, 0.03)
