"""What a latent's clip scores are divided by before latents are compared with each other."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.sparse import csc_matrix

PERCENTILE = 99


def percentile_scale(scores: Float[np.ndarray, "clips latents"] | csc_matrix) -> Float[np.ndarray, " latents"]:
    """The 99th percentile of each latent's clip scores on the probing set.

    Without it, latents that are always on would win every clip. Ours: where the percentile is not above 0 (the latent
    fires in less than one clip of a hundred) the largest score takes its place; infinite where that is not above 0
    either, so that the latent predicts nothing. Absent entries of sparse scores are 0.
    """
    if isinstance(scores, csc_matrix):
        scale = _sparse_percentile(scores)
        largest = scores.max(0).toarray().ravel()
    else:
        scale = np.percentile(scores, PERCENTILE, axis=0).astype(np.float64)
        largest = scores.max(0)
    scale = np.where(scale > 0, scale, largest)
    return np.where(scale > 0, scale, np.inf)


def _sparse_percentile(scores: csc_matrix) -> np.ndarray:
    """As numpy's (linear between the two nearest), for columns of which most entries are 0 and none is below."""
    clips, latents = scores.shape
    at = (clips - 1) * PERCENTILE / 100
    low = math.floor(at)
    out = np.zeros(latents)
    for j in range(latents):
        found = np.sort(scores.data[scores.indptr[j] : scores.indptr[j + 1]].astype(np.float64))
        zeros = clips - len(found)
        here, after = (found[i - zeros] if i >= zeros else 0.0 for i in (low, min(low + 1, clips - 1)))
        out[j] = here + (after - here) * (at - low)
    return out
