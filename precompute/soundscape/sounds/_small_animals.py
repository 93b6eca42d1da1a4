"""Animals heard by their wings, whistles, pulses or hooves: birds, owl, crickets, frog, bee, horse."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from precompute.soundscape import dsp
from precompute.soundscape.registry import SAMPLE_RATE, sound
from precompute.soundscape.sounds._voice import (
    Throat,
    cycles,
    drift,
    glide,
    in_turn,
    source,
    swell,
    thin,
    tone,
    tract,
    turbulence,
    voice,
)


def _syllable(rng: np.random.Generator, low: float, high: float) -> tuple[np.ndarray, float]:
    """One kind of bird note: its pitch curve in Hz and the silence after it in seconds."""
    kind = rng.choice(["sweep", "arch", "warble", "chip", "tone"], p=[0.32, 0.28, 0.18, 0.18, 0.04])
    seconds = {"chip": rng.uniform(0.025, 0.05), "warble": rng.uniform(0.15, 0.4)}.get(kind, rng.uniform(0.06, 0.22))
    a = np.exp(rng.uniform(np.log(low), np.log(high)))
    b = a * np.exp(rng.uniform(0.2, 0.55) * (1 if a < np.sqrt(low * high) else -1) * (1 if rng.random() < 0.85 else -1))
    if kind == "arch":
        pitch = glide([(0, a), (rng.uniform(0.3, 0.7), b), (1, a * rng.uniform(0.85, 1.15))], seconds)
    elif kind == "warble":
        pitch = glide([(0, a), (1, a * rng.uniform(0.8, 1.2))], seconds)
        pitch *= 1 + rng.uniform(0.05, 0.16) * np.sin(2 * np.pi * rng.uniform(18, 45) * dsp.times(seconds))
    elif kind == "tone":
        pitch = glide([(0, a), (1, a * rng.uniform(0.96, 1.04))], seconds)
    else:
        pitch = glide([(0, a), (0.4, (a + b) / 2), (1, b)], seconds)
    return np.clip(pitch, 1500, 7200), rng.uniform(0.02, 0.1)


def _bird_note(rng: np.random.Generator, pitch: np.ndarray, overtone: float) -> np.ndarray:
    seconds = len(pitch) / SAMPLE_RATE
    pitch = pitch * (1 + drift(rng, len(pitch), 60, 0.004))
    cycle = cycles(pitch)
    whistle = tone(cycle) + overtone * tone(2 * cycle) * (pitch < 3900)
    shape = swell(seconds, min(0.3 * seconds, 0.03), min(0.45 * seconds, 0.06)) * (1 + drift(rng, len(pitch), 40, 0.15))
    return whistle * shape * (pitch / 3500) ** rng.uniform(-0.6, 0.3)


@sound(
    "bird_song",
    family="animals",
    label="birds singing",
    clauses=("birds are chirping", "a robin sings", "a songbird twitters"),
)
def bird_song(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Whistled notes of 2-7 kHz that sweep fast, each kind repeated a few times, phrase after phrase."""
    canvas = np.zeros(dsp.samples(seconds))
    for bird in range(int(rng.integers(1, 4))):
        middle = rng.uniform(2600, 5000)
        words = [_syllable(rng, middle / 1.45, middle * 1.45) for _ in range(int(rng.integers(3, 7)))]
        gain, overtone, pace = (
            (1.0 if bird == 0 else rng.uniform(0.1, 0.4)),
            rng.uniform(0.01, 0.12),
            rng.uniform(0.8, 1.4),
        )
        at = rng.uniform(0, 0.3) if bird == 0 else rng.uniform(0, 0.6 * seconds)
        while at < seconds - 0.15:
            for _ in range(int(rng.integers(2, 5))):
                pitch, rest = words[int(rng.integers(len(words)))]
                for _ in range(int(rng.integers(1, 3 if len(pitch) > 2400 else 8))):
                    if at + len(pitch) / SAMPLE_RATE < seconds:
                        dsp.place(canvas, _bird_note(rng, pitch * rng.uniform(0.985, 1.015), overtone), at, gain)
                    at += len(pitch) / SAMPLE_RATE + rest * pace
            at += rng.uniform(0.25, 0.9)
    return canvas


