"""Signal blocks the sound generators share. All signals are 1-D float64 at `SAMPLE_RATE`; times are seconds."""

from __future__ import annotations

import numpy as np
from scipy import signal

from precompute.soundscape.registry import SAMPLE_RATE

NYQUIST = SAMPLE_RATE / 2


def samples(seconds: float) -> int:
    """Whole number of samples in `seconds` (at least 1)."""
    return max(1, round(seconds * SAMPLE_RATE))


def times(seconds: float) -> np.ndarray:
    """Sample times of a stretch, shape [n]."""
    return np.arange(samples(seconds)) / SAMPLE_RATE


def white(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """White Gaussian noise of unit variance."""
    return rng.standard_normal(samples(seconds))


def coloured(rng: np.random.Generator, seconds: float, slope_db_per_octave: float) -> np.ndarray:
    """Gaussian noise whose power spectrum falls or rises by the given slope (pink = -3, brown = -6), unit variance."""
    n = samples(seconds)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    gain = (np.maximum(frequency, 20.0) / 1000.0) ** (slope_db_per_octave / 6.0206)
    shaped = np.fft.irfft(spectrum * gain, n)
    return shaped / (shaped.std() + 1e-12)


def _clip_band(low: float, high: float) -> tuple[float, float]:
    low = float(np.clip(low, 10.0, NYQUIST * 0.95))
    return low, float(np.clip(high, low * 1.02 + 1.0, NYQUIST * 0.99))


def lowpass(x: np.ndarray, hz: float, order: int = 2) -> np.ndarray:
    """Butterworth low-pass."""
    return signal.sosfilt(signal.butter(order, np.clip(hz, 10, NYQUIST * 0.99) / NYQUIST, "low", output="sos"), x)


def highpass(x: np.ndarray, hz: float, order: int = 2) -> np.ndarray:
    """Butterworth high-pass."""
    return signal.sosfilt(signal.butter(order, np.clip(hz, 10, NYQUIST * 0.99) / NYQUIST, "high", output="sos"), x)


def bandpass(x: np.ndarray, low: float, high: float, order: int = 2) -> np.ndarray:
    """Butterworth band-pass between two frequencies in Hz."""
    low, high = _clip_band(low, high)
    return signal.sosfilt(signal.butter(order, [low / NYQUIST, high / NYQUIST], "band", output="sos"), x)


def resonator(x: np.ndarray, hz: float, bandwidth: float, gain: float = 1.0) -> np.ndarray:
    """Two-pole resonance (a formant or a mode) of the given centre and bandwidth in Hz, unit peak gain times `gain`."""
    r = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    theta = 2 * np.pi * np.clip(hz, 10, NYQUIST * 0.98) / SAMPLE_RATE
    a = [1.0, -2 * r * np.cos(theta), r * r]
    peak = 1 / abs(np.polyval(a[::-1], np.exp(-1j * theta)))
    return signal.lfilter([gain / peak], a, x)


def formants(x: np.ndarray, centres: list[float], bandwidths: list[float], gains: list[float]) -> np.ndarray:
    """Parallel bank of resonances, as of a throat or a body."""
    return sum(resonator(x, f, b, g) for f, b, g in zip(centres, bandwidths, gains, strict=True))


def modes(
    seconds: float, hz: np.ndarray, decay: np.ndarray, gain: np.ndarray, phase: np.ndarray | None = None
) -> np.ndarray:
    """Sum of decaying sinusoids (a struck object): frequencies in Hz, T60 in seconds, linear gains."""
    t = times(seconds)
    phase = np.zeros(len(hz)) if phase is None else phase
    keep = np.asarray(hz) < NYQUIST * 0.98
    out = np.zeros_like(t)
    for f, d, g, p in zip(
        np.asarray(hz)[keep], np.asarray(decay)[keep], np.asarray(gain)[keep], phase[keep], strict=True
    ):
        out += g * np.exp(-6.91 * t / d) * np.sin(2 * np.pi * f * t + p)
    return out


def curve(points: list[tuple[float, float]], seconds: float) -> np.ndarray:
    """Piecewise-linear curve through (fraction of the stretch, value), one value a sample."""
    fraction, value = zip(*points, strict=True)
    return np.interp(np.linspace(0, 1, samples(seconds)), fraction, value)


def wander(rng: np.random.Generator, seconds: float, hz: float, depth: float) -> np.ndarray:
    """Slow random modulation around 0: standard deviation `depth`, bandwidth about `hz`."""
    knots = max(4, int(seconds * hz * 2) + 4)
    points = rng.standard_normal(knots) * depth
    grid = np.linspace(0, knots - 1, samples(seconds))
    lower = np.minimum(grid.astype(int), knots - 2)
    f = grid - lower
    f = f * f * (3 - 2 * f)
    return points[lower] * (1 - f) + points[lower + 1] * f


def phase_of(frequency: np.ndarray) -> np.ndarray:
    """Phase in radians of a signal whose frequency in Hz is given sample by sample."""
    return 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE


def sine(frequency: np.ndarray) -> np.ndarray:
    """Sine of a varying frequency."""
    return np.sin(phase_of(frequency))


def harmonics(frequency: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Harmonic series over a varying fundamental; harmonics above Nyquist are left out sample by sample."""
    phase = phase_of(frequency)
    out = np.zeros_like(phase)
    for n, g in enumerate(gains, start=1):
        if g != 0 and n * frequency.min() < NYQUIST * 0.97:
            out += g * np.sin(n * phase) * (n * frequency < NYQUIST * 0.97)
    return out


def pulses(frequency: np.ndarray, open_share: float = 0.6, jitter: np.ndarray | None = None) -> np.ndarray:
    """Glottal-like pulse train (rounded rise, sharp fall) at a varying frequency: a voiced source."""
    if jitter is not None:
        frequency = frequency * (1 + jitter)
    cycle = (np.cumsum(frequency) / SAMPLE_RATE) % 1.0
    shape = np.where(cycle < open_share, np.sin(np.pi * cycle / open_share) ** 2 * (cycle / open_share), 0.0)
    return np.diff(shape, prepend=0.0) * 8


def attack_decay(seconds: float, attack: float, decay: float) -> np.ndarray:
    """Linear attack, exponential decay with T60 = `decay`."""
    t = times(seconds)
    return np.minimum(t / max(attack, 1e-4), 1.0) * np.exp(-6.91 * np.maximum(t - attack, 0) / decay)


def fade(x: np.ndarray, attack: float = 0.005, release: float = 0.01) -> np.ndarray:
    """Raised-cosine fade in and out, seconds."""
    x = np.array(x, dtype=float)
    a, r = min(samples(attack), len(x) // 2), min(samples(release), len(x) // 2)
    if a > 0:
        x[:a] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(a) / a)
    if r > 0:
        x[-r:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, r + 1) / r)
    return x


def place(canvas: np.ndarray, x: np.ndarray, at: float, gain: float = 1.0) -> None:
    """Add `x` into `canvas` in place from second `at`; what falls outside is cut."""
    start = round(at * SAMPLE_RATE)
    if start < 0:
        x, start = x[-start:], 0
    stop = min(len(canvas), start + len(x))
    if stop > start:
        canvas[start:stop] += gain * x[: stop - start]


def soft_clip(x: np.ndarray, drive: float = 1.0) -> np.ndarray:
    """Saturate smoothly; larger `drive` is harsher."""
    return np.tanh(drive * x) / np.tanh(drive)


def peak_normalise(x: np.ndarray) -> np.ndarray:
    """Scale to a largest magnitude of 1 (silence stays silence)."""
    top = np.abs(x).max(initial=0.0)
    return x / top if top > 0 else x
