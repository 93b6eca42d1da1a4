"""Will it fit? Bytes that an AudioLLM needs, from its files alone, against what the device and the host have free.

    weights = Σ over tensors of numbers × bytes per number in the precision it is loaded in
    work    = batch × (key-value cache + activations of one decoder layer + of one encoder layer + logits)

The weights are exact up to quantisation's own tables. The work is an allowance, ours: one full window, `TEXT_TOKENS` of
question and answer.
"""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ard.models.common import ModelError
from ard.models.families.base import Family

TEXT_TOKENS = 128
LOGIT_TOKENS = 64
"""Positions whose logits stand in memory at once, as float32: an answer whose loss is taken."""
QUANTISED_BYTES = {"int8": 1.0, "int4": 0.5 + 4 / 64}
"""Bytes of one weight of a quantised linear layer; 4 bits have a float32 scale for each 64 (bitsandbytes, nf4)."""
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_BYTES = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_KEPT = ("embed", "lm_head", "conv")


class Place(NamedTuple):
    """Where and how a model is to be loaded; the fields as in `AudioLM.load`."""

    device: str
    device_map: str
    dtype: torch.dtype
    quantisation: str
    batch: int


class Need(NamedTuple):
    """Bytes."""

    weights: int
    work: int


class TensorInfo(NamedTuple):
    """One tensor of a checkpoint, without its values."""

    name: str
    shape: tuple[int, ...]
    kind: str
    """As in a safetensors header: F32, BF16, I64, …"""


def require_memory(family: Family, source: Path | str, config: Any, place: Place, name: str) -> Need:
    """What the model needs; refused where it cannot fit.

    Raises:
        ModelError: the device has less memory free than needed. The host's is not looked at on the way to a GPU.
    """
    own = family.own_config(config)
    need = Need(weight_bytes(tensors_of(family, source, own), place), work_bytes(own, place))
    for where, free, wanted in _places(place, need):
        if wanted > free:
            raise ModelError(
                f"{name} needs about {_gb(wanted)} of memory on {where} (weights {_gb(need.weights)} in "
                f"{_precision(place)}, {_gb(need.work)} to work on {place.batch} clips at once) and {_gb(free)} are "
                "free; use model.quantisation = int8 or int4, a smaller activations.batch, model.device_map = auto, "
                "or a larger machine."
            )
    return need


def _places(place: Place, need: Need) -> list[tuple[str, int, int]]:
    """Each memory that must hold something: its name, its free bytes, the bytes wanted."""
    total, host = need.weights + need.work, ("the host", free_bytes("cpu"))
    if place.device_map:
        gpus = sum(free_bytes(f"cuda:{i}") for i in range(torch.cuda.device_count()))
        return [("all GPUs and the host together", gpus + host[1], total)]
    if torch.device(place.device).type == "cpu":
        return [(*host, total)]
    return [(place.device, free_bytes(place.device), total)]


def tensors_of(family: Family, source: Path | str, config: Any) -> list[TensorInfo]:
    """The tensors that will be loaded: by the headers of the folder's safetensors files, else by building the class.

    It is built from its configuration and takes no memory.
    """
    found = _headers(source) if isinstance(source, Path) else []
    if found:
        return [one for one in found if not one.name.startswith(family.unused)] if family.unused else found
    try:
        with torch.device("meta"):
            model = family.model_class()(config)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ZeroDivisionError):
        return []  # a configuration that builds no model: loading says what is wrong with it
    return [TensorInfo(name, tuple(one.shape), "F32") for name, one in model.state_dict().items()]


def _headers(folder: Path) -> list[TensorInfo]:
    """Of the files that `from_pretrained` reads: those that the index names, or model.safetensors."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    try:
        if index.is_file():
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            return [info for name in sorted(names) for info in _header(folder / name)]
        return _header(single) if single.is_file() else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, MemoryError):
        return []  # unreadable: loading says what is wrong with it


def _header(path: Path) -> list[TensorInfo]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > path.stat().st_size:
            raise ValueError(path)
        entries = json.loads(file.read(length))
    return [
        TensorInfo(name, tuple(entry["shape"]), entry["dtype"])
        for name, entry in entries.items()
        if name != "__metadata__"
    ]


def weight_bytes(tensors: list[TensorInfo], place: Place) -> int:
    """Bytes of the weights once loaded: floats in the asked precision, linear layers quantised where asked."""
    total = 0.0
    for name, shape, kind in tensors:
        each: float = place.dtype.itemsize if kind in _FLOATS else _BYTES.get(kind, 4)
        if place.quantisation != "none" and len(shape) == 2 and not any(part in name for part in _KEPT):
            each = QUANTISED_BYTES[place.quantisation]
        total += prod(shape) * each
    return round(total)


def work_bytes(config: Any, place: Place) -> int:
    """The allowance for a batch: key-value cache, one decoder layer, one encoder layer, logits."""
    text, sound, size = config.text_config, config.audio_config, place.dtype.itemsize
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    tokens = sound.max_source_positions // 2 + TEXT_TOKENS
    cache = 2 * text.num_hidden_layers * heads * head_dim
    decoder = tokens * (cache + 4 * text.hidden_size + 3 * text.intermediate_size)
    encoder = sound.max_source_positions * (6 * sound.d_model + 2 * sound.encoder_ffn_dim)
    return place.batch * ((decoder + encoder) * size + LOGIT_TOKENS * text.vocab_size * 4)


def free_bytes(device: str) -> int:
    """Bytes free on a GPU, or on the host within what the system and its control group allow."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_mem_available(Path("/proc/meminfo")), _group_free(Path("/sys/fs/cgroup")))


_UNKNOWN = 1 << 62  # no limit known: nothing is refused


def _mem_available(meminfo: Path) -> int:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return _UNKNOWN


def _group_free(group: Path) -> int:
    """Limit minus use, where files that can be dropped do not count as use."""
    try:
        limit, used = (group / "memory.max").read_text(), int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(limit) - used + int(stat.get("inactive_file", 0))
    except (OSError, ValueError):  # no such control group, or the limit is "max"
        return _UNKNOWN


def _precision(place: Place) -> str:
    return place.quantisation if place.quantisation != "none" else str(place.dtype).removeprefix("torch.")


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count < 1e10 else f"{count / 1e9:.1f} GB"
