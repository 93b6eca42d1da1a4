from __future__ import annotations

import numpy as np
import pytest

from ard.labels import LabelError, auroc, purity
from ard.rank import (
    RankError,
    clip_keys,
    latent_keys,
    least_draws,
    random_representatives,
    representatives,
    tie_order,
)

IDS = [f"clip{i}" for i in range(8)]


def test_highest_and_lowest_by_hand() -> None:
    scores = np.array([[0.1], [0.8], [0.3], [0.5], [0.2], [0.9], [0.4], [0.7]])
    found = representatives(scores, IDS, hookpoint="layers.0", p=3)
    assert found.most.tolist() == [[5, 1, 7]]
    assert found.most_score.tolist() == [[0.9, 0.8, 0.7]]
    assert found.least.tolist() == [[0, 4, 2]]
    assert found.least_score.tolist() == [[0.1, 0.2, 0.3]]
    assert found.n_active.tolist() == [8]
    assert found.complete.tolist() == [True]


def test_ties_follow_the_hash_and_nothing_else() -> None:
    scores = np.zeros((8, 1))
    scores[:2] = 1.0
    found = representatives(scores, IDS, hookpoint="layers.0", p=2, seed=7)
    order = tie_order(7, "layers.0", [0], IDS)[0]
    assert found.most[0].tolist() == sorted([0, 1], key=lambda i: order[i])
    assert found.least[0].tolist() == sorted(range(2, 8), key=lambda i: order[i])[:2]


def test_the_hash_depends_on_each_of_its_parts() -> None:
    base = tie_order(0, "layers.0", [5], IDS)
    assert np.array_equal(base, tie_order(0, "layers.0", [5], IDS, draw=0))
    for other in (tie_order(1, "layers.0", [5], IDS), tie_order(0, "layers.1", [5], IDS)):
        assert not np.array_equal(np.argsort(base), np.argsort(other))
    assert not np.array_equal(base, tie_order(0, "layers.0", [6], IDS))
    assert not np.array_equal(base, tie_order(0, "layers.0", [5], IDS, draw=1))
    assert np.array_equal(base[:, ::-1], tie_order(0, "layers.0", [5], IDS[::-1]))
    assert np.array_equal(base[0], tie_order(0, "layers.0", [4, 5], IDS)[1])


def test_the_hash_is_fixed_for_ever() -> None:
    # blake2b of the ids, then splitmix64's finaliser, computed here with Python's whole numbers.
    mask, x = (1 << 64) - 1, int(clip_keys(["a"])[0]) ^ int(latent_keys(0, "layers.0", [3])[0])
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    assert int(tie_order(0, "layers.0", [3], ["a"])[0, 0]) == x ^ (x >> 31)


def test_least_differs_from_latent_to_latent_and_is_spread_evenly() -> None:
    clips = [f"c{i}" for i in range(40)]
    scores = np.zeros((40, 2000))
    scores[0] = 1.0
    found = representatives(scores, clips, hookpoint="layers.0", p=4)
    drawn = np.bincount(found.least.ravel(), minlength=40)
    assert drawn[0] == 0  # it is in H
    expected = 2000 * 4 / 39
    assert np.abs(drawn[1:] - expected).max() < 6 * np.sqrt(expected)
    assert len({tuple(row) for row in found.least}) > 1900


def test_few_active_clips_are_marked_and_dead_latents_left_out() -> None:
    scores = np.zeros((8, 3))
    scores[[2, 6], 0] = 0.5, 0.9
    scores[:, 2] = 1.0
    found = representatives(scores, IDS, hookpoint="layers.0", p=3)
    assert found.most[0].tolist() == [6, 2, -1]
    assert np.isnan(found.most_score[0, 2])
    assert (found.least[0] >= 0).all()
    assert found.most[1].tolist() == found.least[1].tolist() == [-1, -1, -1]
    assert found.dead.tolist() == [False, True, False]
    assert found.complete.tolist() == [False, False, True]
    assert found.n_active.tolist() == [2, 0, 8]


