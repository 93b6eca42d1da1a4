"""Alarms and bells: siren, smoke alarm, alarm clock, telephone, bells. Ours: every constant here is our choice."""

from __future__ import annotations

import numpy as np

from precompute.soundscape.dsp import peak_normalise, place, samples
from precompute.soundscape.registry import SAMPLE_RATE, sound
from precompute.soundscape.sounds._texture import (
    colour,
    cycle,
    excite,
    log_uniform,
    puffs,
    read,
    ringing,
    scatter,
    tone,
    turns_of,
    uniform,
    white,
    wobble,
)

FAMILY = "alarms and bells"


def _clock(seconds: float) -> np.ndarray:
    """Sample times in seconds, shape [n]."""
    return np.arange(samples(seconds)) / SAMPLE_RATE


def _level(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Set the peak to a random level between 0.3 and 1, with 3 ms of fade at the very end."""
    x = peak_normalise(x) * uniform(rng, 0.3, 1.0)
    tail = min(samples(0.02), len(x))
    x[-tail:] *= np.linspace(1, 0, tail)
    return x


def _gate(t: np.ndarray, starts: np.ndarray, length: float, rise: float = 0.003, fall: float = 0.006) -> np.ndarray:
    """Trapezoid envelope, 1 during `length` seconds from every start (starts sorted), shape [n]."""
    which = np.searchsorted(starts, t, side="right") - 1
    since = np.where(which >= 0, t - starts[np.maximum(which, 0)], length)
    return np.clip(since / rise, 0, 1) * np.clip((length - since) / fall, 0, 1)


def _strike(
    rng: np.random.Generator,
    n: int,
    at: np.ndarray,
    size: np.ndarray,
    response: np.ndarray,
    click: float,
    bright: float,
) -> np.ndarray:
    """A struck resonator: `response` from each second `at`, with a short click of relative level `click`; shape [n]."""
    knock = puffs(scatter(n, at, size), 0.0015) * white(rng, n / SAMPLE_RATE)
    out = peak_normalise(excite(n, [(knock, colour([(200, -20), (bright, 0), (8000, -8)], 256))])) * click * size.max()
    response = peak_normalise(response)
    for start, gain in zip(at, size, strict=True):
        place(out, response, float(start), float(gain))
    return out


def _bell(
    rng: np.random.Generator, seconds: float, hz: np.ndarray, t60: np.ndarray, gain: np.ndarray, split: float
) -> np.ndarray:
    """Response of a bell, never quite round: each partial is a beating pair some `split` Hz apart; shape [n]."""
    apart = rng.uniform(0.2, 1.8, len(hz)) * split / 2
    phase = rng.uniform(0, 2 * np.pi, len(hz))
    weaker = gain * rng.uniform(0.1, 0.6, len(hz))
    both = np.concatenate([hz - apart, hz + apart])
    return ringing(seconds, both, np.tile(t60, 2), np.concatenate([gain, weaker]), np.tile(phase, 2))


def _sweep(rng: np.random.Generator, seconds: float, period: float, low: float, high: float, up: float) -> np.ndarray:
    """Pitch in Hz of a wailing siren: rises towards `high` for the share `up` of the period, then falls; shape [n]."""
    cycle = (_clock(seconds) / period + uniform(rng, 0, 1)) % 1.0
    bend = uniform(rng, 1.2, 2.5)
    rising = (1 - np.exp(-bend * cycle / up)) / (1 - np.exp(-bend))
    falling = (np.exp(-bend * (cycle - up) / (1 - up)) - np.exp(-bend)) / (1 - np.exp(-bend))
    return low * (high / low) ** np.where(cycle < up, rising, falling)


@sound(
    "siren",
    family=FAMILY,
    label="emergency siren",
    clauses=("a siren wails", "a police siren is sounding", "an emergency vehicle siren blares"),
    min_seconds=2.0,
)
def siren(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Wail, yelp, a switch from one to the other, or two alternating tones, through a horn loudspeaker."""
    kind = rng.choice(["wail", "yelp", "both", "two-tone"], p=[0.35, 0.25, 0.15, 0.25])
    low, high = uniform(rng, 450, 750), uniform(rng, 1150, 1650)
    t = _clock(seconds)
    wail = _sweep(rng, seconds, uniform(rng, 2.4, 4.8), low, high, uniform(rng, 0.35, 0.6))
    yelp = _sweep(rng, seconds, uniform(rng, 0.22, 0.4), low, high, uniform(rng, 0.35, 0.7))
    if kind == "two-tone":
        base = log_uniform(rng, 390, 700)
        half = uniform(rng, 0.4, 0.75)
        square = np.tanh(12 * np.sin(np.pi * t / half + uniform(rng, 0, 6)))
        hz = base * uniform(rng, 1.15, 1.36) ** (0.5 + 0.5 * square)
    elif kind == "both":
        turn = uniform(rng, 0.35, 0.65) * seconds
        hz = np.where((t < turn) == (rng.random() < 0.5), wail, yelp)
    else:
        hz = wail if kind == "wail" else yelp
    if rng.random() < 0.35:
        hz = hz * (1 + uniform(rng, 0.02, 0.05) * np.tanh((uniform(rng, 0.3, 0.7) * seconds - t) * uniform(rng, 1, 3)))
    number = np.arange(1, 16)
    gains = number ** -uniform(rng, 0.8, 1.5) * np.where(number % 2 == 0, uniform(rng, 0.3, 1.0), 1.0)
    gains = gains * np.exp(rng.normal(0, 0.25, 15) + 1j * rng.uniform(0, 6.28, 15))
    bell, top = uniform(rng, 450, 800), uniform(rng, 2500, 4500)
    horn = [(100, -26), (bell, -3), (bell * 1.6, 0), (top, -2), (8000, -2 - 14 * np.log2(8000 / top))]
    x = excite(len(t), [(tone(hz, gains), colour(horn, 256))])
    return _level(rng, x * (1 + wobble(rng, seconds, 1.5, 0.12)))


@sound(
    "smoke_alarm",
    family=FAMILY,
    label="smoke alarm beeping",
    clauses=("a smoke alarm goes off", "a smoke detector beeps", "a fire alarm shrieks"),
    min_seconds=2.0,
)
def smoke_alarm(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Piercing 3.1 kHz piezo tone in the three-pulse pattern (0.5 s on, 0.5 s off), or in fast older pulses."""
    t = _clock(seconds)
    if rng.random() < 0.7:
        on, off = uniform(rng, 0.42, 0.56), uniform(rng, 0.42, 0.56)
        starts = np.arange(-1, 3)[:, None] * (3 * (on + off) + 1.0) + np.arange(3) * (on + off)
        starts = starts.ravel() + 0.05 - int(rng.integers(0, 3)) * (on + off)
    else:
        on, off = uniform(rng, 0.12, 0.3), uniform(rng, 0.06, 0.15)
        starts = np.arange(-1, int(seconds / (on + off)) + 1) * (on + off) + uniform(rng, 0, on)
    gate = _gate(t, starts, on, 0.008, 0.01)
    hz = uniform(rng, 2850, 3450) * (1 + wobble(rng, seconds, 6, 0.0006))
    turns = turns_of(hz)
    x = read(cycle(np.array([1.0, uniform(rng, 0.08, 0.4)])), turns) + read(
        cycle(np.array([uniform(rng, 0, 0.04)])), turns * 0.5
    )
    return _level(rng, x * gate * (1 + wobble(rng, seconds, 12, 0.05)))


@sound(
    "alarm_clock",
    family=FAMILY,
    label="alarm clock beeping",
    clauses=("an alarm clock beeps", "an alarm clock goes off", "a bedside alarm is beeping"),
    min_seconds=1.5,
)
def alarm_clock(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Quartz clock: groups of two to four short beeps near 2 kHz, a square wave through a tiny buzzer."""
    t = _clock(seconds)
    beep, gap = uniform(rng, 0.055, 0.1), uniform(rng, 0.045, 0.1)
    count = int(rng.choice([2, 3, 4, 4, 4]))
    period = max(count * (beep + gap) + 0.2, uniform(rng, 0.8, 1.2))
    starts = (np.arange(int(seconds / period) + 2)[:, None] * period + np.arange(count) * (beep + gap)).ravel()
    starts = starts + uniform(rng, 0.02, 0.35)
    gate = _gate(t, starts[starts < seconds - beep - 0.02], beep, 0.002, 0.005)
    hz = log_uniform(rng, 1850, 2700) * (1 + wobble(rng, seconds, 4, 0.0005))
    x = tone(hz, np.array([1.0, uniform(rng, 0.03, 0.3), uniform(rng, 0.2, 0.8)]))
    return _level(rng, x * gate)


def _old_ring(rng: np.random.Generator, seconds: float, bursts: list[tuple[float, float]]) -> np.ndarray:
    """Two brass gongs struck in turn some 20 times a second during every (start, length) in seconds; shape [n]."""
    n = samples(seconds)
    rate = uniform(rng, 18, 26)
    base = log_uniform(rng, 850, 1500)
    out = np.zeros(n)
    for side, note in enumerate((base, base * uniform(rng, 1.1, 1.28))):
        hz = note * np.array([1.0, 2.42, 2.75, 4.3, 4.9]) * rng.uniform(0.97, 1.03, 5)
        gain = np.array([1.0, 0.8, 0.5, 0.45, 0.3]) * rng.uniform(0.4, 1.0, 5)
        t60 = np.array([0.75, 0.55, 0.5, 0.35, 0.3]) * uniform(rng, 0.6, 1.3)
        response = _bell(rng, 0.9, hz, t60, gain, 3.0)
        at = np.concatenate([np.arange(a + side * 0.5 / rate, a + d, 1 / rate) for a, d in bursts])
        at = at + rng.normal(0, 0.001, len(at))
        out += _strike(rng, n, at, np.exp(rng.normal(0, 0.2, len(at))), response, uniform(rng, 0.1, 0.4), 3500)
    return out


@sound(
    "telephone",
    family=FAMILY,
    label="telephone ringing",
    clauses=("a telephone rings", "a phone is ringing", "the phone keeps ringing"),
    min_seconds=1.5,
)
def telephone(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A gong telephone or an electronic warble, in single long rings or the double ring."""
    t = _clock(seconds)
    start = uniform(rng, 0.02, 0.25)
    if rng.random() < 0.5:
        length = uniform(rng, 0.9, 2.0)
        bursts = [(start, length), (start + length + uniform(rng, 1.0, 2.0), length)]
    else:
        length, gap = uniform(rng, 0.35, 0.5), uniform(rng, 0.18, 0.3)
        again = 2 * length + gap + uniform(rng, 0.9, 1.6)
        bursts = [(start + k * again + j * (length + gap), length) for k in range(3) for j in range(2)]
    bursts = [(a, min(d, seconds - a - 0.03)) for a, d in bursts if a < seconds - 0.2]
    if rng.random() < 0.55:
        return _level(rng, _old_ring(rng, seconds, bursts))
    gate = sum(_gate(t, np.array([a]), d, 0.004, 0.01) for a, d in bursts)
    base, rate = log_uniform(rng, 750, 1600), uniform(rng, 9, 22)
    flip = np.sin(2 * np.pi * rate * t) > 0
    hz = base * np.where(flip, uniform(rng, 1.18, 1.35), 1.0)
    x = tone(hz, np.array([1.0, 0.25, 0.55, 0.12, 0.3]) * rng.uniform(0.4, 1.2, 5))
    return _level(rng, x * gate * (1 - 0.2 * flip))


@sound(
    "church_bell",
    family=FAMILY,
    label="church bell tolling",
    clauses=("a church bell tolls", "a church bell rings out", "bells toll from a church tower"),
    min_seconds=2.0,
)
def church_bell(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """One to three bells with true partials (hum, prime, tierce, quint, nominal and above), each a beating pair."""
    n = samples(seconds)
    ratio = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.67, 3.0, 4.0, 5.2, 6.5, 8.2])
    gain = np.array([0.5, 0.7, 0.9, 0.3, 1.0, 0.45, 0.35, 0.6, 0.5, 0.35, 0.25, 0.15])
    decay = np.array([12, 6.5, 5, 3.2, 3.0, 1.8, 1.6, 1.8, 1.2, 0.8, 0.55, 0.4])
    prime = log_uniform(rng, 210, 560)
    count = int(rng.choice([1, 1, 1, 2, 3]))
    gap = uniform(rng, 1.3, 2.6) if count == 1 else uniform(rng, 0.45, 0.8)
    at = uniform(rng, 0.03, 0.3) + np.arange(int(seconds / gap) + 1) * gap
    at = at[at < seconds - 0.3] + rng.normal(0, 0.015, int((at < seconds - 0.3).sum()))
    out = np.zeros(n)
    for bell in range(count):
        note = prime * (1.0, 0.89, 1.19)[bell]
        hz = note * ratio * np.exp(rng.normal(0, 0.006, 12))
        t60 = decay * uniform(rng, 0.7, 1.3) * (300 / note) ** 0.4
        response = _bell(rng, seconds, hz, t60, gain * np.exp(rng.normal(0, 0.35, 12)), 1.1)
        mine = at[bell::count]
        if len(mine):
            out += _strike(rng, n, mine, rng.uniform(0.6, 1.0, len(mine)), response, uniform(rng, 0.2, 0.5), 2500)
    return _level(rng, out)


@sound(
    "doorbell",
    family=FAMILY,
    label="doorbell chime",
    clauses=("a doorbell rings", "the doorbell goes ding-dong", "someone rings at the door"),
    min_seconds=1.2,
)
def doorbell(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Ding-dong: a plunger strikes a high chime bar and, on release, a lower one."""
    n = samples(seconds)
    high = log_uniform(rng, 560, 900)
    low = high * float(rng.choice([0.794, 0.8, 0.75, 0.84]))
    gap = uniform(rng, 0.35, 0.7)
    starts = [uniform(rng, 0.03, 0.2)]
    if seconds > 3 and rng.random() < 0.4:
        starts.append(starts[0] + gap + uniform(rng, 1.1, 1.6))
    out = np.zeros(n)
    for note, delay, size in ((high, 0.0, 1.0), (low, gap, uniform(rng, 0.8, 1.1))):
        hz = note * np.array([1.0, 2.0, 2.76, 3.0, 5.4, 8.9]) * np.exp(rng.normal(0, 0.004, 6))
        gain = np.array([1.0, 0.12, 0.35, 0.06, 0.2, 0.08]) * np.exp(rng.normal(0, 0.4, 6))
        t60 = np.array([1.9, 1.1, 0.9, 0.7, 0.4, 0.2]) * uniform(rng, 0.7, 1.3)
        response = _bell(rng, min(seconds, 2.5), hz, t60, gain, 0.8)
        at = np.array([s + delay for s in starts if s + delay < seconds - 0.15])
        if len(at):
            out += _strike(rng, n, at, np.full(len(at), size), response, uniform(rng, 0.15, 0.4), 2000)
    return _level(rng, out)


@sound(
    "bicycle_bell",
    family=FAMILY,
    label="bicycle bell ringing",
    clauses=("a bicycle bell rings", "a cyclist rings a bell", "a bike bell goes ring-ring"),
    min_seconds=0.8,
)
def bicycle_bell(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A small steel dome: the thumb lever spins a clapper through a dozen quick hits, some times; or single dings."""
    n = samples(seconds)
    base = log_uniform(rng, 1500, 2600)
    hz = base * np.array([1.0, 1.52, 2.35, 2.9, 3.7]) * np.exp(rng.normal(0, 0.04, 5))
    gain = np.array([1.0, 0.4, 0.7, 0.35, 0.3]) * rng.uniform(0.4, 1.0, 5)
    t60 = np.array([1.1, 0.8, 0.6, 0.45, 0.35]) * uniform(rng, 0.6, 1.3)
    response = _bell(rng, min(seconds, 1.6), hz, t60, gain, 9.0)
    rate, length = uniform(rng, 24, 42), uniform(rng, 0.22, 0.42)
    ding = rng.random() < 0.25
    at, start = [], uniform(rng, 0.02, 0.15)
    for _ in range(int(rng.integers(1, 4))):
        hits = np.zeros(1) if ding else np.cumsum(1 / (rate * np.linspace(1.1, 0.75, int(rate * length))))
        at.append(start + hits)
        again = float(rng.choice([length + uniform(rng, 0.05, 0.15), length + uniform(rng, 0.8, 1.3)]))
        start += max(again, 0.25)
    when = np.concatenate(at)
    when = when[when < seconds - 0.1] + rng.normal(0, 0.0015, int((when < seconds - 0.1).sum()))
    return _level(
        rng, _strike(rng, n, when, np.exp(rng.normal(0, 0.3, len(when))), response, uniform(rng, 0.3, 0.9), 5000)
    )
