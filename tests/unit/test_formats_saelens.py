from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ard.formats import FormatError, Origin, detect, load_from, save_as
from ard.formats.folded import fold
from ard.sae import TopKSAE, topk_relu
from tests.fixtures.exchange import RECIPES, an_sae, as_saelens, by_hand, kept_by_topk, tokens, write_saelens

X = torch.tensor([[3.0, 1.0]])  # less b_dec: [2, 1]


def cfg_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "cfg.json").read_text())


@torch.no_grad()
def coded(sae: TopKSAE, x: torch.Tensor) -> tuple[list, list]:
    out = sae(x)
    return out.z.tolist(), out.x_hat.tolist()


# -- by hand --------------------------------------------------------------------------------------------------------


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    sae = load_from(write_saelens(tmp_path))
    assert sae.pre_activations(X).tolist() == [[2.0, 1.5, 2.0]]  # [2, 1]·rows + [0, .5, −1]
    assert coded(sae, X) == ([[2.0, 0.0, 0.0]], [[5.0, 0.0]])  # latents 0 and 2 are equal: the lower id; 2·[2, 0] + b
    assert sae.cfg.sae_id == "layers.2/e1.5/k1/recommended"
    assert (sae.cfg.model, sae.cfg.scale, sae.cfg.extra) == ("m", 1.0, {})


def test_rescaled_by_decoder_norms(tmp_path: Path) -> None:
    sae = load_from(write_saelens(tmp_path, rescale_acts_by_decoder_norm=True))
    assert sae.pre_activations(X).tolist() == [[4.0, 1.5, 6.0]]  # times the norms 2, 1, 3: another latent wins
    assert coded(sae, X) == ([[0.0, 0.0, 6.0]], [[1.0, 6.0]])  # 6 / 3 · [0, 3] + b


def test_a_decoder_row_of_norm_zero_never_fires_when_rescaled(tmp_path: Path) -> None:
    weights = by_hand("W_enc", True)
    weights["W_dec"][2] = 0
    sae = load_from(write_saelens(tmp_path, weights, rescale_acts_by_decoder_norm=True))
    assert coded(sae, X) == ([[4.0, 0.0, 0.0]], [[5.0, 0.0]])


def test_bias_that_the_encoder_does_not_subtract(tmp_path: Path) -> None:
    sae = load_from(write_saelens(tmp_path, apply_b_dec_to_input=False))
    assert sae.pre_activations(X).tolist() == [[3.0, 1.5, 3.0]]
    assert coded(sae, X) == ([[3.0, 0.0, 0.0]], [[7.0, 0.0]])


def test_without_a_decoder_bias_it_is_the_paper_recipe(tmp_path: Path) -> None:
    weights = by_hand("W_enc", True)
    weights["b_dec"][:] = 0
    sae = load_from(write_saelens(tmp_path, weights))
    assert sae.cfg.recipe == "paper"
    assert coded(sae, X) == ([[3.0, 0.0, 0.0]], [[6.0, 0.0]])


def test_fewer_than_k_positive_values_give_fewer_latents(tmp_path: Path) -> None:
    sae = load_from(write_saelens(tmp_path, k=2))
    x = torch.tensor([[0.0, 1.0], [0.0, -1.0]])  # less b_dec: [−1, 1], [−1, −1]
    assert sae.pre_activations(x).tolist() == [[-1.0, 1.5, -1.0], [-1.0, -0.5, -3.0]]
    assert coded(sae, x) == ([[0.0, 1.5, 0.0], [0.0, 0.0, 0.0]], [[1.0, 1.5], [1.0, 0.0]])
    assert np.array_equal(as_saelens(tmp_path, x).z, sae.encode(x).detach().numpy())


@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 1.5]), min_size=3, max_size=9), st.integers(1, 9))
def test_relu_before_topk_keeps_what_relu_after_topk_keeps(row: list[float], k: int) -> None:
    """Values, ties included; which of the equal ones is ours: the lowest ids, as a stable sort has it."""
    h = np.array([row])
    ours = topk_relu(torch.tensor(h), min(k, len(row))).clamp_min(0).numpy()
    assert np.array_equal(ours, kept_by_topk(h, k))
    assert np.array_equal(ours, kept_by_topk(np.maximum(h, 0), k))


# -- written and read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "scale"), RECIPES)
def test_the_formats_equations_give_our_latents_and_reconstruction(tmp_path: Path, recipe: str, scale: float) -> None:
    sae, x = an_sae(recipe, scale), tokens()
    save_as(sae, tmp_path, "saelens")
    theirs = as_saelens(tmp_path, x)
    with torch.no_grad():
        ours = sae(x)
    assert 0 < (theirs.z > 0).sum(1).max() == sae.cfg.k
    assert np.abs(theirs.z - ours.z.numpy()).max() < 1e-5
    assert np.abs(theirs.x_hat - ours.x_hat.numpy()).max() < 1e-5


