"""What steering does to one activation x: the clamp of the paper, and the two comparators that need no SAE.

Paper, after its ref [9]: with a = W_enc x + b_enc the latents before TopK (Eq. 1), set a_k := value, then

    z = TopK(a),   x̂ = W_dec z,   x := x̂            (no error term: x̂ replaces x)

These are pure functions of tensors; `ard.steering` decides at which positions of a model they act.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ard.sae import TopKSAE

When = Literal["before_topk", "after_topk"]
Positions = Literal["audio", "prompt", "all"]
Decoding = Literal["replace", "clamp", "off"]
PlainDecoding = Literal["clamp", "off"]


class SteeringError(ValueError):
    """A steering request that cannot be carried out; the message says why and what is allowed."""


def _one_of(name: str, value: object, allowed: object) -> None:
    if value not in get_args(allowed):
        raise SteeringError(f"{name} is {value!r}; choose one of {', '.join(get_args(allowed))}.")


def _paired(name: str, ids: tuple[int, ...], values: tuple[float, ...]) -> None:
    if len(ids) != len(values):
        raise SteeringError(f"{len(ids)} {name} and {len(values)} values were given; give one value for each.")
    for one in ids:
        if isinstance(one, bool) or not isinstance(one, int) or one < 0:
            raise SteeringError(f"{name} contains {one!r}; give whole numbers from 0.")
    if len(set(ids)) != len(ids):
        raise SteeringError(f"{name} {ids} names one of them twice; give each once.")
    for value in values:
        if not math.isfinite(value):
            raise SteeringError(f"values contains {value}; give finite numbers.")


def _check_range(name: str, ids: tuple[int, ...], size: int) -> None:
    outside = [one for one in ids if one >= size]
    if outside:
        raise SteeringError(f"{name} contains {outside[0]}; there are {size}, from 0 to {size - 1}.")


@dataclass(frozen=True)
class Clamp:
    """Clamp latents of a TopK SAE; the defaults are the paper's."""

    latents: tuple[int, ...]
    """latent_ids; empty is the control "reconstruct only": x̂ replaces x and nothing is clamped."""
    values: tuple[float, ...]
    """One steering value per latent, in the units of the SAE's latents; 0 ablates."""
    when: When = "before_topk"
    """`before_topk` (paper): the value competes for the k places and may vanish. `after_topk`: it always stays, in
    addition to the k kept."""
    error_term: bool = False
    """True adds x − x̂ of the unclamped x back, so that only the clamp's effect changes x."""
    positions: Positions = "all"
    """Prefill positions: `audio` tokens, `prompt` (text after the audio), or `all` of both. Never prefix or padding."""
    decoding: Decoding = "replace"
    """While decoding: `replace` (paper) x by the unclamped x̂, `clamp` as in the prefill, or leave it (`off`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "latents", tuple(self.latents))
        object.__setattr__(self, "values", tuple(map(float, self.values)))
        _paired("latents", self.latents, self.values)
        _one_of("when", self.when, When)
        _one_of("positions", self.positions, Positions)
        _one_of("decoding", self.decoding, Decoding)

    def with_value(self, value: float) -> Clamp:
        """The same clamp with every latent at `value`."""
        return replace(self, values=(value,) * len(self.latents))

    def without_latents(self) -> Clamp:
        """The same switches, clamping nothing."""
        return replace(self, latents=(), values=())


@dataclass(frozen=True)
class PolyClamp:
    """The `poly` method: set raw dimensions of x to values, without an SAE; everything else of x stays."""

    dims: tuple[int, ...]
    """Dimensions of x, 0 to d_in − 1."""
    values: tuple[float, ...]
    """One value per dimension, in the units of x."""
    positions: Positions = "all"
    """As in `Clamp`."""
    decoding: PlainDecoding = "off"
    """While decoding: `clamp` too, or leave x (`off`); there is no x̂ to replace it by."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", tuple(self.dims))
        object.__setattr__(self, "values", tuple(map(float, self.values)))
        _paired("dims", self.dims, self.values)
        if not self.dims:
            raise SteeringError("dims is empty; name at least one dimension of x.")
        _one_of("positions", self.positions, Positions)
        _one_of("decoding", self.decoding, PlainDecoding)

    def with_value(self, value: float) -> PolyClamp:
        """The same clamp with every dimension at `value`."""
        return replace(self, values=(value,) * len(self.dims))


@dataclass(frozen=True, eq=False)
class DiffOfMeans:
    """Difference-of-means steering, x + alpha · vector: the comparator that needs no SAE."""

    vector: Float[Tensor, " d_in"]
    """Mean of the target's activations minus mean of the source's; see `difference_of_means`."""
    alpha: float = 1.0
    """1 moves x by the whole difference."""
    positions: Positions = "all"
    """As in `Clamp`."""
    decoding: PlainDecoding = "off"
    """While decoding: `clamp` adds the vector too, `off` leaves x."""

    def __post_init__(self) -> None:
        if self.vector.ndim != 1 or not bool(torch.isfinite(self.vector).all()):
            raise SteeringError(f"vector has shape {tuple(self.vector.shape)}; give one row of d_in finite numbers.")
        if not math.isfinite(self.alpha):
            raise SteeringError(f"alpha is {self.alpha}; give a finite number.")
        _one_of("positions", self.positions, Positions)
        _one_of("decoding", self.decoding, PlainDecoding)

    def with_value(self, value: float) -> DiffOfMeans:
        """The same direction with alpha = `value`."""
        return replace(self, alpha=value)


