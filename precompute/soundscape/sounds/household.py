"""Household sounds made of separate impacts: clock, knock, glass, keyboard, hammer, coins."""

from __future__ import annotations

import numpy as np

from precompute.soundscape import dsp
from precompute.soundscape.modal import (
    body,
    burst,
    convolve,
    fit,
    mellow,
    random_phases,
    ring,
    thin,
)
from precompute.soundscape.registry import sound

FAMILY = "household and tools"


def _shake(rng: np.random.Generator, spread: float) -> float:
    """A factor around 1 with the given relative spread."""
    return float(np.exp(rng.normal(0, spread)))


def _escapement(rng: np.random.Generator, metal: float, case: float, ringing: float, wood: float) -> np.ndarray:
    """One beat of a clock: two or three contacts within 20 ms, each exciting small metal parts and the case."""
    hit = body(rng, 0.2, (metal * 0.45, 7600), (ringing, ringing * 0.45), 20, rng.uniform(-1.5, 1.5))
    noise = thin(burst(rng, 0.2, rng.uniform(0.006, 0.016)), 1200)
    box = body(rng, 0.2, (case, case * 5), (rng.uniform(0.05, 0.11), 0.04), 7, -3.0)
    one = dsp.peak_normalise(hit) + 0.7 * dsp.peak_normalise(noise) + wood * dsp.peak_normalise(box)
    out = np.zeros(dsp.samples(0.22))
    lead = rng.uniform(0.004, 0.012)
    dsp.place(out, one, 0.0, rng.uniform(0.15, 0.5))
    dsp.place(out, one, lead, 1.0)
    dsp.place(out, one, lead + rng.uniform(0.004, 0.016), rng.uniform(0.1, 0.6))
    return dsp.fade(dsp.peak_normalise(out), 0.0002, 0.06)