@pytest.mark.parametrize(("recipe", "scale"), RECIPES)
def test_there_and_back(tmp_path: Path, recipe: str, scale: float) -> None:
    sae, x = an_sae(recipe, scale, extra={"note": [1, 2]}, tokens="audio"), tokens()
    save_as(sae, tmp_path, "saelens")
    back = load_from(tmp_path)
    assert back.cfg == sae.cfg
    for name, value in sae.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value, rtol=3e-7 if scale != 1 else 0, atol=0)
    assert (back(x).z - sae(x).z).abs().max() < 1e-5


def test_what_is_written(tmp_path: Path) -> None:
    save_as(an_sae(), tmp_path, "saelens")
    cfg = cfg_of(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"cfg.json", "sae_weights.safetensors"}
    assert cfg["architecture"] == "topk"
    assert (cfg["d_in"], cfg["d_sae"], cfg["k"], cfg["dtype"]) == (16, 64, 5, "float32")
    assert cfg["rescale_acts_by_decoder_norm"] is False
    metadata = cfg["metadata"]
    assert metadata["hook_name"] == "blocks.3.hook_resid_post"
    assert (metadata["model_name"], metadata["model_revision"]) == ("some/model", "abc123")
    assert int(metadata["sae_lens_version"].split(".")[0]) >= 6  # below, SAELens rearranges the configuration
    weights = load_file(tmp_path / "sae_weights.safetensors")
    assert {n: tuple(w.shape) for n, w in weights.items()} == {
        "W_enc": (16, 64), "b_enc": (64,), "W_dec": (64, 16), "b_dec": (16,),
    }  # fmt: skip
    assert {w.dtype for w in weights.values()} == {torch.float32}


def test_without_a_scale_not_a_bit_changes() -> None:
    sae = an_sae(scale=1.0)
    folded = fold(sae)
    assert torch.equal(folded.W_enc, sae.W_enc)
    assert torch.equal(folded.W_dec, sae.W_dec)


def test_fields_that_mean_nothing_to_us_survive_both_ways(tmp_path: Path) -> None:
    told = {
        "sae_lens_version": "6.54.12", "model_name": "m", "hook_name": "blocks.2.hook_resid_post",
        "dataset_path": "some/data", "neuronpedia_id": None,
    }  # fmt: skip
    sae = load_from(write_saelens(tmp_path / "a", metadata=told, decoder_init_norm=0.1))
    assert sae.cfg.extra == {"saelens": {"decoder_init_norm": 0.1, "metadata": {"dataset_path": "some/data"}}}
    sae.save(tmp_path / "ours")
    save_as(TopKSAE.load(tmp_path / "ours"), tmp_path / "b", "saelens")
    cfg = cfg_of(tmp_path / "b")
    assert (cfg["decoder_init_norm"], cfg["metadata"]["dataset_path"]) == (0.1, "some/data")
    again = load_from(tmp_path / "b")
    assert again.cfg == sae.cfg


def test_an_sae_that_saelens_trained_on_is_read_as_it_is_now(tmp_path: Path) -> None:
    """Our record says how it was; size, k and the bias are what the file says."""
    save_as(an_sae("paper"), tmp_path, "saelens")
    weights = load_file(tmp_path / "sae_weights.safetensors")
    save_file({**weights, "b_dec": torch.ones(16)}, tmp_path / "sae_weights.safetensors")
    cfg = cfg_of(tmp_path) | {"k": 3, "apply_b_dec_to_input": True}
    (tmp_path / "cfg.json").write_text(json.dumps(cfg))
    sae = load_from(tmp_path)
    assert sae.cfg.sae_id == "layers.3/e4/k3/recommended"
    assert np.abs(as_saelens(tmp_path, tokens()).z - sae.encode(tokens()).detach().numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("blocks.5.hook_resid_post", "layers.5"),
        ("blocks.5.hook_resid_pre", "layers.4"),  # what enters block 5 left block 4
        ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_pre"),  # the embedding is no layer's output
        ("model.language_model.layers.5", "layers.5"),
        ("blocks.5.hook_mlp_out", "blocks.5.hook_mlp_out"),
    ],
)
def test_hookpoints(tmp_path: Path, theirs: str, ours: str) -> None:
    folder = write_saelens(tmp_path, metadata={"sae_lens_version": "6.0.0", "hook_name": theirs})
    assert load_from(folder).cfg.hookpoint == ours
    said = load_from(folder, origin=Origin("layers.9", "their/model@1"))
    assert (said.cfg.hookpoint, said.cfg.model) == ("layers.9", "their/model@1")


