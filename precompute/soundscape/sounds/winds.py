"""Sustained instruments: flute, violin, trumpet, church organ, accordion."""

from __future__ import annotations

import numpy as np

from precompute.soundscape import dsp
from precompute.soundscape.modal import (
    CONTROL_STEP,
    body,
    burst,
    control_times,
    convolve,
    cycles_of,
    fit,
    harmonic_count,
    mellow,
    random_phases,
    read_table,
    ring,
    shaped_noise,
    sway,
    sway_control,
    thin,
    to_samples,
    wave_table,
)
from precompute.soundscape.registry import SAMPLE_RATE, sound
from precompute.soundscape.score import MAJOR, MINOR, PROGRESSIONS, Key, Note, melody, pitch, random_key, triad

FAMILY = "music"
CONTROL_RATE = SAMPLE_RATE / CONTROL_STEP


def glide(notes: list[Note], seconds: float, slide: float) -> np.ndarray:
    """Control curve of the frequency of one voice: steps between notes rounded over `slide` seconds."""
    t = control_times(seconds)
    index = np.searchsorted([note.start for note in notes[1:]], t, side="right")
    log_hz = np.log([note.hz for note in notes])[index]
    width = max(1, round(slide * CONTROL_RATE))
    total = np.cumsum(np.concatenate([np.full(width, log_hz[0]), log_hz]))
    return np.exp((total[width:] - total[:-width]) / width)


def envelope(notes: list[Note], seconds: float, attack: float, decay: float, swell: float = 0.0) -> np.ndarray:
    """Control curve of loudness: every note rises in `attack`, may swell, and falls in `decay` seconds at its end."""
    t = control_times(seconds)
    out = np.zeros(len(t))
    for note in notes:
        first, last = np.searchsorted(t, [note.start, note.start + note.length + decay])
        since = t[first:last] - note.start
        level = np.minimum(since / attack, 1.0) * np.clip((note.length + decay - since) / decay, 0, 1)
        level = level * (1 - swell + swell * np.sin(np.pi * since / (note.length + decay)))
        out[first:last] = np.maximum(out[first:last], note.strength * level)
    return out


def vibrato(rng: np.random.Generator, notes: list[Note], seconds: float, hz: float, delay: float) -> np.ndarray:
    """Control curve of a unit-depth vibrato that sets in `delay` seconds after the start of every note."""
    t = control_times(seconds)
    start = np.array([note.start for note in notes])
    since = t - start[np.searchsorted(start[1:], t, side="right")]
    depth = np.clip((since - delay) / 0.15, 0, 1) * (1 + sway_control(rng, seconds, 1.5, 0.2))
    rate = hz * (1 + sway_control(rng, seconds, 2, 0.06))
    return depth * np.sin(2 * np.pi * np.cumsum(rate) / CONTROL_RATE + rng.uniform(0, 6.28))


def spread_table(tables: list[np.ndarray], notes: list[Note], cycles: np.ndarray) -> np.ndarray:
    """Read a table of its own for every note of a one-voice phrase, so that no harmonic passes Nyquist."""
    out = np.empty_like(cycles)
    edges = [0, *(dsp.samples(note.start) for note in notes[1:]), len(cycles)]
    for table, left, right in zip(tables, edges[:-1], edges[1:], strict=True):
        out[left:right] = read_table(table, cycles[left:right])
    return out


def onsets(rng: np.random.Generator, notes: list[Note], seconds: float, t60: float, rise: float) -> np.ndarray:
    """Noise at the start of every note: tonguing, chiff, the bite of a bow."""
    out = np.zeros(dsp.samples(seconds))
    for note in notes:
        dsp.place(out, burst(rng, 2 * t60, t60, rise), note.start, note.strength)
    return out


