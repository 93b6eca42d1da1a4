from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from explorer import players, render, render_steer
from explorer.queries_clips import Clip

CLIP = Clip("c1", "a.wav", 1.0, '<b>dog</b> & "cat"', [], 1.0, 1.0, 0.5, 0.5, [0.0, 2.0, 4.0, 0.0], 0.25)


def write(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples.astype(np.float32), 8000, subtype="FLOAT")
    return path


def test_peaks_follow_the_loudness(tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros(4000), 0.5 * np.ones(4000)])
    wave = players.waveform(write(tmp_path / "a.wav", samples))
    assert wave is not None
    assert wave.peaks == (0.0,) * 120 + (1.0,) * 120


def test_loud_and_quiet_clips_come_out_level(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 8000)
    for name, scale in (("loud", 0.9), ("quiet", 0.05)):
        wave = players.waveform(write(tmp_path / f"{name}.wav", scale * noise))
        assert wave is not None
        rms = wave.gain * scale * np.sqrt(np.mean(noise**2))
        assert rms == pytest.approx(players.LOUDNESS, rel=1e-3)


def test_levelling_never_clips(tmp_path: Path) -> None:
    click = np.zeros(8000)
    click[10] = 0.9
    wave = players.waveform(write(tmp_path / "click.wav", click))
    assert wave is not None
    assert wave.gain * 0.9 <= 1.0


@pytest.mark.parametrize("samples", [np.zeros(100), np.zeros(0), np.ones(1)])
def test_silence_and_single_samples_draw(tmp_path: Path, samples: np.ndarray) -> None:
    wave = players.waveform(write(tmp_path / "s.wav", samples))
    assert wave is not None
    assert len(wave.peaks) == players.BINS


def test_a_missing_or_broken_file_is_said_not_raised(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    assert players.waveform(tmp_path / "a.wav") is None
    assert players.waveform(tmp_path / "none.wav") is None
    card = players.clip_card(CLIP, 1, tmp_path, 4.0)
    assert "not in the run folder" in card
    assert "<audio" not in card


def test_strip_draws_one_bar_for_each_token_that_fires() -> None:
    svg = players.strip_svg([0.0, 2.0, 4.0, 0.0], top=4.0)
    assert re.findall(r'data-t="(\d)" x="(\d)" y="(\d+)"', svg) == [("1", "1", "41"), ("2", "2", "0")]
    assert players.strip_svg([], 1.0).count("<rect") == 0


def test_strip_in_words() -> None:
    assert players.activation_words(CLIP) == "Fires on 2 of 4 tokens, most (4.00) at 0.5 s."
    assert "does not fire" in players.activation_words(CLIP._replace(values=[0.0, 0.0]))


def test_text_is_escaped(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.ones(100))
    card = players.clip_card(CLIP, 1, tmp_path, 4.0)
    assert "<b>" not in card
    assert "&lt;b&gt;dog&lt;/b&gt; &amp; &quot;cat&quot;" in card


def test_the_card_says_where_the_clip_comes_from(tmp_path: Path) -> None:
    card = players.clip_card(CLIP._replace(clip_id="a/<1>.wav", labels=["dog", "rain"]), 1, tmp_path, 4.0)
    assert "<span>dog, rain</span><code>a/&lt;1&gt;.wav</code>" in card
    assert "<span>" not in players._source(CLIP._replace(labels=[]))


def test_marked_words() -> None:
    assert render_steer.marked("A dog barks.", "A <cat> meows.") == "A <mark>&lt;cat&gt; meows.</mark>"
    assert render_steer.marked("the same", "the same") == "the same"
    assert render_steer.marked("something", "") == ""


@pytest.mark.parametrize(
    ("n", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (13, "13th"), (22, "22nd"), (1111, "1,111th")],
)
def test_ordinals(n: int, text: str) -> None:
    assert render.ordinal(n) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0 %"), (0.00042, "0.042 %"), (0.055, "5.5 %"), (0.5, "50 %")],
)
def test_shares(value: float | None, text: str) -> None:
    assert render.share(value) == text
