"""SAELens (6.x): `cfg.json` and `sae_weights.safetensors`, as `SAE.load_from_disk` reads them.

A TopK SAE there, with W_enc [d_in, d_sae] (the transpose of ours) and W_dec [d_sae, d_in]:

    h = (x − a b_dec) W_enc + b_enc          a = 1 if apply_b_dec_to_input, else 0
    h = h · n,  n_i = ‖W_dec,i‖              only with rescale_acts_by_decoder_norm
    z = ReLU(TopK(h))                        x̂ = (z / n) W_dec + b_dec      (/ n only with the rescaling)

ReLU after TopK keeps the same values as ReLU before it: a value that ReLU removes is no latent either way, and among
positive values the k largest are the same. Where several values equal the k-th, SAELens leaves the choice to
torch.topk; ours takes the lowest latent_id.

Writing: a = 1, no rescaling, so nothing depends on decoder rows being of unit norm. Reading folds the rest into the
weights: n into W_enc, b_enc and 1/n into W_dec; for a = 0, b_enc + W_enc b_dec takes the place of b_enc.
A row with n = 0 (SAELens' own reconstruction is NaN there) becomes a latent that never fires.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

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
from ard.sae_config import CONFIG_FILE

WEIGHTS = "sae_weights.safetensors"
LAYOUT = "6.0.0"
"""The layout of cfg.json that is written: SAELens rearranges what has no version, or one before 6."""

OWN = {
    "architecture", "d_in", "d_sae", "k", "dtype", "device", "apply_b_dec_to_input", "normalize_activations",
    "reshape_activations", "rescale_acts_by_decoder_norm", "metadata",
}  # fmt: skip
OWN_METADATA = {"sae_lens_version", "model_name", "model_revision", "hook_name", RECORD}
BEFORE_6 = {"hook_point": "hook_name", "activation_fn_str": "activation_fn"}


def save(sae: TopKSAE, folder: Path) -> None:
    """Write `sae` so that SAELens gives the same latents and reconstructions.

    Raises:
        FormatError: the SAE's recipe has no counterpart.
    """
    cfg, w = sae.cfg, fold(sae)
    earlier = dict(cfg.extra.get("saelens", {}))
    name, _, revision = cfg.model.partition("@")
    metadata = {
        "sae_lens_training_version": None,  # not trained by SAELens
        **earlier.pop("metadata", {}),
        "sae_lens_version": LAYOUT,
        "model_name": name or None,
        "model_revision": revision or None,
        "hook_name": _their_hook(cfg.hookpoint),
        RECORD: record_of(cfg),
    }
    config = {
        **earlier,
        "architecture": "topk",
        "d_in": cfg.d_in,
        "d_sae": cfg.d_sae,
        "k": cfg.k,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.b_dec is not None,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": metadata,
    }
    tensors = {"W_enc": w.W_enc.T, "b_enc": w.b_enc, "W_dec": w.W_dec, "b_dec": w.b_dec}
    write_pair(folder, WEIGHTS, tensors, config)


def load(folder: Path, origin: Origin) -> TopKSAE:
    """The TopK SAE that SAELens saved in `folder`.

    Raises:
        FormatError: another kind of SAE, or files that are damaged or do not belong together.
    """
    where = folder / CONFIG_FILE
    cfg = _as_of_6(read_json(where))
    _refuse_other_kinds(cfg, where)
    d_in, d_sae = whole(cfg, "d_in", where), whole(cfg, "d_sae", where)
    found = read_tensors(folder / WEIGHTS)
    if "scaling_factor" in found and bool((found["scaling_factor"] == 1).all()):
        del found["scaling_factor"]  # some versions wrote it, all ones, whether it was used or not
    shapes = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    check_shapes(found, shapes, folder / WEIGHTS)
    folded = _folded(found, bool(cfg.get("rescale_acts_by_decoder_norm")), bool(cfg.get("apply_b_dec_to_input", True)))
    metadata = cfg["metadata"]
    rest = {name: value for name, value in cfg.items() if name not in OWN}
    rest["metadata"] = {n: v for n, v in metadata.items() if n not in OWN_METADATA and v is not None}
    record = metadata.get(RECORD)
    extra = record.get("extra", {}) if isinstance(record, dict) else {}
    name, revision = metadata.get("model_name") or "", metadata.get("model_revision") or ""
    sae_cfg = config_of(
        folded,
        cfg.get("k"),
        record,
        where,
        hookpoint=origin.hookpoint or ("" if record else _our_hook(metadata.get("hook_name"), where)),
        model=f"{name}@{revision}" if revision else name,
        extra=kept(extra, "saelens", rest if rest["metadata"] else {**rest, "metadata": None}),
    )
    return unfold(folded, placed(sae_cfg, origin))


def _as_of_6(cfg: dict[str, Any]) -> dict[str, Any]:
    """A configuration of a version before 6 in the layout of 6: model and hook lie in `metadata`, TopK has a name."""
    if isinstance(cfg.get("metadata"), dict):
        return cfg
    cfg = {BEFORE_6.get(name, name): value for name, value in cfg.items()}
    activation, arguments = cfg.get("activation_fn"), cfg.get("activation_fn_kwargs") or {}
    if activation == "topk" and cfg.get("architecture", "standard") in ("standard", "topk"):
        cfg |= {"architecture": "topk", "k": arguments.get("k")}
    told = {name: cfg.pop(name, None) for name in ("model_name", "hook_name")}
    return {"architecture": "standard", **cfg, "metadata": told}


def _refuse_other_kinds(cfg: dict[str, Any], where: Path) -> None:
    kind = cfg.get("architecture")
    if kind != "topk":
        raise FormatError(
            f"{where} describes an SAE of architecture {kind!r}; only 'topk' computes latents as ours does, so choose"
            " a TopK SAE."
        )
    for name, why in (
        ("normalize_activations", "the file does not hold the factor, or it changes from token to token"),
        ("reshape_activations", "attention heads are no hookpoint here"),
    ):
        value = cfg.get(name) or "none"
        if value != "none":
            raise FormatError(f"{where}: {name} is {value!r}; only 'none' can be read, because {why}.")


def _folded(found: dict[str, Tensor], rescale: bool, centred: bool) -> Folded:
    """The weights in our equation, in float64 on the way; see the module's first lines."""
    W_enc, b_enc, W_dec, b_dec = (found[name].double() for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    W_enc = W_enc.T
    if rescale:
        n = W_dec.norm(dim=-1)
        W_enc, b_enc = W_enc * n[:, None], b_enc * n
        W_dec = W_dec / n.where(n > 0, n.new_ones(()))[:, None]
    if not centred:
        b_enc = b_enc + W_enc @ b_dec
    return Folded(*(t.float().contiguous() for t in (W_enc, b_enc, W_dec, b_dec)))


def _their_hook(hookpoint: str) -> str:
    """`layers.<l>` by its name in SAELens: the residual stream after block l."""
    layer = re.fullmatch(r"layers\.(\d+)", hookpoint)
    return f"blocks.{layer[1]}.hook_resid_post" if layer else hookpoint


def _our_hook(hook: Any, where: Path) -> str:
    """A hook of SAELens by our name; the stream before block l is the one after block l − 1. Others stay as they are.

    Raises:
        FormatError: the file names none.
    """
    if not isinstance(hook, str) or not hook:
        raise FormatError(f"{where} does not say which hookpoint the SAE reads; name it with --hookpoint layers.<l>.")
    block = re.fullmatch(r"blocks\.(\d+)\.hook_resid_(pre|post)", hook)
    if block and (block[2] == "post" or int(block[1]) > 0):
        return f"layers.{int(block[1]) - (block[2] == 'pre')}"
    module = re.fullmatch(r"(?:\w+\.)*layers\.(\d+)", hook)
    return f"layers.{module[1]}" if module else hook
