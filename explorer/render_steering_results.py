"""The results page's Table 3: steering with its controls, its comparator and its judges."""

from __future__ import annotations

from html import escape
from pathlib import Path

from explorer.render import count, figure, share
from explorer.render_tables import Cell, Row, absence, interval, method, section, table

_COMPARATORS = {"diff_means": "difference of means, no SAE"}


def steering(tables: dict[str, list[Row]], run: Path) -> str:
    """Table 3 of the paper: the figure of each task with its controls; the other values and choices folded away."""
    words = (
        "Sensitivity: of the samples whose label and unsteered answer are the source, the share whose steered answer "
        "is the target. Latent and value were chosen on other clips. Reconstruct only and random latents are the "
        "controls: a latent steers only as far as it beats them. The difference of means steers without any latent. "
        "No answer: empty, the same again and again, or nothing of the answer set. Brackets: 95 % interval."
    )
    rows, compared = tables["steering"], tables["steering_comparators"]
    if not rows:
        return section("Steering", words, absence("steering", run), "steering")
    main = [r for r in rows if r["chosen"] or r["control"] != "none"]
    more = [r for r in rows if not (r["chosen"] or r["control"] != "none")]
    columns = [*_STEERING, *(_JUDGED if any(r.get("judged") is not None for r in rows) else [])]
    body = table(columns, main) if main else ""
    if best := [r for r in compared if r["chosen"]]:
        body += f'<p class="lead">Difference of means, α chosen on other clips:</p>{table(_COMPARED, best)}'
    if more:
        body += f"<details><summary>Other values, other ways to choose</summary>{table(columns, more)}</details>"
    if others := [r for r in compared if not r["chosen"]]:
        body += f"<details><summary>Difference of means, other α</summary>{table(_COMPARED, others)}</details>"
    return section("Steering", words, body + _agreement(tables["judge_agreement"]), "steering")


def _agreement(rows: list[Row]) -> str:
    """The rules and the chat model, all tasks first."""
    if not rows:
        return ""
    words = (
        "The rules of the tasks and a chat model read the same answers. κ: agreement beyond chance, 1 is complete. "
        "No verdict: no usable reply of the chat model."
    )
    return f'<p class="lead">{escape(words)}</p>{table(_JUDGES, rows)}'


def _change(r: Row) -> str:
    change = "" if r["source"] is None else f"<br><small>{escape(r['source'])} → {escape(r['target'])}</small>"
    return escape(r["task"]) + change


def _no_answer(r: Row) -> str:
    """The share, and behind it what kinds of no answer it is made of."""
    kinds = (("empty", "empty"), ("repeated", "repeated"), ("off_set", "off the set"))
    known = [(word, r.get(f"degenerate_{column}")) for column, word in kinds]
    parts = ", ".join(f"{share(value)} {word}" for word, value in known if value)
    return share(r["degenerate"]) + (f"<br><small>{parts}</small>" if parts else "")


_VALUE: Cell = lambda r: "–" if r["value"] is None else f"{r['value']:.3g}"  # noqa: E731 (a column's cell)
_MEASURED: list[tuple[str, str, Cell]] = [
    ("samples", "n", lambda r: count(r["samples"])),
    ("sensitivity", "n", interval("sensitivity")),
    ("of all labelled", "n", lambda r: figure(r["sensitivity_all"])),
    ("no answer", "n", _no_answer),
]
_STEERING: list[tuple[str, str, Cell]] = [
    ("task", "", _change),
    ("method", "", method),
    ("latent", "n", lambda r: "–" if r["latent_id"] is None else str(r["latent_id"])),
    ("chosen by", "", lambda r: escape(r.get("how_chosen") or "–")),
    ("value", "n", _VALUE),
    *_MEASURED,
]
_JUDGED: list[tuple[str, str, Cell]] = [("by the chat model", "n", interval("judged"))]
_COMPARED: list[tuple[str, str, Cell]] = [
    ("task", "", _change),
    ("comparator", "", lambda r: escape(_COMPARATORS.get(str(r["comparator"]), str(r["comparator"])))),
    ("α", "n", _VALUE),
    *_MEASURED,
]
_JUDGES: list[tuple[str, str, Cell]] = [
    ("task", "", _change),
    ("chat model", "", lambda r: escape(r["judge"])),
    ("answers", "n", lambda r: count(r["answers"])),
    ("different ones", "n", lambda r: count(r["distinct"])),
    ("no verdict", "n", lambda r: count(r["unjudged"])),
    ("same verdict", "n", lambda r: share(r["agreement"])),
    ("Cohen's κ", "n", lambda r: figure(r["kappa"])),
]
