"""A throat that animals and people share: a pulsed source with breath, through a tract whose resonances move.

Ours: the source is a band-limited pulse train with cycle-to-cycle disturbance (Klatt 1980 gives the cascade tract).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.fft import irfft, rfft
from scipy.signal import lfilter

from precompute.soundscape import dsp
from precompute.soundscape.registry import SAMPLE_RATE

_TAPS, _STEPS = 24, 64
_TOP_FORMANT = 7200.0
_HOP, _FFT, _MOST_TRACTS = 320, 1024, 48
_WINDOW = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * _HOP) / _HOP)
Track: TypeAlias = Sequence[Sequence[float]] | np.ndarray
"""Formants in Hz, [points in time, formants]."""


def _kernels() -> np.ndarray:
    """Windowed-sinc impulses delayed by 0, 1/64, … samples, shape [steps, taps]."""
    offset = np.arange(_TAPS)[None, :] - _TAPS // 2 - np.arange(_STEPS)[:, None] / _STEPS
    window = np.cos(np.pi * np.clip(offset / (_TAPS + 2), -0.5, 0.5)) ** 2
    return 0.93 * np.sinc(0.93 * offset) * window


_KERNELS = _kernels()


def _stretch(values: np.ndarray, factor: int, n: int) -> np.ndarray:
    """Straight lines between `values` that are `factor` samples apart, the first `n` samples."""
    return (values[:-1, None] + np.diff(values)[:, None] * (np.arange(factor) / factor)).ravel()[:n]


def cycles(frequency: np.ndarray) -> np.ndarray:
    """Whole and part cycles run through so far by a tone of the given frequency [n] in Hz."""
    return np.cumsum(frequency) / SAMPLE_RATE


def tone(cycle: np.ndarray) -> np.ndarray:
    """Sine of the given cycles [n]; single precision inside, which is several times as fast."""
    return np.sin((2 * np.pi * (cycle - np.floor(cycle))).astype(np.float32)).astype(np.float64)


def glide(points: Sequence[tuple[float, float]], seconds: float) -> np.ndarray:
    """Smooth curve through (fraction of the stretch, value) that never overshoots, one value a sample.

    Cubic Hermite pieces with harmonic-mean slopes (Fritsch and Butland 1984).
    """
    x, y = np.array(points, dtype=float).T
    step = np.diff(x)
    secant = np.diff(y) / step
    slope = np.zeros(len(x))
    slope[0], slope[-1] = secant[0], secant[-1]
    product = secant[:-1] * secant[1:]
    same = product > 0
    slope[1:-1][same] = 2 * product[same] / (secant[:-1] + secant[1:])[same]
    n = dsp.samples(seconds)
    factor = 64 if n > 16_000 else 16
    at = np.arange(n // factor + 2) * (factor / max(n - 1, 1))
    piece = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(step) - 1)
    h = step[piece]
    t = (at - x[piece]) / h
    u = 1 - t
    coarse = (1 + 2 * t) * u * u * y[piece] + t * u * u * h * slope[piece]
    coarse += t * t * (3 - 2 * t) * y[piece + 1] - t * t * u * h * slope[piece + 1]
    return _stretch(coarse, factor, n)


def soften(x: np.ndarray, hz: float) -> np.ndarray:
    """One-pole low-pass: above `hz` the spectrum falls by 6 dB an octave."""
    pole = np.exp(-2 * np.pi * hz / SAMPLE_RATE)
    return lfilter([1 - pole], [1, -pole], x)


def thin(x: np.ndarray, hz: float) -> np.ndarray:
    """One-pole high-pass: below `hz` the spectrum falls by 6 dB an octave."""
    pole = np.exp(-2 * np.pi * hz / SAMPLE_RATE)
    return lfilter([0.5 + 0.5 * pole, -0.5 - 0.5 * pole], [1, -pole], x)


def pulse_train(
    rng: np.random.Generator, f0: np.ndarray, jitter: float, shimmer: float, subharmonic: float
) -> np.ndarray:
    """Unit-power impulses at the cycles of `f0` [n] in Hz.

    `jitter` and `shimmer` are relative disturbances of a cycle's time and height; `subharmonic` (0 to 1) lowers and
    delays every other cycle, which adds tones between the harmonics (a rough voice).
    """
    phase = cycles(f0)
    cycle = np.arange(1, max(2, int(phase[-1])))
    odd = (cycle % 2).astype(float)
    at = np.interp(
        cycle + jitter * rng.standard_normal(len(cycle)) + 0.12 * subharmonic * odd, phase, np.arange(len(f0))
    )
    height = (1 + shimmer * rng.standard_normal(len(cycle))) * (1 - 0.7 * subharmonic * odd)
    whole = np.floor(at).astype(int)
    height = height * np.sqrt(SAMPLE_RATE / f0[np.clip(whole, 0, len(f0) - 1)])
    kernel = _KERNELS[((at - whole) * _STEPS).astype(int)]
    position = np.clip(whole[:, None] + np.arange(_TAPS)[None, :], 0, len(f0) + _TAPS - 1)
    train = np.bincount(position.ravel(), weights=(kernel * height[:, None]).ravel(), minlength=len(f0) + _TAPS)
    return train[_TAPS // 2 : _TAPS // 2 + len(f0)]


def _responses(centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Transfer functions [frames, bins] of cascades of resonances with unit gain at 0 Hz (Klatt 1980, Eq. 1-3).

    `centres` [frames, formants] and `widths` [formants] are in Hz.
    """
    radius = np.exp(-np.pi * widths / SAMPLE_RATE)
    b = 2 * radius * np.cos(2 * np.pi * centres / SAMPLE_RATE)
    c = np.broadcast_to(-radius * radius, b.shape)
    denominator = np.zeros((len(centres), 2 * centres.shape[1] + 1))
    denominator[:, 0] = 1.0
    for k in range(centres.shape[1]):
        before = denominator.copy()
        denominator[:, 1:] -= b[:, k, None] * before[:, :-1]
        denominator[:, 2:] -= c[:, k, None] * before[:, :-2]
    gain = np.prod(1 - b - c, axis=1)
    return gain[:, None] / rfft(denominator, _FFT, axis=1)


