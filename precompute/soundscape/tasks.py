"""Steering tasks of the demo world: clips with a known source value, a question, and a deterministic judge.

The four speaker tasks are the paper's (Table 3) on generated speech; the event swaps ask the same of sounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ard.steering_task import Verdict, outcome
from precompute.soundscape import grammar
from precompute.soundscape.world import EMOTIONS, LANGUAGES, SPEECH, ClipTruth, Plan, render_many

Kind = Literal["emotion", "gender", "event"]


@dataclass(frozen=True)
class Task:
    """Turn the answer about `source` clips into `target`."""

    kind: Kind
    source: str
    target: str

    @property
    def name(self) -> str:
        """`source>target`."""
        return f"{self.source}>{self.target}"

    @property
    def prompt(self) -> str:
        """The question asked."""
        return {"emotion": grammar.EMOTION[0], "gender": grammar.GENDER[0], "event": grammar.WHICH[0]}[self.kind]

    @property
    def target_value(self) -> str:
        """The target as a true value of the world (`emotion:happy`, `siren`)."""
        return self.target if self.kind == "event" else f"{self.kind}:{self.target}"


SPEAKER_TASKS = (
    Task("emotion", "neutral", "happy"),
    Task("emotion", "sad", "happy"),
    Task("emotion", "happy", "angry"),
    Task("gender", "female", "male"),
)
EVENT_TASKS = tuple(
    Task("event", a, b)
    for a, b in (
        ("dog_bark", "siren"),
        ("siren", "rain"),
        ("rain", "piano"),
        ("piano", "dog_bark"),
        ("cat_meow", "church_bell"),
        ("car_horn", "bird_song"),
        ("thunder", "clapping"),
        ("footsteps", "telephone"),
        ("violin", "helicopter"),
        ("laughter", "drum_kit"),
    )
)


class TaskClips(NamedTuple):
    """Clips of one task, all carrying its source value."""

    audios: list[np.ndarray]
    truths: list[ClipTruth]


def plan_of(task: Task, number: int) -> Plan:
    """What a source clip contains: one event, or one utterance with the source value and the rest in turn."""
    if task.kind == "event":
        return Plan(events=(task.source,))
    speaker: dict[str, str] = {task.kind: task.source}
    if task.kind != "emotion":
        speaker["emotion"] = EMOTIONS[number % len(EMOTIONS)]
    speaker["language"] = LANGUAGES[(number // len(EMOTIONS)) % len(LANGUAGES)]
    return Plan(events=(SPEECH,), speaker=speaker)


OFFSET = {"selection": 500_000, "evaluation": 500_000, "validation": 500_000, "train": 500_000}
"""First index of task clips: far behind the clips of the split's general set, so that none is used twice."""


def task_clips(task: Task, tasks: Sequence[Task], split: str, count: int, seed: int = 0, workers: int = 1) -> TaskClips:
    """`count` source clips of a split; every task has its own index range."""
    start = OFFSET[split] + 10_000 * list(tasks).index(task)
    plans = [plan_of(task, i) for i in range(count)]
    rendered = list(render_many(split, range(start, start + count), seed, workers, plans))
    return TaskClips([a for a, _ in rendered], [t for _, t in rendered])


def judge(task: Task, answer: str) -> Verdict:
    """Which value the answer names; an event answer counts only when it names that sound and no other.

    Degenerate: empty, or nothing of the answer set is named.
    """
    if task.kind == "event":
        sounds = grammar.named_sounds(answer)
        if not sounds:
            return "degenerate"
        named = next(iter(sounds)) if len(sounds) == 1 else ""
    else:
        named = getattr(grammar.parse(answer), task.kind) or ""
        if not named:
            return "other" if answer == grammar.NOBODY else "degenerate"
    return "target" if named == task.target else "source" if named == task.source else "other"


def sensitivity(before: Sequence[Verdict], after: Sequence[Verdict]) -> float:
    """Share of samples answered `source` before steering whose steered answer is `target`; NaN when there is none.

    Paper: "the percentage of samples whose predictions shift to the target concept after steering". Ours: only samples
    whose unsteered answer is right.
    """
    found = outcome(before, after).sensitivity
    return float("nan") if found is None else found
