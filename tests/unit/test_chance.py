"""Chance and comparisons: what independence predicts, what is above it, and paired intervals."""

from __future__ import annotations

import numpy as np
import pytest

from ard.average_precision import pooled_average_precision, ranked
from ard.chance import chance, expected_map, paired
from ard.interpretability import clip_reading
from ard.predictions import Said


def test_chance_is_the_middle_of_the_shuffles() -> None:
    found = chance(np.arange(1001) / 1000, expected=0.5)
    assert found == pytest.approx((0.5, 0.025, 0.975, 1001, 0.5))
    assert found.below(0.98)
    assert not found.below(0.975)
    with pytest.raises(ValueError, match="0 shuffles"):
        chance([])


def test_a_shuffle_that_is_not_at_chance_holds_nothing() -> None:
    assert not chance(np.arange(1001) / 1000, expected=0.01).below(5.0)
    assert chance(np.arange(1001) / 1000).below(5.0)


def test_a_paired_interval_sees_what_two_intervals_cannot() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0.5, 0.2, 2000)  # hard and easy resamples, the same for both
    found = paired(0.53, 0.5, shared + 0.03 + rng.normal(0, 0.005, 2000), shared)
    assert found.value.value == pytest.approx(0.03)
    assert (found.value.low, found.value.high) == pytest.approx((0.02, 0.04), abs=0.003)
    assert (found.better, found.worse) == (True, False)
    assert paired(0.5, 0.53, shared, shared + 0.03).worse
    same = paired(0.5, 0.5, shared, shared)
    assert (same.better, same.worse) == (False, False)
    with pytest.raises(ValueError, match="1 and 2 resamples"):
        paired(0.5, 0.5, np.zeros(1), np.zeros(2))


def world(seed: int, clips: int = 1500, classes: int = 8) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Clips that carry one or two classes, some classes often; similarities of one name a class."""
    rng = np.random.default_rng(seed)
    often = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    carried = np.eye(classes, dtype=bool)[rng.choice(classes, clips, p=often)]
    carried |= np.eye(classes, dtype=bool)[rng.choice(classes, clips, p=often)] & (rng.random((clips, 1)) < 0.5)
    return rng, carried, rng.random((classes, classes)).round(1) * 0.9 + np.eye(classes)


def test_shuffled_labels_come_out_where_independence_says() -> None:
    rng, carried, values = world(1)
    similarity, right = ranked(values), Said.listed(carried)
    mine = clip_reading(right, carried, similarity, 0.95)
    assert mine.f1.value == pytest.approx(1, abs=0.01)
    found = [clip_reading(right, rng.permutation(carried), similarity, 0.95).map.value for _ in range(60)]
    expected = expected_map([right], carried, similarity, labels=True)
    assert np.mean(found) == pytest.approx(expected, rel=0.02)
    assert chance(found, expected).sound()
    assert chance(found, expected).below(mine.map.value)
    # Some clips say nothing: they rank last, with their labels as positives.
    quiet = Said.listed(carried & (rng.random((len(carried), 1)) < 0.6))
    drawn = [pooled_average_precision(quiet, rng.permutation(carried), similarity) for _ in range(60)]
    assert np.mean(drawn) == pytest.approx(expected_map([quiet], carried, similarity, labels=True), rel=0.02)


def test_shuffled_names_come_out_where_independence_says_though_busy_clips_carry_more() -> None:
    rng, carried, values = world(2)
    similarity = ranked(values)
    # Each clip says twice as many names as it carries classes, any of them.
    shuffles = []
    for _ in range(60):
        order = rng.random(carried.shape).argsort(1).argsort(1)
        shuffles.append(Said.listed(order < 2 * carried.sum(1, keepdims=True)))
    found = np.mean([pooled_average_precision(s, carried, similarity) for s in shuffles])
    expected = expected_map(shuffles, carried, similarity, labels=False)
    assert found == pytest.approx(expected, rel=0.02)
    # What clips say and what they carry go together in number, so the expectation for labels would be too low.
    assert expected_map(shuffles[:1], carried, similarity, labels=True) < 0.97 * expected
