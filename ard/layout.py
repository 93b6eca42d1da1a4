"""Points on a plane: UMAP with cosine distance (McInnes, Healy and Melville, arXiv 1802.03426), with a fixed seed.

Ours; the paper shows such maps and gives no settings. Only nearness has meaning: axes, scale and the gaps between far
groups have none. Few points (fewer than 5) have no neighbourhood to speak of and lie by their two principal components.
"""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

FEWEST = 5
"""From here on UMAP; below, principal components."""
EXACT = 20_000
"""Up to this many points the nearest neighbours are searched exactly, beyond by UMAP's own approximate search."""


class LayoutError(ValueError):
    """Vectors that cannot be laid out; the message says how to mend it."""


def layout(
    vectors: Float[np.ndarray, "points d"],
    *,
    neighbours: int = 15,
    min_distance: float = 0.1,
    epochs: int = 200,
    seed: int = 0,
) -> Float[np.ndarray, "points 2"]:
    """A place for each vector, nearby vectors near each other by cosine; the same on every call with the same seed.

    Args:
        vectors: any length, finite, none zero.
        neighbours: how many UMAP looks at; fewer where there are fewer points.
        min_distance: how close UMAP lets points come.
        epochs: passes over the neighbour graph.
        seed: of UMAP's random numbers.

    Raises:
        LayoutError: not [points, d], or a vector that is zero or not finite.
    """
    points = np.asarray(vectors, dtype=np.float32)
    if points.ndim != 2:
        raise LayoutError(f"vectors has shape {points.shape}; give [points, d].")
    length = np.linalg.norm(points, axis=1, keepdims=True)
    bad = ~(np.isfinite(length[:, 0]) & (length[:, 0] > 0))
    if bad.any():
        raise LayoutError(f"Vector {int(bad.argmax())} is zero or not finite; leave it out, it has no direction.")
    if len(points) < FEWEST:
        return _principal(points / length)
    return _umap(points / length, min(neighbours, len(points) - 1), min_distance, epochs, seed)


def _principal(units: np.ndarray) -> np.ndarray:
    """The first two principal components, each with its largest entry above 0; 0 where there is none."""
    out = np.zeros((len(units), 2), dtype=np.float32)
    if len(units) < 2:
        return out
    u, s, _ = np.linalg.svd(units - units.mean(0), full_matrices=False)
    found = (u * s)[:, :2]
    largest = found[np.abs(found).argmax(0), np.arange(found.shape[1])]
    out[:, : found.shape[1]] = found * np.where(largest < 0, -1, 1)
    return out


def _umap(units: np.ndarray, neighbours: int, min_distance: float, epochs: int, seed: int) -> np.ndarray:
    import umap  # seconds: it compiles

    options: dict[str, object] = {}
    if len(units) <= EXACT:
        options["precomputed_knn"] = _nearest(units, neighbours)
    with warnings.catch_warnings():
        # We never place further points, which is what UMAP says it cannot do after an exact search.
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]")
        mapper = umap.UMAP(
            metric="cosine",
            n_neighbors=neighbours,
            min_dist=min_distance,
            n_epochs=epochs,
            random_state=seed,
            n_jobs=1,  # what a fixed seed asks for; said aloud, or UMAP warns
            **options,
        )
        return np.asarray(mapper.fit_transform(units), dtype=np.float32)


def _nearest(units: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and cosine distances of the nearest points, each point itself first, as UMAP counts them."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=neighbours, metric="cosine", algorithm="brute").fit(units)
    distance, index = search.kneighbors(units)
    return index, distance.astype(np.float32)
