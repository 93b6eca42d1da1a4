"""Answers that are no answer, and why: empty, the same words again and again, or nothing of the answer set.

Ours: the paper counts no such answers. A steered model that stammers "happy happy happy happy" has not changed its
mind, so a repeated answer counts as degenerate whatever it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from ard.steering_task import Judge, Verdict

Fault = Literal["empty", "repeated", "off_set"]

LONGEST = 8
"""Longest run of words, in words, that is looked for again behind itself."""
TIMES, WORD_TIMES = 3, 4
"""How often in a row a run of several words, or one word, makes an answer repeated: "woof woof woof" is still one."""
_WORD = re.compile(r"\w+")
_STAMMER = re.compile(r"(\w{1,4}?)\1{5,}")
"""One to four characters six times in a row within a word."""


def repeats(answer: str) -> bool:
    """Whether some words of the answer stand several times directly one after the other, or letters of a word do."""
    words = _WORD.findall(answer.lower())
    for size in range(1, LONGEST + 1):
        times = WORD_TIMES if size == 1 else TIMES
        same = 0  # words in a row that are equal to the word `size` places before
        for before, word in zip(words, words[size:], strict=False):
            same = same + 1 if before == word else 0
            if same == (times - 1) * size:
                return True
    return any(_STAMMER.search(word) for word in words)


def fault(answer: str, verdict: Verdict) -> Fault | None:
    """Why an answer is degenerate by this verdict; None for one that is not."""
    if verdict != "degenerate":
        return None
    if not _WORD.search(answer):
        return "empty"
    return "repeated" if repeats(answer) else "off_set"


def strict(judge: Judge) -> Judge:
    """The same judge, for whom a repeated answer is degenerate."""
    decide: Callable[[str], Verdict] = judge
    return lambda answer: "degenerate" if repeats(answer) else decide(answer)
