"""Water: brook, surf, drops, boiling. Ours: every constant here is our choice."""

from __future__ import annotations

import numpy as np

from precompute.soundscape.dsp import peak_normalise, samples
from precompute.soundscape.registry import sound
from precompute.soundscape.sounds._texture import (
    bubbles,
    canvas,
    colour,
    drift,
    excite,
    finish,
    full_rate,
    gain_at,
    hump,
    log_uniform,
    log_uniforms,
    painted,
    poisson,
    scatter,
    uniform,
    unit,
    white,
    wobble,
)

FAMILY = "weather and water"


@sound(
    "stream",
    family=FAMILY,
    label="brook babbling",
    clauses=("a brook babbles", "a stream is flowing", "water trickles down a stream"),
    min_seconds=1.0,
)
def stream(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Hundreds of singing bubbles a second in gurgling clusters over a soft rush of water."""
    n = samples(seconds)
    at = poisson(rng, seconds, uniform(rng, 90, 220))
    clusters = poisson(rng, seconds, uniform(rng, 5, 12))
    pick = rng.integers(0, len(clusters), len(at))
    join = rng.random(len(at)) < 0.45
    at = np.where(join, (clusters[pick] + rng.exponential(0.05, len(at))) % seconds, at)
    tune = log_uniforms(rng, 450, 1400, len(clusters))[pick]
    hz = np.where(join, tune * np.exp(rng.normal(0, 0.25, len(at))), log_uniforms(rng, 400, 3800, len(at)))
    gain = rng.random(len(at)) ** uniform(rng, 1.5, 3.0) * (600 / hz) ** uniform(rng, 0.2, 0.7)
    x = unit(bubbles(rng, n, at, hz, gain, uniform(rng, 0.05, 0.2), 0.04))
    rush = white(rng, seconds) * np.exp(wobble(rng, seconds, 7, 0.25))
    rushing = [(80, -22), (300, -8), (700, 0), (2000, -4), (4500, -12), (8000, -24)]
    return finish(rng, x + excite(n, [(rush * uniform(rng, 0.2, 0.55), colour(rushing))]), 0.04, 0.06)


@sound(
    "ocean_waves",
    family=FAMILY,
    label="ocean waves",
    clauses=("waves break on the shore", "the surf washes ashore", "a wave crashes onto the beach"),
    min_seconds=2.5,
)
def ocean_waves(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A swell gathers as a low roar, tumbles over in several crashes, and drains away as slowly fading foam hiss."""
    t, hz = canvas(seconds)
    roar = gain_at(hz[0], [(40, -8), (120, 0), (500, -5), (2000, -20), (8000, -42)])
    crash = gain_at(hz[0], [(40, -14), (200, -3), (600, 0), (2000, -6), (8000, -18)])
    foam = gain_at(hz[0], [(200, -36), (900, -10), (2800, 0), (5000, -3), (8000, -10)])
    gain = uniform(rng, 0.04, 0.12) * roar + 0.015 * crash + 0.012 * foam
    period = uniform(rng, 2.8, 6.0)
    top = uniform(rng, 0.25, 0.6) * min(seconds, period) - period
    while top < seconds + period:
        size, rise, drain = uniform(rng, 0.5, 1.0), uniform(rng, 0.4, 0.9), uniform(rng, 0.6, 1.3)
        for part in range(int(rng.integers(2, 6))):
            d = t - top - part * uniform(rng, 0.05, 0.3)
            ahead, after = np.exp(np.minimum(d, 0) / rise), np.maximum(d, 0)
            share = size * uniform(rng, 0.25, 0.7)
            gain = gain + share * 0.9 * ahead**0.8 * np.exp(-after / (0.5 * drain)) * roar
            gain = gain + share * 0.8 * ahead**2.5 * np.exp(-after / (0.4 * drain)) * crash
            gain = gain + share * 0.3 * ahead**3 * np.exp(-((after / (1.4 * drain)) ** 1.2)) * foam
        top += period * uniform(rng, 0.8, 1.2)
    flicker = np.exp(0.12 * rng.standard_normal(t.shape))
    return finish(rng, painted(rng, seconds, gain * flicker), 0.15, 0.2)


@sound(
    "water_drops",
    family=FAMILY,
    label="dripping water",
    clauses=("water drips", "drops of water fall one by one", "a tap is dripping"),
    min_seconds=1.5,
)
def water_drops(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Single drops: a faint tick as the drop lands, then one or two bubbles that chirp upwards; silence between."""
    n = samples(seconds)
    steps = uniform(rng, 0.28, 1.0) * np.maximum(rng.normal(1, uniform(rng, 0.03, 0.3), 20), 0.35)
    at = uniform(rng, 0.02, 0.2) + np.concatenate([[0.0], np.cumsum(steps)])
    at = at[at < seconds - 0.15]
    size = rng.uniform(0.4, 1.0, len(at))
    hz = log_uniform(rng, 600, 2200) * np.exp(rng.normal(0, 0.12, len(at)))
    delay = rng.uniform(0.008, 0.022, len(at))
    tick = excite(n, [(scatter(n, at, size), colour(hump(log_uniform(rng, 1500, 5000), 9, 6), 128))])
    x = bubbles(rng, n, at + delay, hz, size, uniform(rng, 0.12, 0.3), 0.11)
    more = rng.random(len(at)) < 0.6
    late = at[more] + delay[more] + rng.uniform(0.015, 0.06, int(more.sum()))
    second = hz[more] * rng.uniform(1.1, 1.9, len(late))
    x += bubbles(rng, n, late, second, size[more] * rng.uniform(0.2, 0.7, len(late)), 0.2, 0.08)
    return peak_normalise(x + tick * uniform(rng, 0.15, 0.5)) * uniform(rng, 0.3, 1.0)


@sound(
    "boiling",
    family=FAMILY,
    label="boiling water",
    clauses=("water boils", "a pot of water is bubbling", "water comes to a rolling boil"),
    min_seconds=1.5,
)
def boiling(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Large low bubbles bursting in a pot, over a throbbing rumble of vapour and a little steam."""
    n = samples(seconds)
    rolling = uniform(rng, 0.2, 1.0)
    at = poisson(rng, seconds, 20 + 45 * rolling)
    hz = log_uniforms(rng, 180, 750, len(at))
    x = unit(bubbles(rng, n, at, hz, rng.random(len(at)) ** 2 * (350 / hz) ** 0.5, uniform(rng, 0.15, 0.45), 0.07))
    small = poisson(rng, seconds, uniform(rng, 20, 90))
    fizz = bubbles(rng, n, small, log_uniforms(rng, 900, 3500, len(small)), rng.random(len(small)) ** 3, 0.1, 0.03)
    x += uniform(rng, 0.15, 0.4) * unit(fizz)
    body = uniform(rng, 220, 480)
    throb = full_rate(np.exp(drift(rng, seconds, uniform(rng, 7, 14), 0.5)), seconds)
    vapour = colour([(40, -14), (body / 2, -3), (body, 0), (body * 2.2, -12), (3000, -24), (8000, -34)])
    return finish(rng, x + excite(n, [(white(rng, seconds) * throb * (0.35 + 0.6 * rolling), vapour)]), 0.04, 0.06)
