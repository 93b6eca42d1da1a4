from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ard.degenerate import fault, repeats, strict
from ard.steering_task import outcome, word_judge


@pytest.mark.parametrize(
    "answer",
    [
        "happy happy happy happy",
        "A dog barks, a dog barks, a dog barks.",
        "rain is falling Rain is falling, rain is falling",
        "I hear la la la la in it",
        "hahahahahahaha",
        "well one two three four five six seven one two three four five six seven one two three four five six seven",
    ],
)
def test_the_same_again_and_again_repeats(answer: str) -> None:
    assert repeats(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        ".",
        "woof woof woof",
        "A dog barks, a dog barks.",
        "The bell rings and rings and then it rings.",
        "aaaa bbbb",
    ],
)
def test_what_a_speaker_may_say_does_not(answer: str) -> None:
    assert not repeats(answer)


def test_faults_by_hand() -> None:
    judge = strict(word_judge(["low", "high", "mid"], "low", "high"))
    answers = ["It is high.", "high high high high", " ... ", "No idea.", "high or low", "mid"]
    verdicts = [judge(answer) for answer in answers]
    assert verdicts == ["target", "degenerate", "degenerate", "degenerate", "degenerate", "other"]
    faults = [fault(a, v) for a, v in zip(answers, verdicts, strict=True)]
    assert faults == [None, "repeated", "empty", "off_set", "off_set", None]
    found = outcome(["source"] * 6, verdicts, faults)
    assert (found.degenerate_all, found.empty_all, found.repeated_all, found.off_set_all) == (4, 1, 1, 2)
    assert found.share_all(found.repeated_all) == pytest.approx(1 / 6)


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3), st.integers(4, 6), st.text(max_size=5))
def test_anything_said_four_times_repeats(words: list[str], times: int, before: str) -> None:
    assert repeats(f"{before} . " + ", ".join([" ".join(words)] * times))


@given(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8))
def test_different_words_never_do(words: list[str]) -> None:
    assert not repeats(" ".join(words))
