"""Names against sound: cases by hand, then agreement with the plain definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ard.labels import auroc
from ard.name_quality import NameQualityError, SoundOfName
from ard.resampling import bootstrap_weights

NONE = np.zeros((0, 6))


def test_a_case_by_hand() -> None:
    # Fires on clips 0, 1 and 5; clips 0 and 1 are windows of one recording.
    s = np.array([0.9, 0.8, 0.1, 0.5, 0.0, 0.4])
    r = np.array([2.0, 3.0, 0.0, 0.0, 0.0, 1.0])
    found = SoundOfName(s, NONE).quality(r, np.array([7, 7, 1, 2, 3, 4]), p=2, strong_above=1.5)
    # Against 2, 3 and 4: clips 0 and 1 beat all three, clip 5 beats two.
    assert found.auroc is not None
    assert found.auroc.value == pytest.approx(8 / 9)
    assert found.auroc[1:] == (None, None)
    assert found.auroc_strong == 1.0
    # The highest r of each recording: clips 1 and 5.
    assert found.top == pytest.approx((0.8 + 0.4) / 2)
    assert found.rest == pytest.approx((0.9 + 0.1 + 0.5 + 0.0) / 4)
    assert found.firing == 3


def test_ties_count_one_half() -> None:
    sound = SoundOfName(np.array([0.5, 0.5, 0.1, 0.5]), np.zeros((0, 4)))
    # Clip 0 against 1 (tie), 2 (win), 3 (tie).
    assert sound.auroc(np.array([0]))[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("r", "firing"), [(np.zeros(6), 0), (np.ones(6), 6)])
def test_a_latent_that_fires_nowhere_or_everywhere_has_no_auroc(r: np.ndarray, firing: int) -> None:
    found = SoundOfName(np.arange(6.0), np.ones((3, 6))).quality(r, np.arange(6), p=4, strong_above=2.0)
    assert (found.auroc, found.auroc_strong, found.firing) == (None, None, firing)
    assert found.top == (None if not firing else pytest.approx(1.5))  # the first four of equal scores
    assert found.rest == (None if not firing else pytest.approx(4.5))


def test_no_held_out_clip_gives_nothing() -> None:
    none = np.zeros(0)
    found = SoundOfName(none, np.zeros((5, 0))).quality(none, none.astype(int), p=4, strong_above=1.0)
    assert found == (None, None, None, None, 0)


def test_the_interval_is_that_of_the_resamples() -> None:
    rng = np.random.default_rng(0)
    r = rng.normal(size=200).clip(0)
    s = r + rng.normal(size=200)
    weights = bootstrap_weights(np.arange(200), 300, 1)
    found = SoundOfName(s, weights).quality(r, np.arange(200), p=4, strong_above=1.0).auroc
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert 0.5 < found.low < found.value < found.high < 1
    other = SoundOfName(rng.normal(size=200), weights).quality(r, np.arange(200), p=4, strong_above=1.0).auroc
    assert other is not None
    assert other.low < 0.5 < other.high


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_equals_the_plain_definition_and_repeated_clips(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    s = rng.integers(0, 4, n) / 4.0
    groups = rng.integers(0, 3, n)  # firing, silent, left aside
    weights = rng.integers(0, 3, (5, n)).astype(float)
    got = SoundOfName(s, weights).auroc((groups == 0).nonzero()[0], (groups == 2).nonzero()[0])
    for row, w in zip(got, [np.ones(n), *weights], strict=True):
        keep = np.repeat(np.arange(n), w.astype(int))
        keep = keep[groups[keep] < 2]
        want = auroc(s[keep, None], (groups[keep] == 0)[:, None])[0, 0] if len(keep) else np.nan
        assert row == pytest.approx(want, nan_ok=True)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NameQualityError, match="draws, clips"):
        SoundOfName(np.zeros(3), np.zeros((2, 4)))
    with pytest.raises(NameQualityError, match="not finite"):
        SoundOfName(np.array([0.0, np.nan]), np.zeros((0, 2)))
    with pytest.raises(NameQualityError, match="3 scores"):
        SoundOfName(np.zeros(6), NONE).quality(np.zeros(3), np.zeros(6), p=1, strong_above=1.0)
