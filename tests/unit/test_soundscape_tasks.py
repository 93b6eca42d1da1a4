"""Tasks, judge and sensitivity on cases known by hand."""

from __future__ import annotations

import math

import pytest

from precompute.soundscape.grammar import named_sounds
from precompute.soundscape.registry import EVENTS
from precompute.soundscape.sounds import load_all
from precompute.soundscape.tasks import EVENT_TASKS, SPEAKER_TASKS, Task, judge, sensitivity, task_clips


def test_the_papers_four_tasks_come_first():
    assert [t.name for t in SPEAKER_TASKS] == ["neutral>happy", "sad>happy", "happy>angry", "female>male"]
    assert len(EVENT_TASKS) == 10 == len({t.source for t in EVENT_TASKS})


def test_judge_reads_speaker_answers():
    task = Task("emotion", "sad", "happy")
    assert judge(task, "Happy.") == "target"
    assert judge(task, "Sad.") == "source"
    assert judge(task, "Angry.") == "other"
    assert judge(task, "No one speaks.") == "other"
    assert judge(task, "") == "degenerate"
    assert judge(task, "the the the") == "degenerate"


def test_judge_wants_the_target_sound_alone():
    task = Task("event", "dog_bark", "siren")
    from precompute.soundscape.grammar import label, sounds_answer

    assert judge(task, sounds_answer(["siren"])) == "target"
    assert judge(task, sounds_answer(["dog_bark"])) == "source"
    assert judge(task, sounds_answer(["dog_bark", "siren"])) == "other"
    assert judge(task, label("rain")) == "other"
    assert judge(task, "x y z") == "degenerate"


def test_sensitivity_counts_only_samples_answered_source_before():
    before = ["source", "source", "other", "target", "source"]
    after = ["target", "source", "target", "target", "target"]
    assert sensitivity(before, after) == 2 / 3
    assert math.isnan(sensitivity(["other"], ["target"]))


def test_task_clips_carry_the_source_value_and_differ():
    task = SPEAKER_TASKS[1]
    clips = task_clips(task, SPEAKER_TASKS, "selection", 3)
    assert all(t.events[0].emotion == "sad" for t in clips.truths)
    assert len({a.tobytes() for a in clips.audios}) == 3
    assert {t.clip_id for t in clips.truths}.isdisjoint(
        t.clip_id for t in task_clips(SPEAKER_TASKS[0], SPEAKER_TASKS, "selection", 3).truths
    )


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("A siren is sounding.", "target"),  # no clause of the grammar, but nothing else is a siren
        ("Emergency siren.", "target"),
        ("Dog barking.", "source"),
        ("A dog barks, then a siren wails.", "other"),
        ("Rain falling.", "other"),
        ("plays while.", "degenerate"),  # words that several events share name none of them
        ("", "degenerate"),
    ],
)
def test_a_sound_counts_as_named_by_its_own_words(answer, verdict):
    assert judge(Task("event", "dog_bark", "siren"), answer) == verdict


def test_every_phrase_of_an_event_names_that_event_alone():
    load_all()
    for event in EVENTS.values():
        for phrase in (event.label, *event.clauses):
            assert named_sounds(phrase) == {event.key}, phrase
