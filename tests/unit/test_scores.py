from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ard.scores import (
    ScoreError,
    batch_clip_scores,
    clip_scores,
    coherence,
    monosemanticity,
    monosemanticity_many,
    monosemanticity_spread,
)


def at(*degrees: float) -> np.ndarray:
    """Vectors in the plane at these angles; cosines are those of the differences."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_eq_2_by_hand() -> None:
    z = torch.tensor([[0.0, 4.0, 0.0], [2.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 4.0, 0.0]])
    scores = clip_scores(z)
    assert scores.mean_activation.tolist() == [0.5, 3.0, 0.0]
    assert scores.coverage.tolist() == [0.25, 0.75, 0.0]
    assert scores.representativeness.tolist() == [0.125, 2.25, 0.0]
    assert scores.max_activation.tolist() == [2.0, 4.0, 0.0]
    assert scores.mean_activation.dtype == torch.float32


def test_eq_2_of_raw_activations_can_be_negative() -> None:
    scores = clip_scores(torch.tensor([[-3.0], [1.0]]))
    assert [float(value) for value in scores] == [-1.0, 0.5, -0.5, 1.0]
    assert float(clip_scores(torch.tensor([[-3.0], [-1.0]])).max_activation) == -1.0


def test_eq_2_ignores_padding() -> None:
    z = torch.tensor([[[1.0], [3.0], [9.0]], [[9.0], [9.0], [2.0]]])
    real = torch.tensor([[True, True, False], [False, False, True]])
    scores = batch_clip_scores(z, real)
    assert scores.mean_activation.tolist() == [[2.0], [2.0]]
    assert scores.max_activation.tolist() == [[3.0], [2.0]]
    assert torch.equal(scores.mean_activation[0], clip_scores(z[0, :2]).mean_activation)


def test_a_clip_without_tokens_is_an_error() -> None:
    with pytest.raises(ScoreError, match="at least 1"):
        clip_scores(torch.zeros(0, 4))
    with pytest.raises(ScoreError, match="Clip 1"):
        batch_clip_scores(torch.zeros(2, 3, 4), torch.tensor([[True] * 3, [False] * 3]))
    with pytest.raises(ScoreError, match="shape"):
        batch_clip_scores(torch.zeros(2, 3, 4), torch.ones(2, 4, dtype=torch.bool))


def test_eq_3_by_hand() -> None:
    mean, std = coherence(at(0, 60, 90))  # cosines .5, 0, cos 30°
    cosines = [0.5, 0.0, math.sqrt(3) / 2]
    assert mean == pytest.approx(sum(cosines) / 3)
    assert std == pytest.approx(math.sqrt(sum((c - mean) ** 2 for c in cosines) / 3))  # population, not / 2
    assert coherence(at(0, 90) * 7).mean == pytest.approx(0.0, abs=1e-12)
    assert coherence(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])) == (1.0, 0.0)


def test_eq_4_by_hand() -> None:
    # H: cosines 1, 0, 0: mean 1/3, variance 2/9.  L: cosines 0, 0, -1: mean -1/3, variance 2/9.
    result = monosemanticity(at(0, 0, 90), at(0, 90, 180), eps=0.0)
    assert result.coherence_most == pytest.approx(1 / 3)
    assert result.coherence_least == pytest.approx(-1 / 3)
    assert result.std_pooled == pytest.approx(math.sqrt(2 / 9))
    assert result.score == pytest.approx((2 / 3) / math.sqrt(2 / 9))


def test_eq_4_divides_by_the_pooled_deviation_plus_epsilon() -> None:
    # All cosines of H are 1 and of L are 0, so the deviation is 0 and only epsilon divides.
    result = monosemanticity(np.ones((3, 3)), np.eye(3), eps=0.5)
    assert result.score == pytest.approx(2.0)
    assert monosemanticity(np.ones((3, 3)), np.eye(3)).score == pytest.approx(1e6)


def test_many_equals_one_by_one_and_skips_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(50, 8))
    most = np.stack([rng.choice(50, 4, replace=False) for _ in range(20)])
    least = np.stack([rng.choice(50, 4, replace=False) for _ in range(20)])
    most[3, 2:], least[5, 0] = -1, -1
    table = monosemanticity_many(torch.from_numpy(embeddings), most, least)
    for i in range(20):
        values = [float(column[i]) for column in table]
        if i in (3, 5):
            assert all(math.isnan(value) for value in values)
        else:
            assert values == pytest.approx(monosemanticity(embeddings[most[i]], embeddings[least[i]]), rel=1e-12)


def test_many_in_chunks_equals_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    embeddings, index = rng.normal(size=(9, 4)), rng.permuted(np.tile(np.arange(9), (7, 1)), axis=1)
    whole = monosemanticity_many(embeddings, index[:, :4], index[:, 4:8])
    monkeypatch.setattr("ard.scores._CHUNK_VALUES", 1)
    parts = monosemanticity_many(embeddings, index[:, :4], index[:, 4:8])
    assert np.array_equal(whole.score, parts.score)


def test_spread_over_draws_of_the_least() -> None:
    embeddings, most = at(0, 10, 20, 90, 200, 300), np.array([[0, 1, 2]])
    leasts = np.array([[[3, 4, 5]], [[2, 3, 5]]])
    single = [monosemanticity_many(embeddings, most, least).score[0] for least in leasts]
    spread = monosemanticity_spread(embeddings, most, leasts)
    assert spread.mean[0] == pytest.approx(np.mean(single))
    assert spread.std[0] == pytest.approx(np.std(single))
    assert spread.draws == 2


@pytest.mark.parametrize(
    ("embeddings", "says"),
    [
        (np.ones((1, 3)), "at least 2"),
        (np.zeros((2, 3)), "norm 0"),
        (np.full((2, 3), np.nan), "nan"),
        (np.ones(3), "shape"),
    ],
)
def test_bad_embeddings_are_refused(embeddings: np.ndarray, says: str) -> None:
    with pytest.raises(ScoreError, match=says):
        coherence(embeddings)


def test_bad_indices_are_refused() -> None:
    with pytest.raises(ScoreError, match="allowed are -1 to 2"):
        monosemanticity_many(np.eye(3), np.array([[0, 3]]), np.array([[0, 1]]))
    with pytest.raises(ScoreError, match="p ≥ 2"):
        monosemanticity_many(np.eye(3), np.array([[0]]), np.array([[1]]))