def test_negative_scores_are_never_most_but_can_be_least() -> None:
    found = representatives(np.array([[-2.0], [3.0], [-1.0], [0.0]]), IDS[:4], hookpoint="layers.0", p=2)
    assert found.most[0].tolist() == [1, -1]
    assert found.least[0].tolist() == [0, 2]


def test_one_window_of_a_recording_in_each_set() -> None:
    recordings = ["a", "a", "a", "b", "b", "c", "c", "d"]
    scores = np.array([[9.0], [8.0], [1.0], [7.0], [2.0], [6.0], [3.0], [5.0]])
    found = representatives(scores, IDS, recording_ids=recordings, hookpoint="layers.0", p=3)
    assert found.most[0].tolist() == [0, 3, 5]
    assert found.least[0].tolist() == [2, 4, 6]
    found = representatives(scores, IDS, recording_ids=["a"] * 8, hookpoint="layers.0", p=3)
    assert found.most[0].tolist() == [0, -1, -1]
    assert found.least[0].tolist() == [2, -1, -1]


def test_most_and_least_never_share_a_clip() -> None:
    found = representatives(np.ones((5, 1)), IDS[:5], hookpoint="layers.0", p=4)
    assert not set(found.most[0].tolist()) & set(found.least[0][found.least[0] >= 0].tolist())
    assert (found.least[0] >= 0).sum() == 1
    assert not found.complete[0]


def test_draws_change_ties_only() -> None:
    scores = np.zeros((8, 4))
    scores[:4] = np.arange(1, 5)[:, None]
    first = representatives(scores, IDS, hookpoint="layers.0", p=2)
    other = representatives(scores, IDS, hookpoint="layers.0", p=2, draw=1)
    assert np.array_equal(first.most, other.most)
    assert not np.array_equal(first.least, other.least)


def test_random_clips_in_place_of_the_most() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((30, 50))
    scores[:, 7] = 0
    ids, recordings = [f"c{i}" for i in range(30)], [f"r{i // 2}" for i in range(30)]
    base = representatives(scores, ids, recording_ids=recordings, hookpoint="layers.0")
    draws = [
        random_representatives(base, scores, ids, recording_ids=recordings, hookpoint="layers.0", seed=seed)
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(draws[0].most, draws[1].most)
    assert not np.array_equal(draws[0].most, draws[2].most)
    assert np.array_equal(draws[0].least, base.least)
    assert (draws[0].most[7] == -1).all()
    for latent in set(range(50)) - {7}:
        most = draws[0].most[latent]
        assert len({recordings[i] for i in most}) == 4
        assert not set(most) & set(base.least[latent])
        assert np.array_equal(draws[0].most_score[latent], scores[most, latent])


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).integers(0, 3, (20, 11)).astype(np.float32)
    ids = [f"c{i}" for i in range(20)]
    whole = representatives(scores, ids, hookpoint="layers.0")
    monkeypatch.setattr("ard.rank._CHUNK_VALUES", 1)
    parts = representatives(scores, ids, hookpoint="layers.0")
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(whole, parts, strict=True))


def test_latent_ids_name_the_columns() -> None:
    scores = np.zeros((8, 3))
    scores[0] = 1
    whole = representatives(scores, IDS, hookpoint="layers.0")
    part = representatives(scores[:, 2:], IDS, hookpoint="layers.0", latent_ids=[2])
    assert np.array_equal(whole.least[2], part.least[0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"clip_ids": ["a"] * 8}, "more than once"),
        ({"clip_ids": ["a"]}, "1 clip ids"),
        ({"p": 0}, "p is 0"),
        ({"recording_ids": ["a"]}, "1 recording ids"),
        ({"latent_ids": [1, 2]}, "2 latent ids"),
        ({"scores": np.full((8, 1), np.nan)}, "not finite"),
    ],
)
def test_bad_input_is_refused(changes: dict, says: str) -> None:
    values: dict = {"scores": np.zeros((8, 1)), "clip_ids": IDS, "hookpoint": "layers.0", **changes}
    with pytest.raises(RankError, match=says):
        representatives(values.pop("scores"), values.pop("clip_ids"), **values)


