"""The results page: which checks Table 1 passed, and whether `ard` is better than what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from explorer.render import METHOD_NAMES, sae_name

Row = dict[str, Any]
_FIGURES = {"precision": "precision", "recall": "recall", "f1": "F1", "map": "mAP"}


def checks(controls: Sequence[Row], comparisons: Sequence[Row]) -> str:
    """What failed, in red, before everything else; then every check and the differences, folded away."""
    failed = [r for r in controls if not r["passed"]]
    body = "".join(
        f'<p class="alarm" role="alert">WARNING: {escape(sae_name(r["sae_id"]))}: {escape(r["sentence"])}</p>'
        for r in failed
    )
    if controls:
        passed = f"{len(controls) - len(failed)} of {len(controls)} checks passed"
        items = "".join(
            f"<li><small>{escape(sae_name(r['sae_id']))}</small> {escape(r['sentence'])}</li>" for r in controls
        )
        words = "Names must fit better than shuffled labels, shuffled names and an untrained SAE do."
        body += f"<p>{passed}. {words}</p><details><summary>Every check</summary><ul>{items}</ul></details>"
    main = [r for r in comparisons if r["n"] is None and r["figure"] in ("f1", "map")]
    if main:
        body += f"<details><summary>ard compared, on the same resamples</summary>{_differences(main)}</details>"
    return f'<section id="checks"><h2>Checks</h2>{body}</section>' if body else ""


def _differences(rows: Sequence[Row]) -> str:
    heads = "".join(f"<th>{head}</th>" for head in ("SAE", "ard less", "reading", "figure", "difference", ""))
    lines = "".join(
        f"<tr><td><small>{escape(sae_name(r['sae_id']))}</small></td><td>{_other(r)}</td><td>{escape(r['reading'])}</td>"
        f'<td>{_FIGURES[r["figure"]]}</td><td class="n">{_difference(r)}</td><td>{_verdict(r)}</td></tr>'
        for r in rows
    )
    table = f'<table class="plain"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def _other(r: Row) -> str:
    if r["other_control"] == "untrained_sae":
        return "its untrained SAE"
    return escape(METHOD_NAMES.get(r["other_method"]) or r["other_method"])


def _difference(r: Row) -> str:
    low, high = r["difference_low"], r["difference_high"]
    interval = "" if low is None or high is None else f" <small>[{low:+.3f} to {high:+.3f}]</small>"
    return f"{r['difference']:+.3f}{interval}"


def _verdict(r: Row) -> str:
    return "better" if r["better"] else "worse" if r["worse"] else "not told apart"
