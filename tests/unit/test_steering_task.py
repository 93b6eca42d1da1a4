from __future__ import annotations

import pytest

from ard.steering_task import Outcome, TaskError, outcome, wilson, word_judge


def test_an_answer_counts_only_with_exactly_one_value() -> None:
    judge = word_judge(["female", "male", "a child"], source="female", target="male")
    assert judge("Female.") == "source"
    assert judge("It is a MALE voice.") == "target"
    assert judge("a child speaks, a child laughs") == "other"
    assert judge("") == "degenerate"
    assert judge("Males and chamomile") == "degenerate"
    assert judge("A male or a female voice") == "degenerate"


def test_the_longest_value_is_read_first() -> None:
    judge = word_judge(["piano", "electric piano"], source="piano", target="electric piano")
    assert judge("An electric piano.") == "target"
    assert judge("A piano, then an electric piano.") == "degenerate"


@pytest.mark.parametrize(
    ("answers", "source", "target", "message"),
    [
        (["sad", "happy"], "angry", "happy", "'angry' is not among the answers"),
        (["sad", "happy"], "sad", "sad", "both 'sad'"),
        (["sad", "Sad"], "sad", "Sad", "must differ"),
        (["sad", "?"], "sad", "?", "at least one word"),
    ],
)
def test_tasks_that_cannot_be_judged_are_refused(answers: list[str], source: str, target: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        word_judge(answers, source, target)


def test_sensitivity_counts_only_clips_whose_untouched_answer_is_the_source() -> None:
    before = ["source", "source", "source", "source", "target", "other"]
    after = ["target", "source", "other", "degenerate", "target", "degenerate"]
    found = outcome(before, after)  # type: ignore[arg-type]
    assert found == Outcome(clips=6, samples=4, turned=1, kept=1, off_target=1, turned_all=2, degenerate_all=2)
    assert (found.sensitivity, found.sensitivity_all, found.degenerate) == (1 / 4, 2 / 6, 2 / 6)
    assert found.share(found.off_target) == 1 / 4


def test_without_a_sample_there_is_no_sensitivity() -> None:
    found = outcome(["other"], ["target"])
    assert found.sensitivity is None
    assert found.sensitivity_all == 1.0
    assert wilson(0, 0) == (None, None)
    with pytest.raises(TaskError, match="1 answers before and 2 after"):
        outcome(["other"], ["other", "other"])


def test_wilson_by_hand() -> None:
    # n = 4, p = 1/2, z = 1.959964: (.5 + z²/8 ± z·sqrt(1/16 + z²/64)) / (1 + z²/4)
    low, high = wilson(2, 4)
    assert low == pytest.approx(0.150036, abs=1e-5)
    assert high == pytest.approx(0.849964, abs=1e-5)
    low, high = wilson(0, 80)
    assert (low, high) == (0.0, pytest.approx(3.841459 / 83.841459))  # z² / (n + z²)
