"""Neighbours of latents: cosines and correlations that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csc_matrix

from ard import neighbours
from ard.neighbours import NeighbourError, Side, across, coactivation, within

# Four clips. Latents 0 and 1 rise together (r = 1), 2 runs against them (r = −1), 3 never changes.
SCORES = np.array([[1, 2, 4, 5], [2, 4, 3, 5], [3, 6, 2, 5], [4, 8, 1, 5]], dtype=np.float32)
# Angles 0°, 60°, 90° and the opposite of latent 0.
DECODER = np.array([[2, 0], [0.5, np.sqrt(3) / 2], [0, 3], [-1, 0]])


def side(scores: np.ndarray = SCORES, decoder: np.ndarray = DECODER) -> Side:
    return Side(csc_matrix(scores), decoder)


def test_coactivation_by_hand() -> None:
    found = coactivation(csc_matrix(SCORES), csc_matrix(SCORES))
    expected = np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]])
    np.testing.assert_allclose(found[:3, :3], expected, atol=1e-12)
    assert np.isnan(found[3]).all()
    assert np.isnan(found[:, 3]).all()


def test_coactivation_equals_numpys_correlation_with_absent_entries_as_zero() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((50, n)) * (rng.random((50, n)) < 0.2) for n in (7, 5))
    expected = np.corrcoef(a.T, b.T)[:7, 7:]
    np.testing.assert_allclose(coactivation(csc_matrix(a), csc_matrix(b)), expected, atol=1e-10)


def test_a_large_constant_score_is_still_constant() -> None:
    scores = np.stack([np.full(7, 0.1), np.arange(7)], 1)
    assert np.isnan(coactivation(csc_matrix(scores), csc_matrix(scores))[0]).all()


def test_other_numbers_of_clips_are_refused() -> None:
    with pytest.raises(NeighbourError, match="4 and 3 clips"):
        coactivation(csc_matrix(SCORES), csc_matrix(SCORES[:3]))


def test_within_ranks_by_cosine_and_leaves_the_latent_itself_out() -> None:
    found = within(side(), top=3)
    assert found.index.tolist() == [[1, 2, 3], [2, 0, 3], [1, 0, 3], [2, 1, 0]]
    np.testing.assert_allclose(found.cosine[0], [0.5, 0, -1], atol=1e-12)
    np.testing.assert_allclose(found.cosine[1], [np.sqrt(3) / 2, 0.5, -0.5], atol=1e-12)
    np.testing.assert_allclose(found.coactivation[0, :2], [1, -1], atol=1e-12)
    assert np.isnan(found.coactivation[0, 2])


def test_too_few_candidates_leave_places_empty() -> None:
    found = within(side(SCORES[:, :2], DECODER[:2]), top=4)
    assert found.index.tolist() == [[1, -1, -1, -1], [0, -1, -1, -1]]
    assert np.isnan(found.cosine[:, 1:]).all()


def test_across_ranks_by_coactivation_and_skips_what_has_none() -> None:
    other = side(SCORES[:, [2, 3, 0]], np.eye(3))
    found = across(side(), other, top=3, same_hookpoint=False)
    assert found.index[0].tolist() == [2, 0, -1]
    np.testing.assert_allclose(found.coactivation[0, :2], [1, -1], atol=1e-12)
    assert np.isnan(found.cosine).all()
    assert found.index[3].tolist() == [-1, -1, -1]


def test_across_gives_cosines_at_the_same_hookpoint_alone() -> None:
    found = across(side(), side(SCORES, DECODER[::-1]), top=1, same_hookpoint=True)
    assert found.index[0, 0] == 0  # ties of correlation: the lower index
    np.testing.assert_allclose(found.cosine[0, 0], -1)


def test_a_zero_decoder_row_is_nobodys_neighbour() -> None:
    decoder = DECODER.copy()
    decoder[1] = 0
    found = within(side(decoder=decoder), top=3)
    assert 1 not in found.index[[0, 2, 3]]
    assert found.index[1].tolist() == [-1, -1, -1]


def test_parts_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores, decoder = rng.random((30, 23)), rng.normal(size=(23, 6))
    whole = within(side(scores, decoder), top=5)
    monkeypatch.setattr(neighbours, "_CHUNK_VALUES", 50)
    for a, b in zip(whole, within(side(scores, decoder), top=5), strict=True):
        np.testing.assert_allclose(a, b)
