"""The steering tasks of a run with their clips: the demo world's own, and those that a user configures.

Latent and value are chosen on the clips of one split and measured on those of another: `steering.choose_on` and
`steering.test_on`, or where these are empty `evaluate.choose_on` and `evaluate.test_on`. Ours: a run without them
chooses on its training clips and measures on its held-out clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard.degenerate import strict
from ard.steering_task import SteeringTask, TaskError, word_judge
from precompute.config import ConfigError
from precompute.config_evaluation import SteeringTaskEntry
from precompute.soundscape import grammar
from precompute.soundscape.tasks import EVENT_TASKS, OFFSET, SPEAKER_TASKS, Task, judge, plan_of
from precompute.soundscape.world import CLIP_SECONDS, render_many
from precompute.stages.base import TRAIN, Context

CHOOSING, TESTING = "selection", "evaluation"
"""The demo world's splits from which further clips are rendered."""


Clip = tuple[str, np.ndarray]
"""Id and samples."""


class RunTask(NamedTuple):
    """A task with what the run needs to find clips for it."""

    task: SteeringTask
    world: Task | None = None
    """The demo world's task, from which clips can be rendered."""

    def fits(self, labels: Sequence[str]) -> bool:
        """Whether a clip with these labels can be asked about; for event swaps the source must be alone."""
        if self.world is not None and self.world.kind == "event":
            return list(labels) == [self.task.source_label]
        return self.task.source_label in labels


class TaskClips(NamedTuple):
    """Clips labelled with a task's source."""

    selection: list[np.ndarray]
    """They choose latent and value."""
    test: list[Clip]
    """They are only measured; with their ids."""
    own: list[Clip]
    """Clips of the run itself with their ids, held-out ones first."""


def tasks_of(ctx: Context) -> list[RunTask]:
    """The demo world's tasks where the run is made of it, then the configured ones.

    Raises:
        ConfigError: a configured task that cannot be judged.
    """
    section, found = ctx.config.steering, []
    if ctx.config.data.source == "soundscape":
        events = EVENT_TASKS[: section.tasks] if section.tasks else EVENT_TASKS
        found = [RunTask(_of_world(task), task) for task in (*SPEAKER_TASKS, *events)]
    found += [RunTask(_configured(i, entry)) for i, entry in enumerate(section.task)]
    if section.repeats == "named":
        return found
    return [one._replace(task=replace(one.task, judge=strict(one.task.judge))) for one in found]


def _of_world(task: Task) -> SteeringTask:
    def answer(value: str) -> str:
        return grammar.sounds_answer([value]) if task.kind == "event" else grammar.sentence(value)

    label = "" if task.kind == "event" else f"{task.kind}:"
    return SteeringTask(
        kind=task.kind,
        source=task.source,
        target=task.target,
        prompt=task.prompt,
        judge=partial(judge, task),
        source_label=label + task.source,
        target_label=label + task.target,
        source_answer=answer(task.source),
        target_answer=answer(task.target),
    )


def _configured(number: int, entry: SteeringTaskEntry) -> SteeringTask:
    try:
        decide = word_judge(entry.answers, entry.source, entry.target)
    except TaskError as error:
        raise ConfigError(f"steering.task.{number}: {error}") from None
    return SteeringTask(
        kind=entry.kind,
        source=entry.source,
        target=entry.target,
        prompt=entry.prompt,
        judge=decide,
        source_label=entry.source_label or entry.source,
        target_label=entry.target_label or entry.target,
        source_answer=entry.source,
        target_answer=entry.target,
    )


def clips_of(ctx: Context, tasks: Sequence[RunTask]) -> list[TaskClips]:
    """Clips for every task: the run's own, and for the demo world rendered ones where these are too few."""
    section, clips = ctx.config.steering, ctx.ok_clips().to_pylist()
    choosing, testing = _splits(ctx)
    found = []
    for one in tasks:
        fitting = _ordered(ctx.config.seed, [c for c in clips if one.fits(c["labels"])])
        chosen = [c for c in fitting if c["split"] in choosing][: section.selection]
        tested = [c for c in fitting if c["split"] in testing][: section.test]
        held_out_first = sorted(fitting, key=lambda c: c["split"] == TRAIN)
        found.append((chosen, tested, held_out_first[: 2 * section.examples]))
    lacking = {
        CHOOSING: [section.selection - len(chosen) for chosen, _, _ in found],
        TESTING: [section.test - len(tested) for _, tested, _ in found],
    }
    more = {split: _rendered(ctx, tasks, split, counts) for split, counts in lacking.items()}
    return [
        TaskClips(
            [audio for _, audio in _load(ctx, chosen) + more[CHOOSING][i]],
            _load(ctx, tested) + more[TESTING][i],
            _load(ctx, own),
        )
        for i, (chosen, tested, own) in enumerate(found)
    ]


