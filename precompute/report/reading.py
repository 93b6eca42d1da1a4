"""What the report's sections share: rows of a table, the order of SAEs and methods, what to say of a missing table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ard.store import Run
from precompute.report.blocks import Grid, Plot, Section

METHODS = ("poly", "random", "mean", "coverage", "ard")
"""In the order of the paper's Table 1."""


def rows_of(run: Run, name: str) -> list[dict[str, Any]] | None:
    """All rows of a table; None where it is not there."""
    return run.read(name).to_pylist() if run.has(name) else None


def ordered(rows: Iterable[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    """The default SAE and the raw dimensions of its hookpoint first, then by SAE; within one, by method."""
    default = str(run.manifest.get("default_sae", ""))

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        hookpoint = row["sae_id"].split("/")[0]
        here = hookpoint == default.split("/")[0]
        return (not here, hookpoint, row["sae_id"] not in (default, f"{hookpoint}/raw"), METHODS.index(row["method"]))

    return sorted(rows, key=key)


def section(
    name: str,
    title: str,
    shows: str,
    shows_not: str,
    ours: Sequence[Grid | Plot],
    paper: Sequence[Grid] = (),
    *,
    there: bool,
    command: str,
    empty: str = "",
) -> Section:
    """A section whose own figures may be missing; the paper's are shown either way, labelled as the paper's."""
    missing = ""
    if not any(isinstance(block, Plot) or block.rows for block in ours):
        missing = (empty or "The table is there and has no rows.") if there else "This run has no such table yet."
    return Section(name, title, shows, shows_not, [*([] if missing else ours), *paper], missing, command)