def _with_upper_formants(track: np.ndarray, widths: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Append resonances above the given ones, evenly spaced up to the band's top."""
    last = track[:, -1].mean()
    spacing = max(450.0, last / max(1.0, track.shape[1] - 0.5))
    upper = np.arange(last + spacing, _TOP_FORMANT, spacing)
    if len(upper) == 0:
        return track, np.asarray(widths, dtype=float)
    full = np.concatenate([track, np.repeat(upper[None, :], len(track), axis=0)], axis=1)
    return full, np.concatenate([np.asarray(widths, dtype=float), 0.045 * upper + 60])


def tract(x: np.ndarray, track: Track, widths: Sequence[float], upper: bool = True) -> np.ndarray:
    """Filter `x` [n] with resonances that glide through `track` [points, formants] in Hz, evenly spaced in time.

    `widths` [formants] are bandwidths in Hz; `upper` adds resonances above the last one. Overlapping stretches of
    40 ms are filtered with a fixed tract each and added up.
    """
    points, width = np.atleast_2d(np.asarray(track, dtype=float)), np.asarray(widths, dtype=float)
    if upper:
        points, width = _with_upper_formants(points, width)
    count = len(x) // _HOP + 2
    along = np.linspace(0, len(points) - 1, count)
    centres = np.stack([np.interp(along, np.arange(len(points)), f) for f in points.T], axis=1)
    padded = np.zeros((count + 1) * _HOP)
    padded[_HOP : _HOP + len(x)] = x
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * _HOP)[::_HOP] * _WINDOW
    own = np.unique(np.linspace(0, count - 1, min(count, _MOST_TRACTS)).round().astype(int))
    response = _responses(centres[own], width).astype(np.complex64)
    response = response[np.searchsorted(own, np.arange(count))]
    filtered = irfft(rfft(frames.astype(np.float32), _FFT, axis=1) * response, _FFT, axis=1)
    parts = -(-_FFT // _HOP)
    filtered = np.pad(filtered, ((0, 0), (0, parts * _HOP - _FFT))).reshape(count, parts, _HOP)
    out = np.zeros((count + parts, _HOP))
    for part in range(parts):
        out[part : part + count] += filtered[:, part]
    return out.ravel()[_HOP : _HOP + len(x)]


@dataclass(frozen=True)
class Throat:
    """How one creature's voice is made."""

    track: Track
    """Formants in Hz, [points in time, formants]."""
    widths: Sequence[float]
    """Formant bandwidths in Hz, [formants]."""
    tilt_hz: float = 800.0
    """Above this frequency the pulses fall by 6 dB an octave: low is soft, high is pressed."""
    breath: float = 0.1
    """Level of turbulence against the pulses."""
    jitter: float = 0.01
    shimmer: float = 0.06
    subharmonic: float = 0.0
    rough_hz: float = 0.0
    """Rate of a harsh flutter of the loudness; 0 is none."""
    rough: float = 0.0
    """Depth of this flutter, 0 to 1."""
    upper: bool = True
    """Whether resonances continue evenly above the given ones."""


def turbulence(rng: np.random.Generator, n: int, rise: float = 0.7) -> np.ndarray:
    """Noise of air through a narrow opening, [n], about unit power; `rise` (0 to 1) tips it to high frequencies."""
    noise = rng.standard_normal(n + 1, dtype=np.float32).astype(np.float64)
    return (noise[1:] - rise * noise[:-1]) / np.sqrt(1 + rise * rise)


def drift(rng: np.random.Generator, n: int, hz: float, depth: float) -> np.ndarray:
    """Random straight-line wander around 0, [n]: standard deviation about `depth`, bandwidth about `hz`."""
    factor = max(1, min(int(SAMPLE_RATE / (2 * hz)), n))
    return _stretch(rng.standard_normal(n // factor + 2) * depth, factor, n)


def source(
    rng: np.random.Generator, f0: np.ndarray, throat: Throat, breath_shape: np.ndarray | float = 1.0
) -> np.ndarray:
    """What the tract of `throat` is driven with at pitch `f0` [n] in Hz: pulses of unit power, and breath."""
    train = pulse_train(rng, f0, throat.jitter, throat.shimmer, throat.subharmonic)
    train = thin(soften(train, throat.tilt_hz), 0.5 * float(f0.min()))
    train /= np.sqrt(np.mean(train * train)) + 1e-9
    gate = 0.65 + 0.35 * tone(cycles(f0) + 0.25)
    drive = train + throat.breath * breath_shape * gate * turbulence(rng, len(f0))
    if throat.rough > 0:
        flutter = tone(cycles(throat.rough_hz * (1 + drift(rng, len(f0), 12.0, 0.25))))
        drive = drive * (1 - throat.rough * (0.5 + 0.5 * flutter))
    return drive


def voice(
    rng: np.random.Generator, f0: np.ndarray, throat: Throat, breath_shape: np.ndarray | float = 1.0
) -> np.ndarray:
    """Sound of `throat` at pitch `f0` [n] in Hz, peak 1. `breath_shape` scales the turbulence over time."""
    drive = source(rng, f0, throat, breath_shape)
    return dsp.peak_normalise(tract(drive, throat.track, throat.widths, throat.upper))


def swell(seconds: float, attack: float, release: float, sag: float = 0.0) -> np.ndarray:
    """Loudness envelope: rounded rise, a body that sags by `sag` (0 to 1), rounded fall; seconds."""
    body = 1 - sag * np.linspace(0, 1, dsp.samples(seconds))
    return dsp.fade(body, attack, release)


def in_turn(
    seconds: float, make: Callable[[int], np.ndarray], pause: Callable[[int], float], lead: float = 0.0, most: int = 99
) -> np.ndarray:
    """Play `make(0)`, a silence of `pause(0)` seconds, `make(1)`, … while each still fits into `seconds`.

    The first one is always played, cut to the stretch if it must be.
    """
    limit = dsp.samples(seconds)
    canvas, start, end = np.zeros(limit), dsp.samples(lead) if lead > 0 else 0, 0
    for i in range(most):
        x = make(i)
        if start + len(x) > limit:
            if i > 0:
                break
            start, x = 0, x if len(x) <= limit else dsp.fade(x[:limit], 0.0, 0.03)
        canvas[start : start + len(x)] += x
        end = start + len(x)
        start = end + dsp.samples(pause(i))
    return canvas[:end]
