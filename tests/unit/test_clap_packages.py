"""CLAP of other packages. Neither imports beside the pinned libraries, so what is ours is tried on stand-ins that speak
as those packages do; what is theirs runs wherever they import.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ard.models import clap_packages
from ard.models.clap import Clap, load_clap
from ard.models.clap_base import AnyClap
from ard.models.clap_packages import LaionClap, MsClap
from ard.models.common import ModelError
from precompute.environment import model_revision, model_stamp
from tests.fixtures.models import save_tiny_clap, tone


class LaionStandIn:
    """`CLAP_Module`: numpy in and out; a lone text loses its batch, as there."""

    def get_audio_embedding_from_data(self, x: list[np.ndarray], use_tensor: bool) -> np.ndarray:
        assert not use_tensor
        return np.stack([[np.abs(one).mean(), np.abs(np.diff(one)).mean(), one.size / 480_000] for one in x])

    def get_text_embedding(self, x: list[str], use_tensor: bool) -> np.ndarray:
        out = np.array([[len(one), one.count("a"), 1.0] for one in x])
        return out[0] if len(x) == 1 else out


class Words:
    """A tokenizer of one token a word; a text of more words than `max_length` is cut."""

    asked: list[str]

    def __call__(self, text: str | list[str], **options: Any) -> dict[str, Any]:
        if isinstance(text, str):
            return {"input_ids": text.split()}
        self.asked = text
        assert options["truncation"]
        assert max(len(one.split()) for one in text) <= options["max_length"]
        return {"input_ids": torch.tensor([[len(one)] for one in text]), "attention_mask": torch.ones(len(text), 1)}

    def decode(self, ids: list[str]) -> str:
        return " ".join(ids)


class MsStandIn:
    """`CLAPWrapper`: audio [N, 1, samples] of one window, tokenised texts of at most text_len."""

    use_cuda = False
    args = SimpleNamespace(sampling_rate=44_100, d_proj=3, duration=7, text_len=8, text_model="gpt2")
    token_keys = ("input_ids", "attention_mask")

    def __init__(self) -> None:
        self.audio: list[Tensor] = []
        self.tokenizer = Words()

    def _get_audio_embeddings(self, audio: Tensor) -> Tensor:
        self.audio.append(audio)
        return torch.stack([audio.abs().mean((1, 2)), audio.diff(dim=-1).abs().mean((1, 2)), torch.ones(len(audio))], 1)

    def _get_text_embeddings(self, tokens: dict[str, Tensor]) -> Tensor:
        length = tokens["input_ids"][:, 0].float()
        return torch.stack([length, torch.ones_like(length), torch.ones_like(length)], 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "630k-audioset-best.pt"
    path.write_bytes(b"weights")
    return path


@pytest.fixture(params=["laion-clap", "msclap"])
def clap(request: pytest.FixtureRequest, file: Path) -> AnyClap:
    if request.param == "laion-clap":
        one = LaionClap(LaionStandIn(), file)
        one.dim = 3
        return one
    return MsClap(MsStandIn(), file)


def test_the_same_promises_as_the_default_clap(clap: AnyClap) -> None:
    clips = [tone(1.0, rate=16_000), tone(8.0, 900, rate=16_000), tone(23.0, 200, rate=16_000)]
    together = clap.embed_audio(clips, 16_000, batch_size=2)
    assert together.shape == (3, 3)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(3))
    alone = torch.cat([clap.embed_audio([one], 16_000) for one in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    words = clap.embed_text(["rain", "a dog barks"])
    torch.testing.assert_close(words[:1], clap.embed_text(["rain"]))
    torch.testing.assert_close(words.norm(dim=-1), torch.ones(2))
    with pytest.raises(ValueError, match="Text 0 is"):
        clap.embed_text([" "])


def test_windows_and_rates_are_the_packages(file: Path) -> None:
    laion, inner = LaionClap(LaionStandIn(), file), MsStandIn()
    microsoft = MsClap(inner, file)
    assert (laion.sampling_rate, laion.window_s, laion.dim) == (48_000, 10.0, 512)
    assert (microsoft.sampling_rate, microsoft.window_s, microsoft.dim) == (44_100, 7.0, 3)
    microsoft.embed_audio([tone(2.0, rate=44_100), tone(15.0, rate=44_100)], 44_100)
    assert [one.shape for one in inner.audio] == [(4, 1, 308_700)], "one window, and three of the long clip"
    short = inner.audio[0][0, 0]
    assert short[88_200:176_400].equal(short[:88_200]), "a short clip is repeated"


def test_long_texts_keep_their_beginning(file: Path) -> None:
    inner = MsStandIn()
    MsClap(inner, file).embed_text(["one two", "one two three four five six"])
    assert inner.tokenizer.asked == ["one two <|endoftext|>", "one two three four <|endoftext|>"]


def test_a_checkpoint_is_named_by_package_and_file(file: Path, tmp_path: Path) -> None:
    name = f"laion-clap:{file}"
    assert model_revision(name) == LaionClap(LaionStandIn(), file).revision
    assert len(model_revision(name)) == 12
    before = model_stamp(name)
    assert before
    file.write_bytes(b"other weights")
    assert model_revision(name) == LaionClap(LaionStandIn(), file).revision
    assert model_stamp(name) != before
    assert model_revision(f"msclap:{tmp_path / 'none.pth'}") == "missing"
    with pytest.raises(ModelError, match=r"no checkpoint file .*none\.pth.* for msclap; give msclap:FILE"):
        load_clap(f"msclap:{tmp_path / 'none.pth'}")
    assert isinstance(load_clap(save_tiny_clap(tmp_path / "clap")), Clap)


@pytest.mark.parametrize(("package", "module"), [("laion-clap", "laion_clap"), ("msclap", "msclap")])
def test_a_package_that_does_not_import_is_one_sentence(
    package: str, module: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(clap_packages, "import_module", refuse)
    with pytest.raises(ModelError, match=rf"package {package} does not import \(No module named '{module}'\)"):
        load_clap(f"{package}:{file}")


@pytest.mark.parametrize(("package", "module"), [("laion-clap", "laion_clap"), ("msclap", "msclap")])
def test_a_file_that_is_no_checkpoint_is_one_sentence(package: str, module: str, file: Path) -> None:
    try:
        import_module(module)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        pytest.skip(f"{package} does not import: {error}")
    with pytest.raises(ModelError, match=f"does not load as a {package} checkpoint"):
        load_clap(f"{package}:{file}")
