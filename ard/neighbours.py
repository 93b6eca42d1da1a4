"""Which latents resemble each other: by the direction they write, and by the clips they fire on.

Ours; the paper names no such measure. For latents a, b with decoder rows d_a, d_b and clip scores r_a, r_b (Eq. 2 of
AR&D, arXiv 2602.22253) over the n clips of the probing set:

    cosine(a, b)       = d_a · d_b / (‖d_a‖ ‖d_b‖)             what they write into the residual stream
    coactivation(a, b) = cov(r_a, r_b) / (std(r_a) std(r_b))   Pearson correlation: which clips they fire on

Decoder rows of different hookpoints live in different spaces, so across hookpoints there is coactivation alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_matrix

_CHUNK_VALUES = 1 << 24


class NeighbourError(ValueError):
    """Arrays between which no neighbours can be found; the message says how to mend it."""


class Neighbours(NamedTuple):
    """The nearest latents of each latent, nearest first; −1 and NaN where there are not enough."""

    index: Int[np.ndarray, "latents top"]
    """Columns (or rows) of the other side."""
    cosine: Float[np.ndarray, "latents top"]
    """NaN where the two sides are at different hookpoints, or a row is zero."""
    coactivation: Float[np.ndarray, "latents top"]
    """NaN where one of the two has the same score on every clip."""


class Side(NamedTuple):
    """Some latents of one SAE."""

    scores: csc_matrix
    """r [clips, latents] over the probing set; absent entries are 0."""
    decoder: Float[np.ndarray, "latents d_in"]
    """Decoder rows."""


def coactivation(a: csc_matrix, b: csc_matrix) -> Float[np.ndarray, "m n"]:
    """Pearson correlation of the columns of a [clips, m] with those of b [clips, n]; NaN where a column is constant.

    Raises:
        NeighbourError: other numbers of clips, or none.
    """
    n = a.shape[0]
    if n == 0 or b.shape[0] != n:
        raise NeighbourError(f"The scores have {n} and {b.shape[0]} clips; give the same clips, at least one.")
    mean_a, std_a = _moments(a)
    mean_b, std_b = _moments(b)
    covariance = (a.T.astype(np.float64) @ b.astype(np.float64)).toarray() / n - np.outer(mean_a, mean_b)
    scale = np.outer(std_a, std_b)
    return np.divide(covariance, scale, out=np.full(scale.shape, np.nan), where=scale > 0).clip(-1, 1)


def _moments(scores: csc_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of each column; the latter exactly 0 for a constant column."""
    values = scores.astype(np.float64)
    n = values.shape[0]
    mean = np.asarray(values.sum(0)).ravel() / n
    square = np.asarray(values.multiply(values).sum(0)).ravel() / n
    std = np.sqrt(np.maximum(square - mean**2, 0))
    constant = values.max(0).toarray().ravel() == values.min(0).toarray().ravel()
    return mean, np.where(constant, 0.0, std)


def within(side: Side, top: int = 10) -> Neighbours:
    """The latents of the same SAE with the highest decoder cosine, the latent itself left out; ties by index."""
    return _search(side, side, top, by_cosine=True, same=True, cosines=True)


def across(side: Side, other: Side, top: int = 10, *, same_hookpoint: bool) -> Neighbours:
    """The latents of another SAE with the highest coactivation; their cosine only at the same hookpoint."""
    return _search(side, other, top, by_cosine=False, same=False, cosines=same_hookpoint)


def _search(side: Side, other: Side, top: int, *, by_cosine: bool, same: bool, cosines: bool) -> Neighbours:
    latents, candidates = len(side.decoder), len(other.decoder)
    found = Neighbours(*(np.full((latents, top), fill) for fill in (-1, np.nan, np.nan)))
    directions = _unit(other.decoder) if cosines else None
    step = max(1, _CHUNK_VALUES // max(1, candidates))
    for start in range(0, latents, step):
        rows = slice(start, min(start + step, latents))
        together = coactivation(side.scores[:, rows], other.scores)
        cosine = np.full(together.shape, np.nan)
        if directions is not None:
            cosine = (_unit(side.decoder[rows]) @ directions.T).clip(-1, 1)
        nearness = (cosine if by_cosine else together).copy()
        if same:
            nearness[np.arange(len(nearness)), np.arange(rows.start, rows.stop)] = np.nan
        order = np.argsort(-nearness, axis=1, kind="stable")[:, :top]  # NaN sorts last
        known = ~np.isnan(np.take_along_axis(nearness, order, 1))
        width = order.shape[1]
        found.index[rows, :width] = np.where(known, order, -1)
        for target, values in ((found.cosine, cosine), (found.coactivation, together)):
            target[rows, :width] = np.where(known, np.take_along_axis(values, order, 1), np.nan)
    return found


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row becomes NaN, which is nobody's neighbour."""
    wide = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, length, out=np.full(wide.shape, np.nan), where=length > 0)
