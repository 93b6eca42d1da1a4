"""sparsify (1.3): `cfg.json` and `sae.safetensors`, as `SparseCoder.load_from_disk` reads them.

A TopK SAE there, with encoder.weight and W_dec both [d_sae, d_in]:

    z = TopK(ReLU((x − b_dec) encoder.weightᵀ + encoder.bias)),        x̂ = z W_dec + b_dec

which is our equation once the scale is folded. Where several values equal the k-th, sparsify leaves the choice to
torch.topk; ours takes the lowest latent_id. With fewer than k positive values sparsify's list of k latents is filled up
with latents of value 0, which are none.

The format has no field for the hookpoint, which is the folder's name, nor for the model, which stands in the training
run's config.json one folder above; what we write carries both in cfg.json, where sparsify skips them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ard.formats.folded import (
    RECORD,
    Folded,
    FormatError,
    Origin,
    check_shapes,
    config_of,
    fold,
    kept,
    placed,
    read_json,
    read_tensors,
    record_of,
    unfold,
    whole,
    write_pair,
)
from ard.sae import TopKSAE
from ard.sae_config import CONFIG_FILE, WEIGHTS_FILE

WEIGHTS = WEIGHTS_FILE
OWN = {
    "activation", "d_in", "expansion_factor", "k", "normalize_decoder", "num_latents", "signed", "skip_connection",
    "transcode", RECORD,
}  # fmt: skip
UNIT = 1e-4
"""Decoder rows whose norms are this close to 1 count as normalised."""


def save(sae: TopKSAE, folder: Path) -> None:
    """Write `sae` so that sparsify gives the same latents and reconstructions.

    `normalize_decoder` is true only where the rows are of unit norm as written: sparsify's training would otherwise
    shrink them at its first step.

    Raises:
        FormatError: the SAE's recipe has no counterpart.
    """
    cfg, w = sae.cfg, fold(sae)
    unit = bool((w.W_dec.norm(dim=-1) - 1).abs().max() <= UNIT)
    config = {
        "multi_topk": False,
        **cfg.extra.get("sparsify", {}),
        "activation": "topk",
        "d_in": cfg.d_in,
        "expansion_factor": max(1, round(cfg.expansion)),  # num_latents decides
        "k": cfg.k,
        "normalize_decoder": unit,
        "num_latents": cfg.d_sae,
        "skip_connection": False,
        "transcode": False,
        RECORD: record_of(cfg),
    }
    tensors = {"encoder.weight": w.W_enc, "encoder.bias": w.b_enc, "W_dec": w.W_dec, "b_dec": w.b_dec}
    write_pair(folder, WEIGHTS, tensors, config)


def load(folder: Path, origin: Origin) -> TopKSAE:
    """The TopK SAE that sparsify saved in `folder`.

    Raises:
        FormatError: another kind of sparse coder, or files that are damaged or do not belong together.
    """
    where = folder / CONFIG_FILE
    cfg = read_json(where)
    _refuse_other_kinds(cfg, where)
    d_in = whole(cfg, "d_in", where)
    d_sae = whole(cfg, "num_latents", where) if cfg.get("num_latents") else d_in * whole(cfg, "expansion_factor", where)
    found = read_tensors(folder / WEIGHTS)
    shapes = {"encoder.weight": (d_sae, d_in), "encoder.bias": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    check_shapes(found, shapes, folder / WEIGHTS)
    folded = Folded(*(found[name] for name in shapes))
    record = cfg.get(RECORD)
    extra = record.get("extra", {}) if isinstance(record, dict) else {}
    sae_cfg = config_of(
        folded,
        cfg.get("k"),
        record,
        where,
        hookpoint=origin.hookpoint or ("" if record else _hookpoint(folder)),
        model=_model(folder),
        extra=kept(extra, "sparsify", {name: value for name, value in cfg.items() if name not in OWN and value}),
    )
    return unfold(folded, placed(sae_cfg, origin))


def _refuse_other_kinds(cfg: dict[str, Any], where: Path) -> None:
    for name, usual, what in (
        ("transcode", False, "a transcoder, which predicts another activation than it reads"),
        ("skip_connection", False, "a sparse coder with a linear skip connection, which is no part of Eq. 1"),
        ("signed", False, "an SAE that keeps negative values"),
        ("activation", "topk", "an SAE with another activation than TopK"),
    ):
        value = cfg.get(name, usual)
        if value != usual:
            raise FormatError(f"{where}: {name} is {value!r}: {what}; choose a TopK SAE.")


def _hookpoint(folder: Path) -> str:
    """The folder's name, which is how sparsify tells hookpoints apart (`layers.3`, `layers.3.mlp`).

    Raises:
        FormatError: the name is no path of a module with a layer's number in it.
    """
    name = folder.resolve().name
    if not re.fullmatch(r"\w+(\.\w+)*", name) or not re.search(r"\.\d+(\.|$)", name):
        raise FormatError(
            f"{folder} is not named after a hookpoint, which is how sparsify tells them apart; name it with"
            " --hookpoint layers.<l>."
        )
    return name


def _model(folder: Path) -> str:
    """The model in the training run's config.json, one folder above; empty where there is none."""
    above = folder.resolve().parent / "config.json"
    return str(read_json(above).get("model") or "") if above.is_file() else ""
