from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ard.localisation import Overlap, iou_resampled, overlap, sounding

T, F = True, False


def test_a_token_sounds_when_its_middle_does() -> None:
    """Four tokens of half a second: middles .25, .75, 1.25, 1.75."""
    assert sounding([(0.25, 0.75), (1.7, 9.0)], 4, 2.0).tolist() == [T, F, F, T]
    assert sounding([], 4, 2.0).tolist() == [F, F, F, F]
    assert sounding([(0.0, 1.0), (0.5, 1.5)], 4, 2.0).tolist() == [T, T, T, F]


@pytest.mark.parametrize(("tokens", "seconds"), [(0, 1.0), (3, 0.0), (3, float("nan"))])
def test_a_clip_without_tokens_or_length_is_refused(tokens: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        sounding([], tokens, seconds)


def test_overlap_by_hand() -> None:
    """Clip 1: both on one token, one of them on three; clip 2: never both, on two. IoU = 1 / 5."""
    found = overlap([np.array([T, T, F, F]), np.array([T, F])], [np.array([F, T, T, F]), np.array([F, T])])
    assert found.both.tolist() == [1, 0]
    assert found.either.tolist() == [3, 2]
    assert found.iou == pytest.approx(0.2)
    assert overlap([np.array([F])], [np.array([F])]).iou is None


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="Clip 0 has 2 tokens of the latent and 1"):
        overlap([np.array([T, F])], [np.array([T])])


def test_resamples_sum_before_they_divide() -> None:
    found = Overlap(np.array([1, 0]), np.array([3, 2]))
    values = iou_resampled(found, np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    assert values[:3] == pytest.approx([0.2, 1 / 3, 0.0])
    assert np.isnan(values[3])


five = st.lists(st.booleans(), min_size=5, max_size=5)


@given(st.lists(st.tuples(five, five), min_size=1, max_size=4))
def test_iou_of_the_parts_is_that_of_the_whole(clips: list[tuple[list[bool], list[bool]]]) -> None:
    found = overlap([np.array(a) for a, _ in clips], [np.array(b) for _, b in clips])
    a, b = (np.concatenate([np.array(clip[i]) for clip in clips]) for i in (0, 1))
    whole = None if not (a | b).any() else (a & b).sum() / (a | b).sum()
    assert found.iou == whole
