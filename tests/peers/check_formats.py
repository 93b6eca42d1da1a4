"""Run by the interpreter that has SAELens and sparsify, never by pytest: what these libraries read and write.

    python check_formats.py write FOLDER read FOLDER hub FOLDER=REPO

    write    makes SAEs of many kinds, saves them, and writes what they compute
    read     loads FOLDER/<format>/<case> and writes what it computes of FOLDER/x/<case>
    hub      the same, from the repository REPO of a model hub (HF_ENDPOINT), for every <format>/… folder in it

Latents are written dense, [tokens, d_sae]. Everything runs in float32, whatever the file holds.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from sae_lens import SAE
from sae_lens.saes import (
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    SkipTranscoder,
    SkipTranscoderConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
    Transcoder,
    TranscoderConfig,
)
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import load_file, save_file
from sparsify import SparseCoder, SparseCoderConfig

warnings.filterwarnings("ignore")
D_IN, D_SAE, K, TOKENS = 24, 120, 6, 64
HOOK = {"model_name": "some/model", "hook_name": "blocks.7.hook_resid_post", "neuronpedia_id": "some-model/7"}


@torch.no_grad()
def computed(coder: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Latents and reconstruction, by the library's own encode and decode."""
    if isinstance(coder, SparseCoder):
        coder = coder.float()
        found = coder.encode(x)
        z = torch.zeros(len(x), coder.num_latents).scatter_(1, found.top_indices, found.top_acts)
        return {"z": z, "x_hat": coder.decode(found.top_acts, found.top_indices).contiguous()}
    z = coder.encode(x)
    return {"z": z.contiguous(), "x_hat": coder.decode(z).contiguous()}


def loaded(fmt: str, folder: Path) -> Any:
    if fmt == "sparsify":
        return SparseCoder.load_from_disk(folder)
    return SAE.load_from_disk(folder, dtype="float32")


def told(coder: Any) -> dict[str, Any]:
    """What the library makes of the file's configuration."""
    if isinstance(coder, SparseCoder):
        return {"k": coder.cfg.k, "d_in": coder.d_in, "d_sae": coder.num_latents}
    names = ("model_name", "hook_name", "model_revision")
    found = {"k": coder.cfg.k, "d_in": coder.cfg.d_in, "d_sae": coder.cfg.d_sae}
    return found | {name: coder.cfg.metadata[name] for name in names}


def keep(folder: Path, fmt: str, case: str, coder: Any, x: torch.Tensor) -> None:
    place = folder / "computed" / fmt
    place.mkdir(parents=True, exist_ok=True)
    save_file({"x": x, **computed(coder, x)}, place / f"{case}.safetensors")
    (place / f"{case}.json").write_text(json.dumps(told(coder)))


def read(folder: Path) -> None:
    for fmt in ("saelens", "sparsify"):
        for case in sorted((folder / fmt).iterdir()):
            keep(folder, fmt, case.name, loaded(fmt, case), load_file(folder / "x" / f"{case.name}.safetensors")["x"])


def hub(folder_and_repo: Path) -> None:
    folder, repo = str(folder_and_repo).split("=")
    x = load_file(Path(folder) / "x" / "hub.safetensors")["x"]
    places = [str(Path(name).parent) for name in HfApi().list_repo_files(repo) if name.endswith("/cfg.json")]
    for place in places:
        fmt = place.split("/")[0]
        if fmt == "sparsify":
            coder: Any = SparseCoder.load_from_hub(repo, place)
        else:
            coder = SAE.from_pretrained(repo, place)
        keep(Path(folder), fmt, "hub", coder, x)


# -- SAEs that others trained: random weights of every kind --------------------------------------------------------


@torch.no_grad()
def scrambled(coder: Any, few: bool = False) -> Any:
    """Every parameter random, decoder rows of many lengths; with `few`, tokens have fewer than k positive values."""
    generator = torch.Generator().manual_seed(7)
    for p in coder.parameters():
        p.copy_((torch.randn(p.shape, generator=generator) * (0.2 if p.ndim == 2 else 0.4)).to(p.dtype))
    rows = coder.W_dec
    rows.mul_(torch.linspace(0.2, 3.0, len(rows))[:, None].to(rows.dtype))
    if few:
        bias = coder.encoder.bias if isinstance(coder, SparseCoder) else coder.b_enc
        bias.sub_(1.7)
    return coder


def write(folder: Path) -> None:
    x = torch.randn(TOKENS, D_IN, generator=torch.Generator().manual_seed(3)) + 0.3
    _saelens(folder, x)
    _sparsify(folder, x)


