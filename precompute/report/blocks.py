"""What a report is made of, and how its numbers are written."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

NOTHING = "–"


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first `words` columns are words, the others numbers."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1
    source: Literal["run", "paper"] = "run"
    """`paper`: figures printed in the paper, which this run did not measure."""
    folded: bool = False
    """Shown only when asked for."""
    note: str = ""
    """What it shows and does not show, below it."""


@dataclass(frozen=True)
class Plot:
    """A drawing as inline SVG, with the sentence that says what it is."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Section:
    """One part of the report."""

    name: str
    """Anchor."""
    title: str
    shows: str = ""
    shows_not: str = ""
    blocks: list[Grid | Plot] = field(default_factory=list)
    missing: str = ""
    """Why there is no figure of the run; empty where there is one."""
    command: str = ""
    """Makes what is missing."""
    warnings: list[str] = field(default_factory=list)
    """Checks that did not pass: shown in red, before everything else."""


def number(value: float | None, digits: int = 2) -> str:
    """Two digits after the point; a dash where there is no value."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def whole(value: int | None) -> str:
    """A count, thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def with_interval(row: dict[str, float | None], name: str, digits: int = 2) -> str:
    """`0.55 [0.50–0.60]`, without the bracket where the row has no interval."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    text = number(row.get(name), digits)
    if row.get(name) is None or low is None or high is None:
        return text
    return f"{text} [{number(low, digits)}–{number(high, digits)}]"


def over_seeds(values: Sequence[float | None], digits: int = 2) -> str:
    """`2.13 ± 0.08`: mean and standard deviation over seeds, as the paper gives them."""
    known = [v for v in values if v is not None]
    if not known:
        return NOTHING
    spread = statistics.stdev(known) if len(known) > 1 else None
    mean = number(statistics.fmean(known), digits)
    return mean if spread is None else f"{mean} ± {number(spread, digits)}"