def _hoot(rng: np.random.Generator, f0: float, seconds: float, quaver: float) -> np.ndarray:
    pitch = f0 * glide([(0, 0.9), (0.2, 1.0), (0.65, 1.01), (1, 0.92)], seconds)
    beat = tone(rng.uniform(11, 15) * dsp.times(seconds))
    pitch *= (1 + 0.02 * quaver * beat) * (1 + drift(rng, len(pitch), 8, 0.004))
    cycle = cycles(pitch)
    hump = glide([(0, 0.6), (rng.uniform(0.3, 0.6), 1.0), (1, 0.45)], seconds)
    call = tone(cycle) + rng.uniform(0.05, 0.2) * tone(2 * cycle + 0.16) + rng.uniform(0.01, 0.08) * tone(3 * cycle)
    breath = tract(turbulence(rng, len(pitch), 0.0), [[f0 * 1.05, 3 * f0]], [f0 * 0.5, 300])
    call = hump * call * (1 + drift(rng, len(pitch), 25, 0.06)) + 0.05 * breath / (breath.std() + 1e-9)
    return (
        call
        * swell(seconds, min(0.08, 0.35 * seconds), min(0.14, 0.45 * seconds))
        * (1 - 0.4 * quaver * (0.5 - 0.5 * beat))
    )