def test_the_layout_before_version_6(tmp_path: Path) -> None:
    folder = write_saelens(
        tmp_path, metadata=None, architecture="standard", k=None, activation_fn_str="topk",
        activation_fn_kwargs={"k": 1}, model_name="gpt2-small", hook_point="blocks.2.hook_resid_post",
    )  # fmt: skip
    weights = load_file(folder / "sae_weights.safetensors")
    save_file({**weights, "scaling_factor": torch.ones(3)}, folder / "sae_weights.safetensors")
    sae = load_from(folder)
    assert (sae.cfg.sae_id, sae.cfg.model) == ("layers.2/e1.5/k1/recommended", "gpt2-small")
    assert coded(sae, X) == ([[2.0, 0.0, 0.0]], [[5.0, 0.0]])
    save_file({**weights, "scaling_factor": torch.full((3,), 2.0)}, folder / "sae_weights.safetensors")
    with pytest.raises(FormatError, match="scaling_factor"):
        load_from(folder)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_floating_type_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    save_as(an_sae(), tmp_path, "saelens")
    path = tmp_path / "sae_weights.safetensors"
    save_file({n: w.to(dtype) for n, w in load_file(path).items()}, path)
    sae = load_from(tmp_path)
    assert {p.dtype for p in sae.parameters()} == {torch.float32}
    rounded = an_sae().W_enc * 0.37
    assert (sae.W_enc * 0.37 - rounded.to(dtype).float()).abs().max() < 1e-6


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "standard"}, "architecture 'standard'; only 'topk'"),
        ({"architecture": "jumprelu"}, "architecture 'jumprelu'; only 'topk'"),
        ({"architecture": "gated"}, "architecture 'gated'"),
        ({"architecture": "transcoder"}, "architecture 'transcoder'"),
        ({"architecture": "batchtopk"}, "architecture 'batchtopk'"),
        ({"architecture": None, "metadata": None}, "architecture 'standard'"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations is 'layer_norm'; only 'none'"),
        ({"normalize_activations": "expected_average_only_in"}, "does not hold the factor"),
        ({"reshape_activations": "hook_z"}, "reshape_activations is 'hook_z'"),
        ({"k": None}, "k is None; it must be a whole number"),
        ({"k": 4}, "k is 4; with d_sae = 3"),
        ({"d_sae": "3"}, "d_sae is '3'; it must be a whole number"),
        ({"d_sae": 4}, r"W_enc has shape \[2, 3\], but cfg.json beside it asks for \[2, 4\]"),
        ({"metadata": {"sae_lens_version": "6.0.0"}}, "does not say which hookpoint .* --hookpoint"),
        ({"metadata": {"hook_name": "blocks.2.hook_resid_post", "ard": 3}}, "ard is 3; it must be a table"),
        ({"metadata": {"ard": {"recipe": "recommended"}}}, "hookpoint is ''"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        load_from(write_saelens(tmp_path, **changes), "saelens")


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"cfg.json is missing; give a folder"):
        detect(tmp_path)
    folder = write_saelens(tmp_path)
    weights = folder / "sae_weights.safetensors"
    good = load_file(weights)
    save_file({**good, "W_skip": torch.zeros(2, 2)}, weights)
    with pytest.raises(FormatError, match="holds W_dec, W_enc, W_skip, b_dec, b_enc; a TopK SAE of this format has"):
        load_from(folder)
    save_file({**good, "b_enc": torch.zeros(3, dtype=torch.int32)}, weights)
    with pytest.raises(FormatError, match=r"b_enc is of type torch.int32; it must be a floating type"):
        load_from(folder)
    save_file({**good, "b_enc": torch.tensor([0.0, math.nan, 0.0])}, weights)
    with pytest.raises(FormatError, match="b_enc holds values that are not finite"):
        load_from(folder)
    weights.write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(FormatError, match="not a readable safetensors file"):
        load_from(folder)
    weights.unlink()
    with pytest.raises(FormatError, match="is missing; only safetensors files are read"):
        load_from(folder)
    (folder / "cfg.json").write_text("[1]")
    with pytest.raises(FormatError, match="holds a list; it must be a JSON object"):
        load_from(folder)
    (folder / "cfg.json").write_text("{")
    with pytest.raises(FormatError, match="not readable as JSON"):
        load_from(folder)


def test_an_unknown_format_and_our_own(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="'pt' is no format of SAEs; choose one of ard, saelens, sparsify"):
        save_as(an_sae(), tmp_path, "pt")
    save_as(an_sae(), tmp_path, "ard")
    assert detect(tmp_path) == "ard"
    assert torch.equal(load_from(tmp_path).W_enc, an_sae().W_enc)


def test_a_recipe_of_other_equations_is_not_written(tmp_path: Path) -> None:
    sae = an_sae()
    object.__setattr__(sae.cfg, "recipe", "batchtopk")
    with pytest.raises(FormatError, match="recipe 'batchtopk'; only paper, recommended, matryoshka"):
        save_as(sae, tmp_path, "saelens")
    assert list(tmp_path.iterdir()) == []
