from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped
from safetensors.torch import load_file, save_file

from ard.sae import SAEConfig, SAEError, TopKSAE, topk_relu


def config(**changes: object) -> SAEConfig:
    values: dict = {"hookpoint": "layers.3", "d_in": 2, "expansion": 2.0, "k": 2, "recipe": "paper", **changes}
    return SAEConfig(**values)


def by_hand(recipe: str = "paper", scale: float = 1.0, k: int = 2) -> TopKSAE:
    sae = TopKSAE(config(recipe=recipe, scale=scale, k=k))
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0]]))
        sae.b_enc.copy_(torch.tensor([0.0, 0.5, 0.0, -1.0]))
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.5, 0.5]]))
        if sae.b_dec is not None:
            sae.b_dec.copy_(torch.tensor([1.0, -1.0]))
    return sae


def test_eq_1_by_hand_for_the_paper_recipe() -> None:
    sae = by_hand()
    x = torch.tensor([[2.0, 1.0]])
    assert sae.pre_activations(x).tolist() == [[2.0, 1.5, -2.0, 2.0]]
    out = sae(x)
    assert out.z.tolist() == [[2.0, 0.0, 0.0, 2.0]]
    assert out.x_hat.tolist() == [[3.0, 1.0]]  # 2·[1, 0] + 2·[.5, .5], no decoder bias
    assert sae.b_dec is None


def test_eq_1_by_hand_with_bias_and_scale() -> None:
    sae = by_hand("recommended", scale=2.0)
    x = torch.tensor([[1.5, 0.0]])  # scaled [3, 0], minus b_dec [2, 1]
    assert sae.pre_activations(x).tolist() == [[2.0, 1.5, -2.0, 2.0]]
    out = sae(x)
    assert out.z.tolist() == [[2.0, 0.0, 0.0, 2.0]]
    assert out.x_hat.tolist() == [[2.0, 0.0]]  # ([3, 1] + [1, -1]) / 2


def test_relu_comes_before_topk() -> None:
    assert topk_relu(torch.tensor([[-1.0, -2.0, 3.0, 0.0]]), 3).tolist() == [[0.0, 0.0, 3.0, 0.0]]
    assert topk_relu(torch.tensor([[-1.0, 2.0]]), 2).tolist() == [[0.0, 2.0]]


def test_ties_at_the_kth_place_go_to_the_lowest_ids_and_never_exceed_k() -> None:
    pre = torch.tensor([[1.0, 2.0, 2.0, 2.0, 3.0], [1.0, 5.0, 4.0, 3.0, 2.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    z = topk_relu(pre, 2)
    assert z.tolist() == [[0, 2, 0, 0, 3], [0, 5, 4, 0, 0], [1, 1, 0, 0, 0]]


def test_topk_keeps_leading_dimensions_and_nan() -> None:
    pre = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    z = topk_relu(pre, 4)
    assert z.shape == pre.shape
    assert torch.equal(z[1, 2], topk_relu(pre[1, 2], 4))
    assert bool(topk_relu(torch.tensor([[1.0, math.nan, 2.0]]), 1).isnan().any())


def test_gradient_reaches_only_what_topk_kept() -> None:
    pre = torch.tensor([[3.0, 1.0, 2.0, -1.0]], requires_grad=True)
    topk_relu(pre, 2).sum().backward()
    assert pre.grad is not None
    assert pre.grad.tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_low_precision_activations_are_converted() -> None:
    sae = by_hand()
    assert torch.equal(sae(torch.tensor([[2.0, 1.0]], dtype=torch.bfloat16)).x_hat, torch.tensor([[3.0, 1.0]]))


def test_recipes_start_as_documented() -> None:
    sae = TopKSAE(config(recipe="recommended", d_in=16, expansion=4, k=4))
    assert torch.equal(sae.W_enc, sae.W_dec)
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(64), atol=1e-6)
    assert sae.b_dec is not None
    assert not sae.b_dec.any()
    assert torch.equal(sae.W_enc, TopKSAE(config(recipe="recommended", d_in=16, expansion=4, k=4)).W_enc)
    assert not torch.equal(sae.W_enc, TopKSAE(config(recipe="recommended", d_in=16, expansion=4, k=4, seed=1)).W_enc)
    assert set(TopKSAE(config()).state_dict()) == {"W_enc", "b_enc", "W_dec"}


def test_sae_id_and_d_sae() -> None:
    assert config(d_in=192, expansion=8.0, k=16).sae_id == "layers.3/e8/k16/paper"
    assert config(d_in=192, expansion=2.5, k=16, recipe="recommended").sae_id == "layers.3/e2.5/k16/recommended"
    assert config(d_in=192, expansion=2.5, k=16).d_sae == 480


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"k": 5}, "k is 5"),
        ({"k": 0}, "k is 0"),
        ({"d_in": 0}, "d_in is 0"),
        ({"d_in": "2"}, "d_in is '2'"),
        ({"expansion": -1}, "expansion is -1"),
        ({"scale": math.nan, "recipe": "recommended"}, "scale is nan"),
        ({"scale": 2.0}, "does not scale"),
        ({"recipe": "fancy"}, "'fancy'"),
        ({"hookpoint": ""}, "hookpoint"),
    ],
)
def test_bad_configurations_are_refused_in_one_sentence(changes: dict, says: str) -> None:
    with pytest.raises(SAEError, match=says):
        config(**changes)


