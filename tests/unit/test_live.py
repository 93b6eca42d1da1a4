from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ard.listening import ListenError
from ard.live import STOPPED, Live, LiveError, read_mono
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


def test_the_switches_reach_the_clamp(ready: tuple[Live, str, Path]) -> None:
    live, sae_id, clip = ready
    ask = {"sae_id": sae_id, "latents": [3], "values": [-1.0]}
    assert "kept by TopK at all" in live.steer(clip, PROMPT, **ask, when="after_topk").note
    everywhere = live.steer(clip, PROMPT, **ask).note
    assert live.steer(clip, PROMPT, **ask, positions="audio").note != everywhere
    with pytest.raises(SteeringError, match="decoding is 'never'"):
        live.steer(clip, PROMPT, **ask, decoding="never")


def test_a_stop_ends_both_answers_and_leaves_nothing_behind(ready: tuple[Live, str, Path]) -> None:
    live, sae_id, clip = ready
    ask = {"sae_id": sae_id, "latents": [3], "values": [1000.0]}
    prompt = "What else can be heard?"  # not asked before: nothing is remembered of it
    asked = 0

    def after_two_tokens() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    stopped = live.steer(clip, prompt, **ask, should_stop=after_two_tokens)
    assert (stopped.steered, stopped.note, asked) == ("", STOPPED, 3)
    whole = live.steer(clip, prompt, **ask)
    assert len(stopped.baseline) < len(whole.baseline)
    assert live.steer(clip, prompt, **ask, should_stop=lambda: False) == whole
    assert live.steer(clip, prompt, **ask, should_stop=lambda: True).note == STOPPED


def test_listening_gives_equation_2_over_every_window(ready: tuple[Live, str, Path], tmp_path: Path) -> None:
    live, sae_id, _ = ready
    lm, sae = live._lm, live._sae(sae_id)
    assert lm is not None
    sound = tone(5.0)
    soundfile.write(tmp_path / "long.wav", sound, 16_000, subtype="FLOAT")
    heard = live.listen(tmp_path / "long.wav", sae_id=sae_id, top=5)
    size = round(lm.window_s * 16_000)
    assert heard.windows == -(-len(sound) // size) > 1
    assert heard.tokens == sum(lm.audio_token_count(len(sound[i : i + size])) for i in range(0, len(sound), size))
    assert heard.seconds == pytest.approx(5.0)
    pieces = [sound[i : i + size] for i in range(0, len(sound), size)]
    x = []
    for piece in pieces:
        inputs = lm.prepare([piece], ["Any other question?"])
        x.append(lm.activations(inputs, [0])[0][inputs.audio])
    with torch.no_grad():
        z = sae.encode(torch.cat(x)).double().numpy()
    r = z.mean(0) * (z > 0).mean(0)
    assert [one.latent_id for one in heard.latents] == np.argsort(-r, kind="stable")[: len(heard.latents)].tolist()
    for one in heard.latents:
        assert one.values == pytest.approx(z[:, one.latent_id].tolist(), abs=1e-4)
        assert one.representativeness == pytest.approx(r[one.latent_id], rel=1e-4)
        assert (one.coverage, one.max_activation) == pytest.approx(
            ((z[:, one.latent_id] > 0).mean(), z[:, one.latent_id].max()), rel=1e-4
        )


def test_what_cannot_be_listened_to_is_one_sentence(ready: tuple[Live, str, Path], tmp_path: Path) -> None:
    live, sae_id, clip = ready
    with pytest.raises(ListenError, match="top is 0"):
        live.listen(clip, sae_id=sae_id, top=0)
    soundfile.write(tmp_path / "short.wav", np.zeros(10), 16_000)
    with pytest.raises(ListenError, match=r"lasts 0\.001 s"):
        live.listen(tmp_path / "short.wav", sae_id=sae_id, top=3)
    soundfile.write(tmp_path / "endless.wav", np.zeros(601 * 8000, dtype=np.float32), 8000)
    with pytest.raises(ListenError, match="lasts 601 s; give at most 600 s"):
        live.listen(tmp_path / "endless.wav", sae_id=sae_id, top=3)


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
