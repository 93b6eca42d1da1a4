"""Both readings of Table 1: cases worked out by hand, then against slow code that follows the words."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.sparse import csc_matrix
from sklearn.metrics import average_precision_score

from ard.average_precision import PairRanking, class_average_precision, pooled_average_precision, ranked
from ard.interpretability import InterpretabilityError, choose_tau, clip_reading, match, vocabulary
from ard.matching import assign, pairs
from ard.percentile import percentile_scale
from ard.predictions import Firing, Said, said

# Two clips, two names, three classes; see the comments for every pair.
SIMILAR = np.array([[0.9, 0.1, 0.3], [0.2, 0.8, 0.6]])
SAID = Said.listed(np.array([[True, True], [False, True]]))
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
    with_silence = Said.listed(np.array([[True, True], [False, True], [False, False]]))
    carried = np.vstack([CARRIED, [True, False, False]])
    found = clip_reading(with_silence, carried, ranked(SIMILAR), 0.7)
    assert found.recall.value == pytest.approx(2 / 4)
    assert found.map.value == pytest.approx((1 / 1 + 2 / 3 + 3 / 5 + 4 / 8 + 5 / 9 + 6 / 12) / 6)


def test_nothing_predicted_and_no_name_at_all_give_zero() -> None:
    found = clip_reading(Said.listed(np.zeros((2, 2), bool)), CARRIED, ranked(SIMILAR), 0.7)
    assert [e.value for e in (found.precision, found.recall, found.f1)] == [0, 0, 0]
    empty = ranked(np.zeros((0, 3)))
    assert vocabulary(empty, 0.7, np.zeros((4, 0))).precision.value == 0
    found = clip_reading(Said.listed(np.zeros((2, 0), bool)), CARRIED, empty, 0.7, np.ones((3, 2)))
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
    assert percentile_scale(csc_matrix(np.maximum(scores, 0))) == pytest.approx([197.01, 5.0, np.inf, np.inf])
    scaled = np.array([[0.5, 2.0, 0.0, 1.0], [0.1, 0.0, 0.3, 0.3]])
    # The last latent has no name, name 2 has no latent: clip 0 says name 0 (2.0), then name 1 (.5).
    group = np.array([1, 0, 1, -1])
    spoken = said(Firing.of(scaled, group), group, 3)
    assert list(zip(spoken.clip, spoken.name, spoken.score, spoken.place, strict=True)) == [
        (0, 0, 2.0, 0), (0, 1, 0.5, 1), (1, 1, 0.3, 0),
    ]  # fmt: skip
    assert spoken.above(0.5).name.tolist() == [0]
    assert (spoken.first(1).clip.tolist(), spoken.first(1).name.tolist()) == ([0, 1], [0, 1])
    assert spoken.per_clip.tolist() == [2, 1]
    # The names change places among the concepts: the third and fourth latent now have names 0 and 1.
    other = said(Firing.of(scaled, group), np.array([1, -1, 0, 1]), 3)
    assert sorted(zip(other.clip.tolist(), other.name.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 1)]
    assert other.score[0] == 1.0


def test_tau_is_the_one_of_highest_f1_then_of_the_nearest_number_of_predictions() -> None:
    similarity, carried = ranked(np.eye(2)), np.eye(2, dtype=bool)
    scores, group = np.array([[2.0, 0.6], [0.2, 1.2]]), np.arange(2)
    fires = said(Firing.of(scores, group), group, 2)
    # τ = .5: 3 predictions, 2 right (F1 .8); τ = 1: 2, both right (F1 1); τ = 1.5: one (F1 2/3).
    assert choose_tau(fires, carried, similarity, 0.7, (0.5, 1.0, 1.5)) == 1.0
    # Nothing is ever right: 3, 2 and 1 predictions for 2 references.
    assert choose_tau(fires, carried[::-1], ranked(np.zeros((2, 2))), 0.7, (0.5, 1.0, 1.5)) == 1.0
    with pytest.raises(InterpretabilityError, match="0 values of tau"):
        choose_tau(fires, carried, similarity, 0.7, ())


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InterpretabilityError, match=r"predictions of 2 clips with names up to 1, carried \(2, 2\)"):
        clip_reading(SAID, CARRIED[:, :2], ranked(SIMILAR), 0.7)
    with pytest.raises(InterpretabilityError, match=r"carried \(1, 3\)"):
        clip_reading(SAID, CARRIED[:1], ranked(SIMILAR), 0.7)


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


def slow_reading(spoken: np.ndarray, carried: np.ndarray, similarity: np.ndarray, gamma: float) -> list[float]:
    """Precision, recall, F1 and AP as the words say, one clip and one pair after the other."""
    hits = 0
    for clip in range(len(spoken)):
        block = similarity[np.ix_(spoken[clip].nonzero()[0], carried[clip].nonzero()[0])]
        hits += slow_matches(block, gamma) if block.size else 0
    given, wanted = int(spoken.sum()), int(carried.sum())
    values, positive = listed(spoken, carried, similarity)
    area = average_precision_score(positive, values) if any(positive) else 0.0
    return [hits / max(given, 1), hits / max(wanted, 1), 2 * hits / max(given + wanted, 1), area]


@pytest.mark.parametrize("seed", range(40))
def test_figures_at_every_gamma_are_what_slow_code_finds(seed: int) -> None:
    spoken, carried, similarity = draw(seed, ties=False)
    reading = clip_reading(Said.listed(spoken), carried, ranked(similarity), 0.5, floor=0.1)
    for gamma in (0.1, 0.3, 0.5, 0.9):
        expected = slow_reading(spoken, carried, similarity, gamma)
        assert reading.at(gamma)[1:] == pytest.approx(tuple(expected[:3]))
    ours = [e.value for e in (reading.precision, reading.recall, reading.f1, reading.map)]
    assert ours == pytest.approx(slow_reading(spoken, carried, similarity, 0.5))


@pytest.mark.parametrize("seed", range(25))
def test_matches_are_those_of_trying_every_assignment(seed: int) -> None:
    spoken, carried, similarity = draw(seed, ties=False)
    found = assign(pairs(Said.listed(spoken), carried), ranked(similarity).values, 0.4)
    counts = found.per_clip(0.4, len(spoken))
    for clip in range(len(spoken)):
        block = similarity[np.ix_(spoken[clip].nonzero()[0], carried[clip].nonzero()[0])]
        assert counts[clip] == (slow_matches(block, 0.4) if block.size else 0)


def test_the_shortcuts_of_the_matching_by_hand() -> None:
    # Clip 0: both classes like name 0 best, so a search must decide: .9 + .3 > .8 + .2. Clip 1: one class. Clip 2: one
    # prediction. Clip 3: as clip 0. Clip 4: nothing above the floor.
    similar = np.array([[0.9, 0.8], [0.2, 0.3]])
    spoken = np.array([[1, 1], [1, 1], [0, 1], [1, 1], [0, 1]], bool)
    carried = np.array([[1, 1], [1, 0], [1, 1], [1, 1], [1, 0]], bool)
    found = assign(pairs(Said.listed(spoken), carried), similar, 0.25)
    assert sorted(zip(found.clip.tolist(), found.value.tolist(), strict=True)) == [
        (0, 0.3), (0, 0.9), (1, 0.9), (2, 0.3), (3, 0.3), (3, 0.9),
    ]  # fmt: skip
    # Each class has a best name of its own: no search, and the one of .8 is not above the floor.
    everything = np.ones((5, 2), bool)
    found = assign(pairs(Said.listed(everything), everything), np.array([[0.9, 0.1], [0.2, 0.8]]), 0.85)
    assert found.value.tolist() == [0.9] * 5


@pytest.mark.parametrize("seed", range(25))
def test_average_precision_is_that_of_listing_every_pair(seed: int) -> None:
    spoken, carried, similarity = draw(seed, ties=seed % 2 == 0)
    values, positive = listed(spoken, carried, similarity)
    expected = average_precision_score(positive, values) if any(positive) else 0.0
    fits, predicted = ranked(similarity), Said.listed(spoken)
    assert pooled_average_precision(predicted, carried, fits) == pytest.approx(expected)
    built = PairRanking.build(predicted, carried, fits)
    assert built.average_precision(np.ones((1, len(spoken))))[0] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(10))
def test_the_class_average_is_that_of_every_class_on_its_own(seed: int) -> None:
    spoken, carried, similarity = draw(seed, ties=seed % 2 == 0)
    areas = []
    for c in carried.any(0).nonzero()[0].tolist():
        values, positive = listed(spoken, carried[:, [c]], similarity[:, [c]])
        areas.append(average_precision_score(positive, values))
    found = class_average_precision(Said.listed(spoken), carried, ranked(similarity))
    assert found == (pytest.approx(np.mean(areas)) if areas else None)


@pytest.mark.parametrize("seed", range(10))
def test_a_weight_means_that_the_clip_is_there_so_often(seed: int) -> None:
    spoken, carried, similarity = draw(seed, ties=True)
    times = np.random.default_rng(seed).integers(0, 3, len(spoken))
    repeated = np.repeat(np.arange(len(spoken)), times)
    fits = ranked(similarity)
    direct = clip_reading(Said.listed(spoken[repeated]), carried[repeated], fits, 0.4)
    resampled = clip_reading(Said.listed(spoken), carried, fits, 0.4, times[None].astype(float))
    for i, name in enumerate(("precision", "recall", "f1", "map")):
        assert getattr(resampled, name).low == pytest.approx(getattr(direct, name).value)
        assert resampled.resampled[i, 0] == pytest.approx(getattr(direct, name).value)


def test_a_weight_of_a_name_repeats_its_prediction() -> None:
    # By hand: names 0 (matched, .9) twice and 2 (not matched) once, name 1 (matched, .75) not at all.
    similarity = ranked(np.array([[0.9, 0.2], [0.8, 0.75], [0.1, 0.3]]))
    found = vocabulary(similarity, 0.7, np.array([[2.0, 0.0, 1.0]]))
    assert (found.precision.low, found.recall.low) == pytest.approx((2 / 3, 1))
    assert found.map.low == pytest.approx(2 * (2 / 2) / 2)


def test_names_drawn_together_with_those_of_other_methods() -> None:
    # The same names; in the second resample of the pool none of them was drawn, in the third four of them.
    similarity = ranked(np.array([[0.9, 0.2], [0.8, 0.75], [0.1, 0.3]]))
    found = vocabulary(similarity, 0.7, shared=np.array([[1.0, 1, 1], [0, 0, 0], [1, 1, 2]]))
    assert found.resampled[:, 0] == pytest.approx(
        [e.value for e in (found.precision, found.recall, found.f1, found.map)]
    )
    assert found.resampled[:, 1] == pytest.approx([0, 0, 0, 0])
    assert found.resampled[:3, 2] == pytest.approx([2 / 4, 1, 4 / 6])


def test_the_curve_of_the_vocabulary_by_hand() -> None:
    found = vocabulary(ranked(np.array([[0.9, 0.2], [0.8, 0.75], [0.1, 0.3]])), 0.7)
    assert found.at(0.7)[0] == 2
    assert found.at(0.8) == pytest.approx((1, 1 / 3, 1 / 2, 2 / 5))
    assert found.at(0.95) == (0, 0, 0, 0)


def test_intervals_hold_the_figure_and_shrink_with_more_clips() -> None:
    rng = np.random.default_rng(0)
    similarity = ranked(np.eye(6))
    widths = []
    for clips in (40, 640):
        carried = np.eye(6, dtype=bool)[rng.integers(0, 6, clips)]
        spoken = Said.listed(np.where(rng.random((clips, 1)) < 0.7, carried, np.roll(carried, 1, axis=1)))
        weights = rng.multinomial(clips, np.full(clips, 1 / clips), 400).astype(float)
        found = clip_reading(spoken, carried, similarity, 0.7, weights)
        assert found.f1.low < found.f1.value < found.f1.high
        assert found.map.low < found.map.value < found.map.high
        widths.append(found.f1.high - found.f1.low)
    assert widths[1] < widths[0] / 2  # sixteen times the clips: a quarter of the width


def test_shuffled_labels_are_at_chance() -> None:
    rng = np.random.default_rng(1)
    carried = np.eye(8, dtype=bool)[rng.integers(0, 8, 800)]
    similarity = ranked(np.eye(8))
    spoken = Said.listed(carried)
    right = clip_reading(spoken, carried, similarity, 0.7)
    assert (right.f1.value, right.map.value) == (1, 1)
    chance = [clip_reading(spoken, rng.permutation(carried), similarity, 0.7) for _ in range(20)]
    share = float(((carried.sum(0) / 800) ** 2).sum())  # two independent draws agree so often
    assert np.mean([c.f1.value for c in chance]) == pytest.approx(share, abs=0.01)
    # Ranks: every said class first, right in `share` of the cases; then all other pairs.
    expected = share * share + (1 - share) / 8
    assert np.mean([c.map.value for c in chance]) == pytest.approx(expected, abs=0.01)
