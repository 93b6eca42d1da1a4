from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from torch.nn import functional as F

from ard.models.clap import Clap
from ard.models.common import AudioError, ModelError
from tests.fixtures.models import save_tiny_audio_lm, save_tiny_clap, tiny_clap_model, tiny_clap_processor, tone

RATE = 8000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def clap(folder: Path) -> Clap:
    return Clap.load(folder)


def clip(seconds: float, hertz: float = 440.0) -> np.ndarray:
    return tone(seconds, hertz, RATE)


def test_sizes_come_from_the_checkpoint(clap: Clap, folder: Path) -> None:
    assert (clap.sampling_rate, clap.window_s, clap.dim, clap.max_text_tokens) == (8000, 1.0, 12, 38)
    assert clap.name == folder.name
    assert len(clap.revision) == 12
    assert clap.model.dtype == torch.float32


def test_embeddings_have_unit_norm(clap: Clap) -> None:
    sound = clap.embed_audio([clip(1.0), clip(0.3), clip(2.7)], RATE)
    words = clap.embed_text(["a dog barks", "rain"])
    assert (sound.shape, words.shape) == ((3, 12), (2, 12))
    assert sound.dtype == words.dtype == torch.float32
    for vectors in (sound, words):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))


def test_audio_equals_transformers_own_answer(clap: Clap) -> None:
    features = clap.processor.feature_extractor([clip(1.0)], sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        expected = clap.model.get_audio_features(**features).pooler_output
    torch.testing.assert_close(clap.embed_audio([clip(1.0)], RATE), expected, atol=1e-5, rtol=0)


def test_batches_equal_one_by_one(clap: Clap) -> None:
    clips = [clip(1.0), clip(0.2, 900), clip(2.5, 200), clip(1.01, 100)]
    together = clap.embed_audio(clips, RATE, batch_size=3)
    alone = torch.cat([clap.embed_audio([one], RATE) for one in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    texts = ["rain", "a dog barks twice and a car horn follows", "wind"]
    singly = torch.cat([clap.embed_text([one]) for one in texts])
    torch.testing.assert_close(clap.embed_text(texts, batch_size=2), singly, atol=1e-5, rtol=0)


def test_long_clips_are_averaged_over_full_windows(clap: Clap) -> None:
    first, second = clip(1.0, 300), clip(1.0, 2000)
    parts = clap.embed_audio([first, second], RATE)
    whole = clap.embed_audio([np.concatenate([first, second])], RATE)
    torch.testing.assert_close(whole, F.normalize(parts.mean(0, keepdim=True), dim=-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("seconds", "starts"), [(0.5, [0]), (1.0, [0]), (1.5, [0, 4000]), (2.0, [0, 8000]), (2.5, [0, 6000, 12000])]
)
def test_windows_cover_the_clip(clap: Clap, seconds: float, starts: list[int]) -> None:
    ramp = np.arange(round(seconds * RATE), dtype=np.float32)
    windows = clap._windows(ramp)
    assert [int(window[0]) for window in windows] == starts
    assert int(windows[-1][-1]) == ramp.size - 1
    assert all(window.size == min(ramp.size, RATE) for window in windows)


def test_other_rates_are_resampled(clap: Clap) -> None:
    high = tone(1.0, 440, 44100)
    expected = clap.embed_audio([soxr.resample(high, 44100, RATE)], RATE)
    assert clap.embed_audio([high], 44100).equal(expected)
    wrong = clap.embed_audio([high], RATE)  # believed to be at the model's rate: another sound
    assert not torch.allclose(wrong, expected, atol=1e-3)


def test_fused_checkpoints_are_deterministic(tmp_path: Path) -> None:
    fused = Clap.load(save_tiny_clap(tmp_path / "fused", fused=True))
    clips = [clip(1.0), clip(0.4, 900), clip(2.0, 100)]
    first = fused.embed_audio(clips, RATE)
    for seed in range(3):
        np.random.seed(seed)  # noqa: NPY002 - transformers' extractor draws from this global state
        assert fused.embed_audio(clips, RATE).equal(first)
    features = fused.processor.feature_extractor([clip(1.0)], sampling_rate=RATE, return_tensors="pt")
    assert features["is_longer"].all()  # drawn by the extractor although the clip fits the window
    with torch.no_grad():
        whole = fused.model.get_audio_features(features["input_features"], torch.zeros(1, 1, dtype=torch.bool))
    torch.testing.assert_close(fused.embed_audio(clips[:1], RATE), whole.pooler_output, atol=1e-5, rtol=0)


def test_long_texts_keep_their_beginning(clap: Clap) -> None:
    long = "rain and wind " * 60
    assert torch.isfinite(clap.embed_text([long])).all()
    assert clap.embed_text([long]).equal(clap.embed_text([long + "a dog"]))
    assert not clap.embed_text(["rain and wind"]).equal(clap.embed_text(["rain and wind a dog"]))


def test_nothing_to_embed(clap: Clap) -> None:
    assert clap.embed_text([]).shape == (0, 12)
    assert clap.embed_audio([], RATE).shape == (0, 12)


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros(0, np.float32), RATE, "empty"),
        (np.zeros((2, 9), np.float32), RATE, "mono"),
        (np.zeros(9, np.int16), RATE, "int16"),
        (np.full(9, np.inf, np.float32), RATE, "infinite"),
        (np.zeros(9, np.float32), 0, "sampling_rate is 0"),
    ],
)
def test_unusable_clips_are_refused(clap: Clap, audio: np.ndarray, rate: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        clap.embed_audio([audio], rate)


@pytest.mark.parametrize("text", ["", "  ", None])
def test_blank_texts_are_refused(clap: Clap, text: str) -> None:
    with pytest.raises(ValueError, match="Text 1 is"):
        clap.embed_text(["rain", text])


def test_load_refuses_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'qwen2_audio' model; this adapter takes 'clap'"):
        Clap.load(save_tiny_audio_lm(tmp_path / "lm"))
    with pytest.raises(ModelError, match="neither a model folder nor a hub id"):
        Clap.load(tmp_path / "missing")
    processor = tiny_clap_processor()
    model = tiny_clap_model(processor)
    processor.feature_extractor.feature_size = 20
    with pytest.raises(ModelError, match="20 mels"):
        Clap(model, processor)
    processor.feature_extractor.feature_size = 16
    processor.tokenizer.pad_token = "</s>"
    with pytest.raises(ModelError, match="padding token is 2 in the tokenizer and 1"):
        Clap(model, processor)


def test_revision_follows_the_weights(folder: Path, tmp_path: Path) -> None:
    processor = tiny_clap_processor()
    tiny_clap_model(processor, seed=1).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert Clap.load(tmp_path).revision != Clap.load(folder).revision