@pytest.mark.parametrize("recipe", ["paper", "recommended"])
def test_saved_and_loaded_is_the_same(tmp_path: Path, recipe: str) -> None:
    sae = by_hand(recipe, scale=1.0 if recipe == "paper" else 2.0)
    sae.save(tmp_path / "layers.3" / "e2")
    loaded = TopKSAE.load(tmp_path / "layers.3" / "e2")
    assert loaded.cfg == sae.cfg
    x = torch.randn(5, 2)
    assert torch.equal(loaded(x).x_hat, sae(x).x_hat)
    assert sorted(p.name for p in (tmp_path / "layers.3" / "e2").iterdir()) == ["cfg.json", "sae.safetensors"]
    sae.save(tmp_path / "layers.3" / "e2")  # over an existing one
    assert TopKSAE.load(tmp_path / "layers.3" / "e2").cfg == sae.cfg


def edit(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "cfg.json").read_text())
    for name, value in changes.items():
        if value is None:
            del record[name]
        else:
            record[name] = value
    (folder / "cfg.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"k": None}, "lacks k"),
        ({"kk": 3}, "unknown kk"),
        ({"format": "other/1"}, "other/1"),
        ({"d_sae": 7}, "d_sae 7"),
        ({"expansion": 4.0, "d_sae": 8}, "has shape"),
        ({"d_in": "2"}, "d_in is '2'"),
        ({"seed": 9}, "another cfg.json"),
        ({"recipe": "recommended"}, "asks for W_dec, W_enc, b_dec, b_enc"),
    ],
)
def test_a_wrong_configuration_is_refused_on_load(tmp_path: Path, changes: dict, says: str) -> None:
    by_hand().save(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(SAEError, match=says):
        TopKSAE.load(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SAEError, match=r"cfg\.json is missing"):
        TopKSAE.load(tmp_path)
    by_hand().save(tmp_path)
    weights = tmp_path / "sae.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SAEError, match="not a readable safetensors file"):
        TopKSAE.load(tmp_path)
    weights.unlink()
    with pytest.raises(SAEError, match=r"sae\.safetensors is missing"):
        TopKSAE.load(tmp_path)
    (tmp_path / "cfg.json").write_text("{")
    with pytest.raises(SAEError, match="JSON"):
        TopKSAE.load(tmp_path)


def test_weights_of_another_writer_are_checked_by_shape_and_type(tmp_path: Path) -> None:
    sae = by_hand()
    sae.save(tmp_path)
    weights = load_file(tmp_path / "sae.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, tmp_path / "sae.safetensors")
    assert TopKSAE.load(tmp_path).W_enc.dtype == torch.float32
    save_file({**weights, "b_enc": torch.zeros(4, dtype=torch.int64)}, tmp_path / "sae.safetensors")
    with pytest.raises(SAEError, match="int64"):
        TopKSAE.load(tmp_path)


def test_a_failed_save_leaves_the_old_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand().save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ard.sae.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        TopKSAE(config(seed=3)).save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_check_fits_names_both_widths_and_hookpoints() -> None:
    sae = by_hand()
    sae.check_fits(2, "layers.3")
    with pytest.raises(SAEError, match=r"3584 values.*trained on 2"):
        sae.check_fits(3584)
    with pytest.raises(SAEError, match=r"layers\.1.*layers\.3"):
        sae.check_fits(2, "layers.1")
    with pytest.raises(SAEError, match="3 values"):
        sae.encode(torch.zeros(4, 3))


def test_shape_annotations_hold() -> None:
    check = jaxtyped(typechecker=beartype)(topk_relu)
    assert check(torch.zeros(3, 4), 2).shape == (3, 4)
    with pytest.raises(TypeCheckError):
        check(torch.zeros(3, 4, dtype=torch.int64), 2)