@sound(
    "owl_hoot", family="animals", label="owl hooting", clauses=("an owl hoots", "an owl is hooting"), min_seconds=1.5
)
def owl_hoot(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Soft almost pure tones of 260-560 Hz in one of three rhythms."""
    f0, scale = rng.uniform(270, 540), rng.uniform(0.85, 1.15)
    kind = int(rng.integers(3))
    lengths = ([0.32, 0.13, 0.42, 0.36, 0.36], [0.6, 0.14, 0.9], [0.45])[kind]
    rests = ([0.12, 0.06, 0.25, 0.25, 0.9], [0.55, 0.12, 0.9], [rng.uniform(0.25, 0.7)])[kind]
    gains = ([0.7, 0.6, 1.0, 0.9, 0.85], [0.9, 0.4, 1.0], [1.0])[kind]
    quaver = rng.uniform(0.5, 1.0) if kind == 1 else 0.0
    bend = rng.uniform(0.96, 1.04, len(lengths)) if kind != 2 else np.ones(1)

    def hoot(i: int) -> np.ndarray:
        j = i % len(lengths)
        length = lengths[j] * scale * rng.uniform(0.94, 1.06)
        return gains[j] * _hoot(rng, f0 * bend[j], length, quaver if j == 2 else 0.0)

    return in_turn(seconds, hoot, lambda i: rests[i % len(rests)] * scale, rng.uniform(0, 0.2))


def _chirp_pulse(rng: np.random.Generator, carrier: float, seconds: float) -> np.ndarray:
    """One closing stroke of the wings: a tone that swells, sinks a little and stops."""
    t = np.linspace(0, 1, dsp.samples(seconds))
    shape = np.sin(np.pi * t**0.8) ** 1.2
    return shape * dsp.sine(carrier * (1.015 - 0.035 * t) + 0 * t) * rng.uniform(0.9, 1.0)


def _cricket(rng: np.random.Generator, canvas: np.ndarray, carrier: float, gain: float, trilling: bool) -> None:
    """Add one cricket: chirps of 3-5 pulses, or an unbroken trill."""
    seconds = len(canvas) / SAMPLE_RATE
    pulse, period = rng.uniform(0.012, 0.02), rng.uniform(0.024, 0.04)
    pulse = min(pulse, 0.72 * period)
    count, chirps_a_second = int(rng.integers(3, 6)), rng.uniform(1.6, 4.0)
    at = rng.uniform(0, 0.25)
    kinds = [_chirp_pulse(rng, carrier * rng.uniform(0.997, 1.003), pulse) for _ in range(4)]
    while at < seconds - pulse:
        for i in range(10_000 if trilling else count):
            moment = at + i * period
            if moment > seconds - pulse:
                break
            rise = 1.0 if trilling else (0.45, 0.75, 0.95, 1.0, 1.0)[i]
            dsp.place(canvas, kinds[int(rng.integers(4))], moment + 0.0006 * rng.standard_normal(), gain * rise)
        if trilling:
            break
        at += max(count * period + 0.06, (1 / chirps_a_second) * (1 + 0.06 * rng.standard_normal()))


@sound(
    "crickets",
    family="animals",
    label="crickets chirping",
    clauses=("crickets are chirping", "field crickets trill", "a cricket stridulates in the grass"),
)
def crickets(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Chirps of 3-5 tone pulses at 4-5 kHz from one near cricket, over others farther off and their hiss."""
    canvas = np.zeros(dsp.samples(seconds))
    carrier = rng.uniform(4000, 5000)
    _cricket(rng, canvas, carrier, 1.0, trilling=rng.random() < 0.15)
    chorus = rng.random() < 0.35
    for _ in range(int(rng.integers(4, 9) if chorus else rng.integers(0, 3))):
        gain = rng.uniform(0.15, 0.6) if chorus else rng.uniform(0.05, 0.25)
        _cricket(rng, canvas, rng.uniform(3900, 5200), gain, trilling=rng.random() < 0.4)
    hiss = tract(rng.standard_normal(len(canvas)), [[carrier, carrier * 1.25]], [700, 1200], upper=False)
    level = 10 ** rng.uniform(-2.4, -1.3)
    return canvas * (1 + drift(rng, len(canvas), 3, 0.06)) + level * thin(hiss / hiss.std(), 2500)


def _croak(rng: np.random.Generator, rate: float, centres: np.ndarray, seconds: float, rising: float) -> np.ndarray:
    """A train of damped pulses, `rate` a second, ringing at the `centres` in Hz."""
    f0 = rate * glide([(0, 1 - 0.4 * rising), (0.6, 1.0), (1, 1 + 0.4 * rising)], seconds)
    centres = np.append(centres, [4200, 6300])
    track = [centres * (1 - 0.12 * rising), centres, centres * (1 + 0.1 * rising)]
    widths = [150, 190, 500, 1800, 2500]
    throat = Throat(track, widths, tilt_hz=2000, breath=0.12, jitter=0.035, shimmer=0.15, upper=False)
    gate = 0.5 + 0.5 * tone(cycles(f0) + 0.12)
    call = voice(rng, f0, throat) * (0.3 + 0.7 * gate)
    call = thin(thin(call, 0.6 * centres[0]), 0.6 * centres[0])
    return call * glide([(0, 0.0), (0.15, 0.4), (0.7, 1.0), (0.92, 0.8), (1, 0)], seconds)


@sound(
    "frog_croak",
    family="animals",
    label="frog croaking",
    clauses=("a frog croaks", "a frog is croaking", "a toad goes ribbit"),
)
def frog_croak(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Croaks: trains of pulses ringing at 0.4-2.5 kHz; in two parts (rib-bit) or in one."""
    ribbit = rng.random() < 0.5
    low = rng.uniform(700, 1300) if ribbit else rng.uniform(350, 800)
    centres = low * np.array([1.0, rng.uniform(1.9, 2.3), rng.uniform(3.0, 3.6)])
    rate = rng.uniform(60, 95) if ribbit else rng.uniform(35, 70)
    length, rest = rng.uniform(0.2, 0.5), rng.uniform(0.25, 0.8)

    def call(_: int) -> np.ndarray:
        wobble = rng.uniform(0.95, 1.05)
        if not ribbit:
            return _croak(rng, rate * wobble, centres, length * rng.uniform(0.9, 1.1), 0.2)
        first = _croak(rng, rate * wobble, centres * 0.92, rng.uniform(0.1, 0.14), 0.3)
        second = _croak(rng, rate * 1.15 * wobble, centres, rng.uniform(0.13, 0.2), 1.0)
        return np.concatenate([0.7 * first, np.zeros(dsp.samples(rng.uniform(0.03, 0.06))), second])

    return in_turn(seconds, call, lambda _: rest * rng.uniform(0.8, 1.3), rng.uniform(0, 0.2))


def _wings(rng: np.random.Generator, n: int) -> tuple[np.ndarray, float]:
    """Pulses [n] of one bee's wings as it comes and goes, and their mean rate in Hz."""
    rate = rng.uniform(165, 260)
    f0 = np.maximum(rate * (1 + drift(rng, n, 1.0, 0.05) + drift(rng, n, 9, 0.012)), 80)
    near = np.exp(drift(rng, n, 0.9, 0.6) + drift(rng, n, 12, 0.12))
    return source(rng, f0, Throat([], [], tilt_hz=700, breath=0.12, jitter=0.012, shimmer=0.1)) * near, rate


@sound(
    "bee_buzz",
    family="animals",
    label="bee buzzing",
    clauses=("a bee buzzes", "bees are buzzing", "an insect hums past"),
)
def bee_buzz(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Wing beats of 165-260 Hz with many harmonics, nearer and farther as the bee moves."""
    n = dsp.samples(seconds)
    out, rate = _wings(rng, n)
    for _ in range(int(rng.integers(0, 3))):
        out += rng.uniform(0.2, 0.7) * _wings(rng, n)[0]
    body = [[rate * rng.uniform(1.6, 2.5), rng.uniform(750, 1100), rng.uniform(1700, 2300), 3400, 5600]]
    return dsp.fade(
        tract(out, body, [260, 600, 1100, 2200, 3000], upper=False), rng.uniform(0.05, 0.4), rng.uniform(0.05, 0.4)
    )


def _clops(rng: np.random.Generator, hollow: float, decay: float, metal: float, kinds: int = 3) -> np.ndarray:
    """Strokes [kinds, n] of one hoof on hard ground: a knock, a hollow ring shared by ground and hoof, a scrape."""
    t = dsp.times(0.17)
    spread = np.array([0.42, 1.0, 1.37, 1.9, 2.65, 3.7, 5.1])
    hz = hollow * spread * rng.uniform(0.97, 1.03, (kinds, len(spread)))
    gain = np.array([0.35, 1.0, 0.55, 0.5, 0.4, 0.3, 0.2]) * rng.uniform(0.5, 1.4, hz.shape) * (hz < 7500)
    fall = 6.91 / (decay * np.array([0.9, 1.0, 0.8, 0.75, 0.6, 0.5, 0.4]))
    ring = np.exp((2j * np.pi * hz[..., None] - fall[:, None]) * t).imag
    noise = rng.standard_normal((kinds, len(t)))
    knock = lfilter([0.5], [1, -0.5], noise) * (np.exp(-t / 0.0035) + 0.1 * np.exp(-t / 0.025))
    out = (gain[..., None] * ring).sum(1) * (1 + 0.25 * lfilter([0.1], [1, -0.9], noise)) + metal * knock
    return out * np.minimum(t / 0.0012, 1) * np.clip((t[-1] - t) / 0.04, 0, 1)


@sound(
    "horse_hooves",
    family="animals",
    label="horse hooves clip-clopping",
    clauses=("a horse trots by", "a horse is clip-clopping along", "hooves clatter on the road"),
)
def horse_hooves(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Four hooves, each with its own hollow ring, in the beat of a walk, a trot or a gallop."""
    gait = rng.choice(["walk", "trot", "gallop"], p=[0.4, 0.4, 0.2])
    beats = {"walk": [0, 0.25, 0.5, 0.75], "trot": [0, 0.03, 0.5, 0.53], "gallop": [0, 0.2, 0.38, 0.42]}[gait]
    stride = {"walk": rng.uniform(0.95, 1.25), "trot": rng.uniform(0.62, 0.8), "gallop": rng.uniform(0.48, 0.6)}[gait]
    base, decay, metal = rng.uniform(600, 1050), rng.uniform(0.06, 0.13), rng.uniform(0.4, 1.3)
    hooves = [_clops(rng, base * f, decay, metal) for f in rng.permutation([0.82, 0.94, 1.08, 1.27])]
    canvas = np.zeros(dsp.samples(seconds))
    at = rng.uniform(0.02, 0.2)
    while at < seconds - 0.05:
        for hoof, beat in enumerate(beats):
            moment = at + stride * beat + 0.012 * rng.standard_normal()
            if 0 <= moment < seconds - 0.17:
                dsp.place(canvas, hooves[hoof][int(rng.integers(3))], moment, rng.uniform(0.45, 1.0))
        at += stride * rng.uniform(0.97, 1.03)
    return canvas