def _splits(ctx: Context) -> tuple[set[str], set[str]]:
    """Splits that choose and splits that are measured; they share none."""
    there = set(ctx.ok_clips()["split"].to_pylist())
    steering, evaluate = ctx.config.steering, ctx.config.evaluate
    choose, test = steering.choose_on or evaluate.choose_on, steering.test_on or evaluate.test_on
    choosing = {choose} if choose in there else {TRAIN}
    return choosing, {test} if test in there else there - choosing - {TRAIN}


def _ordered(seed: int, clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One clip a recording, those with the fewest labels first, ties by the hash of their id."""

    def place(clip: dict[str, Any]) -> tuple[int, bytes]:
        return len(clip["labels"]), hashlib.sha256(f"steering\0{seed}\0{clip['clip_id']}".encode()).digest()

    first: dict[str, dict[str, Any]] = {}
    for clip in sorted(clips, key=place):
        first.setdefault(clip["recording_id"], clip)
    return list(first.values())


def _load(ctx: Context, clips: list[dict[str, Any]]) -> list[Clip]:
    return [(c["clip_id"], audio) for c, audio in zip(clips, ctx.load_audio(c["audio"] for c in clips), strict=True)]


def _rendered(ctx: Context, tasks: Sequence[RunTask], split: str, counts: Sequence[int]) -> list[list[Clip]]:
    """Further clips of the demo world for each task, all rendered together; none for other tasks."""
    lm, wanted = ctx.models.audio_lm, []
    for position, (one, count) in enumerate(zip(tasks, counts, strict=True)):
        if one.world is not None and lm.window_s >= CLIP_SECONDS:
            start = OFFSET[split] + 10_000 * [*SPEAKER_TASKS, *EVENT_TASKS].index(one.world)
            wanted += [(position, start + i, plan_of(one.world, i)) for i in range(max(0, count))]
    out: list[list[Clip]] = [[] for _ in tasks]
    if not wanted:
        return out
    ctx.say(f"rendering {len(wanted)} further clips of split {split}")
    indices, plans = [index for _, index, _ in wanted], [plan for _, _, plan in wanted]
    made = render_many(split, indices, ctx.config.seed, ctx.config.data.workers, plans)
    for (position, _, _), (audio, truth) in zip(wanted, ctx.progress(made, len(wanted)), strict=True):
        out[position].append((truth.clip_id, audio))
    return out


def label_matrix(clips: pa.Table, labels: Sequence[str]) -> np.ndarray:
    """Bool [clips, labels]: which clip carries which label."""
    carried = [set(one) for one in clips["labels"].to_pylist()]
    return np.array([[label in one for label in labels] for one in carried], dtype=bool).reshape(
        len(carried), len(labels)
    )


def named(concepts: pa.Table, sae_id: str, words: str) -> list[int]:
    """Latents of one SAE (method `ard`) whose name or description shares words with these; most shared first.

    Equally many: the higher monosemanticity first. Latents that share none are left out.
    """
    wanted = _content_words(words)
    mine = concepts.filter(pc.and_(pc.equal(concepts["sae_id"], sae_id), pc.equal(concepts["method"], "ard")))
    rows = mine.select(["latent_id", "name", "description", "rank"]).to_pylist()
    shared = [(len(wanted & _content_words(f"{r['name']} {r['description']}")), r) for r in rows]
    ordered = sorted((s for s in shared if s[0]), key=lambda s: (-s[0], s[1]["rank"]))
    return [row["latent_id"] for _, row in ordered]


_EMPTY_WORDS = {"a", "an", "the", "of", "in", "on", "is", "are", "and", "while", "then", "with", "there"}


def _content_words(text: str) -> set[str]:
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return set(words) - _EMPTY_WORDS
