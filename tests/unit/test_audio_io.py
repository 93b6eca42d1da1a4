"""Sound in any common form: what comes out is known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from precompute import audio_io
from precompute.audio_io import UnusableAudio, Window


def tone(seconds: float, rate: int, hertz: float = 500.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def peak_frequency(x: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    return float(spectrum.argmax() * rate / len(x))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000, 96000, 192000])
def test_any_rate_becomes_the_models(tmp_path: Path, rate: int) -> None:
    sf.write(tmp_path / "a.wav", tone(1.0, rate), rate)
    x = audio_io.read(tmp_path / "a.wav", 16000)
    assert x.dtype == np.float32
    assert abs(len(x) - 16000) <= 2
    assert abs(peak_frequency(x, 16000) - 500) <= 2
    assert abs(np.abs(x[2000:-2000]).max() - 0.5) < 0.01


@pytest.mark.parametrize(("name", "tolerance"), [("a.wav", 1e-4), ("a.flac", 1e-4), ("a.ogg", 0.05), ("a.mp3", 0.05)])
def test_common_formats(tmp_path: Path, name: str, tolerance: float) -> None:
    sf.write(tmp_path / name, tone(1.0, 16000), 16000)
    x = audio_io.read(tmp_path / name, 16000)
    middle = slice(4000, 12000)
    assert abs(np.sqrt((x[middle] ** 2).mean()) - 0.5 / np.sqrt(2)) < tolerance
    assert abs(audio_io.info(tmp_path / name).seconds - 1.0) < 0.1


def test_channels_are_averaged(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.stack([np.full(100, 0.5), np.full(100, 0.25)], 1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(audio_io.read(tmp_path / "a.wav", 16000), 0.375, atol=1e-6)


def test_a_window_is_the_stretch_it_names(tmp_path: Path) -> None:
    ramp = np.arange(16000) / 16000
    sf.write(tmp_path / "a.wav", ramp, 16000, subtype="FLOAT")
    x = audio_io.read(tmp_path / "a.wav", 16000, Window(0.25, 0.5))
    np.testing.assert_allclose(x, ramp[4000:8000], atol=1e-6)
    assert len(audio_io.read(tmp_path / "a.wav", 16000, Window(0.75, 9.0))) == 4000
    with pytest.raises(UnusableAudio, match="after the end"):
        audio_io.read(tmp_path / "a.wav", 16000, Window(2.0, 3.0))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (3.0, [(0, 3.0)]),
        (4.0, [(0, 4)]),
        (4.1, [(0, 4)]),
        (4.2, [(0, 4), (4, 4.2)]),
        (12.0, [(0, 4), (4, 8), (8, 12)]),
        (0.2, [(0, 0.2)]),
        (0.1, []),
    ],
)
def test_windows(seconds: float, expected: list[tuple[float, float]]) -> None:
    assert audio_io.windows(seconds, 4.0, 0.2) == [Window(*w) for w in expected]


def test_first_window_only() -> None:
    assert audio_io.windows(100.0, 30.0, 0.2, first_only=True) == [Window(0, 30.0)]


def test_a_rounded_length_gives_no_extra_window() -> None:
    assert len(audio_io.windows(0.1 * 3 * 4, 0.4, 1e-9)) == 3


def test_silence(tmp_path: Path) -> None:
    audio_io.check_heard(np.array([0.0, 1e-3]), -70.0)
    for quiet in (np.zeros(10), np.full(10, 1e-4)):
        with pytest.raises(UnusableAudio, match="silent"):
            audio_io.check_heard(quiet, -70.0)


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("none.wav", None, "missing file"),
        ("empty.wav", b"", "empty file"),
        ("text.wav", b"this is no sound", "unreadable"),
        ("text.mp3", b"neither is this" * 50, "unreadable"),
        ("x.m4a", b"\0\0\0 ftypM4A ", "unreadable"),
    ],
)
def test_broken_files_have_a_reason(tmp_path: Path, name: str, content: bytes | None, status: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableAudio, match=status) as caught:
        audio_io.info(tmp_path / name)
    assert str(tmp_path) not in str(caught.value)


def test_files_without_samples_or_with_odd_rates_or_nan(tmp_path: Path) -> None:
    sf.write(tmp_path / "none.wav", np.zeros(0), 16000)
    with pytest.raises(UnusableAudio, match="empty: no samples"):
        audio_io.info(tmp_path / "none.wav")
    sf.write(tmp_path / "slow.wav", np.ones(100), 4000)
    with pytest.raises(UnusableAudio, match="4000 Hz is outside 8-192 kHz"):
        audio_io.info(tmp_path / "slow.wav")
    sf.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), 16000, subtype="FLOAT")
    with pytest.raises(UnusableAudio, match="NaN"):
        audio_io.read(tmp_path / "nan.wav", 16000)


def test_a_copy_is_the_sound_and_loud_ones_are_scaled_not_cut(tmp_path: Path) -> None:
    x = tone(0.1, 16000).astype(np.float32)
    audio_io.write_copy(tmp_path / "a.flac", x, 16000)
    y, rate = sf.read(tmp_path / "a.flac", dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(y, x, atol=1 / 32768)
    audio_io.write_copy(tmp_path / "b.flac", 4 * x, 16000)
    y, _ = sf.read(tmp_path / "b.flac", dtype="float32")
    np.testing.assert_allclose(y, x / np.abs(x).max(), atol=2 / 32768)
