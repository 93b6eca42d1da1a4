"""What every format shares: weights in the units of x, provenance, and files that are read with care.

Ours multiplies x by s before encoding and divides x̂ by it (ard/sae.py). Neither SAELens nor sparsify has a field for s,
so it is folded into the weights. With

    W_enc' = s W_enc      b_enc' = b_enc      W_dec' = W_dec / s      b_dec' = b_dec / s

the same latents and the same reconstruction come from

    z = TopK(ReLU(W_enc' (x − b_dec') + b_enc')),        x̂ = z W_dec' + b_dec'

because W_enc' (x − b_dec') = W_enc (s x − b_dec). `paper` has no decoder bias: b_dec' is zero. Products are taken in
float64 and rounded once to float32, so a value of W' is off by at most half a unit in its last place.
"""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ard.files import write_atomic
from ard.sae import TopKSAE
from ard.sae_config import CONFIG_FILE, SAEConfig, SAEError, config_text

RECORD = "ard"
"""Field in which a file of another format carries our whole configuration, the folded scale included."""


TOPK = ("paper", "recommended", "matryoshka")
"""Recipes whose latents are those of TopK; `paper` alone has no decoder bias."""


class FormatError(SAEError):
    """An SAE that cannot be written in, or read from, the format of another library; the message says why."""


class Origin(NamedTuple):
    """Where an SAE was trained; None leaves what its files say."""

    hookpoint: str | None = None
    model: str | None = None


class Folded(NamedTuple):
    """Weights of one TopK SAE in the units of x; equations in the module's first lines."""

    W_enc: Float[Tensor, "d_sae d_in"]
    b_enc: Float[Tensor, " d_sae"]
    W_dec: Float[Tensor, "d_sae d_in"]
    b_dec: Float[Tensor, " d_in"]


def fold(sae: TopKSAE) -> Folded:
    """W' of an SAE, float32 on the CPU.

    Raises:
        FormatError: its recipe does not choose latents by TopK.
    """
    if sae.cfg.recipe not in TOPK:
        raise FormatError(
            f"SAE {sae.cfg.sae_id} is of recipe {sae.cfg.recipe!r}; only {', '.join(TOPK)} can be written in another"
            " library's format, because they choose latents by TopK."
        )
    s = sae.cfg.scale
    b_dec = torch.zeros(sae.cfg.d_in) if sae.b_dec is None else sae.b_dec
    return Folded(_times(sae.W_enc, s), _times(sae.b_enc, 1.0), _times(sae.W_dec, 1 / s), _times(b_dec, 1 / s))


def unfold(folded: Folded, cfg: SAEConfig) -> TopKSAE:
    """The SAE of `cfg` whose W' these are, in float32."""
    sae, s = TopKSAE(cfg, init_weights=False), cfg.scale
    state = {"W_enc": _times(folded.W_enc, 1 / s), "b_enc": folded.b_enc, "W_dec": _times(folded.W_dec, s)}
    if sae.b_dec is not None:
        state["b_dec"] = _times(folded.b_dec, s)
    sae.load_state_dict({name: value.float() for name, value in state.items()})
    return sae.eval()


def _times(tensor: Tensor, factor: float) -> Tensor:
    tensor = tensor.detach().cpu()
    return (tensor if factor == 1.0 else tensor.double() * factor).float().contiguous()


