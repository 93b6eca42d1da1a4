"""Shared blocks of the weather, vehicle and alarm generators: shaped noise, scattered events, struck resonators.

All signals are 1-D arrays at `SAMPLE_RATE`; times are seconds. Noise is drawn uniform, not Gaussian: after the filters
it is as good as Gaussian, and it costs a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft, signal

from precompute.soundscape.dsp import fade, peak_normalise, samples
from precompute.soundscape.registry import SAMPLE_RATE

Points = Sequence[tuple[float, float]]
"""A spectrum as (Hz, dB) points, straight lines between them over log frequency."""

_STEP = 64
_ROOT3 = np.float32(np.sqrt(3.0))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One draw from [low, high)."""
    return float(rng.uniform(low, high))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """One draw whose logarithm is uniform between two positive bounds."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def log_uniforms(rng: np.random.Generator, low: float, high: float, size: int) -> np.ndarray:
    """Draws whose logarithm is uniform between two positive bounds; shape [size]."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def poisson(rng: np.random.Generator, seconds: float, rate: float) -> np.ndarray:
    """Random times in seconds, `rate` per second on average, at least one; shape [count]."""
    return rng.uniform(0, seconds, max(1, int(rng.poisson(rate * seconds))))


def finish(rng: np.random.Generator, x: np.ndarray, attack: float = 0.03, release: float = 0.05) -> np.ndarray:
    """Fade the ends and set the peak to a random level between 0.3 and 1."""
    return fade(peak_normalise(x), attack, release) * uniform(rng, 0.3, 1.0)


def unit(x: np.ndarray) -> np.ndarray:
    """Scale to a root-mean-square of 1 (silence stays silence)."""
    rms = float(np.sqrt(np.mean(np.square(x))))
    return x / rms if rms > 0 else x


