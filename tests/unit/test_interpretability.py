"""Both readings of Table 1: cases worked out by hand, then against slow code that follows the words."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ard.average_precision import PairRanking, average_precision, pooled_average_precision, ranked
from ard.interpretability import (
    InterpretabilityError,
    choose_tau,
    clip_reading,
    match,
    matched_per_clip,
    name_scores,
    percentile_scale,
    predict,
    vocabulary,
)

# Two clips, two names, three classes; see the comments for every pair.
SIMILAR = np.array([[0.9, 0.1, 0.3], [0.2, 0.8, 0.6]])
SAID = np.array([[True, True], [False, True]])
CARRIED = np.array([[True, True, False], [False, False, True]])


# -- by hand ------------------------------------------------------------------------------------------------------


def test_matching_takes_the_largest_total_and_not_the_best_pair_first() -> None:
    # The best single pair is (0, 0) = .9, but with it (1, 1) = .1 is left: 1.0 < .85 + .8.
    assert match(np.array([[0.9, 0.85], [0.8, 0.1]]), 0.7).tolist() == [[0, 1], [1, 0]]


def test_matches_that_are_not_above_gamma_do_not_count() -> None:
    assert match(np.array([[0.9, 0.2], [0.8, 0.75]]), 0.75).tolist() == [[0, 0]]
    assert match(np.array([[0.7]]), 0.7).tolist() == []


def test_vocabulary_by_hand() -> None:
    # Matched: (0, 0) and (1, 1). Ranks: .9 hit, .8 miss, .75 hit: AP = (1/1 + 2/3) / 2 references.
    similarity = ranked(np.array([[0.9, 0.2], [0.8, 0.75], [0.1, 0.3]]))
    found = vocabulary(similarity, 0.7)
    assert (found.matched, found.predictions, found.references) == (2, 3, 2)
    assert found.precision.value == pytest.approx(2 / 3)
    assert found.recall.value == 1
    assert found.f1.value == pytest.approx(4 / 5)
    assert found.map.value == pytest.approx(5 / 6)
    # γ = .76 leaves (0, 0) alone; the other reference counts as never found.
    found = vocabulary(similarity, 0.76)
    figures = [e.value for e in (found.precision, found.recall, found.f1, found.map)]
    assert figures == pytest.approx([1 / 3, 1 / 2, 2 / 5, 1 / 2])


def test_clip_reading_by_hand() -> None:
    # Clip 0: both names match their class. Clip 1: name 1 and class 2 have .6, not above γ.
    found = clip_reading(SAID, CARRIED, ranked(SIMILAR), 0.7)
    assert (found.matched, found.predictions, found.references) == (2, 3, 3)
    assert [e.value for e in (found.precision, found.recall, found.f1)] == pytest.approx([2 / 3] * 3)
    # Ranks: .9 (+) | .8 (+, −) | .6 (−, +) | .3 (−) | .2 (+, −) | .1 (+), five positives.
    assert found.map.value == pytest.approx((1 / 1 + 2 / 3 + 3 / 5 + 4 / 8 + 5 / 9) / 5)


def test_a_clip_without_a_prediction_counts_and_ranks_last() -> None:
    said = np.vstack([SAID, [False, False]])
    carried = np.vstack([CARRIED, [True, False, False]])
    found = clip_reading(said, carried, ranked(SIMILAR), 0.7)
    assert found.recall.value == pytest.approx(2 / 4)
    assert found.map.value == pytest.approx((1 / 1 + 2 / 3 + 3 / 5 + 4 / 8 + 5 / 9 + 6 / 12) / 6)


def test_nothing_predicted_and_no_name_at_all_give_zero() -> None:
    found = clip_reading(np.zeros_like(SAID), CARRIED, ranked(SIMILAR), 0.7)
    assert [e.value for e in (found.precision, found.recall, found.f1)] == [0, 0, 0]
    empty = ranked(np.zeros((0, 3)))
    assert vocabulary(empty, 0.7, np.zeros((4, 0))).precision.value == 0
    found = clip_reading(np.zeros((2, 0), bool), CARRIED, empty, 0.7, np.ones((3, 2)))
    assert found.recall.value == 0
    assert found.map.value == pytest.approx(3 / 6)  # three positives among six pairs, all in the last rank


def test_the_class_average_gives_every_class_the_same_weight() -> None:
    # Ranks of class 0: .9 (+) | .2 (+, −); of class 1: .8 (+, −) | .1 (+); of class 2: .6 (−, +) | .3 (−).
    found = clip_reading(SAID, CARRIED, ranked(SIMILAR), 0.7, np.ones((2, 2)))
    by_class = [(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2, 1 / 2]
    assert found.map_classes == pytest.approx(np.mean(by_class))


def test_scale_predictions_and_names_by_hand() -> None:
    scores = np.zeros((200, 4))
    scores[:, 0] = np.arange(200)  # 99th percentile 197.01
    scores[7, 1] = 5.0  # fires in one clip of 200: its largest score
    scores[:, 2] = -1.0  # never above 0
    assert percentile_scale(scores) == pytest.approx([197.01, 5.0, np.inf, np.inf])
    scaled = np.array([[0.5, 2.0, 0.0, 1.0], [0.1, 0.0, 0.3, 0.3]])
    by_name = name_scores(scaled, np.array([1, 0, 1, -1]), 3)  # the last latent has no name, name 2 has no latent
    assert by_name.tolist() == [[2.0, 0.5, -np.inf], [0.0, 0.3, -np.inf]]
    assert predict(by_name, tau=0.5).tolist() == [[True, False, False], [False, False, False]]
    assert predict(by_name, n=1).tolist() == [[True, False, False], [False, True, False]]
    assert predict(by_name, n=3).tolist() == [[True, True, False], [False, True, False]]  # 0 does not fire
    with pytest.raises(InterpretabilityError, match="give one of them"):
        predict(by_name)


def test_tau_is_the_one_of_highest_f1_then_of_the_nearest_number_of_predictions() -> None:
    similarity, carried = ranked(np.eye(2)), np.eye(2, dtype=bool)
    scores = np.array([[2.0, 0.6], [0.2, 1.2]])
    # τ = .5: 3 predictions, 2 right (F1 .8); τ = 1: 2, both right (F1 1); τ = 1.5: one (F1 2/3).
    assert choose_tau(scores, carried, similarity, 0.7, (0.5, 1.0, 1.5)) == 1.0
    # Nothing is ever right: 3, 2 and 1 predictions for 2 references.
    assert choose_tau(scores, carried[::-1], ranked(np.zeros((2, 2))), 0.7, (0.5, 1.0, 1.5)) == 1.0
    with pytest.raises(InterpretabilityError, match="0 values of tau"):
        choose_tau(scores, carried, similarity, 0.7, ())


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InterpretabilityError, match=r"predicted \(2, 1\)"):
        clip_reading(SAID[:, :1], CARRIED, ranked(SIMILAR), 0.7)


# -- against slow code --------------------------------------------------------------------------------------------


def draw(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clips, names, classes = (int(n) for n in rng.integers(2, 6, 3))
    similarity = rng.random((names, classes))
    said, carried = rng.random((clips, names)) < 0.5, rng.random((clips, classes)) < 0.5
    return said, carried, similarity.round(1) if ties else similarity


def listed(said: np.ndarray, carried: np.ndarray, similarity: np.ndarray) -> tuple[list[float], list[bool]]:
    """Every pair of the reading `clip`, one by one."""
    values, positive = [], []
    for clip in range(len(said)):
        for c in range(carried.shape[1]):
            for name in said[clip].nonzero()[0]:
                values.append(similarity[name, c])
                positive.append(bool(carried[clip, c]))
            if not said[clip].any():
                values.append(-1.0)
                positive.append(bool(carried[clip, c]))
    return values, positive


def slow_matches(block: np.ndarray, gamma: float) -> int:
    """The best of all one-to-one assignments, tried one after the other."""
    wide = block if block.shape[0] <= block.shape[1] else block.T
    best = max(
        permutations(range(wide.shape[1]), wide.shape[0]), key=lambda p: sum(wide[i, j] for i, j in enumerate(p))
    )
    return sum(wide[i, j] > gamma for i, j in enumerate(best))


@pytest.mark.parametrize("seed", range(25))
def test_matches_are_those_of_trying_every_assignment(seed: int) -> None:
    said, carried, similarity = draw(seed, ties=False)
    found = matched_per_clip(said, carried, ranked(similarity), 0.4)
    for clip in range(len(said)):
        block = similarity[np.ix_(said[clip].nonzero()[0], carried[clip].nonzero()[0])]
        assert found[clip] == (slow_matches(block, 0.4) if block.size else 0)


@pytest.mark.parametrize("seed", range(25))
def test_average_precision_is_that_of_listing_every_pair(seed: int) -> None:
    said, carried, similarity = draw(seed, ties=seed % 2 == 0)
    values, positive = listed(said, carried, similarity)
    expected = average_precision_score(positive, values) if any(positive) else 0.0
    pairs = ranked(similarity)
    assert pooled_average_precision(said, carried, pairs) == pytest.approx(expected)
    assert PairRanking.build(said, carried, pairs).average_precision(np.ones((1, len(said))))[0] == pytest.approx(
        expected
    )
    assert average_precision(np.array(values), np.array(positive)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(10))
def test_a_weight_means_that_the_clip_is_there_so_often(seed: int) -> None:
    said, carried, similarity = draw(seed, ties=True)
    times = np.random.default_rng(seed).integers(0, 3, len(said))
    repeated = np.repeat(np.arange(len(said)), times)
    pairs = ranked(similarity)
    direct = clip_reading(said[repeated], carried[repeated], pairs, 0.4)
    resampled = clip_reading(said, carried, pairs, 0.4, times[None].astype(float))
    for name in ("precision", "recall", "f1", "map"):
        assert getattr(resampled, name).low == pytest.approx(getattr(direct, name).value)


def test_a_weight_of_a_name_repeats_its_prediction() -> None:
    # By hand: names 0 (matched, .9) twice and 2 (not matched) once, name 1 (matched, .75) not at all.
    similarity = ranked(np.array([[0.9, 0.2], [0.8, 0.75], [0.1, 0.3]]))
    found = vocabulary(similarity, 0.7, np.array([[2.0, 0.0, 1.0]]))
    assert (found.precision.low, found.recall.low) == pytest.approx((2 / 3, 1))
    assert found.map.low == pytest.approx(2 * (2 / 2) / 2)


def test_intervals_hold_the_figure_and_shrink_with_more_clips() -> None:
    rng = np.random.default_rng(0)
    similarity = ranked(np.eye(6))
    widths = []
    for clips in (40, 640):
        carried = np.eye(6, dtype=bool)[rng.integers(0, 6, clips)]
        said = np.where(rng.random((clips, 1)) < 0.7, carried, np.roll(carried, 1, axis=1))
        weights = rng.multinomial(clips, np.full(clips, 1 / clips), 400).astype(float)
        found = clip_reading(said, carried, similarity, 0.7, weights)
        assert found.f1.low < found.f1.value < found.f1.high
        assert found.map.low < found.map.value < found.map.high
        widths.append(found.f1.high - found.f1.low)
    assert widths[1] < widths[0] / 2  # sixteen times the clips: a quarter of the width


def test_shuffled_labels_are_at_chance() -> None:
    rng = np.random.default_rng(1)
    carried = np.eye(8, dtype=bool)[rng.integers(0, 8, 800)]
    similarity = ranked(np.eye(8))
    right = clip_reading(carried, carried, similarity, 0.7)
    assert (right.f1.value, right.map.value) == (1, 1)
    chance = [clip_reading(carried, rng.permutation(carried), similarity, 0.7) for _ in range(20)]
    share = float(((carried.sum(0) / 800) ** 2).sum())  # two independent draws agree so often
    assert np.mean([c.f1.value for c in chance]) == pytest.approx(share, abs=0.01)
    # Ranks: every said class first, right in `share` of the cases; then all other pairs.
    expected = share * share + (1 - share) / 8
    assert np.mean([c.map.value for c in chance]) == pytest.approx(expected, abs=0.01)
