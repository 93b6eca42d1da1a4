"""A clamp of its own for every row of a batch, so that many latents and values are tried in one pass (ours)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ard.clamps import (
    Change,
    Clamp,
    Decoding,
    DiffOfMeans,
    PolyClamp,
    Positions,
    SteeringError,
    check_change,
    clamp_tokens,
)
from ard.sae import TopKSAE

AnyClamp = Change
"""What a row may be given: a latent clamped, a raw dimension set, or a direction added."""


@dataclass(frozen=True)
class EachRow:
    """One clamp for each row of a batch."""

    clamps: tuple[AnyClamp, ...]
    """All of one kind, with equally many latents or dimensions and the same switches."""

    def __post_init__(self) -> None:
        if not self.clamps:
            raise SteeringError("clamps is empty; give one for each row of the batch.")
        alike = {(type(one), _width(one), _switches(one)) for one in self.clamps}
        if len(alike) > 1:
            raise SteeringError("The rows' clamps differ in kind, number of latents or switches; give them alike.")

    @property
    def positions(self) -> Positions:
        """As in `Clamp`."""
        return self.clamps[0].positions

    @property
    def decoding(self) -> Decoding:
        """As in `Clamp`."""
        return self.clamps[0].decoding

    def check(self, d_in: int, sae: TopKSAE | None) -> None:
        """Refuse a clamp that does not fit a model of width `d_in` and this SAE.

        Raises:
            SteeringError: as `check_change`.
        """
        for one in dict.fromkeys(self.clamps):
            check_change(one, d_in, sae)


class EachSteered(NamedTuple):
    """Result of `apply_each`."""

    x_hat: Float[Tensor, "N d_in"]
    survived: Bool[Tensor, "N n_latents"]
    """Whether each clamped latent still has its value after TopK; no column where no latent is clamped."""


@torch.no_grad()
def apply_each(
    x: Float[Tensor, "N d_in"], rows: Int[Tensor, " N"], change: EachRow, sae: TopKSAE | None = None
) -> EachSteered:
    """What replaces x when token n belongs to row `rows[n]` of the batch and is clamped by that row's own clamp.

    Equals `apply_clamp`, `poly_clamp` or x + alpha · vector row by row.

    Raises:
        SteeringError: no SAE was given for a `Clamp`.
    """
    first, none = change.clamps[0], torch.ones(len(x), 0, dtype=torch.bool)
    if isinstance(first, DiffOfMeans):
        moves = torch.stack([c.alpha * c.vector.float() for c in change.clamps if isinstance(c, DiffOfMeans)])
        return EachSteered(x.float() + moves.to(x.device)[rows], none)
    pairs = [_ids_and_values(one) for one in change.clamps]
    ids = torch.tensor([ids for ids, _ in pairs], dtype=torch.long, device=x.device)[rows]
    values = torch.tensor([values for _, values in pairs], device=x.device)[rows]
    if isinstance(first, PolyClamp):
        return EachSteered(x.scatter(-1, ids, values.to(x.dtype)), none)
    if sae is None:
        raise SteeringError("A Clamp needs an SAE; give one, or use PolyClamp.")
    steered = clamp_tokens(sae, x, ids, values, first)
    return EachSteered(steered.x_hat, steered.survived)


def _ids_and_values(clamp: AnyClamp) -> tuple[tuple[int, ...], tuple[float, ...]]:
    if isinstance(clamp, DiffOfMeans):
        return (), ()
    return (clamp.latents if isinstance(clamp, Clamp) else clamp.dims), clamp.values


def _width(clamp: AnyClamp) -> int:
    return len(_ids_and_values(clamp)[0])


def _switches(clamp: AnyClamp) -> tuple[object, ...]:
    more = (clamp.when, clamp.error_term) if isinstance(clamp, Clamp) else ()
    return (clamp.positions, clamp.decoding, *more)
