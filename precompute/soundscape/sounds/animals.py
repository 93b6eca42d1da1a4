"""Animals with a voice: dog, cat, crow, rooster, cow, sheep. The small ones and hooves come with `_small_animals`."""

from __future__ import annotations

import numpy as np

from precompute.soundscape import dsp
from precompute.soundscape.registry import sound
from precompute.soundscape.sounds import (
    _small_animals,  # noqa: F401  (imported for its registrations)
)
from precompute.soundscape.sounds._voice import Throat, cycles, drift, glide, in_turn, swell, thin, tone, voice


def _bark(rng: np.random.Generator, size: float, f0: float, harsh: float) -> np.ndarray:
    """One bark: `size` from 0 (big dog) to 1 (small dog), `f0` the top of its pitch arch in Hz."""
    seconds = float(np.clip((0.21 - 0.1 * size) * rng.uniform(0.8, 1.25), 0.07, 0.24))
    top = f0 * rng.uniform(0.92, 1.07)
    crest = rng.uniform(0.22, 0.42)
    start, stop = rng.uniform(0.42, 0.75), rng.uniform(0.45, 0.65)
    arch = top * glide([(0, start), (0.5 * crest, 0.5 + 0.45 * start), (crest, 1), (0.65, 0.88), (1, stop)], seconds)
    open_mouth = np.array([650, 1350, 2350, 3500]) * 1.75**size
    throat = Throat(
        track=[
            open_mouth * [0.6, 0.8, 1, 1],
            open_mouth * [1.1, 1.05, 1, 1],
            open_mouth,
            open_mouth * [0.65, 0.75, 1, 1],
        ],
        widths=[160, 200, 280, 380],
        tilt_hz=1800,
        breath=0.15 + 0.7 * harsh,
        jitter=0.015 + 0.05 * harsh,
        shimmer=0.12 + 0.2 * harsh,
        subharmonic=harsh * rng.uniform(0.1, 0.7),
        rough_hz=rng.uniform(60, 110),
        rough=0.3 * harsh,
    )
    call = voice(rng, arch, throat, glide([(0, 1.6), (0.2, 1), (0.7, 1.0), (1, 1.8)], seconds))
    attack, body = rng.uniform(0.006, 0.016), seconds * rng.uniform(0.35, 0.5)
    t = dsp.times(seconds)
    envelope = np.minimum(t / attack, 1) ** 0.7 * np.exp(-4.5 * np.maximum(t - body, 0) / (seconds - body))
    return dsp.fade(dsp.soft_clip(call * rng.uniform(1.2, 3.0)) * envelope, 0.002, 0.012) * rng.uniform(0.7, 1.0)


