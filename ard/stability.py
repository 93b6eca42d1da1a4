"""Which concepts return when the SAE is trained again: latents of two SAEs matched by the direction they write.

Ours; the paper trains each SAE once. For decoder rows d_a of one SAE and e_b of another of the same hookpoint

    cosine(a, b) = d_a · e_b / (‖d_a‖ ‖e_b‖)

A concept counts as found again if some latent of the other SAE has a cosine of at least 0.7 with it: its nearest one,
or the one that a one-to-one matching of the largest total cosine gives it (scipy's linear_sum_assignment), so that no
latent stands for two concepts. The sign counts: z is never negative, so a latent that writes the opposite direction is
another one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from ard.resampling import Estimate, bootstrap_weights, interval

FOUND = 0.7
"""Cosine from which a concept counts as found again."""
ONE_TO_ONE_MOST = 8192
"""Most latents of the other SAE for a one-to-one matching, whose time grows with their number cubed."""
_CHUNK = 1024


class StabilityError(ValueError):
    """Decoders that cannot be compared; the message says how to mend it."""


class Returned(NamedTuple):
    """Cosine of each concept with its counterpart in the other SAE."""

    nearest: Float[np.ndarray, " concepts"]
    one_to_one: Float[np.ndarray, " concepts"] | None
    """0 where none is left, or none on the same side; None above `ONE_TO_ONE_MOST` latents."""


def returned(ours: Float[np.ndarray, "concepts d_in"], theirs: Float[np.ndarray, "latents d_in"]) -> Returned:
    """Cosines of the decoder rows of concepts with their counterparts among the rows of another SAE.

    Raises:
        StabilityError: other widths, or nothing on one side.
    """
    if not len(ours) or not len(theirs) or ours.shape[1] != theirs.shape[1]:
        raise StabilityError(
            f"The decoders have shapes {ours.shape} and {theirs.shape}; give at least one row each, of the same width."
        )
    a, b = _unit(ours), _unit(theirs)
    if len(b) > ONE_TO_ONE_MOST:
        chunks = [(a[i : i + _CHUNK] @ b.T).max(1) for i in range(0, len(a), _CHUNK)]
        return Returned(np.concatenate(chunks).astype(np.float64), None)
    cosine = a @ b.T
    matched = np.zeros(len(a))
    alike = np.maximum(cosine, 0)  # the opposite is no counterpart, and must not cost another one its own
    rows, columns = linear_sum_assignment(alike, maximize=True)
    matched[rows] = alike[rows, columns]
    return Returned(cosine.max(1).astype(np.float64), matched)


def share_found(cosines: Float[np.ndarray, " concepts"], draws: int, seed: int) -> Estimate:
    """Share of the concepts found again, with the bootstrap interval over the concepts."""
    found = (cosines >= FOUND).astype(np.float64)
    weights = bootstrap_weights(np.arange(len(found)), draws, seed)
    return interval(float(found.mean()), weights @ found / len(found))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays zero, near to nothing."""
    wide = np.asarray(rows, dtype=np.float32)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
