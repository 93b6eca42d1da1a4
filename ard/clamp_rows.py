"""A clamp of its own for every row of a batch, so that many latents and values are tried in one pass (ours)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ard.clamps import Clamp, Decoding, PolyClamp, Positions, SteeringError, check_change, clamp_tokens
from ard.sae import TopKSAE

AnyClamp = Clamp | PolyClamp


@dataclass(frozen=True)
class EachRow:
    """One clamp for each row of a batch."""

    clamps: tuple[AnyClamp, ...]
    """All `Clamp` or all `PolyClamp`, with equally many latents and the same switches."""

    def __post_init__(self) -> None:
        if not self.clamps:
            raise SteeringError("clamps is empty; give one for each row of the batch.")
        alike = {(type(one), len(one.values), _switches(one)) for one in self.clamps}
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
    """Whether each clamped latent still has its value after TopK; no column for `PolyClamp`."""


@torch.no_grad()
def apply_each(
    x: Float[Tensor, "N d_in"], rows: Int[Tensor, " N"], change: EachRow, sae: TopKSAE | None = None
) -> EachSteered:
    """What replaces x when token n belongs to row `rows[n]` of the batch and is clamped by that row's own clamp.

    Equals `apply_clamp` or `poly_clamp` row by row.

    Raises:
        SteeringError: no SAE was given for a `Clamp`.
    """
    ids = torch.tensor([_ids(one) for one in change.clamps], dtype=torch.long, device=x.device)[rows]
    values = torch.tensor([one.values for one in change.clamps], device=x.device)[rows]
    first = change.clamps[0]
    if isinstance(first, PolyClamp):
        return EachSteered(x.scatter(-1, ids, values.to(x.dtype)), torch.ones(len(x), 0, dtype=torch.bool))
    if sae is None:
        raise SteeringError("A Clamp needs an SAE; give one, or use PolyClamp.")
    steered = clamp_tokens(sae, x, ids, values, first)
    return EachSteered(steered.x_hat, steered.survived)


def _ids(clamp: AnyClamp) -> tuple[int, ...]:
    return clamp.latents if isinstance(clamp, Clamp) else clamp.dims


def _switches(clamp: AnyClamp) -> tuple[object, ...]:
    more = (clamp.when, clamp.error_term) if isinstance(clamp, Clamp) else ()
    return (clamp.positions, clamp.decoding, *more)
