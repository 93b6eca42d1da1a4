"""Points on a plane: nearness, determinism, few points, mistakes."""

from __future__ import annotations

import numpy as np
import pytest

from ard.layout import FEWEST, LayoutError, layout


def groups(each: int = 20, seed: int = 0) -> np.ndarray:
    """Three directions with a little noise, of different lengths."""
    rng = np.random.default_rng(seed)
    centres = np.eye(8)[:3].repeat(each, 0) * rng.uniform(0.5, 4, (3 * each, 1))
    return (centres + 0.02 * rng.normal(size=centres.shape)).astype(np.float32)


def test_what_points_the_same_way_lies_together() -> None:
    places = layout(groups(), neighbours=5)
    assert places.shape == (60, 2)
    assert np.isfinite(places).all()
    centres = places.reshape(3, 20, 2).mean(1)
    for i in range(60):
        assert np.linalg.norm(centres - places[i], axis=1).argmin() == i // 20


def test_the_same_seed_gives_the_same_places_and_another_seed_others() -> None:
    first = layout(groups(), seed=1)
    assert np.array_equal(first, layout(groups(), seed=1))
    assert not np.array_equal(first, layout(groups(), seed=2))


@pytest.mark.parametrize("n", [0, 1, 2, 3, FEWEST - 1, FEWEST, FEWEST + 1, 9])
def test_any_number_of_points_has_places(n: int) -> None:
    places = layout(groups()[:n])
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()


def test_few_points_lie_by_principal_components() -> None:
    # Unit vectors at 0° and 90°: their difference has length √2, one component each side of the middle.
    places = layout(np.array([[3.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(np.abs(places[:, 0]), np.sqrt(2) / 2, rtol=1e-6)
    assert places[0, 0] == -places[1, 0]
    np.testing.assert_allclose(places[:, 1], 0, atol=1e-6)
    assert layout(np.ones((1, 3))).tolist() == [[0.0, 0.0]]


def test_equal_vectors_are_allowed() -> None:
    assert np.isfinite(layout(np.repeat(np.eye(4), 4, axis=0))).all()


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (np.ones(3), "shape \\(3,\\)"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), "Vector 1 is zero"),
        (np.array([[np.nan, 0.0]]), "Vector 0 is zero or not finite"),
    ],
)
def test_mistakes_get_one_sentence(vectors: np.ndarray, words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        layout(vectors)
