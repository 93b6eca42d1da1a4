"""Percussion: marimba and drum kit."""

from __future__ import annotations

import numpy as np

from precompute.soundscape import dsp
from precompute.soundscape.modal import body, burst, fit, random_phases, ring, thin
from precompute.soundscape.registry import sound
from precompute.soundscape.score import MAJOR, MINOR, PENTATONIC, melody, random_key

FAMILY = "music"


@sound(
    "marimba",
    family=FAMILY,
    label="marimba music",
    clauses=("a marimba plays", "someone plays the marimba", "mallets strike wooden bars in a tune"),
    min_seconds=1.2,
)
def marimba(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Tuned wooden bars (modes near 1 : 3.93 : 9.2) under mallets, quick runs, some notes doubled or rolled."""
    key, beat = random_key(rng, (MAJOR, MINOR, PENTATONIC)), rng.uniform(0.22, 0.42)
    notes = melody(rng, seconds, key, int(rng.integers(48, 60)), int(rng.integers(74, 88)), beat, leap=0.45)
    if rng.random() < 0.5:
        notes += [n._replace(hz=n.hz * 2 ** (-7 / 12), strength=0.7 * n.strength) for n in notes[::2]]
    hard, tuned = rng.uniform(0.15, 0.5), rng.uniform(3.86, 4.0)
    mallet = dsp.peak_normalise(body(rng, 0.06, (300, 5000), (0.03, 0.012), 16, -2.0))
    out = np.zeros(dsp.samples(seconds))
    for note in notes:
        length = min(0.9, seconds - note.start)
        low = rng.uniform(0.5, 0.8) * (330.0 / note.hz) ** 0.8
        hz = note.hz * np.array([1, tuned, 9.2 * tuned / 3.93, 2.0])
        tone = ring(
            length,
            hz,
            low * np.array([1, 0.28, 0.1, 0.6]),
            np.array([1, hard, 0.6 * hard, 0.02]),
            random_phases(rng, 4),
        )
        tone[:24] *= np.linspace(0, 1, 24)
        dsp.place(out, dsp.peak_normalise(tone), note.start, note.strength)
        dsp.place(out, mallet, note.start, 0.25 * note.strength * float(rng.lognormal(0, 0.2)))
    return fit(out, seconds, 0.05)


GROOVES = {
    "rock": ((0, 8), (4, 12), tuple(range(0, 16, 2))),
    "rock2": ((0, 6, 8), (4, 12), tuple(range(0, 16, 2))),
    "disco": ((0, 4, 8, 12), (4, 12), tuple(range(16))),
    "funk": ((0, 3, 6, 10), (4, 7, 12, 15), tuple(range(16))),
    "half": ((0, 7, 10), (8,), tuple(range(0, 16, 2))),
    "ride": ((0, 10), (4, 12), (0, 4, 6, 8, 12, 14)),
}


def kick_drum(rng: np.random.Generator) -> np.ndarray:
    """A skin that drops in pitch, with the slap of the beater."""
    t = dsp.times(0.3)
    low, top, fall = rng.uniform(48, 75), rng.uniform(90, 240), rng.uniform(0.015, 0.04)
    skin = dsp.sine(low + top * np.exp(-t / fall)) * np.exp(-6.91 * t / rng.uniform(0.18, 0.35))
    slap = dsp.bandpass(burst(rng, 0.3, 0.02), 800, 5000)
    return thin(dsp.soft_clip(skin + rng.uniform(0.25, 0.8) * slap, 1.5), 40)


def snare_drum(rng: np.random.Generator) -> np.ndarray:
    """Two skins around 200 and 330 Hz and the buzz of the wires."""
    hz = rng.uniform(160, 240) * np.array([1, 1.6, 2.2, 2.9])
    skin = ring(0.3, hz, np.array([0.12, 0.1, 0.07, 0.05]), np.array([1, 0.7, 0.4, 0.3]), random_phases(rng, 4))
    wires = thin(burst(rng, 0.3, rng.uniform(0.14, 0.28)), rng.uniform(900, 2500))
    return 0.5 * dsp.peak_normalise(skin) + rng.uniform(0.5, 0.9) * dsp.peak_normalise(wires)


def cymbal(rng: np.random.Generator, seconds: float, t60: float, low: float) -> np.ndarray:
    """Hundreds of unrelated modes: noise plus a few dozen lines above `low` Hz."""
    lines = body(rng, seconds, (low, 7800), (t60, t60 * 0.8), 40, 1.0)
    hiss = thin(thin(burst(rng, seconds, t60 * 0.8), low), low)
    return 0.5 * dsp.peak_normalise(lines) + 0.5 * dsp.peak_normalise(hiss)


@sound(
    "drum_kit",
    family=FAMILY,
    label="drum kit music",
    clauses=("a drum kit plays", "someone plays the drums", "a drummer plays a beat"),
    min_seconds=1.5,
)
def drum_kit(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Kick, snare and hi-hat in a common groove, 84 to 150 beats a minute, sometimes with a crash or a fill."""
    kicks, snares, hats = list(GROOVES.values())[rng.integers(len(GROOVES))]
    sixteenth = 15.0 / rng.uniform(84, 150)
    kick, snare, closed = (
        kick_drum(rng),
        snare_drum(rng),
        cymbal(rng, 0.14, rng.uniform(0.05, 0.13), rng.uniform(2000, 3800)),
    )
    opened, crash = cymbal(rng, 0.5, 0.45, rng.uniform(2000, 3500)), cymbal(rng, 1.4, 1.6, rng.uniform(1200, 2500))
    toms = [
        ring(0.4, f * np.array([1, 1.59, 2.14]), np.array([0.35, 0.2, 0.1]), np.array([1, 0.5, 0.3]))
        for f in (190, 140, 95)
    ]
    levels = rng.uniform(0.7, 1.1, 2)
    hat = rng.uniform(0.35, 0.75)
    out = np.zeros(dsp.samples(seconds))
    offset = int(rng.integers(0, 2)) * 8
    if rng.random() < 0.35:
        dsp.place(out, crash, 0.02, 0.6)
    fill = int(rng.integers(6, 30)) if rng.random() < 0.35 else 10_000
    for step in range(int((seconds - 0.05) / sixteenth)):
        slot, at = (step + offset) % 16, 0.02 + step * sixteenth + abs(rng.normal(0, 0.004))
        if fill <= step < fill + 4:
            dsp.place(out, toms[min(2, (step - fill) // 2)], at, 0.9)
            continue
        if slot in kicks:
            dsp.place(out, kick, at, levels[0] * float(rng.lognormal(0, 0.08)))
        if slot in snares:
            dsp.place(out, snare, at, levels[1] * float(rng.lognormal(0, 0.1)))
        if slot in hats:
            open_now = slot == 14 and rng.random() < 0.4
            dsp.place(
                out,
                opened if open_now else closed,
                at,
                hat * (1.0 if slot % 4 == 0 else 0.7) * float(rng.lognormal(0, 0.15)),
            )
    return fit(dsp.soft_clip(dsp.peak_normalise(out), 1.4), seconds, 0.05)
