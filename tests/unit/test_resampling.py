"""Bootstrap weights and intervals, by hand and by exhausting every resample."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ard.resampling import Estimate, bootstrap_weights, highest, interval


def test_whole_groups_are_drawn_and_as_many_as_there_are() -> None:
    weights = bootstrap_weights(["a", "b", "a", "c"], 500, seed=0)
    assert weights.shape == (500, 4)
    assert np.array_equal(weights[:, 0], weights[:, 2])
    assert set(weights[:, [0, 1, 3]].sum(1)) == {3}
    assert weights.mean(0) == pytest.approx([1, 1, 1, 1], abs=0.1)
    assert np.array_equal(weights, bootstrap_weights(["a", "b", "a", "c"], 500, seed=0))
    assert not np.array_equal(weights, bootstrap_weights(["a", "b", "a", "c"], 500, seed=1))
    assert bootstrap_weights([], 3, seed=0).shape == (3, 0)


def test_an_interval_is_the_middle_of_the_resamples_that_are_defined() -> None:
    resampled = np.append(np.arange(1001) / 1000, [np.nan] * 5)
    assert interval(0.5, resampled) == pytest.approx((0.5, 0.025, 0.975))
    assert interval(0.5, np.array([np.nan])) == Estimate(0.5, None, None)


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [5.0, 1.0, 3.0], [4.0, 2.0, 9.0, 9.0, 1.0]])
def test_the_interval_of_the_highest_is_that_of_every_resample(values: list[float]) -> None:
    tops = sorted(max(draw) for draw in product(values, repeat=len(values)))
    low, high = (tops[int(np.ceil(q * len(tops))) - 1] for q in (0.025, 0.975))
    assert highest(np.array(values)) == (max(values), low, high)


def test_the_highest_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="0 values"):
        highest(np.array([]))
