"""Fast blocks for struck, plucked and blown things: banks of decaying modes, one-cycle tables, control curves."""

from __future__ import annotations

import numpy as np
from scipy import fft, signal

from precompute.soundscape.dsp import NYQUIST, samples
from precompute.soundscape.registry import SAMPLE_RATE

TABLE_SIZE = 4096
"""Points in a one-cycle wave table, a power of two."""

CONTROL_STEP = 16
"""Samples between two points of a control curve (1 ms): loudness and pitch move slowly, so few points do."""

Span = tuple[float, float]


def _powers(z: np.ndarray, count: int) -> np.ndarray:
    """Rows z**0 … z**(count-1) for every z, shape [len(z), count], by doubling instead of `exp`."""
    out = np.empty((len(z), count), dtype=np.complex64)
    out[:, 0] = 1.0
    filled, step = 1, z
    while filled < count:
        more = min(filled, count - filled)
        np.multiply(out[:, :more], step[:, None].astype(np.complex64), out=out[:, filled : filled + more])
        filled, step = filled + more, step * step
    return out


def ring(
    seconds: float, hz: np.ndarray, t60: np.ndarray, gain: np.ndarray, phase: np.ndarray | None = None
) -> np.ndarray:
    """Sum of decaying cosines, Σ g·exp(−6.91 t/T60)·cos(2πft + φ), shape [n]; modes above 7.8 kHz are left out.

    A sample time is written as block + offset, so that the sum over modes is one matrix product: about ten times
    faster than one sine a mode.
    """
    hz, t60, gain = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (hz, t60, gain))
    phase = np.full(len(hz), -np.pi / 2) if phase is None else phase
    keep = hz < NYQUIST * 0.975
    n = samples(seconds)
    if not keep.any():
        return np.zeros(n)
    pole = np.exp(-6.91 / (t60[keep] * SAMPLE_RATE) + 2j * np.pi * hz[keep] / SAMPLE_RATE)
    block = 1 << max(4, int(np.log2(n) / 2))
    inner = _powers(pole, block)
    amplitude = (gain[keep] * np.exp(1j * phase[keep])).astype(np.complex64)
    outer = _powers(pole**block, -(-n // block)) * amplitude[:, None]
    left = np.concatenate([outer.real, -outer.imag])
    right = np.concatenate([inner.real, inner.imag])
    return (left.T @ right).ravel()[:n].astype(float)


def random_phases(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform phases in radians, shape [count]."""
    return rng.uniform(0, 2 * np.pi, count)


def body(rng: np.random.Generator, seconds: float, hz: Span, t60: Span, count: int, tilt_db: float) -> np.ndarray:
    """Impulse response of a case, a panel or a sheet, shape [n].

    `hz` is the lowest and the highest mode (modes are spread evenly in log frequency and shaken), `t60` the decay in
    seconds of the lowest and of the highest, `count` their number, `tilt_db` the gain change per octave.
    """
    share = (np.arange(count) + rng.uniform(0, 1, count)) / count
    centre = hz[0] * (hz[1] / hz[0]) ** share
    decay = t60[0] * (t60[1] / t60[0]) ** share * rng.uniform(0.7, 1.4, count)
    gain = 10 ** (tilt_db * np.log2(centre / hz[0]) / 20) * rng.lognormal(0, 0.5, count)
    return ring(seconds, centre, decay, gain, random_phases(rng, count))


def burst(rng: np.random.Generator, seconds: float, t60: float, attack: float = 0.0003) -> np.ndarray:
    """White noise with a very short rise and an exponential decay of `t60` seconds, shape [n]."""
    t = np.arange(samples(seconds)) / SAMPLE_RATE
    return rng.standard_normal(len(t)) * np.minimum(t / attack, 1.0) * np.exp(-6.91 * t / t60)


def convolve(x: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolution cut to the length of `x`, shape [n]."""
    return signal.oaconvolve(x, response)[: len(x)]


def wave_table(gains: np.ndarray, phase: np.ndarray | None = None) -> np.ndarray:
    """One cycle of a harmonic series (gain and phase of harmonics 1, 2, …), shape [TABLE_SIZE]."""
    spectrum = np.zeros(TABLE_SIZE // 2 + 1, dtype=complex)
    turn = -1j if phase is None else np.exp(1j * phase)
    spectrum[1 : len(gains) + 1] = gains * turn * TABLE_SIZE / 2
    return np.fft.irfft(spectrum, TABLE_SIZE)


def read_table(table: np.ndarray, cycles: np.ndarray) -> np.ndarray:
    """Values of a one-cycle table at a running count of cycles, shape of `cycles`."""
    return table[(cycles * TABLE_SIZE).astype(np.int64) & (TABLE_SIZE - 1)]


def cycles_of(frequency: np.ndarray, start: float = 0.0) -> np.ndarray:
    """Running count of cycles of a frequency curve in Hz."""
    return start + np.cumsum(frequency) / SAMPLE_RATE


def control_times(seconds: float) -> np.ndarray:
    """Times of the points of a control curve that covers `seconds`, shape [points]."""
    return np.arange(-(-samples(seconds) // CONTROL_STEP) + 1) * (CONTROL_STEP / SAMPLE_RATE)


def to_samples(control: np.ndarray, seconds: float) -> np.ndarray:
    """Straight lines between the points of a control curve, shape [n]."""
    share = np.arange(CONTROL_STEP) / CONTROL_STEP
    return (control[:-1, None] + np.diff(control)[:, None] * share).ravel()[: samples(seconds)]


def sway_control(rng: np.random.Generator, seconds: float, hz: float, depth: float) -> np.ndarray:
    """Control curve that wanders around 0 with standard deviation `depth` and a bandwidth of about `hz`."""
    t = control_times(seconds)
    knots = int(t[-1] * hz * 2) + 4
    value = rng.standard_normal(knots) * depth
    at = t * (knots - 2) / t[-1] + rng.uniform(0, 1) * 0.99
    low = at.astype(int)
    share = at - low
    share = share * share * (3 - 2 * share)
    return value[low] * (1 - share) + value[low + 1] * share


def sway(rng: np.random.Generator, seconds: float, hz: float, depth: float) -> np.ndarray:
    """`sway_control`, one value a sample."""
    return to_samples(sway_control(rng, seconds, hz, depth), seconds)


def bend(points: list[tuple[float, float]], seconds: float) -> np.ndarray:
    """Straight lines through (fraction of the stretch, value), one value a sample."""
    fraction, value = zip(*points, strict=True)
    t = control_times(seconds)
    return to_samples(np.interp(t / seconds, fraction, value), seconds)


def shaped_noise(rng: np.random.Generator, seconds: float, points: list[tuple[float, float]]) -> np.ndarray:
    """Gaussian noise of unit variance with the spectrum through (Hz, dB) points, straight in log frequency."""
    n = samples(seconds)
    size = fft.next_fast_len(n, real=True)
    hz, level = (np.array(v, dtype=float) for v in zip(*points, strict=True))
    grid = np.geomspace(20, NYQUIST, 200)
    gain = 10 ** (np.interp(np.log(grid), np.log(hz), level) / 20)
    curve = np.interp(np.arange(size // 2 + 1) * (SAMPLE_RATE / size), grid, gain)
    spectrum = rng.standard_normal((size // 2 + 1, 2), dtype=np.float32).view(np.complex64)[:, 0] * curve.astype(
        np.float32
    )
    x = fft.irfft(spectrum, size)[:n].astype(float)
    return x / (x.std() + 1e-12)


def thin(x: np.ndarray, hz: float) -> np.ndarray:
    """First-order high-pass."""
    r = np.exp(-2 * np.pi * hz / SAMPLE_RATE)
    return signal.lfilter([(1 + r) / 2, -(1 + r) / 2], [1.0, -r], x)


def mellow(x: np.ndarray, hz: float) -> np.ndarray:
    """First-order low-pass."""
    r = np.exp(-2 * np.pi * hz / SAMPLE_RATE)
    return signal.lfilter([1 - r], [1.0, -r], x)


def harmonic_count(hz: float) -> int:
    """How many harmonics of `hz` fit below 7.7 kHz (at least 1)."""
    return max(1, int(7700 / hz))


def fit(x: np.ndarray, seconds: float, release: float = 0.01) -> np.ndarray:
    """Cut to `seconds` with a short fade at the end, so that nothing stops with a click."""
    x = x[: samples(seconds)].copy()
    tail = min(samples(release), len(x))
    x[len(x) - tail :] *= np.linspace(1, 0, tail)
    return x