def config_of(folded: Folded, k: Any, record: Any, where: Path, **found: Any) -> SAEConfig:
    """Configuration of an SAE that was read: our own record if the file carries one, else what the file says.

    Shapes and k come from the file, whatever the record says. Ours: an SAE without a record is `recommended` if it has
    a decoder bias and `paper` if it has none, because the recipe names the equations; `scale` is then 1.

    Raises:
        FormatError: a field is missing or out of range.
    """
    d_sae, d_in = folded.W_dec.shape
    bias = bool((folded.b_dec != 0).any())
    size = {"d_in": d_in, "expansion": d_sae / d_in, "k": k}
    if record is not None and not isinstance(record, dict):
        raise FormatError(f"{where}: {RECORD} is {record!r}; it must be a table of fields, so take it out.")
    found["recipe"] = "recommended" if bias else "paper"
    if record is not None:
        known = {f.name: record[f.name] for f in fields(SAEConfig) if f.name in record and f.name != "extra"}
        if known.get("recipe") not in (TOPK[1:] if bias else TOPK):  # `paper` trained on by another library
            known.pop("recipe", None)
        found |= known
    try:
        return SAEConfig(**{**found, **size})
    except (SAEError, TypeError) as error:
        raise FormatError(f"{where}: {error}") from error


def placed(cfg: SAEConfig, origin: Origin) -> SAEConfig:
    """The configuration with what the user says about the SAE's origin."""
    return replace(cfg, **{name: value for name, value in origin._asdict().items() if value is not None})


def record_of(cfg: SAEConfig) -> dict[str, Any]:
    """Our configuration, for the field `RECORD` of another format."""
    return json.loads(config_text(cfg))


def kept(extra: dict[str, Any], fmt: str, rest: dict[str, Any]) -> dict[str, Any]:
    """`extra` with the fields of a format's file that mean nothing to us, under the format's name."""
    rest = {name: value for name, value in rest.items() if value not in (None, {}, [])}
    return {**extra, fmt: rest} if rest else extra


# -- files -----------------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FormatError: the file is missing or something else.
    """
    if not path.is_file():
        raise FormatError(f"{path} is missing; give a folder with {CONFIG_FILE} and the weights beside it.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path} is not readable as JSON ({error}); copy or download it again.") from error
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds a {type(content).__name__}; it must be a JSON object, so copy it again.")
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, in float32; no other kind of file is read, because pickles can run code.

    Raises:
        FormatError: the file is missing or unreadable, or a tensor is not of finite floating-point numbers.
    """
    if not path.is_file():
        raise FormatError(f"{path} is missing; only safetensors files are read, so save the SAE as one.")
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is not a readable safetensors file ({error}); copy it again.") from error
    for name, value in found.items():
        if not value.is_floating_point():
            raise FormatError(f"{path}: {name} is of type {value.dtype}; it must be a floating type.")
        found[name] = value.float()
        if not bool(found[name].isfinite().all()):
            raise FormatError(f"{path}: {name} holds values that are not finite; save the SAE again.")
    return found


def check_shapes(found: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], path: Path) -> None:
    """Refuse other tensors or shapes than a format's TopK SAE has.

    Raises:
        FormatError: a tensor is missing, unknown or of another shape.
    """
    if set(found) != set(shapes):
        raise FormatError(
            f"{path} holds {', '.join(sorted(found))}; a TopK SAE of this format has {', '.join(sorted(shapes))},"
            " so this is another kind of SAE or a damaged file."
        )
    for name, shape in shapes.items():
        if tuple(found[name].shape) != shape:
            raise FormatError(
                f"{path}: {name} has shape {list(found[name].shape)}, but {CONFIG_FILE} beside it asks for"
                f" {list(shape)}; the two files do not belong together, so copy them again."
            )


def whole(cfg: dict[str, Any], name: str, where: Path) -> int:
    """A field that must be a whole number above 0.

    Raises:
        FormatError: it is missing or something else.
    """
    value = cfg.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FormatError(f"{where}: {name} is {value!r}; it must be a whole number above 0.")
    return value


def write_pair(folder: Path, weights: str, tensors: dict[str, Tensor], cfg: dict[str, Any]) -> None:
    """Weights, then cfg.json, each by a temporary file and a rename."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{weights}.{os.getpid()}.tmp"
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata={"format": "pt"})
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(folder / weights)
    finally:
        temporary.unlink(missing_ok=True)
    write_atomic(folder / CONFIG_FILE, (json.dumps(cfg, indent=2, sort_keys=True) + "\n").encode())
