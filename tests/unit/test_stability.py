"""Concepts that return: by hand, and against what random directions give."""

from __future__ import annotations

import numpy as np
import pytest

from ard import stability
from ard.sae import TopKSAE
from ard.sae_config import SAEConfig
from ard.stability import StabilityError, returned, share_found
from precompute.config import build
from precompute.stages.evaluate_stability import _entry


def test_cosines_by_hand() -> None:
    ours = np.array([[2.0, 0.0], [3.0, 4.0], [0.0, 3.0]])
    theirs = np.array([[5.0, 0.0], [0.0, -1.0], [8.0, 6.0]])
    # Cosines: 1, 0, .8 | .6, -.8, .96 | 0, -1, .6: the opposite of the third concept is not its return.
    found = returned(ours, theirs)
    assert found.nearest == pytest.approx([1, 0.96, 0.6])
    # One to one: 1 + .96, and the third concept is left with its opposite, which is no counterpart.
    assert found.one_to_one == pytest.approx([1, 0.96, 0])


def test_more_concepts_than_latents_leave_some_without_a_counterpart() -> None:
    found = returned(np.eye(3), np.eye(3)[:2])
    assert found.nearest == pytest.approx([1, 1, 0])
    assert found.one_to_one == pytest.approx([1, 1, 0])


def test_a_large_sae_has_nearest_latents_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(50, 8)), rng.normal(size=(40, 8))
    small = returned(ours, theirs)
    monkeypatch.setattr(stability, "ONE_TO_ONE_MOST", 39)
    monkeypatch.setattr(stability, "_CHUNK", 7)
    large = returned(ours, theirs)
    assert large.one_to_one is None
    assert large.nearest == pytest.approx(small.nearest, abs=1e-6)


def test_the_same_directions_return_and_random_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    ours = rng.normal(size=(100, 64))
    again = rng.permutation(ours + 0.1 * rng.normal(size=ours.shape))
    for found, expected in ((returned(ours, again), 1.0), (returned(ours, rng.normal(size=(400, 64))), 0.0)):
        assert share_found(found.nearest, 200, 0) == (expected, expected, expected)
        assert (found.one_to_one >= 0.7).mean() == expected
    half = share_found(np.repeat([1.0, 0.0], 50), 500, 0)
    assert half.low < half.value == 0.5 < half.high


def test_widths_that_differ_are_refused() -> None:
    with pytest.raises(StabilityError, match=r"\(2, 3\) and \(2, 4\)"):
        returned(np.ones((2, 3)), np.ones((2, 4)))


def test_an_sae_from_elsewhere_has_no_settings_to_train_it_again_with() -> None:
    config = build({"data": {"source": "audio", "audio": "x"}, "sae": [{"layer": 1, "expansion": 2, "k": 3}]})
    known = TopKSAE(SAEConfig("layers.1", d_in=4, expansion=2, k=3, recipe=config.sae[0].recipe))
    assert _entry(config, known) == config.sae[0]
    other = TopKSAE(SAEConfig("layers.1", d_in=4, expansion=4, k=3, recipe=config.sae[0].recipe))
    assert _entry(config, other) is None
