"""What a captioner other than the run's own model hears: its own rate, and no clip that it would have to cut."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from precompute.stages.base import StageError
from precompute.stages.captions import _heard


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    t = np.arange(32_000) / 16_000
    sf.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * t), 16_000)
    return tmp_path / "a.wav"


def test_a_clip_is_heard_at_the_captioners_rate(clip: Path) -> None:
    heard = _heard(clip, "a", SimpleNamespace(name="c", sampling_rate=8_000, window_s=2.0))
    assert heard.dtype == np.float32
    assert len(heard) == 16_000
    middle = heard[4_000:12_000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440
    same = _heard(clip, "a", SimpleNamespace(name="c", sampling_rate=16_000, window_s=2.0))
    assert np.array_equal(same, sf.read(clip, dtype="float32")[0])


def test_a_longer_clip_than_it_hears_at_once_is_refused_and_not_cut(clip: Path) -> None:
    with pytest.raises(StageError, match=r"Clip a lasts 2.00 s and the captioner c hears 1.5 s.*data.window_s=1.5"):
        _heard(clip, "a", SimpleNamespace(name="c", sampling_rate=16_000, window_s=1.5))
