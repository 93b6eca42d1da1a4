"""Load an AudioLLM: find its family, see whether it fits, read the weights in the asked precision."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from transformers import AutoConfig, BitsAndBytesConfig

from ard.models.common import ModelError, compute_dtype, find_model, load_part, load_weights
from ard.models.families import family_of
from ard.models.memory import Place, require_memory

Quantisation = Literal["none", "int8", "int4"]
DEVICE_MAPS = ("auto", "balanced", "sequential")


class Loaded(NamedTuple):
    """A model with its processor, and where both came from."""

    model: Any
    processor: Any
    source: Path | str


def load_audio_lm(
    path_or_id: str | Path,
    device: str,
    dtype: torch.dtype | None,
    *,
    quantisation: Quantisation = "none",
    device_map: str = "",
    batch: int = 1,
) -> Loaded:
    """Model and processor of a folder or hub id; arguments and errors as in `AudioLM.load`."""
    source, dtype = find_model(path_or_id), compute_dtype(device, dtype)
    if isinstance(source, Path):
        source = source.resolve()
    _require_packages(quantisation, device_map)
    config = load_part("model configuration", AutoConfig.from_pretrained, source)
    family = family_of(config.model_type, path_or_id)
    place = Place(device, device_map, dtype, quantisation, batch)
    require_memory(family, source, config, place, str(path_or_id))
    processor = family.load_processor(source)
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa"}
    if quantisation != "none":
        options["quantization_config"] = _bits(quantisation, dtype)
    if where := _device_map(device, device_map, quantisation):
        options["device_map"] = where
    model = load_weights(family.model_class().from_pretrained, source, **options)
    return Loaded(model if where else model.to(device), processor, source)


def _device_map(device: str, device_map: str, quantisation: Quantisation) -> str | dict[str, str] | None:
    """What `from_pretrained` is told about places; None where the model is moved after loading."""
    if device_map:
        return device_map
    # Straight to the device: no copy in host memory. Quantised weights cannot be moved later.
    direct = quantisation != "none" or (torch.device(device).type != "cpu" and find_spec("accelerate") is not None)
    return {"": device} if direct else None


def _bits(quantisation: Quantisation, dtype: torch.dtype) -> BitsAndBytesConfig:
    if quantisation == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _require_packages(quantisation: str, device_map: str) -> None:
    if quantisation not in get_args(Quantisation):
        raise ModelError(f"quantisation {quantisation!r} is not there; use {', '.join(get_args(Quantisation))}.")
    if device_map and device_map not in DEVICE_MAPS:
        raise ModelError(f"device_map {device_map!r} is not there; use {', '.join(DEVICE_MAPS)}, or leave it empty.")
    wanted = {"accelerate": f"device_map {device_map!r}"} if device_map else {}
    if quantisation != "none":
        wanted = dict.fromkeys(("bitsandbytes", "accelerate"), f"quantisation {quantisation!r}")
    for package, why in wanted.items():
        if find_spec(package) is None:
            raise ModelError(
                f"{why} needs the package {package}, which is not installed; "
                "run `pip install 'ard-explorer[quantised]'`, or leave the setting out."
            )
