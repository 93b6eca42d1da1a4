"""AUROC in resamples, and shuffled labels at chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ard.labels import auroc, auroc_resampled


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
