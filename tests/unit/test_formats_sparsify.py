from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ard.formats import FormatError, Origin, detect, load_from, save_as
from tests.fixtures.exchange import RECIPES, an_sae, as_saelens, as_sparsify, tokens, write_sparsify

X = torch.tensor([[3.0, 1.0]])  # less b_dec: [2, 1]


def cfg_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "cfg.json").read_text())


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    sae = load_from(write_sparsify(tmp_path / "layers.6"))
    assert sae.pre_activations(X).tolist() == [[2.0, 1.5, 2.0]]
    out = sae(X)
    assert out.z.tolist() == [[2.0, 0.0, 0.0]]  # latents 0 and 2 are equal: the lower id
    assert out.x_hat.tolist() == [[5.0, 0.0]]
    assert sae.cfg.sae_id == "layers.6/e1.5/k1/recommended"
    assert (sae.cfg.model, sae.cfg.extra) == ("", {})


def test_fewer_than_k_positive_values_give_fewer_latents(tmp_path: Path) -> None:
    sae = load_from(write_sparsify(tmp_path / "layers.6", k=2))
    x = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    assert sae.encode(x).tolist() == [[0.0, 1.5, 0.0], [0.0, 0.0, 0.0]]
    assert np.array_equal(as_sparsify(tmp_path / "layers.6", x).z, sae.encode(x).detach().numpy())


def test_width_from_the_expansion_and_the_model_from_the_folder_above(tmp_path: Path) -> None:
    folder = write_sparsify(
        tmp_path / "layers.6.mlp",
        {
            "encoder.weight": np.ones((6, 2), np.float32),
            "encoder.bias": np.zeros(6, np.float32),
            "W_dec": np.ones((6, 2), np.float32),
            "b_dec": np.zeros(2, np.float32),
        },
        num_latents=0,
        expansion_factor=3,
    )
    (tmp_path / "config.json").write_text('{"model": "some/model", "ctx_len": 2048}')
    sae = load_from(folder)
    assert (sae.cfg.sae_id, sae.cfg.model) == ("layers.6.mlp/e3/k1/paper", "some/model")
    assert load_from(folder, origin=Origin(model="other")).cfg.model == "other"


@pytest.mark.parametrize(("recipe", "scale"), RECIPES)
def test_the_formats_equations_give_our_latents_and_reconstruction(tmp_path: Path, recipe: str, scale: float) -> None:
    sae, x = an_sae(recipe, scale), tokens()
    save_as(sae, tmp_path, "sparsify")
    theirs = as_sparsify(tmp_path, x)
    with torch.no_grad():
        ours = sae(x)
    assert 0 < (theirs.z > 0).sum(1).max() == sae.cfg.k
    assert np.abs(theirs.z - ours.z.numpy()).max() < 1e-5
    assert np.abs(theirs.x_hat - ours.x_hat.numpy()).max() < 1e-5


@pytest.mark.parametrize(("recipe", "scale"), RECIPES)
def test_there_and_back_through_both_formats(tmp_path: Path, recipe: str, scale: float) -> None:
    sae, x = an_sae(recipe, scale, extra={"note": 1}), tokens()
    save_as(sae, tmp_path / "a", "sparsify")
    first = load_from(tmp_path / "a")  # the folder's name is no hookpoint: the record has it
    assert first.cfg == sae.cfg
    save_as(first, tmp_path / "b", "saelens")
    back = load_from(tmp_path / "b")
    assert back.cfg == sae.cfg
    assert (back(x).x_hat - sae(x).x_hat).abs().max() < 1e-5
    assert np.abs(as_saelens(tmp_path / "b", x).z - as_sparsify(tmp_path / "a", x).z).max() < 1e-5


def test_what_is_written(tmp_path: Path) -> None:
    sae = an_sae(expansion=2.5)
    save_as(sae, tmp_path, "sparsify")
    cfg = cfg_of(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"cfg.json", "sae.safetensors"}
    assert (cfg["d_in"], cfg["num_latents"], cfg["k"], cfg["activation"]) == (16, 40, 5, "topk")
    assert isinstance(cfg["expansion_factor"], int)
    shapes = {n: tuple(w.shape) for n, w in load_file(tmp_path / "sae.safetensors").items()}
    assert shapes == {"encoder.weight": (40, 16), "encoder.bias": (40,), "W_dec": (40, 16), "b_dec": (16,)}
    assert detect(tmp_path) == "sparsify"


def test_normalized_is_said_only_of_rows_that_are(tmp_path: Path) -> None:
    sae = an_sae(scale=1.0)
    save_as(sae, tmp_path / "a", "sparsify")
    assert cfg_of(tmp_path / "a")["normalize_decoder"] is False
    with torch.no_grad():
        sae.W_dec.copy_(F.normalize(sae.W_dec, dim=-1))
    save_as(sae, tmp_path / "b", "sparsify")
    assert cfg_of(tmp_path / "b")["normalize_decoder"] is True


def test_fields_that_mean_nothing_to_us_survive_both_ways(tmp_path: Path) -> None:
    sae = load_from(write_sparsify(tmp_path / "layers.1", multi_topk=True, auxk_alpha=0.03))
    assert sae.cfg.extra == {"sparsify": {"multi_topk": True, "auxk_alpha": 0.03}}
    save_as(sae, tmp_path / "b", "sparsify")
    assert (cfg_of(tmp_path / "b")["multi_topk"], cfg_of(tmp_path / "b")["auxk_alpha"]) == (True, 0.03)
    assert load_from(tmp_path / "b").cfg.extra == sae.cfg.extra


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_another_floating_type_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    save_as(an_sae(), tmp_path, "sparsify")
    path = tmp_path / "sae.safetensors"
    save_file({n: w.to(dtype) for n, w in load_file(path).items()}, path)
    assert {p.dtype for p in load_from(tmp_path).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"transcode": True}, "transcode is True: a transcoder"),
        ({"skip_connection": True}, "skip_connection is True: .* linear skip connection"),
        ({"activation": "groupmax"}, "activation is 'groupmax': an SAE with another activation"),
        ({"signed": True}, "signed is True: an SAE that keeps negative values"),
        ({"k": None}, "k is None; it must be a whole number"),
        ({"k": 9}, "k is 9; with d_sae = 3"),
        ({"d_in": None}, "d_in is None; it must be a whole number"),
        ({"num_latents": 0, "expansion_factor": True}, "expansion_factor is True; it must be a whole number"),
        ({"num_latents": 4}, r"encoder.weight has shape \[3, 2\], but cfg.json beside it asks for \[4, 2\]"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        load_from(write_sparsify(tmp_path / "layers.1", **changes))


@pytest.mark.parametrize("name", ["mine", "layers", "run-2", "layers.x"])
def test_a_folder_that_is_not_named_after_a_hookpoint(tmp_path: Path, name: str) -> None:
    folder = write_sparsify(tmp_path / name)
    with pytest.raises(FormatError, match=r"is not named after a hookpoint.* --hookpoint"):
        load_from(folder)
    assert load_from(folder, origin=Origin("layers.2")).cfg.hookpoint == "layers.2"
