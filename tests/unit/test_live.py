from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ard.live import Live, LiveError, read_mono
from ard.sae import SAEConfig, TopKSAE
from ard.steering import SteeringError
from ard.store import Run
from tests.fixtures.models import save_tiny_audio_lm, tone

PROMPT = "What sound is this?"
D_IN = 32


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> tuple[Live, str, Path]:
    """A loaded tiny model with one SAE, and a clip at another sample rate."""
    folder = tmp_path_factory.mktemp("live")
    save_tiny_audio_lm(folder / "model", d_model=D_IN)
    run = Run.create(folder / "run")
    cfg = SAEConfig(hookpoint="layers.0", d_in=D_IN, expansion=2, k=4, recipe="recommended")
    TopKSAE(cfg).save(run.sae_dir(cfg.sae_id))
    clip = folder / "clip.wav"
    soundfile.write(clip, tone(1.0, rate=22_050), 22_050)
    live = Live(run, folder / "model", device="cpu").start()
    deadline = time.monotonic() + 120
    while live.status().loading and time.monotonic() < deadline:
        time.sleep(0.05)
    assert live.status().available, live.status().message
    return live, cfg.sae_id, clip


def test_a_question_is_answered_twice(ready: tuple[Live, str, Path]) -> None:
    live, sae_id, clip = ready
    first = live.steer(clip, PROMPT, sae_id=sae_id, latents=[3], values=[1000.0])
    again = live.steer(clip, PROMPT, sae_id=sae_id, latents=[3], values=[1000.0])
    assert first == again
    assert "kept by TopK at all" in first.note


def test_a_value_too_small_to_matter_is_said(ready: tuple[Live, str, Path]) -> None:
    live, sae_id, clip = ready
    assert "vanished in TopK" in live.steer(clip, PROMPT, sae_id=sae_id, latents=[3], values=[-1.0]).note


def test_what_cannot_be_steered_is_one_sentence(ready: tuple[Live, str, Path], tmp_path: Path) -> None:
    live, sae_id, clip = ready
    with pytest.raises(SteeringError, match="latents contains"):
        live.steer(clip, PROMPT, sae_id=sae_id, latents=[10_000], values=[1.0])
    with pytest.raises(ValueError, match="SAE"):
        live.steer(clip, PROMPT, sae_id="layers.0", latents=[1], values=[1.0])
    with pytest.raises(LiveError, match="missing or unreadable"):
        live.steer(tmp_path / "none.wav", PROMPT, sae_id=sae_id, latents=[1], values=[1.0])


def test_a_model_that_is_not_there_says_so(tmp_path: Path) -> None:
    live = Live(Run(tmp_path), tmp_path / "no-model", device="cpu")
    live._load()
    status = live.status()
    assert (status.available, status.loading) == (False, False)
    assert "no-model" in status.message
    with pytest.raises(LiveError, match="could not be loaded"):
        live.steer(tmp_path / "a.wav", PROMPT, sae_id="x", latents=[0], values=[1.0])


def test_clips_become_mono_at_the_models_rate(tmp_path: Path) -> None:
    stereo = np.stack([np.ones(8000), np.zeros(8000)], axis=1).astype(np.float32)
    soundfile.write(tmp_path / "s.wav", stereo, 8000, subtype="FLOAT")
    samples = read_mono(tmp_path / "s.wav", 16_000)
    assert samples.shape == (16_000,)
    assert samples.dtype == np.float32
    assert samples[4000:12_000].mean() == pytest.approx(0.5, abs=1e-3)