def white(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """White noise of unit variance, float32, shape [n]."""
    return (rng.random(samples(seconds), dtype=np.float32) - np.float32(0.5)) * (2 * _ROOT3)


def slow(seconds: float) -> np.ndarray:
    """Times in s of a control signal with one value every 4 ms, two past the end; see `full_rate`; shape [m]."""
    return np.arange(samples(seconds) // _STEP + 2) * _STEP / SAMPLE_RATE


def full_rate(control: np.ndarray, seconds: float) -> np.ndarray:
    """Straight-line interpolation of a control signal on the times of `slow` to every sample; shape [n]."""
    ramp = np.arange(_STEP) / _STEP
    return (control[:-1, None] + np.diff(control)[:, None] * ramp).ravel()[: samples(seconds)]


def drift(rng: np.random.Generator, seconds: float, hz: float, depth: float) -> np.ndarray:
    """Slow random signal around 0 on the times of `slow`: standard deviation about `depth`, bandwidth about `hz`."""
    knots = rng.standard_normal(int(seconds * hz * 2) + 5) * depth
    grid = slow(seconds) * hz * 2 + 0.5
    lower = grid.astype(int)
    part = grid - lower
    part = part * part * (3 - 2 * part)
    return knots[lower] * (1 - part) + knots[lower + 1] * part


def wobble(rng: np.random.Generator, seconds: float, hz: float, depth: float) -> np.ndarray:
    """`drift` at every sample, shape [n]."""
    return full_rate(drift(rng, seconds, hz, depth), seconds)


def gain_at(hz: np.ndarray, points: Points) -> np.ndarray:
    """Linear gain at the frequencies `hz` of a spectrum given as points."""
    at, db = zip(*points, strict=True)
    return 10 ** (np.interp(np.log(np.maximum(hz, 10.0)), np.log(at), db) / 20)


def hump(centre: float, below: float, above: float) -> Points:
    """A spectrum around one resonance, falling by `below` and `above` dB an octave on its two sides."""
    edge = min(centre * 2, 7800)
    return [
        (60, below * np.log2(60 / centre)),
        (centre, 0),
        (edge, -above),
        (8000, -above * np.log2(8000 / centre) - 0.1),
    ]


def colour(points: Points, length: int = 1024) -> np.ndarray:
    """Minimum-phase impulse response of unit energy with the given spectrum (real cepstrum folded); shape [length]."""
    size = 2048
    magnitude = gain_at(fft.rfftfreq(size, 1 / SAMPLE_RATE), points)
    cepstrum = fft.irfft(np.log(magnitude), size)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    response = fft.irfft(np.exp(fft.rfft(cepstrum)), size)[:length]
    response *= 0.5 + 0.5 * np.cos(np.pi * np.arange(length) / length)
    return response / np.sqrt((response**2).sum())


def canvas(seconds: float, block: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """Axes of a time-frequency picture for `painted`: times in s [frames, 1] and frequencies in Hz [1, bins]."""
    hop = block // 2
    t = np.arange(samples(seconds) // hop + 2) * hop / SAMPLE_RATE
    return t[:, None], fft.rfftfreq(block, 1 / SAMPLE_RATE)[None, :]


def painted(rng: np.random.Generator, seconds: float, gain: np.ndarray) -> np.ndarray:
    """Noise whose short-time amplitude spectrum is `gain` [frames, bins] on the axes of `canvas`; shape [n].

    Independent noise blocks under a sine window, half overlapped: the squared windows add up to 1 at every sample.
    """
    frames, bins = gain.shape
    block = 2 * (bins - 1)
    hop = block // 2
    z = (rng.random((frames, 2 * bins), dtype=np.float32) - np.float32(0.5)).view(np.complex64)
    window = (np.sin(np.pi * (np.arange(block) + 0.5) / block) * np.sqrt(6 * block)).astype(np.float32)
    blocks = fft.irfft(z * gain.astype(np.float32), block, axis=1) * window
    out = np.zeros((frames + 1) * hop)
    out[: frames * hop] += blocks[:, :hop].ravel()
    out[hop:] += blocks[:, hop:].ravel()
    return out[hop : hop + samples(seconds)]


def scatter(n: int, at: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Impulses of the given gains at seconds `at`, split between the nearest two samples; others are lost; [n]."""
    position = at * SAMPLE_RATE
    keep = (position >= 0) & (position < n - 1)
    position, gain = position[keep], gain[keep]
    index = position.astype(int)
    part = position - index
    return np.bincount(index, gain * (1 - part), n)[:n] + np.bincount(index + 1, gain * part, n)[:n]


def puffs(impulses: np.ndarray, decay: float) -> np.ndarray:
    """Every impulse replaced by an exponential decay with the time constant `decay` in s; shape [n].

    The offset keeps the filter's memory out of the subnormal numbers, on which it would be ten times slower.
    """
    return signal.lfilter([1.0], [1.0, -np.exp(-1 / (decay * SAMPLE_RATE))], impulses + 1e-30)


def excite(n: int, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Σ signal ∗ impulse response, cut to n samples; overlap-add with one transform back for all pairs; shape [n]."""
    longest = max(len(response) for _, response in pairs)
    size = 1 << int(np.ceil(np.log2(min(max(4096, 6 * longest), n + longest))))
    hop = size - longest + 1
    rows = -(-n // hop)
    total = np.zeros((rows, size // 2 + 1), dtype=np.complex64)
    for x, response in pairs:
        framed = np.zeros((rows, size), dtype=np.float32)
        for row in range(rows):
            piece = x[row * hop : min((row + 1) * hop, n)]
            framed[row, : len(piece)] = piece
        total += fft.rfft(framed, axis=1, overwrite_x=True) * fft.rfft(response.astype(np.float32), size)
    out = np.zeros(rows * hop + longest)
    for row, block in enumerate(fft.irfft(total, size, axis=1)):
        out[row * hop : row * hop + size] += block
    return out[:n]


def ringing(seconds: float, hz: np.ndarray, t60: np.ndarray, gain: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Σ g·exp(-6.91 t/T60)·sin(2πft+φ), as a matrix product over blocks of 256 samples; shape [n]."""
    n = samples(seconds)
    keep = hz < SAMPLE_RATE * 0.49
    s = (-6.91 / t60[keep] + 2j * np.pi * hz[keep]) / SAMPLE_RATE
    coarse = np.exp(np.outer(np.arange(n // 256 + 1) * 256, s)) * (gain[keep] * np.exp(1j * phase[keep]))
    return (coarse @ np.exp(np.outer(s, np.arange(256)))).imag.ravel()[:n]


def cycle(gains: np.ndarray, size: int = 8192) -> np.ndarray:
    """One cycle of Σ g_k·sin(kφ), k = 1…; complex gains add a phase; float32, shape [size]."""
    spectrum = np.zeros(size // 2 + 1, dtype=np.complex64)
    spectrum[1 : len(gains) + 1] = -0.5j * size * np.asarray(gains)
    return fft.irfft(spectrum, size)


def read(table: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """A stored cycle (its length a power of 2) read at the phases `turns`, counted in whole turns; shape [n]."""
    return table[(turns * len(table)).astype(int) & (len(table) - 1)].astype(float)


def turns_of(hz: np.ndarray) -> np.ndarray:
    """Turns so far of an oscillator whose frequency in Hz is given sample by sample; shape [n]."""
    return np.cumsum(hz) * (1 / SAMPLE_RATE)


def tone(hz: np.ndarray, gains: np.ndarray, ceiling: float = 7600.0) -> np.ndarray:
    """Harmonic tone Σ g_k·sin(kφ) over a varying fundamental, harmonics above `ceiling` Hz left out; shape [n]."""
    fitting = np.clip(ceiling / hz, 1, len(gains)).astype(int)
    fewest, most = int(fitting.min()), int(fitting.max())
    turns = turns_of(hz)
    if fewest == most:
        return read(cycle(gains[:most]), turns)
    tables = np.concatenate([cycle(gains[:k]) for k in range(fewest, most + 1)])
    size = len(tables) // (most - fewest + 1)
    return tables[((turns * size).astype(int) & (size - 1)) + (fitting - fewest) * size].astype(float)


def bubbles(
    rng: np.random.Generator,
    n: int,
    at: np.ndarray,
    hz: np.ndarray,
    gain: np.ndarray,
    rise: float = 0.1,
    longest: float = 0.06,
) -> np.ndarray:
    """Singing bubbles (Minnaert: f = 3/r; damping and rising pitch after van den Doel, 2005); shape [n].

    `rise` is the pitch slope in units of the damping: f(t) = f (1 + rise·d·t) with d = 0.13/r + 0.0072 r^-1.5 a second,
    r in metres. None rings beyond `longest` seconds.
    """
    radius = 3.0 / hz
    damping = (0.13 / radius + 0.0072 * radius**-1.5) * rng.uniform(0.6, 1.6, len(hz))
    out = np.zeros(n + samples(longest), dtype=np.float32)
    start = np.clip((at * SAMPLE_RATE).astype(int), 0, n)
    brief = 7.0 / damping < longest / 3
    for group, length in ((brief, longest / 3), (~brief, longest)):
        t = np.arange(samples(length), dtype=np.float32) / np.float32(SAMPLE_RATE)
        edge = np.clip(np.minimum(t / 0.0006, (length - t) / 0.008), 0, 1).astype(np.float32)
        d, f, g = (v[group].astype(np.float32)[:, None] for v in (damping, 2 * np.pi * hz, gain))
        decaying = d * t
        waves = np.sin(f * t * (1 + np.float32(0.5 * rise) * decaying))
        waves *= np.exp(np.negative(decaying, out=decaying), out=decaying)
        waves *= g * edge
        for first, wave in zip(start[group], waves, strict=True):
            out[first : first + len(wave)] += wave
    return out[:n].astype(float)
