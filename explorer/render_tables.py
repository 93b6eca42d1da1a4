"""What the sections of the results page share: a section, a table, its cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from explorer.render import METHOD_NAMES, absent, figure, sae_name

Row = dict[str, Any]
Cell = Callable[[Row], str]
CONTROLS = {
    "none": "",
    "reconstruct_only": "control: reconstruct only",
    "random_latent": "control: random latents",
    "untrained_sae": "control: untrained SAE",
    "shuffled_labels": "control: shuffled labels",
    "shuffled_names": "control: shuffled names",
}


def section(title: str, words: str, body: str, ident: str) -> str:
    """A heading, one sentence or two on how to read what follows, and that."""
    return f'<section id="{ident}"><h2>{escape(title)}</h2><p class="lead">{escape(words)}</p>{body}</section>'


def table(columns: Sequence[tuple[str, str, Cell]], rows: Sequence[Row]) -> str:
    """A table that scrolls sideways where it must; `columns`: (head, class, cell as HTML)."""
    heads = "".join(f'<th class="{kind}">{head}</th>' for head, kind, _ in columns)
    lines = "".join(
        f"<tr{' class=control' if r.get('control', 'none') != 'none' else ''}>"
        + "".join(f'<td class="{kind}">{cell(r)}</td>' for _, kind, cell in columns)
        + "</tr>"
        for r in rows
    )
    return f'<div class="wide"><table class="plain"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def interval(name: str) -> Cell:
    """A figure with its interval where it has one."""
    return lambda r: figure(r[name], r.get(f"{name}_low"), r.get(f"{name}_high"))


def with_spread(name: str) -> Cell:
    """Mean ± standard deviation over seeds, or the figure with its interval where there is one seed."""

    def cell(r: Row) -> str:
        if r.get("seeds", 1) > 1 and r[name] is not None:
            return f"{figure(r[name])} <small>± {figure(r[f'{name}_std'])}</small>"
        return interval(name)(r)

    return cell


def method(r: Row) -> str:
    """The method in words, and which control the row is."""
    control = CONTROLS[r.get("control") or "none"]
    return escape(METHOD_NAMES.get(r["method"]) or r["method"]) + (
        f"<br><small>{escape(control)}</small>" if control else ""
    )


def sae(r: Row) -> str:
    """The SAE, small."""
    return f"<small>{escape(sae_name(r['sae_id']))}</small>"


def absence(stage: str, run: Path) -> str:
    """A table that is not there yet, and what makes it."""
    return absent("Not measured in this run yet.", stage, run)
