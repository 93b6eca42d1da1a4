"""Vehicles in the air: airplane and helicopter. Ours: every constant here is our choice."""

from __future__ import annotations

import numpy as np

from precompute.soundscape.dsp import curve, peak_normalise, samples
from precompute.soundscape.registry import SAMPLE_RATE, sound
from precompute.soundscape.sounds._texture import (
    canvas,
    colour,
    cycle,
    drift,
    excite,
    finish,
    full_rate,
    gain_at,
    log_uniform,
    painted,
    puffs,
    read,
    ringing,
    scatter,
    slow,
    turns_of,
    uniform,
    unit,
    white,
    wobble,
)

FAMILY = "vehicles"


@sound(
    "airplane",
    family=FAMILY,
    label="airplane overhead",
    clauses=("an airplane flies over", "a plane passes high above", "an aircraft is flying by"),
    min_seconds=2.5,
)
def airplane(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Flyover: roar through the moving comb of the ground reflection, and a falling fan whine or propeller drone."""
    t, hz = canvas(seconds)
    path = (t - uniform(rng, 0.3, 0.75) * seconds) / uniform(rng, 0.6, 1.4)
    near = 1 / (1 + path**2)
    doppler = 1 - uniform(rng, 0.12, 0.25) * path / np.sqrt(1 + path**2)
    jet = rng.random() < 0.55
    corner = (uniform(rng, 250, 700) if jet else uniform(rng, 150, 350)) * doppler * (0.65 + near)
    roar = (hz / 70) ** 0.8 / (1 + (hz / 70) ** 0.8) / (1 + (hz / corner) ** 1.6)
    hiss = uniform(rng, 0.01, 0.07) * near * gain_at(hz[0], [(200, -20), (1500, 0), (4000, -5), (8000, -20)])
    delay = uniform(rng, 0.0012, 0.004) * (0.15 + np.sqrt(near))
    comb = np.sqrt(1.05 + uniform(rng, 0.5, 0.9) * np.cos(2 * np.pi * hz * delay))
    noise = unit(painted(rng, seconds, (roar + hiss) * comb * (0.25 + near) ** 1.2))
    mid = slow(seconds)
    level = np.interp(mid, t[:, 0], (0.2 + near[:, 0]) ** 1.2)
    shift = np.interp(mid, t[:, 0], doppler[:, 0]) * (1 + drift(rng, seconds, 10, 0.0015))
    flicker = full_rate(level * np.exp(drift(rng, seconds, 6, 0.3)), seconds)
    turns = turns_of(full_rate(shift, seconds))
    if jet:
        whine = read(cycle(np.array([1, 0.5, 0.2])), turns * uniform(rng, 900, 2200)) * uniform(rng, 0.1, 0.5)
    else:
        gains = np.exp(-np.arange(40) / uniform(rng, 4, 10)) * np.exp(
            rng.normal(0, 0.4, 40) + 1j * rng.uniform(0, 6.28, 40)
        )
        table, blade = cycle(gains), uniform(rng, 75, 130)
        whine = unit(sum(read(table, turns * blade * k) for k in (1.0, uniform(rng, 1.004, 1.02)))) * uniform(
            rng, 0.9, 2.0
        )
    return finish(rng, noise * (1 + wobble(rng, seconds, 4, 0.12)) + whine * flicker, 0.15, 0.2)


@sound(
    "helicopter",
    family=FAMILY,
    label="helicopter in flight",
    clauses=("a helicopter hovers", "a helicopter is flying close by", "helicopter rotor blades chop the air"),
    min_seconds=1.5,
)
def helicopter(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Blade slaps at 10-22 a second (a thump with a crack), chopped wash, tail-rotor hum and a faint turbine whine."""
    n = samples(seconds)
    rate = full_rate(uniform(rng, 10.5, 21) * (1 + drift(rng, seconds, 0.7, 0.006)), seconds)
    turns = turns_of(rate)
    whole = np.arange(1, int(turns[-1]) + 1)
    at = np.searchsorted(turns, whole) / SAMPLE_RATE + rng.normal(0, 0.0008, len(whole))
    blades = 1 + uniform(rng, 0.03, 0.15) * rng.standard_normal(4)
    swing = np.exp(drift(rng, seconds, 0.5, 0.35))
    size = (
        blades[whole % int(rng.integers(2, 5))]
        * np.exp(rng.normal(0, 0.12, len(whole)))
        * np.interp(at, slow(seconds), swing)
    )
    beats = scatter(n, at, size)
    low = rng.uniform(35, 180, 8)
    thump = peak_normalise(ringing(0.064, low, rng.uniform(0.04, 0.1, 8), (60 / low) ** 0.4, rng.uniform(-0.5, 0.5, 8)))
    noise = white(rng, seconds)
    slap = puffs(beats, uniform(rng, 0.004, 0.010)) * noise * log_uniform(rng, 0.25, 1.2)
    chop = puffs(beats, uniform(rng, 0.15, 0.3) / rate.mean())
    wash = noise[::-1] * (uniform(rng, 0.1, 0.3) + chop / chop.max()) * uniform(rng, 0.15, 0.4)
    sources = [
        (beats, thump),
        (slap, colour([(60, -10), (250, 0), (900, -5), (3000, -17), (8000, -32)])),
        (wash, colour([(40, -8), (120, 0), (500, -4), (1800, -11), (8000, -30)])),
    ]
    mix = unit(excite(n, sources))
    hum = read(cycle(np.exp(-np.arange(16) / uniform(rng, 2, 6))), turns * uniform(rng, 5.2, 7))
    mix += unit(hum) * full_rate(swing, seconds) * uniform(rng, 0.1, 0.35)
    whine = read(cycle(np.array([1.0])), turns * uniform(rng, 180, 320))
    mix += whine * full_rate(1 + drift(rng, seconds, 6, 0.4), seconds) * uniform(rng, 0.0, 0.03)
    return finish(
        rng, mix * curve([(0, uniform(rng, 0.4, 1)), (0.5, 1), (1, uniform(rng, 0.4, 1))], seconds), 0.08, 0.1
    )
