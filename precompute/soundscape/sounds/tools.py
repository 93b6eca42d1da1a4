"""Household sounds that last or whirr: vacuum cleaner, power drill, hand saw, door creak, flush, camera."""

from __future__ import annotations

import numpy as np

from precompute.soundscape import dsp
from precompute.soundscape.modal import (
    bend,
    body,
    burst,
    convolve,
    cycles_of,
    fit,
    mellow,
    random_phases,
    read_table,
    shaped_noise,
    sway,
    sway_control,
    thin,
    to_samples,
    wave_table,
)
from precompute.soundscape.registry import sound

FAMILY = "household and tools"


def _shake(rng: np.random.Generator, spread: float) -> float:
    """A factor around 1 with the given relative spread."""
    return float(np.exp(rng.normal(0, spread)))


def _unit(x: np.ndarray) -> np.ndarray:
    """Scale to unit standard deviation."""
    return x / (x.std() + 1e-12)


@sound(
    "vacuum_cleaner",
    family=FAMILY,
    label="vacuum cleaning",
    clauses=("someone vacuums the floor", "a vacuum cleaner hums", "a vacuum cleaner is running"),
    min_seconds=1.2,
)
def vacuum_cleaner(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Rushing air plus the whine of a fast motor; the nozzle moves to and fro, the motor may start or stop."""
    start, stop = rng.random() < 0.35, rng.random() < 0.2
    points = [(0.0, 0.3), (0.08, 0.75), (0.16, 0.93), (0.28, 1.0)] if start else [(0.0, 1.0)]
    speed = bend([*points, (0.75, 1.0), (1.0, 0.45 if stop else 1.0)], seconds)
    push = sway(rng, seconds, rng.uniform(0.6, 1.2), 1.0)
    cycles = cycles_of(rng.uniform(190, 420) * speed * (1 - 0.008 * push + sway(rng, seconds, 1.0, 0.005)))
    gains = np.arange(1, 17) ** -0.6 * rng.lognormal(0, 0.7, 16)
    motor = read_table(wave_table(gains, random_phases(rng, 16)), cycles)
    blades = read_table(wave_table(np.array([1.0, 0.3])), cycles * int(rng.integers(7, 12)))
    hull, tilt = rng.uniform(350, 900), rng.uniform(-9, -2)
    air = shaped_noise(
        rng,
        seconds,
        [(20, -25), (70, -9), (150, -3), (hull, 5), (hull * 1.6, -1), (hull * 2.6, 3), (4000, tilt), (8000, tilt - 10)],
    )
    bright = rng.uniform(0.15, 0.4)
    hiss = thin(dsp.white(rng, seconds), 2500) * bright * (1 + 0.35 * np.tanh(push))
    tone = rng.uniform(0.3, 0.8) * _unit(motor) + rng.uniform(0.04, 0.25) * _unit(blades)
    return dsp.fade((air + hiss + tone) * speed**2 * (1 + 0.06 * push), 0.03, 0.05)


def _trigger_pulls(rng: np.random.Generator, seconds: float) -> list[tuple[float, float]]:
    """Trigger pulls as (start, stop) in seconds."""
    pulls: list[tuple[float, float]] = []
    at = rng.uniform(0.0, 0.15)
    while at < seconds - 0.7 and len(pulls) < 3:
        stop = min(seconds - 0.02, at + rng.uniform(0.8, 2.8))
        pulls.append((at, stop))
        at = stop + rng.uniform(0.15, 0.5)
    return pulls


def _drill_pull(
    rng: np.random.Generator, seconds: float, hz: float, table: np.ndarray, gear: float, grind: float
) -> np.ndarray:
    """One pull of a drill's trigger: spin up, bite with a drop in speed, spin down."""
    up, down = min(0.3, rng.uniform(0.08, 0.3) / seconds), 1 - min(0.3, rng.uniform(0.12, 0.4) / seconds)
    bite = up + rng.uniform(0.08, 0.3) * (down - up)
    held, load = min(down, bite + 0.08), rng.uniform(0.76, 0.96)
    speed = bend([(0, 0.2), (0.5 * up, 0.75), (up, 1), (bite, 1), (held, load), (down, load), (1, 0.2)], seconds)
    press = bend([(0, 0), (bite, 0), (held, 1), (down, 1), (0.5 + 0.5 * down, 0), (1, 0)], seconds)
    press = press * np.clip(1 + sway(rng, seconds, 6, 0.25), 0.2, 2)
    cycles = cycles_of(hz * speed * (1 + sway(rng, seconds, 12, 0.006) - 0.02 * press))
    chuck = (
        read_table(wave_table(np.array([1.0])), cycles / 9.3),
        read_table(wave_table(np.array([1.0])), cycles / 4.65),
    )
    whine = _unit(read_table(table, cycles)) + 0.5 * read_table(wave_table(np.array([1, 0.5, 0.3])), cycles * gear)
    rasp = shaped_noise(rng, seconds, [(20, -30), (500, -10), (1500, 0), (4000, 2), (8000, -6)])
    rasp = rasp * (0.12 + press * grind) * (1 + 0.5 * chuck[1])
    tone = whine * (1 + 0.25 * chuck[0] + 0.35 * press * chuck[1])
    return dsp.fade((0.7 * tone + 0.5 * rasp) * speed**1.3, 0.02, 0.06)


@sound(
    "power_drill",
    family=FAMILY,
    label="power drilling",
    clauses=("an electric drill bores into a wall", "a power drill whirrs", "someone drills a hole"),
    min_seconds=1.2,
)
def power_drill(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A motor and gear whine that glides with every pull of the trigger and grinds under load."""
    hz, gear = rng.uniform(170, 420), rng.uniform(3.2, 7.8)
    count = min(40, int(7600 / hz))
    gains = np.arange(1, count + 1) ** rng.uniform(-0.9, -0.3) * rng.lognormal(0, 0.5, count)
    table, grind = wave_table(gains, random_phases(rng, count)), rng.uniform(0.4, 1.2)
    out = np.zeros(dsp.samples(seconds))
    for start, stop in _trigger_pulls(rng, seconds):
        dsp.place(out, _drill_pull(rng, stop - start, hz, table, gear, grind), start, rng.uniform(0.8, 1.0))
    return dsp.soft_clip(dsp.peak_normalise(out), rng.uniform(1.0, 2.5))


@sound(
    "hand_saw",
    family=FAMILY,
    label="sawing wood",
    clauses=("someone saws a plank", "a hand saw cuts through wood", "a saw rasps back and forth"),
    min_seconds=1.5,
)
def hand_saw(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Push and pull strokes: teeth rasp at a rate that follows the speed of the blade."""
    turn = cycles_of(rng.uniform(0.9, 2.1) * (1 + sway(rng, seconds, 0.8, 0.04)), rng.uniform(0, 1))
    speed = np.sin(2 * np.pi * turn)
    push, pace = speed > 0, np.abs(speed)
    teeth = cycles_of(
        rng.uniform(180, 460) * pace * np.where(push, 1.0, rng.uniform(0.85, 1.15)) * (1 + sway(rng, seconds, 60, 0.03))
    )
    tooth = wave_table(np.array([1.0, 0.8, 0.5, 0.3, 0.15]), np.zeros(5))
    grit = rng.uniform(0.25, 0.5)
    rasp = dsp.white(rng, seconds) * (grit + np.maximum(0, read_table(tooth, teeth)))
    low = rng.uniform(220, 600)
    plank = body(rng, 0.08, (low, 7600), (0.06, 0.02), 30, rng.uniform(-1.5, 0.3))
    plank[0] += np.abs(plank).max() * rng.uniform(0.5, 1.5)
    cut = _unit(convolve(rasp, plank))
    force = np.where(push, 1.0, rng.uniform(0.3, 0.75)) * (1 + sway(rng, seconds, 8, 0.12))
    level = np.clip((pace - 0.12) / 0.88, 0, 1) ** rng.uniform(0.6, 1.1) * force
    bright = rng.uniform(0.4, 1.1) * thin(cut, 3000)
    return dsp.fade((cut * (1.15 - 0.5 * pace) + bright * pace) * level, 0.02, 0.03)


def _stick_slip(rng: np.random.Generator, seconds: float, low: float, high: float, rough: float) -> np.ndarray:
    """Slips of a dry hinge: an impulse train whose rate climbs and falls, with uneven steps and strengths."""
    points = [
        (0.0, rng.uniform(0, 0.5)),
        (0.3, rng.uniform(0.2, 1)),
        (0.65, rng.uniform(0.3, 1)),
        (1.0, rng.uniform(0, 0.7)),
    ]
    path = np.clip(bend(points, seconds) + sway(rng, seconds, 4, 0.08), 0, 1.2)
    rate = low * (high / low) ** path * (1 + sway(rng, seconds, 90, rough))
    cycles = cycles_of(rate)
    slips = np.flatnonzero(np.diff(np.floor(cycles)) > 0)
    out = np.zeros(dsp.samples(seconds))
    out[slips] = rng.lognormal(0, 0.15 + 3 * rough, len(slips))
    rub = rng.standard_normal(len(out)) * (0.01 + 0.06 * np.exp(-8 * (cycles % 1.0)))
    swell = bend([(0, 0.2), (0.15, 1), (0.8, 0.9), (1, 0)], seconds)
    return (out + rub) * np.clip(swell * (1 + sway(rng, seconds, 6, 0.3)), 0, 2)


@sound(
    "door_creak",
    family=FAMILY,
    label="creaking door",
    clauses=("a door creaks open", "the hinges of a door squeak", "an old door creaks"),
    min_seconds=1.2,
)
def door_creak(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """One to three long groans: stick-slip impulses through the ringing modes of hinge and door leaf."""
    door = body(rng, 0.12, (rng.uniform(380, 800), 7200), (rng.uniform(0.03, 0.08), 0.012), 22, rng.uniform(-2.5, -0.5))
    low = rng.uniform(40, 220)
    high, rough = low * rng.uniform(2.5, 6.0), rng.uniform(0.004, 0.05)
    out = np.zeros(dsp.samples(seconds))
    at = rng.uniform(0.0, 0.15)
    while at < seconds - 0.5:
        length = min(seconds - at, rng.uniform(0.6, 2.2))
        groan = convolve(_stick_slip(rng, length, low, high, rough), door)
        dsp.place(out, dsp.fade(dsp.peak_normalise(groan), 0.01, 0.05), at, rng.uniform(0.5, 1.0))
        at += length + rng.uniform(0.1, 0.5)
    return out


def _bubbles(rng: np.random.Generator, seconds: float, start: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bubbles that close at the given seconds: damped tones, rising in pitch, between `low` and `high` Hz."""
    kinds = []
    for hz in low * (high / low) ** rng.uniform(0, 1, 12):
        t = dsp.times(0.12)
        tone = np.sin(2 * np.pi * hz * (t + rng.uniform(0.5, 4.0) * t**2))
        kinds.append(tone * np.exp(-6.91 * t / (30 / hz + 0.02)) * np.minimum(t / 0.004, 1))
    out = np.zeros(dsp.samples(seconds))
    gains, which = rng.lognormal(-0.5, 0.7, len(start)), rng.integers(12, size=len(start))
    for at, gain, kind in zip(start, gains, which, strict=True):
        dsp.place(out, kinds[kind], float(at), float(gain))
    return out


@sound(
    "toilet_flush",
    family=FAMILY,
    label="toilet flushing",
    clauses=("a toilet flushes", "a toilet is being flushed", "someone flushes the toilet"),
    min_seconds=2.2,
)
def toilet_flush(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Handle clunk, a rush of water that swells and sinks, gurgling at the end, then the hiss of the refill."""
    peak, drain = rng.uniform(0.1, 0.25), rng.uniform(0.5, 0.72)
    sink = min(0.96, drain + rng.uniform(0.1, 0.2))
    rush = bend([(0, 0), (0.03, 0.05), (0.06, 0.4), (peak, 1), (drain, 0.7), (sink, 0.12), (1, 0.06)], seconds)
    churn = to_samples(
        np.clip(1 + sway_control(rng, seconds, 9, 0.18) + sway_control(rng, seconds, 40, 0.15), 0.2, 2), seconds
    )
    bowl, tilt = rng.uniform(280, 520), rng.uniform(-16, -8)
    lines = [
        (20, -20),
        (80, -5),
        (bowl, 5),
        (bowl * 1.5, 0),
        (bowl * 2.3, 3),
        (bowl * 4, -2),
        (4000, tilt),
        (8000, tilt - 8),
    ]
    wash = shaped_noise(rng, seconds, lines)
    spray = thin(dsp.white(rng, seconds), 3000) * rng.uniform(0.1, 0.25)
    valve = rng.uniform(2200, 4500)
    refill = shaped_noise(rng, seconds, [(20, -60), (valve * 0.5, -18), (valve, 0), (valve * 1.6, -8), (8000, -16)])
    hiss = bend([(0, 0), (0.12, 0.0), (0.3, 1), (1, 0.9)], seconds) * rng.uniform(0.04, 0.12)
    out = (wash + spray) * rush * churn + refill * hiss
    stream = rng.uniform(0.05 * seconds, sink * seconds, int(25 * seconds))
    gulps = rng.normal(0.5 * (drain + sink), 0.09, int(rng.integers(25, 60))) * seconds
    out += rng.uniform(0.25, 0.5) * _bubbles(rng, seconds, stream, 350, 1600)
    out += rng.uniform(0.4, 0.9) * _bubbles(rng, seconds, np.clip(gulps, 0, seconds - 0.13), 130, 520)
    clunk = dsp.peak_normalise(body(rng, 0.2, (rng.uniform(200, 400), 4000), (0.1, 0.03), 12, -2.0))
    dsp.place(out, clunk + 0.4 * mellow(burst(rng, 0.2, 0.02), 5000), rng.uniform(0.0, 0.04), rng.uniform(0.5, 1.5))
    return fit(out, seconds, 0.15)


def _clack(rng: np.random.Generator, low: float) -> np.ndarray:
    """A mirror or shutter blade slapping: several contacts within 25 ms on a small metal and plastic box."""
    box = dsp.peak_normalise(body(rng, 0.09, (low, 7700), (0.035, 0.014), 22, -1.5))
    out = np.zeros(dsp.samples(0.12))
    for delay in np.sort(rng.uniform(0, 0.025, int(rng.integers(2, 6)))):
        hit = box + 1.2 * thin(burst(rng, 0.09, rng.uniform(0.006, 0.015)), 1600)
        dsp.place(out, hit, float(delay), rng.uniform(0.3, 1.0))
    return dsp.peak_normalise(out)


def _wind(rng: np.random.Generator, seconds: float, hz: float) -> np.ndarray:
    """The film motor: a whirr that runs up at once, drags and stops dead."""
    f0 = hz * bend([(0, 0.5), (0.12, 1.0), (0.85, rng.uniform(0.9, 1.1)), (1, 0.8)], seconds)
    cycles = cycles_of(f0 * (1 + sway(rng, seconds, 30, 0.02)))
    table = wave_table(np.arange(1, 24) ** -0.5 * rng.lognormal(0, 0.6, 23), random_phases(rng, 23))
    whirr = read_table(table, cycles)
    gears = thin(dsp.white(rng, seconds), 2500) * (1 + 0.8 * np.sin(np.pi * cycles))
    return dsp.fade(0.5 * whirr / whirr.std() + 0.5 * gears / gears.std(), 0.02, 0.02) * 0.3


@sound(
    "camera_shutter",
    family=FAMILY,
    label="camera shutter",
    clauses=("a camera takes a picture", "a camera clicks and winds on", "the shutter of a camera snaps"),
    min_seconds=1.0,
)
def camera_shutter(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """One or more exposures: mirror up, shutter and mirror down, then the motor winds the film."""
    up, down = _clack(rng, rng.uniform(500, 1100)), _clack(rng, rng.uniform(350, 900))
    exposure, wind = rng.uniform(0.05, 0.16), rng.uniform(0.18, 0.45)
    pitch, level, winds = rng.uniform(140, 380), rng.uniform(0.35, 0.9), rng.random() < 0.92
    out = np.zeros(dsp.samples(seconds))
    at = rng.uniform(0.0, 0.1)
    end = at
    for _ in range(int(rng.integers(1, 6))):
        if at + exposure + wind + 0.2 > seconds:
            break
        dsp.place(out, up, at, 0.8 * _shake(rng, 0.1))
        dsp.place(out, down, at + exposure, _shake(rng, 0.1))
        if winds:
            dsp.place(out, _wind(rng, wind, pitch), at + exposure + 0.03, level)
            dsp.place(out, up, at + exposure + 0.03 + wind, 0.3)
        end = at + exposure + wind + 0.18
        at = end + rng.uniform(0.05, 0.7)
    return out[: dsp.samples(min(end, seconds))]
