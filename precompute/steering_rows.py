"""Rows of the tables of steering."""

from __future__ import annotations

from typing import Any

from ard.degenerate import fault
from ard.steering_search import Asked, Tried
from ard.steering_task import Outcome, SteeringTask, wilson

Row = dict[str, Any]
TABLES = ("steering", "steering_comparators", "steering_examples", "steering_answers")


def key_of(task: SteeringTask) -> Row:
    """The columns that name a task."""
    return {"task": task.kind, "source": task.source, "target": task.target}


def figures(outcome: Outcome, selection: Outcome | None, *, tested: bool = True, pooled: bool = False) -> Row:
    """The measured columns; `tested` False where nothing was chosen that could have been measured."""
    interval = wilson(outcome.turned, outcome.samples)
    shares = {
        "degenerate": outcome.degenerate_all,
        "degenerate_empty": outcome.empty_all,
        "degenerate_repeated": outcome.repeated_all,
        "degenerate_off_set": outcome.off_set_all,
    }
    return {
        "samples": outcome.samples,
        "clips": outcome.clips,
        "sensitivity": outcome.sensitivity,
        "sensitivity_low": interval.low,
        "sensitivity_high": interval.high,
        "sensitivity_all": None if pooled or not tested else outcome.sensitivity_all,
        "kept": outcome.share(outcome.kept),
        "off_target": outcome.share(outcome.off_target),
        **{name: outcome.share_all(count) if tested else None for name, count in shares.items()},
        "sensitivity_selection": selection.sensitivity if selection else None,
        "samples_selection": selection.samples if selection else None,
    }


def answer_rows(task: SteeringTask, asked: Asked, clip_ids: list[str], tried: Tried, what: Row) -> list[Row]:
    """Rows of `steering_answers`: each steered answer with the untouched one; `what` says what steered."""
    rows = []
    for clip, steered in zip(tried.clips, tried.answers, strict=True):
        verdict = task.judge(steered)
        rows.append(
            {
                **key_of(task),
                "control": "none",
                **what,
                "clip_id": clip_ids[clip],
                "baseline": asked.answers[clip],
                "baseline_verdict": asked.before[clip],
                "steered": steered,
                "verdict": verdict,
                "fault": fault(steered, verdict),
            }
        )
    return rows