@sound(
    "clock_tick",
    family=FAMILY,
    label="clock ticking",
    clauses=("a clock ticks", "a clock is ticking", "a clock goes tick tock"),
    min_seconds=1.8,
)
def clock_tick(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A steady tick-tock of a wall, mantel or alarm clock, 1.5 to 4 beats a second."""
    kind = rng.integers(3)
    rate = (rng.uniform(1.5, 2.1), rng.uniform(1.9, 2.8), rng.uniform(3.2, 4.0))[kind]
    metal = (rng.uniform(1600, 2600), rng.uniform(1300, 2200), rng.uniform(2200, 3600))[kind]
    case = (rng.uniform(250, 450), rng.uniform(180, 380), rng.uniform(500, 900))[kind]
    wood = (rng.uniform(0.3, 0.7), rng.uniform(0.5, 1.1), rng.uniform(0.1, 0.4))[kind]
    ringing = rng.uniform(0.025, 0.09)
    tick = _escapement(rng, metal, case, ringing, wood)
    tock = _escapement(rng, metal * rng.uniform(0.68, 0.88), case * rng.uniform(0.7, 0.9), ringing, wood * 1.2)
    limp, softer = rng.normal(0, 0.025), rng.uniform(0.55, 1.0)
    out = np.zeros(dsp.samples(seconds))
    at, beat = rng.uniform(0.01, 0.2), 0
    while at < seconds - 0.1:
        stroke = tock * softer if beat % 2 else tick
        dsp.place(out, stroke * (1 + 0.08 * rng.standard_normal(len(stroke))), at, _shake(rng, 0.06))
        at += (1 + (limp if beat % 2 else -limp)) / rate + rng.normal(0, 0.0008)
        beat += 1
    return out


RHYTHMS = (
    (1, 1, 3.2, 1, 1),
    (1, 1, 1),
    (1, 1, 1),
    (1, 1, 1, 1),
    (1, 1, 1, 1, 1),
    (1, 0.6, 0.6, 1, 1),
    (1, 1, 1, 3.5, 1, 1, 1),
)


@sound(
    "door_knock",
    family=FAMILY,
    label="knocking on a door",
    clauses=("someone knocks at the door", "a knock on the door is heard", "knuckles rap on wood"),
    min_seconds=1.0,
)
def door_knock(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Two to six knuckle raps on a wooden panel; later raps come from nearly the same spot."""
    low = rng.uniform(85, 190)
    panel = body(rng, 0.3, (low, low * 28), (rng.uniform(0.13, 0.24), 0.03), 26, rng.uniform(-5.0, -3.0))
    panel = dsp.peak_normalise(panel)
    pattern, beat = RHYTHMS[rng.integers(len(RHYTHMS))], rng.uniform(0.17, 0.33)
    brightness, hard = rng.uniform(1500, 5000), rng.uniform(0.25, 0.7)
    out = np.zeros(dsp.samples(seconds))
    at = rng.uniform(0.0, 0.1)
    for gap in pattern:
        if at > seconds - 0.2:
            break
        contact = mellow(burst(rng, 0.3, rng.uniform(0.008, 0.016)), brightness)
        force = np.zeros(len(panel))
        width = dsp.samples(rng.uniform(0.0007, 0.0018))
        force[:width] = np.hanning(width + 2)[1:-1]
        knock = dsp.peak_normalise(convolve(force + 0.15 * contact, panel)) + hard * contact
        dsp.place(out, dsp.fade(knock, 0.0002, 0.1), at, _shake(rng, 0.18))
        at += gap * beat * _shake(rng, 0.05)
    return out[: dsp.samples(min(seconds, at + 0.2))]


def _shard(rng: np.random.Generator, low: float, ringing: float) -> np.ndarray:
    """One piece of glass striking something hard: a click and a few high, unrelated modes."""
    count = int(rng.integers(4, 8))
    hz = low * rng.uniform(1.0, 3.2, count)
    tink = ring(
        0.35, hz, ringing * rng.uniform(0.4, 1.6, count), rng.lognormal(0, 0.6, count), random_phases(rng, count)
    )
    return dsp.peak_normalise(tink) + 0.5 * burst(rng, 0.35, 0.012)


@sound(
    "glass_breaking",
    family=FAMILY,
    label="breaking glass",
    clauses=("a pane of glass shatters", "glass breaks into pieces", "glass smashes"),
    min_seconds=1.0,
)
def glass_breaking(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A hard blow, a bright burst of many modes, then shards that fall and tinkle ever more rarely."""
    out = np.zeros(dsp.samples(min(seconds, rng.uniform(1.4, 3.0))))
    span, at = len(out) / 16_000, rng.uniform(0.0, 0.06)
    blow = body(rng, 0.3, (rng.uniform(120, 300), 1800), (0.12, 0.04), 10, -4.0)
    dsp.place(out, dsp.peak_normalise(blow), at, rng.uniform(0.2, 0.7))
    crash = thin(burst(rng, 0.8, rng.uniform(0.18, 0.5)), rng.uniform(1500, 4000))
    dsp.place(out, crash, at, rng.uniform(0.15, 0.3))
    pane = body(rng, 0.9, (rng.uniform(600, 1600), 7700), (rng.uniform(0.25, 0.7), 0.2), 70, 1.0)
    dsp.place(out, dsp.peak_normalise(pane), at, rng.uniform(0.5, 0.9))
    shards = [_shard(rng, rng.uniform(1700, 4200), rng.uniform(0.04, 0.22)) for _ in range(12)]
    count = int(rng.integers(50, 130))
    delay = np.minimum(rng.exponential(rng.uniform(0.18, 0.45), count), span)
    second = rng.uniform(0.15, 0.5)
    for i, wait in enumerate(delay):
        late = second if i % 3 == 0 else 0.0
        level = 0.6 * np.exp(-1.4 * (wait + late) / span) * rng.lognormal(-0.6, 0.7)
        dsp.place(out, shards[rng.integers(12)], at + wait + late, level)
    return fit(dsp.soft_clip(dsp.peak_normalise(out), rng.uniform(0.8, 2.0)), span, 0.25)


def _key(rng: np.random.Generator, plate: np.ndarray, tone: float) -> np.ndarray:
    """One key bottoming out on the keyboard's plate."""
    low = tone * rng.uniform(0.8, 1.25)
    cap = body(rng, 0.09, (low, 7500), (0.03, 0.012), 14, -0.8)
    click = thin(burst(rng, 0.09, rng.uniform(0.007, 0.016)), 1000)
    return dsp.fade(dsp.peak_normalise(cap) + 0.8 * dsp.peak_normalise(click) + 0.5 * plate, 0.0005, 0.03)


@sound(
    "keyboard_typing",
    family=FAMILY,
    label="keyboard typing",
    clauses=("someone types on a keyboard", "someone is typing on a keyboard", "computer keys clatter"),
    min_seconds=1.2,
)
def keyboard_typing(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Bursts of keystrokes, each a press and a softer release, with a deeper space bar between words."""
    tone = rng.uniform(900, 2400)
    plate = dsp.peak_normalise(body(rng, 0.09, (rng.uniform(180, 420), 1600), (0.05, 0.02), 8, -2.0))
    keys = [_key(rng, plate, tone) for _ in range(7)]
    bar = _key(rng, 2.5 * plate, tone * 0.55)
    pace, rough = rng.uniform(0.11, 0.2), rng.uniform(0.15, 0.4)
    release = rng.uniform(0.15, 0.5)
    out = np.zeros(dsp.samples(seconds))
    at, left = rng.uniform(0.0, 0.1), int(rng.integers(3, 8))
    while at < seconds - 0.1:
        space = left == 0
        stroke, level = (bar, 0.9) if space else (keys[rng.integers(7)], 0.75)
        press = stroke * (1 + 0.15 * rng.standard_normal(len(stroke)))
        dsp.place(out, press, at, level * _shake(rng, 0.3))
        dsp.place(out, keys[rng.integers(7)], at + rng.uniform(0.055, 0.11), level * release * _shake(rng, 0.3))
        pause = rng.uniform(0.15, 0.5) if space and rng.random() < 0.4 else 0.0
        left = int(rng.integers(2, 9)) if space else left - 1
        at += max(0.045, pace * _shake(rng, rough)) + pause
    return fit(out, seconds, 0.03)


@sound(
    "hammering",
    family=FAMILY,
    label="hammering",
    clauses=(
        "someone drives a nail with a hammer",
        "a hammer bangs on a nail",
        "a hammer strikes wood again and again",
    ),
    min_seconds=1.2,
)
def hammering(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Blows on a nail in wood; the nail's ring climbs as it goes in, the board thuds, the head may bounce."""
    board = dsp.peak_normalise(body(rng, 0.3, (rng.uniform(110, 260), 2200), (rng.uniform(0.1, 0.2), 0.04), 14, -3.0))
    nail_hz = rng.uniform(1100, 2300) * np.array([1.0, 1.83, 2.51, 2.9, 3.37]) * rng.uniform(0.96, 1.04, 5)
    head_hz = rng.uniform(2600, 7400, 9)
    ringing, wood = rng.uniform(0.06, 0.22), rng.uniform(0.5, 1.1)
    period, bounce = rng.uniform(0.32, 0.72), rng.random() < 0.35
    out = np.zeros(dsp.samples(seconds))
    at, drive = rng.uniform(0.0, 0.15), 1.0
    while at < seconds - 0.25:
        hz = np.concatenate([nail_hz * drive, head_hz])
        gain = np.concatenate([np.array([1, 0.8, 0.6, 0.5, 0.3]), np.full(9, 0.35)]) * rng.lognormal(0, 0.3, 14)
        metal = ring(0.3, hz, ringing * rng.uniform(0.5, 1.2, 14), gain, random_phases(rng, 14))
        clack = burst(rng, 0.3, rng.uniform(0.012, 0.025))
        blow = 0.7 * dsp.peak_normalise(metal) + 0.35 * clack + wood * board
        dsp.place(out, dsp.fade(blow, 0.0002, 0.12), at, _shake(rng, 0.15))
        if bounce:
            dsp.place(out, dsp.fade(blow, 0.0002, 0.2), at + rng.uniform(0.07, 0.1), rng.uniform(0.05, 0.2))
        drive *= rng.uniform(1.0, 1.06)
        at += period * _shake(rng, 0.05)
    return dsp.soft_clip(dsp.peak_normalise(out), rng.uniform(1.0, 2.5))


def _coin(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A coin's ring and the table's answer, each normalised, 0.4 s long."""
    base = rng.uniform(2200, 5200)
    hz = np.concatenate([base * np.array([1, 1.018, 1.73, 2.33, 2.37, 3.1]), rng.uniform(2000, 7600, 4)])
    t60 = np.concatenate([rng.uniform(0.15, 0.5) * np.array([1, 0.9, 0.8, 0.6, 0.6, 0.4]), np.full(4, 0.04)])
    gain = np.array([1, 0.8, 0.8, 0.7, 0.5, 0.4, 0.5, 0.5, 0.5, 0.5]) * rng.lognormal(0, 0.3, 10)
    table = body(rng, 0.4, (rng.uniform(150, 400), 3000), (0.1, 0.025), 12, -2.0)
    return dsp.peak_normalise(ring(0.4, hz, t60, gain, random_phases(rng, 10))), dsp.peak_normalise(table)


@sound(
    "coin_drop",
    family=FAMILY,
    label="dropping coins",
    clauses=("coins fall on a table", "a coin drops and spins on a table", "loose change clinks on a table"),
    min_seconds=1.0,
)
def coin_drop(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Coins that land, bounce ever faster and, some of them, wobble to rest on their rim."""
    out = np.zeros(dsp.samples(seconds))
    wood = rng.uniform(0.15, 0.5)
    for index in range(int(rng.integers(1, 6))):
        metal, table = _coin(rng)
        at = rng.uniform(0.0, 0.1) + (rng.uniform(0, max(0.1, seconds - 1.0)) if index else 0.0)
        gap, level, keep = rng.uniform(0.12, 0.28), rng.uniform(0.5, 1.0), rng.uniform(0.6, 0.78)
        while gap > 0.03:
            tap = metal + wood * table + 0.3 * burst(rng, 0.4, 0.008)
            dsp.place(out, tap, at, level * _shake(rng, 0.2))
            at, gap, level = at + gap, gap * keep, level * rng.uniform(0.6, 0.85)
        wobble, stop = rng.uniform(0.05, 0.08), 0.012
        while rng.random() < 0.99 and wobble > stop and level > 0.02:
            dsp.place(out, metal + 0.5 * wood * table, at, 0.35 * level * _shake(rng, 0.25))
            at, wobble = at + wobble, wobble * rng.uniform(0.93, 0.97)
    return fit(out, seconds, 0.15)
