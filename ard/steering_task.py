"""A steering task: which answer is to be turned into which, who judges, and how often it worked (Table 3 of the paper).

    sensitivity = turned / samples        samples: label and unsteered answer are the source
                                          turned:  of these, the steered answer is the target

Paper: "the percentage of samples whose predictions shift to the target concept after steering", judged by Llama-3-70B.
Ours: only samples whose unsteered answer is right, and a judge of rules, so that a figure can be made again exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scipy.stats import binomtest

Verdict = Literal["target", "source", "other", "degenerate"]
Judge = Callable[[str], Verdict]


class TaskError(ValueError):
    """A steering task that cannot be judged; the message says why and what to change."""


@dataclass(frozen=True)
class SteeringTask:
    """Turn the answers about clips labelled `source_label` from `source` into `target`."""

    kind: str
    """What is changed, for instance `gender`."""
    source: str
    target: str
    prompt: str
    """The question asked."""
    judge: Judge
    """Which value an answer names."""
    source_label: str
    """Label of the clips that are asked about."""
    target_label: str
    """Label by which latents for the target are looked for."""
    source_answer: str
    """An answer that names the source, as the model would write it."""
    target_answer: str
    """An answer that names the target, as the model would write it."""

    @property
    def name(self) -> str:
        """`source>target`."""
        return f"{self.source}>{self.target}"


def word_judge(answers: Sequence[str], source: str, target: str) -> Judge:
    """A judge that reads an answer by its words: it names a value if exactly one of `answers` occurs in it.

    Whole words, upper and lower case alike, the longest of overlapping ones first: "female" is never "male".
    None of them, or more than one: degenerate.

    Raises:
        TaskError: source or target are not among the answers, they are the same, or an answer repeats or has no word.
    """
    known = [one.strip().lower() for one in answers]
    for value in (source, target):
        if value.strip().lower() not in known:
            raise TaskError(f"{value!r} is not among the answers {', '.join(answers)}; add it to `answers`.")
    if len(set(known)) != len(known) or not all(re.search(r"\w", one) for one in known):
        raise TaskError(f"The answers {', '.join(map(repr, answers))} must differ and hold at least one word each.")
    wanted, before = target.strip().lower(), source.strip().lower()
    if wanted == before:
        raise TaskError(f"Source and target are both {source!r}; choose two different answers.")
    longest_first = sorted(known, key=lambda one: (-len(one), one))
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(one)}(?!\w)" for one in longest_first))

    def judge(answer: str) -> Verdict:
        named = set(pattern.findall(answer.lower()))
        if len(named) != 1:
            return "degenerate"
        return "target" if named == {wanted} else "source" if named == {before} else "other"

    return judge


class Outcome(NamedTuple):
    """Counts over the clips of one task, before and after steering; shares are divided once."""

    clips: int
    """Clips labelled with the source."""
    samples: int
    """Of these, clips whose unsteered answer is the source."""
    turned: int
    """Samples whose steered answer is the target."""
    kept: int
    """Samples whose steered answer is still the source."""
    off_target: int
    """Samples whose steered answer is a third value."""
    turned_all: int
    """Clips whose steered answer is the target, whatever they answered before."""
    degenerate_all: int
    """Clips whose steered answer is no answer."""
    empty_all: int = 0
    """Of these, answers without a word."""
    repeated_all: int = 0
    """Of these, answers that say the same again and again (`ard.degenerate`)."""

    @property
    def sensitivity(self) -> float | None:
        """Turned / samples; None where there is no sample."""
        return self.turned / self.samples if self.samples else None

    @property
    def sensitivity_all(self) -> float | None:
        """The same over all clips labelled with the source."""
        return self.share_all(self.turned_all)

    @property
    def degenerate(self) -> float | None:
        """Share of all steered answers that are no answer."""
        return self.share_all(self.degenerate_all)

    @property
    def off_set_all(self) -> int:
        """Clips whose steered answer has words but names nothing of the answer set, or more than one of it."""
        return self.degenerate_all - self.empty_all - self.repeated_all

    def share(self, count: int) -> float | None:
        """A count as a share of the samples; None where there is none."""
        return count / self.samples if self.samples else None

    def share_all(self, count: int) -> float | None:
        """A count as a share of all clips; None where there is none."""
        return count / self.clips if self.clips else None


def outcome(before: Sequence[Verdict], after: Sequence[Verdict], faults: Sequence[str | None] = ()) -> Outcome:
    """Count what steering did to each clip.

    Args:
        before: verdicts on the untouched answers.
        after: verdicts on the steered ones.
        faults: for each steered answer why it is degenerate (`ard.degenerate.fault`); without them no reason is told.

    Raises:
        TaskError: another number of answers after than before, or of faults.
    """
    if len(before) != len(after) or (faults and len(faults) != len(after)):
        raise TaskError(f"{len(before)} answers before and {len(after)} after; give one of each for every clip.")
    moved = [b for a, b in zip(before, after, strict=True) if a == "source"]
    return Outcome(
        clips=len(before),
        samples=len(moved),
        turned=moved.count("target"),
        kept=moved.count("source"),
        off_target=moved.count("other"),
        turned_all=list(after).count("target"),
        degenerate_all=list(after).count("degenerate"),
        empty_all=list(faults).count("empty"),
        repeated_all=list(faults).count("repeated"),
    )


class Interval(NamedTuple):
    """Lower and upper end; None where nothing was counted."""

    low: float | None
    high: float | None


def wilson(turned: int, samples: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share, without continuity correction (Wilson 1927).

    (p̂ + z²/2n ± z·sqrt(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n), with p̂ = turned / n, n = samples, z the normal quantile.
    """
    if not samples:
        return Interval(None, None)
    found = binomtest(turned, samples).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))