@sound(
    "flute",
    family=FAMILY,
    label="flute music",
    clauses=("a flute plays", "someone plays the flute", "a flautist plays a melody"),
    min_seconds=1.5,
)
def flute(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Few harmonics, breath noise around them, vibrato in loudness more than in pitch, a chiff at each onset."""
    key, low = random_key(rng), int(rng.integers(62, 76))
    notes = melody(rng, seconds, key, low, low + 14, rng.uniform(0.32, 0.7), legato=rng.uniform(0.86, 0.98))
    wave = vibrato(rng, notes, seconds, rng.uniform(4.4, 6.2), rng.uniform(0.05, 0.25))
    f0 = glide(notes, seconds, 0.018) * (1 + rng.uniform(0.002, 0.006) * wave + sway_control(rng, seconds, 8, 0.0012))
    loud = envelope(notes, seconds, rng.uniform(0.03, 0.07), 0.05, 0.25) * (1 + rng.uniform(0.08, 0.25) * wave)
    cycles = cycles_of(to_samples(f0, seconds))
    base = np.array([1, rng.uniform(0.3, 0.9), rng.uniform(0.15, 0.45), 0.12, 0.07, 0.035, 0.02, 0.012, 0.008])
    tables = []
    for note in notes:
        count = min(9, harmonic_count(note.hz * 1.03))
        gains = (base * (520 / note.hz) ** (0.25 * np.arange(9)))[:count] * rng.lognormal(0, 0.15, count)
        tables.append(wave_table(gains, random_phases(rng, count)))
    tone = spread_table(tables, notes, cycles)
    high = rng.uniform(-12, -2)
    breath = shaped_noise(rng, seconds, [(20, -40), (400, -8), (900, 0), (2500, -3), (5000, high), (8000, high - 10)])
    breath *= 1 + 0.5 * tone
    chiff = onsets(rng, notes, seconds, 0.06, 0.008)
    chiff = mellow(thin(chiff, 1200), 4000)
    level = to_samples(loud, seconds)
    return fit(tone * level + rng.uniform(0.04, 0.12) * breath * level**0.7 + 0.12 * chiff, seconds, 0.04)


@sound(
    "violin",
    family=FAMILY,
    label="violin music",
    clauses=("a violin plays", "someone plays the violin", "a violinist bows a melody"),
    min_seconds=1.5,
)
def violin(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A sawtooth string under the bow through a fixed body of many modes; vibrato makes every partial shimmer."""
    key, low = random_key(rng), int(rng.integers(57, 72))
    notes = melody(rng, seconds, key, low, low + 15, rng.uniform(0.3, 0.8), legato=1.0)
    wave = vibrato(rng, notes, seconds, rng.uniform(4.8, 6.6), rng.uniform(0.03, 0.18))
    pitch_wave = rng.uniform(0.005, 0.015) * wave + sway_control(rng, seconds, 15, 0.0015)
    cycles = cycles_of(to_samples(glide(notes, seconds, rng.uniform(0.025, 0.06)) * (1 + pitch_wave), seconds))
    bow, slope = rng.uniform(0.07, 0.16), rng.uniform(0.75, 1.0)
    tables = []
    for note in notes:
        n = np.arange(1, harmonic_count(note.hz * 1.03) + 1)
        tables.append(wave_table((np.abs(np.sin(np.pi * n * bow)) + 0.25) / n**slope))
    string = spread_table(tables, notes, cycles)
    loud = envelope(notes, seconds, rng.uniform(0.03, 0.1), 0.05, rng.uniform(0.1, 0.4))
    level = to_samples(loud * (1 + sway_control(rng, seconds, 25, 0.07)), seconds)
    hair = thin(dsp.white(rng, seconds), 1500) * (0.4 + (cycles % 1.0)) * rng.uniform(0.03, 0.1)
    bite = onsets(rng, notes, seconds, 0.05, 0.006) * rng.uniform(0.02, 0.1)
    wood = body(rng, 0.09, (rng.uniform(255, 290), 5500), (0.09, 0.02), 46, -0.5)
    ridge = body(rng, 0.09, (1900, 3400), (0.02, 0.015), 10, 0.0)
    box = dsp.peak_normalise(wood) + rng.uniform(0.4, 1.0) * dsp.peak_normalise(ridge)
    box[0] += rng.uniform(0.5, 1.5)
    return fit(convolve((string + hair) * level + bite, box), seconds, 0.06)


def brass_tables(notes: list[Note], centre: float, reach: float) -> list[np.ndarray]:
    """A table a note: harmonics fall off e-fold every `reach` Hz, with the bell's broad resonance at `centre`."""
    tables = []
    for note in notes:
        hz = note.hz * np.arange(1, harmonic_count(note.hz * 1.03) + 1)
        bell = 1 / (1 + ((hz - centre) / 900) ** 2) + 0.2
        tables.append(wave_table(bell * np.exp(-hz / reach), 0.25 * np.arange(len(hz)) % 1.7))
    return tables


@sound(
    "trumpet",
    family=FAMILY,
    label="trumpet music",
    clauses=("a trumpet plays", "someone plays the trumpet", "a trumpeter blows a fanfare"),
    min_seconds=1.5,
)
def trumpet(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Brass: the louder, the more upper harmonics; tongued onsets that start a little flat, a fixed bell formant."""
    key, low = random_key(rng, (MAJOR,)), int(rng.integers(56, 67))
    notes = melody(rng, seconds, key, low, low + 15, rng.uniform(0.28, 0.65), leap=0.5, legato=rng.uniform(0.7, 0.97))
    wave = vibrato(rng, notes, seconds, rng.uniform(4.5, 6), 0.2) * rng.uniform(0.0, 0.007)
    scoop = 1 - envelope([n._replace(strength=1.0) for n in notes], seconds, 0.05, 0.03)
    f0 = glide(notes, seconds, 0.015) * (1 + wave - 0.02 * scoop + sway_control(rng, seconds, 20, 0.002))
    loud = envelope(notes, seconds, rng.uniform(0.015, 0.04), 0.04, rng.uniform(0.0, 0.3))
    level = to_samples(loud * (1 + sway_control(rng, seconds, 40, 0.04)), seconds)
    cycles = cycles_of(to_samples(f0, seconds))
    centre, reach = rng.uniform(1100, 1800), rng.uniform(2100, 4800)
    blend = np.clip(level, 0, 1)
    soft = spread_table(brass_tables(notes, centre, 0.45 * reach), notes, cycles)
    hard = spread_table(brass_tables(notes, centre, reach), notes, cycles)
    tone = (soft * (1 - blend) + hard * blend) * level
    air = thin(dsp.white(rng, seconds), 1500) * level * rng.uniform(0.005, 0.02)
    tongue = mellow(thin(onsets(rng, notes, seconds, 0.03, 0.003), 500), 4000) * 0.05
    return fit(tone / np.abs(tone).max() + air + tongue, seconds, 0.04)


RANKS = ((1, 1.0), (2, 0.7), (4, 0.45), (0.5, 0.5), (3, 0.3), (8, 0.2), (6, 0.15))
"""Pipe ranks: pitch relative to the key (8', 4', 2', 16', 2 2/3', 1', 1 1/3') and level."""


def organ_chord(
    rng: np.random.Generator, hz: list[float], seconds: float, ranks: list[tuple[float, float]], reed: float
) -> np.ndarray:
    """One chord: every key sounds each drawn rank, each pipe a little out of tune with the others."""
    centres, gains = [], []
    for ratio, level in ranks:
        for key_hz in hz:
            pipe = key_hz * ratio * (1 + rng.normal(0, 0.0008))
            n = np.arange(1, min(14, harmonic_count(pipe)) + 1)
            centres.append(pipe * n)
            gains.append(level * (np.where(n % 2 == 0, 0.6, 1.0) / n**2.0 + reed * np.exp(-n / 7.0) * 0.4))
    centre, gain = np.concatenate(centres), np.concatenate(gains)
    keep = gain > 0.004 * gain.max()
    gain = gain * rng.lognormal(0, 0.2, len(gain))
    return ring(seconds, centre[keep], np.full(keep.sum(), 1e3), gain[keep], random_phases(rng, int(keep.sum())))


@sound(
    "church_organ",
    family=FAMILY,
    label="church organ music",
    clauses=("a pipe organ plays", "an organ plays in a church", "an organist plays chords"),
    min_seconds=1.8,
)
def church_organ(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Full chords on several ranks of pipes over a pedal bass, wind noise, and the first second of the nave's echo."""
    key, order = random_key(rng, (MAJOR, MINOR)), PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    ranks = [RANKS[0], *(RANKS[i] for i in range(1, 7) if rng.random() < 0.6)][:5]
    reed, beat, rise = rng.uniform(0.0, 0.35), rng.uniform(0.5, 1.3), rng.uniform(0.03, 0.08)
    out = np.zeros(dsp.samples(seconds))
    at, index = rng.uniform(0.0, 0.1), int(rng.integers(4))
    while at < seconds - 0.3:
        length = min(seconds - at, beat * float(rng.choice([1, 1, 2])))
        chord = triad(key, order[index % 4], int(rng.integers(58, 64)))
        hz = [pitch(m, key) for m in [*chord, chord[0] + 12]]
        bass = pitch(triad(key, order[index % 4], 36)[0], key)
        pipes = organ_chord(rng, hz, length + 0.05, ranks, reed)
        pipes += organ_chord(rng, [bass], length + 0.05, [(1, 1.1), (2, 0.6)], 0.2)
        dsp.place(out, dsp.fade(pipes, rise, 0.06), at)
        chiff = mellow(burst(rng, 0.12, 0.1, 0.01), 3500)
        dsp.place(out, chiff, at, 0.4)
        at, index = at + length, index + 1
    wind = mellow(dsp.white(rng, seconds), 3000) * 0.03 * out.std()
    tail = dsp.times(0.9)
    echo = mellow(rng.standard_normal(len(tail)) * np.exp(-6.91 * tail / rng.uniform(1.2, 2.5)), 2500)
    wet = convolve(out, echo / np.sqrt((echo**2).sum()))
    return fit(out + rng.uniform(0.3, 0.7) * wet + wind, seconds, 0.15)


def reed_voice(
    rng: np.random.Generator, notes: list[Note], seconds: float, cents: list[float], slope: float
) -> np.ndarray:
    """Free reeds, two or three a note, tuned apart so that they beat; harmonics fall as 1/n^slope up to 4 kHz."""
    out = np.zeros(dsp.samples(seconds))
    for note in notes:
        n = np.arange(1, min(26, harmonic_count(note.hz * 1.02)) + 1)
        gains = n ** (-slope) / (1 + (n * note.hz / 4200) ** 2) * np.where(n % 2 == 0, 0.8, 1.0)
        table = wave_table(gains * rng.lognormal(0, 0.2, len(n)), rng.uniform(0, 1.5, len(n)))
        turn = np.arange(dsp.samples(min(note.length + 0.04, seconds - note.start))) * (note.hz / SAMPLE_RATE)
        tone = sum(read_table(table, turn * 2 ** (cent / 1200) + rng.uniform(0, 1)) for cent in cents)
        dsp.place(out, dsp.fade(np.asarray(tone), 0.02, 0.04), note.start, note.strength)
    return out


def oom_pah(rng: np.random.Generator, key: Key, seconds: float, beat: float, waltz: bool) -> list[Note]:
    """Left hand: bass note on one, short chords on the other beats."""
    order, notes, count = PROGRESSIONS[rng.integers(len(PROGRESSIONS))], [], 3 if waltz else 2
    for step in range(int(seconds / beat)):
        degree, at = order[step // (2 * count) % 4], max(0.0, 0.02 + step * beat + float(rng.normal(0, 0.006)))
        if step % count == 0:
            notes.append(Note(at, 0.7 * beat, pitch(triad(key, degree, 41)[0], key), 0.7))
        else:
            notes += [Note(at, 0.4 * beat, pitch(m, key), 0.32) for m in triad(key, degree, 53)]
    return [n for n in notes if n.start < seconds - 0.1]


@sound(
    "accordion",
    family=FAMILY,
    label="accordion music",
    clauses=("an accordion plays", "someone plays the accordion", "a squeezebox plays a waltz"),
    min_seconds=1.5,
)
def accordion(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Beating reeds in the right hand, bass and chords in the left, breathing with the bellows."""
    key, beat = random_key(rng, (MAJOR, MINOR)), rng.uniform(0.26, 0.5)
    tune = melody(rng, seconds, key, 62, 82, beat, legato=0.93)
    if rng.random() < 0.5:
        third = 2 ** (-rng.integers(3, 5) / 12)
        tune += [n._replace(hz=n.hz * third, strength=0.6 * n.strength) for n in tune[::2]]
    wet, slope = rng.uniform(6, 22), rng.uniform(0.3, 0.8)
    cents = [0.0, wet] if rng.random() < 0.5 else [-wet, 0.0, wet * 0.9]
    right = reed_voice(rng, tune, seconds, cents, slope)
    left = reed_voice(rng, oom_pah(rng, key, seconds, beat, rng.random() < 0.6), seconds, [0.0], slope + 0.1)
    bellows = 1 + sway(rng, seconds, rng.uniform(0.6, 1.5), 0.2) + sway(rng, seconds, 12, 0.03)
    air = mellow(dsp.white(rng, seconds), 4000) * 0.03 * right.std()
    box = 0.15 * dsp.peak_normalise(body(rng, 0.04, (350, 5000), (0.03, 0.015), 16, 0.0))
    box[0] += 1.0
    voices = right + rng.uniform(0.4, 0.8) * left
    return fit(convolve(voices * np.clip(bellows, 0.4, 2) + air, box), seconds, 0.05)