@sound(
    "dog_bark", family="animals", label="dog barking", clauses=("a dog barks", "a dog is barking", "a hound is yapping")
)
def dog_bark(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Harsh voiced bursts of 0.07-0.24 s with an arched pitch, in irregular groups of one to four."""
    size, harsh = rng.random(), rng.uniform(0.15, 1.0)
    f0 = 330 * 2.6**size * rng.uniform(0.85, 1.2)
    beat, rest = rng.uniform(0.1, 0.32), rng.uniform(0.4, 0.8)
    left = [int(rng.integers(1, 5))]

    def pause(_: int) -> float:
        left[0] -= 1
        if left[0] > 0:
            return beat * rng.uniform(0.8, 1.35)
        left[0] = int(rng.integers(1, 4))
        return rest * rng.uniform(0.8, 1.5)

    return in_turn(seconds, lambda _: _bark(rng, size, f0, harsh), pause, rng.uniform(0, 0.2))


def _meow(rng: np.random.Generator, kitten: float, longest: float) -> np.ndarray:
    seconds = min(longest, rng.uniform(0.45, 1.15) * (1 - 0.3 * kitten))
    top = (560 * 1.7**kitten) * rng.uniform(0.9, 1.12)
    crest = rng.uniform(0.25, 0.5)
    f0 = glide([(0, top * 0.72), (crest, top), (0.75, top * 0.88), (1, top * rng.uniform(0.6, 0.75))], seconds)
    f0 *= 1 + drift(rng, len(f0), 9, 0.012)
    scale = 1 + 0.25 * kitten
    mouth = (
        np.array(
            [
                [420, 2500, 3900, 5400],
                [800, 2500, 3900, 5500],
                [1250, 2100, 3900, 5600],
                [1150, 1800, 3600, 5400],
                [800, 1350, 3300, 5200],
                [520, 1000, 3100, 5100],
            ]
        )
        * scale
    )
    throat = Throat(
        mouth,
        [120, 180, 260, 350],
        tilt_hz=2200,
        breath=rng.uniform(0.06, 0.2),
        jitter=0.008,
        shimmer=0.05,
        rough_hz=rng.uniform(25, 45),
        rough=rng.uniform(0, 0.25),
    )
    shape = glide([(0, 0.0), (0.1, 0.35), (crest, 1), (0.7, 0.75), (1, 0.0)], seconds)
    return dsp.fade(voice(rng, f0, throat) * shape, 0.02, 0.05) * rng.uniform(0.75, 1.0)


@sound("cat_meow", family="animals", label="cat meowing", clauses=("a cat meows", "a cat is meowing", "a kitten mews"))
def cat_meow(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Arched calls of 0.4-1.2 s whose mouth opens and rounds again (m-i-a-o)."""
    kitten, rest = rng.random() ** 1.5, rng.uniform(0.35, 1.2)
    return in_turn(
        seconds, lambda _: _meow(rng, kitten, seconds), lambda _: rest * rng.uniform(0.7, 1.4), rng.uniform(0, 0.2)
    )


def _caw(rng: np.random.Generator, f0: float, length: float, harsh: float) -> np.ndarray:
    seconds = length * rng.uniform(0.88, 1.12)
    top = f0 * rng.uniform(0.95, 1.05)
    arch = glide([(0, top * 0.7), (0.2, top), (0.7, top * 0.95), (1, top * 0.68)], seconds)
    arch *= 1 + drift(rng, len(arch), 30, 0.02)
    throat = Throat(
        track=[[900, 1500, 2700, 4300], [1250, 1800, 2900, 4500], [1200, 1700, 2900, 4500], [950, 1400, 2700, 4300]],
        widths=[220, 220, 400, 600],
        tilt_hz=3500,
        breath=0.35 + 0.35 * harsh,
        jitter=0.02 + 0.05 * harsh,
        shimmer=0.15 + 0.2 * harsh,
        subharmonic=0.15 + 0.5 * harsh,
        rough_hz=rng.uniform(55, 95),
        rough=0.25 + 0.4 * harsh,
    )
    call = dsp.soft_clip(voice(rng, arch, throat) * 1.8)
    shape = glide([(0, 0.0), (0.08, 0.7), (0.3, 1), (0.75, 0.85), (1, 0.0)], seconds)
    return thin(thin(call, 450), 450) * shape * rng.uniform(0.75, 1.0)


@sound("crow_caw", family="animals", label="crow cawing", clauses=("a crow caws", "a crow is cawing"))
def crow_caw(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Harsh nasal calls of 0.2-0.45 s around 1-2 kHz, evenly repeated."""
    f0, length, harsh = rng.uniform(330, 560), rng.uniform(0.22, 0.42), rng.uniform(0.1, 1.0)
    rest = rng.uniform(0.15, 0.5)
    return in_turn(
        seconds, lambda _: _caw(rng, f0, length, harsh), lambda _: rest * rng.uniform(0.85, 1.2), rng.uniform(0, 0.2)
    )


@sound(
    "rooster_crow",
    family="animals",
    label="rooster crowing",
    clauses=("a rooster crows", "a rooster is crowing", "a cockerel cries cock-a-doodle-doo"),
    min_seconds=1.6,
)
def rooster_crow(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Four syllables on rising steps, the last one long and sinking: cock-a-doodle-doo."""
    total = min(seconds, rng.uniform(1.6, 2.7))
    share = np.array([0.09, 0.1, 0.2, 0.5]) * rng.uniform(0.85, 1.15, 4)
    gap = np.array([0.05, 0.03, 0.03, 0.0]) * rng.uniform(0.7, 1.3, 4)
    unit = total / (share.sum() + gap.sum())
    high = rng.uniform(760, 1050)
    steps = [[0.5, 0.66, 0.6], [0.62, 0.78, 0.72], [0.72, 0.97, 0.9], [0.85, 1.0, 0.82, 0.55]]
    level = (0.55, 0.7, 0.95, 1.0)
    harsh = rng.uniform(0.1, 0.7)
    throat = Throat(
        track=[[900, 1700, 2900, 4300], [1150, 2300, 3300, 4600], [1000, 2000, 3100, 4500]],
        widths=[200, 240, 320, 500],
        tilt_hz=3500,
        breath=0.1 + 0.15 * harsh,
        jitter=0.006 + 0.012 * harsh,
        shimmer=0.08 + 0.1 * harsh,
        subharmonic=0.3 * harsh,
        rough_hz=rng.uniform(45, 80),
        rough=0.3 * harsh,
    )
    parts = []
    for k in range(4):
        length = unit * share[k]
        knots = np.linspace(0, 1, len(steps[k]))
        if k == 3:
            knots = np.array([0, 0.15, 0.6, 1.0])
        f0 = glide(list(zip(knots, high * np.array(steps[k]), strict=True)), length)
        f0 *= 1 + drift(rng, len(f0), 14, 0.008)
        parts += [voice(rng, f0, throat) * swell(length, 0.03, min(0.3 * length, 0.25), 0.25) * level[k]]
        parts += [np.zeros(dsp.samples(unit * gap[k]))]
    return np.concatenate(parts)[: dsp.samples(total)]


def _moo(rng: np.random.Generator, base: float, longest: float) -> np.ndarray:
    seconds = min(longest, rng.uniform(1.0, 2.2))
    top = base * rng.uniform(0.95, 1.08)
    opens = rng.uniform(0.25, 0.5)
    f0 = glide([(0, top * 0.72), (opens, top * 0.95), (0.75, top), (1, top * rng.uniform(0.6, 0.8))], seconds)
    f0 *= 1 + drift(rng, len(f0), 5, 0.012)
    closed, opened = np.array([240, 650, 1250, 1900, 2600]), np.array([480, 900, 1450, 2100, 2800])
    steps = np.interp(np.linspace(0, 1, 8), [0, opens * 0.7, opens + 0.1, 0.85, 1], [0, 0.15, 1, 0.9, 0.35])
    throat = Throat(
        track=closed + steps[:, None] * (opened - closed),
        widths=[70, 100, 140, 200, 260],
        tilt_hz=rng.uniform(500, 1100),
        breath=rng.uniform(0.04, 0.12),
        jitter=0.012,
        shimmer=0.1,
        subharmonic=rng.uniform(0, 0.35),
        rough_hz=rng.uniform(22, 35),
        rough=rng.uniform(0, 0.25),
    )
    shape = glide([(0, 0), (0.12, 0.4), (opens, 0.75), (0.7, 1), (0.9, 0.7), (1, 0)], seconds)
    return voice(rng, f0, throat) * shape


@sound("cow_moo", family="animals", label="cow mooing", clauses=("a cow moos", "a cow is mooing"), min_seconds=1.2)
def cow_moo(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Long low calls that start closed (mm) and open (oo), pitch 90-190 Hz."""
    base, rest = rng.uniform(95, 190), rng.uniform(0.4, 0.9)
    return in_turn(seconds, lambda _: _moo(rng, base, seconds), lambda _: rest, rng.uniform(0, 0.2))


def _bleat(rng: np.random.Generator, base: float, lamb: float, tremble: float, longest: float) -> np.ndarray:
    seconds = min(longest, rng.uniform(0.55, 1.2) * (1 - 0.25 * lamb))
    beat = tone(cycles(tremble * (1 + drift(rng, dsp.samples(seconds), 3, 0.08))))
    onset = glide([(0, 0.3), (0.2, 1), (0.8, 1), (1, 0.5)], seconds)
    f0 = base * rng.uniform(0.95, 1.06) * glide([(0, 0.85), (0.15, 1.05), (0.6, 1.0), (1, 0.82)], seconds)
    f0 *= (1 + 0.05 * beat * onset) * (1 + drift(rng, len(f0), 12, 0.01))
    scale = 1 + 0.3 * lamb
    mouth = np.array(
        [[420, 1300, 2500, 3600], [780, 1750, 2650, 3800], [800, 1700, 2650, 3800], [700, 1550, 2550, 3700]]
    )
    throat = Throat(
        mouth * scale,
        [110, 150, 220, 300],
        tilt_hz=1300,
        breath=rng.uniform(0.15, 0.3),
        jitter=0.015,
        shimmer=0.12,
        subharmonic=rng.uniform(0, 0.3),
    )
    depth = rng.uniform(0.45, 0.75)
    shape = glide([(0, 0), (0.08, 0.7), (0.25, 1), (0.75, 0.75), (1, 0)], seconds)
    return voice(rng, f0, throat) * shape * (1 - depth * onset * (0.5 - 0.5 * beat)) * rng.uniform(0.75, 1)


@sound(
    "sheep_bleat",
    family="animals",
    label="sheep bleating",
    clauses=("a sheep bleats", "a sheep is bleating", "a lamb baas"),
)
def sheep_bleat(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Nasal calls of 0.4-1.2 s that tremble 7-12 times a second in pitch and loudness."""
    lamb = rng.random() ** 1.5
    base, tremble, rest = 170 * 2.1**lamb * rng.uniform(0.85, 1.15), rng.uniform(7, 12), rng.uniform(0.3, 0.9)
    return in_turn(
        seconds,
        lambda _: _bleat(rng, base, lamb, tremble, seconds),
        lambda _: rest * rng.uniform(0.7, 1.3),
        rng.uniform(0, 0.2),
    )
