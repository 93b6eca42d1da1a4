"""What a model will need, before it is loaded; and what is asked of the machine for 8 and 4 bits."""

from __future__ import annotations

import json
import struct
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ard.models import loading, memory
from ard.models.audio_lm import AudioLM
from ard.models.common import ModelError
from ard.models.families import family_of
from ard.models.memory import Place, TensorInfo, tensors_of, weight_bytes, work_bytes
from ard.sae import SAEConfig, TopKSAE
from ard.steering import Clamp, steer
from tests.fixtures.families import TINY, save_tiny_family
from tests.fixtures.models import tone

CPU = Place("cpu", "", torch.float32, "none", 1)


def test_weights_by_hand() -> None:
    tensors = [
        TensorInfo("layers.0.mlp.weight", (10, 4), "F16"),
        TensorInfo("norm.weight", (3,), "F32"),
        TensorInfo("embed_tokens.weight", (5, 2), "BF16"),
        TensorInfo("table", (2,), "I64"),
    ]
    assert weight_bytes(tensors, CPU) == 4 * (40 + 3 + 10) + 16
    half = CPU._replace(dtype=torch.bfloat16)
    assert weight_bytes(tensors, half) == 2 * 53 + 16
    assert weight_bytes(tensors, half._replace(quantisation="int8")) == 40 + 2 * 13 + 16
    assert weight_bytes(tensors, half._replace(quantisation="int4")) == round(40 * 0.5625) + 2 * 13 + 16


def test_work_by_hand() -> None:
    text = SimpleNamespace(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=8,
        intermediate_size=16,
        vocab_size=100,
    )
    sound = SimpleNamespace(max_source_positions=100, d_model=4, encoder_ffn_dim=8)
    tokens = 50 + 128
    decoder = tokens * (2 * 2 * 2 * 2 + 4 * 8 + 3 * 16)
    one = 4 * (decoder + 100 * (6 * 4 + 2 * 8)) + 64 * 100 * 4
    config = SimpleNamespace(text_config=text, audio_config=sound)
    assert work_bytes(config, CPU) == one
    assert work_bytes(config, CPU._replace(batch=3)) == 3 * one


@pytest.mark.parametrize("name", list(TINY))
def test_headers_index_and_class_agree_with_the_loaded_model(name: str, tmp_path: Path) -> None:
    folder = save_tiny_family(name, tmp_path / "lm")
    model = TINY[name].build()[0]
    family = family_of(model.config.model_type)
    true = sum(value.numel() for value in model.parameters()) * 4
    by_headers = weight_bytes(tensors_of(family, folder, model.config), CPU)
    model.save_pretrained(tmp_path / "parts", max_shard_size="40KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 2
    assert weight_bytes(tensors_of(family, tmp_path / "parts", model.config), CPU) == by_headers
    by_class = weight_bytes(tensors_of(family, "owner/not-here", model.config), CPU)
    assert by_headers == pytest.approx(true, rel=0.05)  # tables of positions are sometimes kept with the weights
    assert by_class == pytest.approx(true, rel=0.05)


def test_what_is_not_loaded_does_not_count(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]}
    header = json.dumps({"thinker.a": entry, "talker.a": entry, "token2wav.a": entry, "__metadata__": {}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    found = tensors_of(family_of("qwen2_5_omni"), tmp_path, None)
    assert [one.name for one in found] == ["thinker.a"]


def test_too_little_memory_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny_family("voxtral", tmp_path / "lm")
    assert AudioLM.load(folder).d_model == 32
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    with pytest.raises(
        ModelError, match=r"lm needs about 0\.00 GB of memory on the host .*float32.*2 clips.*free"
    ) as e:
        AudioLM.load(folder, batch=2)
    assert "model.quantisation = int8" in str(e.value)
    monkeypatch.setattr(loading, "find_spec", lambda name: object())
    with pytest.raises(ModelError, match="all GPUs and the host together"):
        AudioLM.load(folder, device_map="auto")


def test_free_memory_is_the_least_of_machine_and_control_group(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable: 40 kB\n")
    assert memory._mem_available(meminfo) == 40 * 1024
    assert memory._mem_available(tmp_path / "none") == memory._UNKNOWN
    for name, text in (("max", "1000\n"), ("current", "700\n"), ("stat", "anon 1\ninactive_file 50\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory._group_free(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._group_free(tmp_path) == memory._UNKNOWN
    assert memory.free_bytes("cpu") > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantisation": "int4"}, "quantisation 'int4' needs the package bitsandbytes, which is not installed"),
        ({"device_map": "auto"}, "device_map 'auto' needs the package accelerate"),
        ({"quantisation": "int3"}, "'int3' is not there; use none, int8, int4"),
        ({"device_map": "left"}, "'left' is not there; use auto, balanced, sequential"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence(
    options: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=message):
        AudioLM.load(save_tiny_family("voxtral", tmp_path / "lm"), **options)


@pytest.mark.skipif(
    find_spec("bitsandbytes") is None or find_spec("accelerate") is None,
    reason="bitsandbytes or accelerate is not installed (extra `quantised`)",
)
@pytest.mark.parametrize("quantisation", ["int8", "int4"])
@pytest.mark.parametrize("name", [name for name in TINY if name != "qwen2_audio"])
def test_fewer_bits_still_hear_answer_and_steer(name: str, quantisation: str, tmp_path: Path) -> None:
    folder = save_tiny_family(name, tmp_path / "lm", width=64)  # bitsandbytes packs 4 bits by 64 on a CPU
    lm, full = AudioLM.load(folder, quantisation=quantisation), AudioLM.load(folder)
    assert lm.revision == f"{full.revision}+{quantisation}"
    inputs = lm.prepare([tone(2.0), tone(0.5)], ["What?", "Is it rain?"])
    x, exact = lm.activations(inputs, [1])[1], full.activations(inputs, [1])[1]
    alike = torch.cosine_similarity(x, exact, dim=-1)[inputs.audio].mean()
    assert (0.99 if quantisation == "int8" else 0.6) < alike < 0.99999, "fewer bits, the same model"
    sae = TopKSAE(SAEConfig(hookpoint="layers.1", d_in=128, expansion=2, k=4, recipe="recommended"))
    said = [steer(lm, sae, clamp, [tone(1.0)], ["What?"], max_new_tokens=6) for clamp in (None, Clamp((3,), (300.0,)))]
    assert said[0].texts != said[1].texts


@pytest.mark.skipif(find_spec("accelerate") is None, reason="accelerate is not installed (extra `quantised`)")
@pytest.mark.parametrize("name", list(TINY))
def test_a_device_map_changes_nothing(name: str, tmp_path: Path) -> None:
    folder = save_tiny_family(name, tmp_path / "lm")
    mapped, plain = AudioLM.load(folder, device_map="auto"), AudioLM.load(folder)
    inputs = mapped.prepare([tone(2.0), tone(0.5)], ["What?", "Is it rain?"])
    np.testing.assert_allclose(mapped.activations(inputs, [2])[2], plain.activations(inputs, [2])[2], atol=1e-5)
    assert mapped.generate(inputs, 4) == plain.generate(inputs, 4)
