"""Struck and plucked strings: piano, acoustic guitar, harp."""

from __future__ import annotations

import numpy as np

from precompute.soundscape import dsp
from precompute.soundscape.modal import body, burst, convolve, fit, harmonic_count, random_phases, ring
from precompute.soundscape.registry import sound
from precompute.soundscape.score import (
    MAJOR,
    MINOR,
    PENTATONIC,
    PROGRESSIONS,
    Note,
    melody,
    pitch,
    random_key,
    scale_notes,
    triad,
)

FAMILY = "music"


def release(x: np.ndarray, length: float, damp: float) -> np.ndarray:
    """Damp a ringing tone from second `length` on, with a T60 of `damp` seconds."""
    stop = min(len(x), dsp.samples(length))
    x[stop:] *= np.exp(-6.91 * np.arange(len(x) - stop) / dsp.samples(damp))
    return x


def piano_note(rng: np.random.Generator, note: Note, sustain: float, stiffness: float, hammer: float) -> np.ndarray:
    """A stiff string: partials n·f0·√(1 + B n²), each with a fast and a slow decay, two strings slightly apart.

    The softer the blow, the darker the tone. Inharmonicity B grows with pitch (Fletcher and Rossing, ch. 12).
    """
    hz = note.hz
    inharmonicity = stiffness * (hz / 262.0) ** 1.3
    n = np.arange(1, min(26, harmonic_count(hz)) + 1)
    partial = n * hz * np.sqrt(1 + inharmonicity * n**2)
    corner = hammer * (0.35 + note.strength) * (hz / 262.0) ** 0.35
    gain = (
        np.abs(np.sin(np.pi * n / 7.6)) ** 0.5
        / (1 + (partial / corner) ** 2.2)
        * rng.lognormal(0, 0.25, len(n))
        / n**0.35
    )
    fast = np.clip(2.6 * (262.0 / hz) ** 0.5 / (1 + (partial / 2200.0)), 0.12, 4.0)
    slow = fast * rng.uniform(2.5, 4.0)
    apart = 2 ** (rng.uniform(0.3, 1.6) / 1200)
    phase = random_phases(rng, len(n))
    out = ring(
        sustain,
        np.concatenate([partial, partial[:10] * apart]),
        np.concatenate([fast, slow[:10]]),
        np.concatenate([gain, 0.28 * gain[:10]]),
        np.concatenate([phase, phase[:10] + rng.uniform(-0.6, 0.6)]),
    )
    rise = dsp.samples(rng.uniform(0.0015, 0.004))
    out[:rise] *= np.linspace(0, 1, rise)
    return release(dsp.peak_normalise(out), note.length, 0.22) * note.strength


def piano_thump(rng: np.random.Generator) -> np.ndarray:
    """The knock of key bed and soundboard under every note."""
    board = body(rng, 0.15, (70, 2500), (0.12, 0.03), 16, -2.0)
    return dsp.peak_normalise(convolve(burst(rng, 0.15, 0.02), board))


def piano_score(rng: np.random.Generator, seconds: float) -> list[Note]:
    """A right-hand melody over left-hand chords or broken chords."""
    key, beat = random_key(rng), rng.uniform(0.32, 0.68)
    notes = melody(rng, seconds, key, 64, 84, beat, legato=rng.uniform(0.8, 1.3))
    order, broken, bottom = PROGRESSIONS[rng.integers(len(PROGRESSIONS))], rng.random() < 0.5, int(rng.integers(43, 53))
    at = 0.03
    for bar in range(12):
        if at > seconds - 0.3:
            break
        for index, midi in enumerate(
            [*triad(key, order[bar % 4], bottom), *([bottom - 12] if rng.random() < 0.5 else [])]
        ):
            start = at + (index * beat / 2 if broken else float(rng.uniform(0, 0.02)))
            notes.append(Note(start, 2 * beat - (start - at), pitch(midi, key), float(rng.uniform(0.35, 0.6))))
        at += 2 * beat
    return notes


