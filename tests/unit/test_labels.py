"""AUROC in resamples, and shuffled labels at chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csc_matrix
from sklearn.metrics import roc_auc_score

from ard.labels import LabelError, auroc, auroc_resampled
from ard.percentile import percentile_scale


def test_resampled_auroc_by_hand() -> None:
    scores, positive = np.array([0.0, 0.0, 1.0, 2.0]), np.array([False, True, False, True])
    # Whole: pairs (1: 0 vs 0 half, vs 1 lost), (3: won, won): 2.5 / 4. Clip 3 twice, clip 2 gone: (.5 + 2) / 3.
    found = auroc_resampled(scores, positive, np.array([[1.0, 1, 1, 1], [1, 1, 0, 2], [1, 0, 1, 0]]))
    assert found[:2] == pytest.approx([2.5 / 4, 2.5 / 3])
    assert np.isnan(found[2])  # no clip of the class was drawn


@pytest.mark.parametrize("seed", range(10))
def test_a_weight_means_that_the_clip_is_there_so_often(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=40).clip(-0.5 if seed % 2 else 0.4)  # most share the lowest score, or few
    positive = np.arange(40) % 3 == 0
    weights = rng.integers(0, 3, (5, 40)).astype(float)
    for found, times in zip(auroc_resampled(scores, positive, weights), weights.astype(int), strict=True):
        repeated = np.repeat(np.arange(40), times)
        assert found == pytest.approx(roc_auc_score(positive[repeated], scores[repeated]))
    whole = auroc(scores[:, None], positive[:, None])[0, 0]
    assert auroc_resampled(scores, positive, np.ones((1, 40)))[0] == pytest.approx(whole)


def test_the_best_latent_for_shuffled_labels_is_at_chance_on_other_clips() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random((400, 30)), rng.random((400, 40)) < 0.2
    scores[:, 0] += 2 * labels[:, 0]  # one latent that follows one label
    seen, held = slice(0, 200), slice(200, 400)

    def on_held_out(of_seen: np.ndarray, of_held: np.ndarray) -> np.ndarray:
        best = np.nanargmax(auroc(scores[seen], of_seen), axis=0)
        return auroc(scores[held][:, best], of_held).diagonal()

    assert on_held_out(labels[seen], labels[held])[0] > 0.99
    shuffled = on_held_out(rng.permutation(labels[seen]), rng.permutation(labels[held]))
    assert shuffled.mean() == pytest.approx(0.5, abs=0.03)
    assert shuffled.max() < 0.8


@pytest.mark.parametrize("seed", range(8))
def test_sparse_scores_give_what_dense_ones_give(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (60, 9)) * (rng.random((60, 9)) < rng.random(9))
    scores[:, 0], scores[:, 1] = 0, 1 + scores[:, 1]  # one latent that never fires, one that always does
    labels = rng.random((60, 5)) < 0.3
    labels[:, 4] = False
    sparse = csc_matrix(scores.astype(np.float32))
    sparse.data[:1] = 0  # an entry that is there and says 0
    assert np.array_equal(auroc(sparse, labels), auroc(sparse.toarray(), labels), equal_nan=True)
    assert percentile_scale(sparse) == pytest.approx(percentile_scale(sparse.toarray()))
    with pytest.raises(LabelError, match="none may be below 0"):
        auroc(-sparse, labels)
