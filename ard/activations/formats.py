"""How one token's activations are written: 32, 16 or 8 bits a number, and what the shorter forms cost.

`int8` (ours): token t is stored as q_t = round(x_t / s_t) with its own scale s_t = max_i |x_ti| / 127 (absmax).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Format = Literal["float32", "float16", "bfloat16", "int8"]
FORMATS: tuple[str, ...] = get_args(Format)
TORCH: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}
NUMPY: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": np.uint16,  # numpy has no bfloat16: its bits are kept
    "int8": np.int8,
}
SAFETENSORS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}
LEVELS = 127


class FormatError(ValueError):
    """Activations that a number format cannot hold, or a format that does not exist."""


class Stored(NamedTuple):
    """Tokens as they lie on disk."""

    x: Tensor
    """[tokens, d] in the format's own type."""
    scale: Tensor | None
    """[tokens] float32 for `int8`, else None."""


class Loss(NamedTuple):
    """Sums behind the FVU of a number format; add them, divide once."""

    residual: float
    """Σ‖x − x̂‖²."""
    variance: float
    """Σ‖x − x̄‖²."""

    @property
    def fvu(self) -> float:
        """Σ‖x − x̂‖² / Σ‖x − x̄‖²; 0 where nothing varies."""
        return self.residual / self.variance if self.variance else 0.0


def check_format(name: str) -> str:
    """The name of a format.

    Raises:
        FormatError: there is no such format.
    """
    if name not in FORMATS:
        raise FormatError(f"Number format {name!r} does not exist; choose one of {', '.join(FORMATS)}.")
    return name


def encode(x: Float[Tensor, "tokens d"], name: str) -> Stored:
    """Tokens x in a number format.

    Raises:
        FormatError: a value is not finite in it (float16 ends at 65504).
    """
    if check_format(name) == "int8":
        x = x.float()
        scale = x.abs().amax(-1) / LEVELS
        if not bool(scale.isfinite().all()):
            raise FormatError("Activations are not finite; check the model and the clips.")
        step = scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
        return Stored((x / step).round_().clamp_(-LEVELS, LEVELS).to(torch.int8), scale)
    stored = x.to(TORCH[name])
    if not bool(stored.isfinite().all()):
        mend = "use --set activations.dtype=bfloat16 or float32" if name == "float16" else "check the model"
        raise FormatError(f"Activations are not finite as {name}; {mend}.")
    return Stored(stored, None)


def decode(stored: Stored) -> Float[Tensor, "tokens d"]:
    """Tokens in the type they were stored in; `int8` becomes float32, x̂_t = s_t · q_t."""
    if stored.scale is None:
        return stored.x
    return stored.x.float() * stored.scale[:, None]


def from_numpy(x: np.ndarray, name: str) -> Tensor:
    """An array of a shard as a tensor of its format; bfloat16 bits become bfloat16. Shares the array's memory."""
    return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if name == "bfloat16" else torch.from_numpy(x)


def to_numpy(x: Tensor) -> np.ndarray:
    """The inverse of `from_numpy`."""
    x = x.contiguous()
    return x.view(torch.int16).numpy().view(np.uint16) if x.dtype == torch.bfloat16 else x.numpy()


def number_bytes(d: int, name: str) -> int:
    """Bytes of one token's numbers: d of them, and for `int8` their scale."""
    return d * TORCH[check_format(name)].itemsize + (4 if name == "int8" else 0)


def token_bytes(d: int, name: str, stored: bool = True) -> int:
    """Bytes of one token on disk: its numbers where they are stored, its norm and its sink mark."""
    return (number_bytes(d, name) if stored else 0) + 4 + 1


def loss_of(x: Float[Tensor, "tokens d"], name: str) -> Loss:
    """What storing x in a format and reading it back loses, summed in float64."""
    exact = x.double()
    back = decode(encode(x, name)).double()
    return Loss(float((exact - back).square().sum()), float((exact - exact.mean(0)).square().sum()))
