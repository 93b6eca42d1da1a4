"""Read audio files of any common format as mono float32, resample them, cut them into windows, write copies."""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
import soxr

MIN_RATE, MAX_RATE = 8_000, 192_000
EXTENSIONS = frozenset(
    {
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".caf",
        ".w64",
        ".rf64",
    }
    | {".m4a", ".aac", ".wma", ".mp4", ".webm"}
)
"""File names taken for audio. Those that cannot be decoded are listed with the reason, not passed over."""


class UnusableAudio(ValueError):
    """A file or stretch of sound that cannot become a clip; the message is the clip's `status`."""


class Window(NamedTuple):
    """A stretch of a recording, in seconds of the source file."""

    start_s: float
    end_s: float


class Info(NamedTuple):
    """What a file's header says."""

    seconds: float
    sample_rate: int
    channels: int


@contextmanager
def _opened(sound: Path | bytes) -> Iterator[sf.SoundFile]:
    target = io.BytesIO(sound) if isinstance(sound, bytes) else sound
    try:
        with sf.SoundFile(target) as file:
            yield file
    except (sf.LibsndfileError, OSError) as error:
        missing = isinstance(sound, Path) and not sound.is_file()
        raise UnusableAudio("missing file" if missing else f"unreadable: {_short(error, target)}") from None


def _short(error: Exception, target: Path | io.BytesIO) -> str:
    shown = str(target) if isinstance(target, Path) else target
    text = str(error).replace(repr(shown), "").replace("Error opening :", "").strip(" .")
    return text or type(error).__name__


def info(sound: Path | bytes) -> Info:
    """Length, sample rate and channels of a file, or of a file's bytes.

    Raises:
        UnusableAudio: missing, not decodable, empty, or a sample rate outside 8–192 kHz.
    """
    if not sound if isinstance(sound, bytes) else sound.is_file() and sound.stat().st_size == 0:
        raise UnusableAudio("empty file")
    with _opened(sound) as file:
        if not MIN_RATE <= file.samplerate <= MAX_RATE:
            raise UnusableAudio(f"sample rate {file.samplerate} Hz is outside 8-192 kHz")
        if file.frames <= 0:
            raise UnusableAudio("empty: no samples")
        return Info(file.frames / file.samplerate, file.samplerate, file.channels)


def read(sound: Path | bytes, rate: int, window: Window | None = None) -> np.ndarray:
    """Mono float32 samples at `rate` Hz of one stretch of a file, or of all of it.

    Channels are averaged; resampling is soxr's HQ. A stretch that ends after the file ends there.

    Raises:
        UnusableAudio: missing, not decodable (also half-way), empty, or not finite.
    """
    with _opened(sound) as file:
        first = 0 if window is None else round(window.start_s * file.samplerate)
        frames = -1 if window is None else round(window.end_s * file.samplerate) - first
        if first >= max(file.frames, 1):
            raise UnusableAudio("empty: it starts after the end of the file")
        file.seek(first)
        samples = file.read(frames, dtype="float32", always_2d=True)
        source_rate = file.samplerate
    if not len(samples):
        raise UnusableAudio("empty: no samples")
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise UnusableAudio("unreadable: NaN or infinite samples")
    return resample(mono, source_rate, rate)


def resample(mono: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    """Samples [n] at `rate` Hz, float32."""
    if source_rate == rate:
        return np.ascontiguousarray(mono, dtype=np.float32)
    return np.asarray(soxr.resample(mono, source_rate, rate, quality="HQ"), dtype=np.float32)


def windows(seconds: float, window_s: float, min_s: float, *, first_only: bool = False) -> list[Window]:
    """Consecutive windows of at most `window_s` that cover a recording; a last one shorter than `min_s` is dropped.

    A recording shorter than `min_s` gives no window at all.
    """
    out = []
    count = 1 if first_only else int(np.ceil(round(seconds / window_s, 6)))
    for i in range(max(count, 1)):
        window = Window(i * window_s, min((i + 1) * window_s, seconds))
        if window.end_s - window.start_s >= min_s - 1e-9:
            out.append(window)
    return out


def check_heard(samples: np.ndarray, silence_db: float) -> None:
    """Refuse a clip whose peak stays below `silence_db` dB relative to full scale.

    Raises:
        UnusableAudio: silent.
    """
    peak = float(np.abs(samples).max())
    if peak <= 10 ** (silence_db / 20):
        raise UnusableAudio("silent")


def write_copy(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write samples [n] as 16-bit FLAC. Ours: a clip whose peak exceeds full scale is scaled down to it, never cut."""
    peak = float(np.abs(samples).max(initial=0.0))
    try:
        sf.write(path, samples / peak if peak > 1 else samples, rate, format="FLAC", subtype="PCM_16")
    except sf.LibsndfileError as error:
        raise OSError(errno.EIO, f"the copy cannot be written ({error})", str(path)) from error


def sha256(sound: Path | bytes) -> str:
    """Hex digest of a file's bytes.

    Raises:
        UnusableAudio: the file cannot be read.
    """
    if isinstance(sound, bytes):
        return hashlib.sha256(sound).hexdigest()
    try:
        with sound.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnusableAudio("missing file" if not sound.exists() else f"unreadable: {error.strerror}") from None