@sound(
    "piano",
    family=FAMILY,
    label="piano music",
    clauses=("a piano plays", "someone plays the piano", "a pianist plays a tune"),
    min_seconds=1.5,
)
def piano(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A few bars of piano: melody and accompaniment."""
    stiffness, hammer = rng.uniform(2e-4, 6e-4), rng.uniform(700, 1900)
    out = np.zeros(dsp.samples(seconds))
    thump = piano_thump(rng)
    for note in piano_score(rng, seconds):
        if note.start < seconds - 0.05:
            sustain = min(seconds - note.start, note.length + 0.2, 1.6)
            dsp.place(out, piano_note(rng, note, sustain, stiffness, hammer), note.start)
            dsp.place(out, thump, note.start, 0.1 * note.strength)
    return fit(out, seconds, 0.08)


def pluck(
    rng: np.random.Generator, note: Note, sustain: float, where: float, bright: float, decay: float, most: int = 28
) -> np.ndarray:
    """A plucked string: gains sin(nπ·where)/n^bright, decay by air and inner friction, two polarisations.

    A softer pluck is darker. Only the first `most` partials sound, and of these what is within 60 dB of the strongest.
    """
    n = np.arange(1, min(most, harmonic_count(note.hz)) + 1)
    partial = n * note.hz * np.sqrt(1 + 6e-5 * n**2)
    gain = (np.abs(np.sin(np.pi * n * where)) + 0.04) / n ** (bright + 0.35 * (1 - note.strength))
    keep = gain > 1e-3 * gain.max()
    partial, gain = partial[keep], gain[keep] * rng.lognormal(0, 0.2, int(keep.sum()))
    t60 = decay * (196.0 / note.hz) ** 0.4 / (1 + (partial / 1600.0) ** 1.3)
    phase = random_phases(rng, len(gain))
    out = ring(
        sustain,
        np.concatenate([partial, partial[:6] * 1.0007]),
        np.concatenate([t60, t60[:6] * 0.45]),
        np.concatenate([gain, 0.5 * gain[:6]]),
        np.concatenate([phase, phase[:6] + 1.0]),
    )
    return dsp.peak_normalise(out) * note.strength


SHAPES = {
    "C": (48, 52, 55, 60, 64),
    "G": (43, 47, 50, 55, 59, 67),
    "D": (50, 57, 62, 66),
    "A": (45, 52, 57, 61, 64),
    "E": (40, 47, 52, 56, 59, 64),
    "F": (41, 48, 53, 57, 60, 65),
    "Am": (45, 52, 57, 60, 64),
    "Em": (40, 47, 52, 55, 59, 64),
    "Dm": (50, 57, 62, 65),
}
"""Open chords of a guitar in standard tuning, MIDI numbers from the lowest string up."""
SONGS = tuple(
    tuple(song.split())
    for song in ("C G Am F", "G D Em C", "Am F C G", "D A G D", "Em C G D", "A D E A", "Dm Am E Am", "C Am F G")
)
STRUMS = ((0, 2, 3, 5, 6, 7), (0, 2, 4, 5, 6, 7), (0, 2, 3, 4, 6, 7), (0, 2, 4, 6), (0, 3, 4, 6, 7))


def strummed(rng: np.random.Generator, seconds: float) -> list[Note]:
    """Open chords strummed down on the beat and up between, in eighths."""
    song, pattern, eighth = SONGS[rng.integers(len(SONGS))], STRUMS[rng.integers(len(STRUMS))], rng.uniform(0.17, 0.28)
    offset, tempo, notes = rng.normal(0, 0.1), rng.uniform(0.008, 0.022), []
    steps = int(seconds / eighth)
    hits = [step for step in range(steps) if step % 8 in pattern]
    for index, step in enumerate(hits):
        strings = SHAPES[song[step // 8 % 4]]
        down = step % 2 == 0
        strings = strings if down else strings[:-4:-1]
        until = (hits[index + 1] if index + 1 < len(hits) else steps) * eighth
        at = 0.03 + step * eighth + rng.normal(0, 0.008)
        for order, midi in enumerate(strings):
            start = max(0.0, at + order * tempo)
            strength = (0.85 if down else 0.55) * rng.lognormal(0, 0.15)
            notes.append(
                Note(start, max(0.1, until - start + 0.03), 440 * 2 ** ((midi - 69 + offset) / 12), float(strength))
            )
    return notes


def picked(rng: np.random.Generator, seconds: float) -> list[Note]:
    """Broken open chords: thumb on the bass string, fingers on the others, letting everything ring."""
    song, step = SONGS[rng.integers(len(SONGS))], rng.uniform(0.15, 0.32)
    order = ((0, 2, 3, 4, 3, 2), (0, 3, 1, 4), (0, 2, 1, 3, 2, 3), (0, 1, 2, 3))[rng.integers(4)]
    offset, notes = rng.normal(0, 0.1), []
    for index in range(int((seconds - 0.1) / step)):
        strings = SHAPES[song[index // 8 % 4]]
        slot = order[index % len(order)]
        midi = strings[min(slot, len(strings) - 1)]
        start = 0.03 + index * step + float(rng.uniform(0, 0.012))
        notes.append(
            Note(
                start,
                4 * step,
                440 * 2 ** ((midi - 69 + offset) / 12),
                float((0.9 if slot == 0 else 0.65) * rng.lognormal(0, 0.15)),
            )
        )
    return notes


@sound(
    "acoustic_guitar",
    family=FAMILY,
    label="acoustic guitar music",
    clauses=("someone strums a guitar", "an acoustic guitar plays", "a guitarist plays chords"),
    min_seconds=1.5,
)
def acoustic_guitar(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Strummed or finger-picked steel or nylon strings on a hollow body with its air and top modes."""
    notes = strummed(rng, seconds) if rng.random() < 0.6 else picked(rng, seconds)
    where, bright, decay = rng.uniform(0.08, 0.25), rng.uniform(0.45, 1.05), rng.uniform(2.0, 4.5)
    pick = rng.uniform(0.06, 0.25)
    out, noise = np.zeros(dsp.samples(seconds)), np.zeros(dsp.samples(seconds))
    longest = min(seconds, 1.2, max(note.length for note in notes) + 0.06)
    strings: dict[tuple[float, bool], np.ndarray] = {}
    for note in notes:
        hard = note.strength > 0.7
        if (note.hz, hard) not in strings:
            open_string = note._replace(strength=0.9 if hard else 0.5)
            strings[note.hz, hard] = pluck(rng, open_string, longest, where, bright, decay)
        sounding = strings[note.hz, hard][: dsp.samples(note.length + 0.06)].copy()
        dsp.place(out, release(sounding, note.length, 0.08), note.start, note.strength)
        dsp.place(noise, burst(rng, 0.02, 0.015, 0.002), note.start, pick * note.strength)
    box = np.concatenate([[1.0], np.zeros(dsp.samples(0.12) - 1)])
    top = body(rng, 0.12, (rng.uniform(92, 112), 3500), (0.11, 0.02), 22, -1.0)
    box += 0.12 * dsp.peak_normalise(top)
    return fit(convolve(out + 0.5 * noise, box), seconds, 0.08)


@sound(
    "harp",
    family=FAMILY,
    label="harp music",
    clauses=("a harp plays", "a harpist plucks the strings", "someone plays the harp"),
    min_seconds=1.5,
)
def harp(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Arpeggios up and down over three octaves, or a glissando; every string rings on."""
    key = random_key(rng, (MAJOR, MINOR, PENTATONIC))
    gliss, low = rng.random() < 0.4, int(rng.integers(43, 56))
    step = rng.uniform(0.045, 0.08) if gliss else rng.uniform(0.12, 0.24)
    ladder = scale_notes(key, low, low + 38)
    if not gliss:
        ladder = [m + 12 * octave for octave in range(3) for m in triad(key, int(rng.choice([0, 3, 4, 5])), low)]
    turn = ladder + ladder[-2:0:-1]
    where, decay, bright = rng.uniform(0.3, 0.48), rng.uniform(2.5, 5.0), rng.uniform(1.1, 1.7)
    out = np.zeros(dsp.samples(seconds))
    at, index = rng.uniform(0.02, 0.1), 0
    strings: dict[int, np.ndarray] = {}
    while at < seconds - 0.15:
        midi = turn[index % len(turn)]
        if midi not in strings:
            note = Note(0.0, 2.0, pitch(midi, key), float(np.clip(rng.lognormal(-0.4, 0.2), 0.3, 1)))
            tone = pluck(rng, note, 0.6 if gliss else 1.1, where, bright, decay, 18)
            tone[:48] *= np.linspace(0, 1, 48)
            strings[midi] = release(tone, 0.35 if gliss else 0.8, 0.4) * (note.hz / 262) ** 0.4
        dsp.place(out, strings[midi], at, float(rng.lognormal(0, 0.15)))
        index += 1
        rest = rng.uniform(0.2, 0.5) if gliss and index % len(ladder) == 0 else 0.0
        at += step * float(rng.lognormal(0, 0.07)) + rest
    board = body(rng, 0.1, (140, 1800), (0.1, 0.03), 10, -2.0)
    return fit(out + 0.08 * convolve(out, board / np.abs(board).max()), seconds, 0.15)
