"""Vehicles on the ground: engines, trains, horns, reversing alarm. Ours: every constant here is our choice."""

from __future__ import annotations

import numpy as np

from precompute.soundscape.dsp import curve, peak_normalise, place, samples, soft_clip
from precompute.soundscape.registry import SAMPLE_RATE, sound
from precompute.soundscape.sounds._engine import blips, engine, spin, starter
from precompute.soundscape.sounds._texture import (
    colour,
    cycle,
    drift,
    excite,
    finish,
    full_rate,
    log_uniform,
    log_uniforms,
    puffs,
    read,
    ringing,
    scatter,
    slow,
    tone,
    turns_of,
    uniform,
    unit,
    white,
    wobble,
)

FAMILY = "vehicles"


@sound(
    "car_engine",
    family=FAMILY,
    label="car engine running",
    clauses=("a car engine revs", "a car idles with its motor on", "the motor of a car is turning over"),
    min_seconds=1.5,
)
def car_engine(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Four to eight cylinders: idling, revved in neutral, pulling away through a gear change, or started."""
    cylinders = int(rng.choice([4, 4, 4, 6, 8]))
    offsets = (np.arange(cylinders) + rng.normal(0, 0.015, cylinders)) / cylinders
    idle, top = uniform(rng, 11, 15.5), uniform(rng, 45, 85)
    kind = rng.choice(["idle", "revs", "drive", "start"], p=[0.25, 0.4, 0.2, 0.15])
    crank = uniform(rng, 0.5, 1.1) if kind == "start" and seconds > 2 else 0.0
    running = seconds - crank
    pedal = blips(rng, running, 0 if kind == "idle" else int(rng.integers(1, 5)))
    up, down = uniform(rng, 0.12, 0.3), uniform(rng, 0.4, 0.8)
    if kind == "drive":
        change = uniform(rng, 0.4, 0.7)
        points = [
            (0, 0.1),
            (change, uniform(rng, 0.6, 1)),
            (change + 0.03, 0),
            (change + 0.09, 0.35),
            (1, uniform(rng, 0.5, 1)),
        ]
        pedal, up, down = np.interp(slow(running) / running, *zip(*points, strict=True)), 0.15, 0.15
    elif kind == "start":
        pedal = np.maximum(
            pedal * (slow(running) > 0.9), uniform(rng, 0.2, 0.5) * (slow(running) < uniform(rng, 0.1, 0.4))
        )
    revs, load = spin(rng, pedal, running, idle, top, up, down)
    clatter = uniform(rng, 0.18, 0.4) if rng.random() < 0.25 else uniform(rng, 0.02, 0.12)
    x = peak_normalise(engine(rng, revs, load, offsets, uniform(rng, 0.1, 0.7), clatter))
    if crank:
        whole = np.zeros(samples(seconds))
        place(whole, starter(rng, crank), 0.0, uniform(rng, 0.25, 0.6))
        place(whole, x, crank)
        x = whole
    return finish(rng, soft_clip(x, uniform(rng, 0.5, 1.5)), 0.05, 0.08)


@sound(
    "motorcycle",
    family=FAMILY,
    label="motorcycle engine",
    clauses=("a motorcycle roars", "a motorbike is being revved", "a biker twists the throttle"),
    min_seconds=1.5,
)
def motorcycle(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A big uneven twin, a screaming four, or a buzzing single, through an open pipe; blipped or ridden off."""
    kind = rng.choice(["twin", "four", "single"], p=[0.4, 0.35, 0.25])
    if kind == "twin":
        offsets, idle, top = np.array([0.0, uniform(rng, 0.39, 0.46)]), uniform(rng, 13, 18), uniform(rng, 55, 95)
    elif kind == "four":
        offsets, idle, top = np.arange(4) / 4 + rng.normal(0, 0.004, 4), uniform(rng, 20, 28), uniform(rng, 130, 200)
    else:
        offsets, idle, top = np.array([0.0]), uniform(rng, 28, 45), uniform(rng, 110, 170)
    if rng.random() < 0.6:
        revs, load = spin(
            rng, blips(rng, seconds, int(rng.integers(2, 6))), seconds, idle, top, uniform(rng, 0.08, 0.18), 0.3
        )
    else:
        change = uniform(rng, 0.35, 0.65)
        points = [(0, 0.25), (change, 0.95), (change + 0.03, 0.0), (change + 0.08, 0.5), (1, 1.0)]
        revs, load = spin(
            rng, np.interp(slow(seconds) / seconds, *zip(*points, strict=True)), seconds, idle, top, 0.08, 0.12
        )
    x = engine(rng, revs, load, offsets, uniform(rng, 0.8, 1.5), uniform(rng, 0.02, 0.1))
    x *= 0.4 + 0.6 * revs / revs.max()
    return finish(rng, soft_clip(peak_normalise(x), uniform(rng, 1.5, 4.0)), 0.04, 0.08)


def _axles(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Seconds at which axles pass a rail joint: two to a bogie, the bogies of neighbouring cars close together."""
    car = uniform(rng, 14, 24)
    wheelbase, overhang, speed = uniform(rng, 1.8, 2.7), uniform(rng, 1.8, 3.2), uniform(rng, 9, 18)
    places = np.array([overhang, overhang + wheelbase, car - overhang - wheelbase, car - overhang])
    metres = (np.arange(int(speed * seconds / car) + 3)[:, None] * car + places).ravel() - uniform(rng, 0, car)
    at = metres / speed + rng.normal(0, 0.003, len(metres))
    return at[(at > 0) & (at < seconds - 0.02)]


def _clack(rng: np.random.Generator) -> np.ndarray:
    """A wheel striking a rail joint: a thump of the track bed and damped rail modes up to 4 kHz; 0.25 s."""
    hz = np.concatenate([log_uniforms(rng, 60, 260, 6), log_uniforms(rng, 350, 4500, 22)])
    t60 = np.concatenate([rng.uniform(0.07, 0.16, 6), rng.uniform(0.02, 0.09, 22)])
    gain = np.concatenate([rng.uniform(0.6, 1.4, 6), rng.uniform(0.1, 0.5, 22) * (1000 / hz[6:]) ** 0.3])
    return peak_normalise(ringing(0.25, hz, t60, gain, rng.uniform(0, 2 * np.pi, len(hz))))


@sound(
    "train",
    family=FAMILY,
    label="train passing on rails",
    clauses=("a train rattles past", "train wheels clack along the track", "a freight train rumbles by"),
    min_seconds=2.0,
)
def train(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Wheels strike rail joints in bogie rhythm over rolling noise and a deep rumble; at times a flange squeals."""
    n = samples(seconds)
    at = _axles(rng, seconds)
    size = np.exp(rng.normal(0, 0.25, len(at)))
    at_both = np.concatenate([at, at + uniform(rng, 0.012, 0.03)])
    size_both = np.concatenate([size, 0.4 * size])
    hits = scatter(n, at_both, size_both)
    noise = white(rng, seconds)
    impact = puffs(hits, 0.004) * noise * 0.5
    passing = puffs(puffs(scatter(n, at - 0.04, size), 0.04), 0.04)
    passing /= passing.max() + 1e-12
    hump = uniform(rng, 600, 1500)
    rolling = (
        white(rng, seconds)
        * (0.45 + passing)
        * full_rate(1 + drift(rng, seconds, 5, 0.2), seconds)
        * uniform(rng, 0.05, 0.13)
    )
    rumble = noise * full_rate(1 + drift(rng, seconds, 3, 0.25), seconds) * uniform(rng, 0.06, 0.15)
    mix = excite(
        n,
        [
            (impact, colour([(60, -12), (300, -2), (900, 0), (3500, -4), (8000, -14)])),
            (rolling, colour([(60, -16), (250, -8), (hump, 0), (hump * 2.2, -9), (8000, -28)])),
            (rumble, colour([(25, -8), (60, 0), (150, -3), (350, -14), (1500, -32), (8000, -50)])),
        ],
    )
    clack = _clack(rng) * uniform(rng, 0.8, 1.2)
    for start, gain in zip(at_both, size_both, strict=True):
        place(mix, clack, float(start), float(gain))
    if rng.random() < 0.3:
        squeal = tone(uniform(rng, 2200, 4200) * (1 + wobble(rng, seconds, 8, 0.004)), np.array([1.0]))
        mix += squeal * np.maximum(wobble(rng, seconds, 1.5, 1.0), 0) * uniform(rng, 0.01, 0.04)
    return finish(
        rng, mix * curve([(0, uniform(rng, 0.5, 1)), (0.5, 1), (1, uniform(rng, 0.5, 1))], seconds), 0.06, 0.1
    )


def _blasts(rng: np.random.Generator, seconds: float, lengths: list[float], gap: float) -> list[tuple[float, float]]:
    """Start and length in seconds of horn blasts in a row, as many as fit (the last one is cut to fit)."""
    at = uniform(rng, 0.02, 0.15)
    out: list[tuple[float, float]] = []
    for wanted in lengths:
        length = min(wanted, seconds - at - 0.12)
        if out and length < 0.6 * wanted:
            break
        out.append((at, max(length, 0.15)))
        at += length + gap
    return out


@sound(
    "train_horn",
    family=FAMILY,
    label="train horn blast",
    clauses=("a train horn blares", "a locomotive blows its horn", "a train sounds its loud horn"),
    min_seconds=1.5,
)
def train_horn(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Chord of three to five air horns: each speaks a little late, scoops up to pitch, and is rich in overtones."""
    chord = [np.array([311, 370, 415, 494, 622.0]), np.array([255, 311, 440.0]), np.array([277, 330, 370, 440, 554.0])]
    notes = chord[int(rng.integers(3))] * log_uniform(rng, 0.9, 1.12)
    notes = notes * np.exp(rng.normal(0, 0.004, len(notes)))
    pattern = ([3.9], [1.4, 1.4, 0.5, 1.6], [0.7, 0.7, 1.5], [1.0, 2.4], [0.4, 2.6])[int(rng.integers(5))]
    blasts = _blasts(rng, seconds, [d * uniform(rng, 0.85, 1.15) for d in pattern], uniform(rng, 0.25, 0.45))
    t = slow(seconds)
    rise, fall, scoop = uniform(rng, 0.05, 0.12), uniform(rng, 0.04, 0.09), uniform(rng, 0.02, 0.07)
    airs = []
    for late in rng.uniform(0, 0.06, len(notes)):
        air = [np.clip((t - a - late) / rise, 0, 1) * np.clip((a + d - t) / fall + 1, 0, 1) for a, d in blasts]
        airs.append(np.max(air, axis=0))
    pitch = 1 - scoop + scoop * np.sqrt(np.mean(airs, axis=0)) + drift(rng, seconds, 5, 0.0015)
    if rng.random() < 0.3:
        pitch *= 1 - uniform(rng, 0.01, 0.05) / (1 + np.exp(-(t - uniform(rng, 1, 3)) * 3))
    turns = turns_of(full_rate(pitch, seconds))
    out = np.zeros(samples(seconds))
    for note, air in zip(notes, airs, strict=True):
        number = np.arange(1, int(7600 / note) + 1)
        peak = uniform(rng, 700, 1600)
        gains = (
            (0.5 + (number * note / peak) ** 0.7)
            / (1 + (number * note / peak) ** 2.8)
            * np.exp(rng.normal(0, 0.3, len(number)))
        )
        gains = gains * np.exp(1j * rng.uniform(0, 2 * np.pi, len(number)))
        out += read(cycle(gains), turns * note) * full_rate(air**1.5 * (1 + drift(rng, seconds, 9, 0.06)), seconds)
    hiss = white(rng, seconds) * full_rate(np.max(airs, axis=0), seconds) * uniform(rng, 0.01, 0.04)
    hiss = excite(len(out), [(hiss, colour([(200, -14), (1500, 0), (8000, -8)]))])
    return peak_normalise(peak_normalise(out) + hiss) * uniform(rng, 0.3, 1.0)


@sound(
    "car_horn",
    family=FAMILY,
    label="car horn honking",
    clauses=("a car horn sounds", "a driver honks", "a car is beeping its horn"),
    min_seconds=0.8,
)
def car_horn(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Two disc horns about a major third apart, buzzing with strong overtones near 2-3 kHz; one to four honks."""
    low = log_uniform(rng, 330, 440)
    pair = [low, low * uniform(rng, 1.17, 1.28)] if rng.random() < 0.8 else [low]
    lengths = list(rng.uniform(0.12, 0.5, int(rng.integers(2, 6)))) if rng.random() < 0.7 else [uniform(rng, 0.8, 3.0)]
    t = np.arange(samples(seconds)) / SAMPLE_RATE
    gate = np.zeros(len(t))
    for start, length in _blasts(rng, seconds, lengths, uniform(rng, 0.1, 0.3)):
        gate += np.clip((t - start) / 0.012, 0, 1) * np.clip((start + length - t) / 0.02, 0, 1)
    turns = turns_of((0.985 + 0.015 * gate) * full_rate(1 + drift(rng, seconds, 20, 0.001), seconds))
    out = np.zeros(len(t))
    for note in pair:
        number = np.arange(1, int(7600 / note) + 1)
        peak, width = uniform(rng, 1900, 3000), uniform(rng, 500, 1100)
        gains = 1 / number**0.7 + uniform(rng, 0.7, 1.6) * np.exp(-(((number * note - peak) / width) ** 2))
        gains = gains * np.exp(rng.normal(0, 0.45, len(number)) + 1j * rng.uniform(0, 6.28, len(number)))
        out += read(cycle(gains), turns * note) * uniform(rng, 0.7, 1.0)
    grit = excite(len(t), [(white(rng, seconds) * 0.04, colour([(300, -12), (2200, 0), (8000, -8)]))])
    return peak_normalise((unit(out) + grit) * gate) * uniform(rng, 0.3, 1.0)


@sound(
    "reversing_beep",
    family=FAMILY,
    label="truck reversing alarm",
    clauses=("a truck beeps as it backs up", "a reversing alarm beeps", "a lorry is backing up with its beeper on"),
    min_seconds=2.0,
)
def reversing_beep(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """One steady loud tone near 1.2 kHz, half a second on, half a second off."""
    period, duty = uniform(rng, 0.7, 1.15), uniform(rng, 0.42, 0.55)
    t = np.arange(samples(seconds)) / SAMPLE_RATE
    since = (t - uniform(rng, 0, 0.3)) % period
    whole = t - since + period * duty < seconds - 0.02
    gate = np.clip(since / 0.006, 0, 1) * np.clip((period * duty - since) / 0.012, 0, 1) * whole
    gains = np.array([1, 0.15, 0.25, 0.06, 0.1]) * np.exp(rng.normal(0, 0.5, 5) + 1j * rng.uniform(0, 6.28, 5))
    gains[0] = 1.0
    hz = full_rate(log_uniform(rng, 950, 1500) * (1 + drift(rng, seconds, 8, 0.0008)), seconds)
    return peak_normalise(tone(hz, gains) * gate * (1 + wobble(rng, seconds, 3, 0.04))) * uniform(rng, 0.3, 1.0)