def test_auroc_by_hand() -> None:
    scores = np.array([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 3.0, 1.0], [0.0, 4.0, 1.0]])
    labels = np.array([[0, 1, 1], [0, 1, 0], [1, 1, 1], [1, 1, 0]])
    expected = [[0.5, np.nan, 0.5], [1.0, np.nan, 0.25], [1.0, np.nan, 0.5]]
    assert np.array_equal(auroc(scores, labels), np.array(expected), equal_nan=True)


def test_auroc_counts_half_for_each_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 4, (30, 5)).astype(float), rng.random((30, 3)) < 0.4
    whole = auroc(scores, labels)
    for latent in range(5):
        for label in range(3):
            yes, no = scores[labels[:, label], latent], scores[~labels[:, label], latent]
            wins = (yes[:, None] > no).mean() + (yes[:, None] == no).mean() / 2
            assert whole[latent, label] == pytest.approx(wins, rel=1e-12)
    monkeypatch.setattr("ard.labels._CHUNK_VALUES", 1)
    assert np.array_equal(auroc(scores, labels), whole)


def test_purity_by_hand() -> None:
    labels = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 0], [0, 1, 0]], dtype=bool)
    found = purity(np.array([[0, 1], [1, 2], [0, 3], [2, 3], [0, -1]]), labels)
    assert found.pure.tolist() == [True, True, False, True, False]
    assert found.label.tolist() == [2, 0, -1, 1, -1]  # of 0 and 2 the rarer
    assert found.shared[0].tolist() == [True, False, True]


def test_bad_labels_are_refused() -> None:
    with pytest.raises(LabelError, match="0 and 1"):
        auroc(np.zeros((2, 1)), np.array([[0.5], [1.0]]))
    with pytest.raises(LabelError, match="one row"):
        auroc(np.zeros((3, 1)), np.array([[0], [1]]))
    with pytest.raises(LabelError, match="allowed"):
        purity(np.array([[5]]), np.array([[0], [1]]))
    with pytest.raises(LabelError, match="not finite"):
        auroc(np.full((2, 1), np.nan), np.array([[0], [1]]))


def test_further_draws_change_the_least_alone() -> None:
    rng = np.random.default_rng(3)
    ids = [f"c{i}" for i in range(40)]
    scores = np.where(rng.random((40, 12)) < 0.4, rng.random((40, 12)), 0)
    scores[:, 5] = 0  # dead
    base = representatives(scores, ids, hookpoint="layers.2", seed=4)
    found = least_draws(base.most, scores, ids, hookpoint="layers.2", seed=4, draws=range(4))
    assert np.array_equal(found[0], base.least)
    for draw, least in enumerate(found):
        expected = representatives(scores, ids, hookpoint="layers.2", seed=4, draw=draw)
        assert np.array_equal(least, expected.least)  # no two clips of H tie, so H is the same in every draw
        assert (np.take_along_axis(scores.T, least.clip(0), 1)[least[:, 0] >= 0] == 0).all()
    assert not np.array_equal(found[0], found[1])
    assert (found[:, 5] == -1).all()


def test_draws_keep_the_given_most_out_of_the_least() -> None:
    ids = [f"c{i}" for i in range(6)]
    scores = np.ones((6, 1))  # all tie: H would be another in every draw
    most = np.array([[0, 1]])
    found = least_draws(most, scores, ids, hookpoint="layers.0", draws=range(20))
    assert not np.isin(found, most).any()
    some = least_draws(most, scores, ids, hookpoint="layers.0", draws=[7], latent_ids=[0])
    assert np.array_equal(some[0], found[7])
    with pytest.raises(RankError, match="most has 1 latents"):
        least_draws(most, np.ones((6, 2)), ids, hookpoint="layers.0")