Change = Clamp | PolyClamp | DiffOfMeans
"""Anything that steers."""


class Steered(NamedTuple):
    """Result of `apply_clamp`."""

    x_hat: Float[Tensor, "*T d_in"]
    """What replaces x, float32 or the SAE's precision."""
    z: Float[Tensor, "*T d_sae"]
    """Latents after the clamp and TopK."""
    survived: Bool[Tensor, "*T n_latents"]
    """Whether each clamped latent still has its value after TopK; False is the dead zone."""


@torch.no_grad()
def apply_clamp(sae: TopKSAE, x: Float[Tensor, "*T d_in"], clamp: Clamp) -> Steered:
    """x̂ after clamping: a = W_enc x + b_enc, a_k := value, z = TopK(a), x̂ = W_dec z (Eq. 1 and its ref [9]).

    With the error term: x̂ + (x − x̂₀), where x̂₀ is the reconstruction without the clamp. A clamp below the k-th latent
    vanishes in TopK, and a negative one in the ReLU before it: `survived` is False there and z_k is 0.

    Raises:
        SteeringError: a latent the SAE lacks.
    """
    _check_range("latents", clamp.latents, sae.cfg.d_sae)
    shape = (*x.shape[:-1], len(clamp.latents))
    index = torch.tensor(clamp.latents, dtype=torch.long, device=x.device).expand(shape)
    return clamp_tokens(sae, x, index, torch.tensor(clamp.values, device=x.device).expand(shape), clamp)


@torch.no_grad()
def clamp_tokens(
    sae: TopKSAE, x: Tensor, index: Int[Tensor, "*T n_latents"], values: Float[Tensor, "*T n_latents"], clamp: Clamp
) -> Steered:
    """`apply_clamp` with latents and values given token by token; only the switches of `clamp` are read."""
    pre = sae.pre_activations(x)
    values = values.to(pre.dtype)
    plain = None
    if clamp.when == "before_topk":
        z = sae.topk(pre.scatter(-1, index, values))
    else:
        plain = sae.topk(pre)
        z = plain.scatter(-1, index, values)
    x_hat = sae.decode(z)
    if clamp.error_term:
        x_hat = x.to(x_hat.dtype) + (x_hat - sae.decode(sae.topk(pre) if plain is None else plain))
    return Steered(x_hat, z, z.gather(-1, index) == values)


def poly_clamp(x: Float[Tensor, "*T d_in"], dims: Sequence[int], values: Sequence[float]) -> Float[Tensor, "*T d_in"]:
    """The activation with x_k := value for each raw dimension k: steering by the `poly` method.

    Raises:
        SteeringError: a dimension x lacks, or as many values as dimensions are not given.
    """
    clamp = PolyClamp(tuple(dims), tuple(values))
    _check_range("dims", clamp.dims, x.shape[-1])
    out = x.clone()
    out[..., list(clamp.dims)] = torch.tensor(clamp.values, dtype=x.dtype, device=x.device)
    return out


def difference_of_means(x_source: Float[Tensor, "N d_in"], x_target: Float[Tensor, "M d_in"]) -> Float[Tensor, " d_in"]:
    """Mean over tokens of x_target minus mean over tokens of x_source, float32.

    Raises:
        SteeringError: an empty side, or different widths.
    """
    shapes = f"{tuple(x_source.shape)} and {tuple(x_target.shape)}"
    if x_source.ndim != 2 or x_target.ndim != 2 or x_source.shape[1] != x_target.shape[1]:
        raise SteeringError(f"The activations have shapes {shapes}; give [tokens, d_in] twice with the same d_in.")
    if not len(x_source) or not len(x_target):
        raise SteeringError(f"The activations have shapes {shapes}; give at least one token on each side.")
    return x_target.double().mean(0).sub(x_source.double().mean(0)).float()


def check_change(change: Change, d_in: int, sae: TopKSAE | None) -> None:
    """Refuse a change that does not fit a model of width `d_in` and this SAE.

    Raises:
        SteeringError: a latent, dimension or vector that does not exist there, or an SAE missing.
    """
    if isinstance(change, Clamp):
        if sae is None:
            raise SteeringError("A Clamp needs an SAE; give one, or use PolyClamp or DiffOfMeans.")
        _check_range("latents", change.latents, sae.cfg.d_sae)
    elif isinstance(change, PolyClamp):
        _check_range("dims", change.dims, d_in)
    elif change.vector.shape[0] != d_in:
        raise SteeringError(f"The vector has {change.vector.shape[0]} entries; this model's activations have {d_in}.")