def _saelens(folder: Path, x: torch.Tensor) -> None:
    size: dict[str, Any] = {"d_in": D_IN, "d_sae": D_SAE}
    cases: dict[str, tuple[dict[str, Any], bool]] = {
        "plain": ({}, False),
        "rescaled": ({"rescale_acts_by_decoder_norm": True}, False),
        "uncentred": ({"apply_b_dec_to_input": False}, False),
        "rescaled_uncentred": ({"rescale_acts_by_decoder_norm": True, "apply_b_dec_to_input": False}, False),
        "few": ({}, True),
        "bfloat16": ({"dtype": "bfloat16"}, False),
        "float16": ({"dtype": "float16"}, False),
    }
    for case, (options, few) in cases.items():
        cfg = TopKSAEConfig(**size, k=K, metadata=SAEMetadata(**HOOK), **options)
        scrambled(TopKSAE(cfg), few).save_model(folder / "saelens" / case)
    training = scrambled(TopKTrainingSAE(TopKTrainingSAEConfig(**size, k=K, metadata=SAEMetadata(**HOOK))))
    training.save_model(folder / "saelens" / "training")
    training.save_inference_model(folder / "saelens" / "inference")
    _before_6(folder)
    for place in sorted((folder / "saelens").iterdir()):
        keep(folder, "saelens", place.name, loaded("saelens", place), x)
    refused = folder / "refused" / "saelens"
    kinds = {
        "standard": StandardSAE(StandardSAEConfig(**size)),
        "jumprelu": JumpReLUSAE(JumpReLUSAEConfig(**size)),
        "gated": GatedSAE(GatedSAEConfig(**size)),
        "transcoder": Transcoder(TranscoderConfig(**size, d_out=D_IN, apply_b_dec_to_input=False)),
        "skip_transcoder": SkipTranscoder(SkipTranscoderConfig(**size, d_out=D_IN, apply_b_dec_to_input=False)),
        "layer_norm": TopKSAE(TopKSAEConfig(**size, k=K, normalize_activations="layer_norm")),
        "unknown_factor": TopKSAE(TopKSAEConfig(**size, k=K, normalize_activations="expected_average_only_in")),
    }
    for name, coder in kinds.items():
        coder.save_model(refused / name)


def _before_6(folder: Path) -> None:
    """The weights of `plain` with the configuration that versions before 6 wrote."""
    place = folder / "saelens" / "before_6"
    place.mkdir(parents=True)
    weights = load_file(folder / "saelens" / "plain" / "sae_weights.safetensors")
    save_file({**weights, "scaling_factor": torch.ones(D_SAE)}, place / "sae_weights.safetensors")
    old = {
        "architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "d_in": D_IN,
        "d_sae": D_SAE, "dtype": "float32", "model_name": "some/model", "hook_name": "blocks.7.hook_resid_post",
        "hook_layer": 7, "apply_b_dec_to_input": True, "normalize_activations": "none", "sae_lens_version": "5.10.0",
    }  # fmt: skip
    (place / "cfg.json").write_text(json.dumps(old))


def _sparsify(folder: Path, x: torch.Tensor) -> None:
    cases: dict[str, tuple[dict[str, Any], torch.dtype, bool]] = {
        "layers.7": ({"expansion_factor": 5}, torch.float32, False),
        "layers.8.mlp": ({"num_latents": 100, "normalize_decoder": False}, torch.float32, False),
        "layers.9": ({"expansion_factor": 5, "multi_topk": True}, torch.float32, True),
        "layers.10": ({"expansion_factor": 5}, torch.bfloat16, False),
        "layers.11": ({"expansion_factor": 5}, torch.float16, False),
    }
    for case, (options, dtype, few) in cases.items():
        coder = scrambled(SparseCoder(D_IN, SparseCoderConfig(k=K, **options), dtype=dtype), few)
        coder.save_to_disk(folder / "sparsify" / case)
        keep(folder, "sparsify", case, loaded("sparsify", folder / "sparsify" / case), x)
    refused = {
        "layers.1": SparseCoderConfig(k=K, expansion_factor=5, transcode=True),
        "layers.2": SparseCoderConfig(k=K, expansion_factor=5, skip_connection=True),
        "layers.3": SparseCoderConfig(k=K, expansion_factor=5, activation="groupmax"),
    }
    for case, cfg in refused.items():
        SparseCoder(D_IN, cfg).save_to_disk(folder / "refused" / "sparsify" / case)


if __name__ == "__main__":
    for command, where in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        {"read": read, "write": write, "hub": hub}[command](Path(where))
