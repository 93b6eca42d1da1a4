"""Pieces of every page as HTML text. Pure functions; everything that comes from a table or a model is escaped."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

PAGES = (
    ("Concepts", "./"),
    ("Maps", "maps"),
    ("Steer", "steer"),
    ("Listen", "listen"),
    ("Rate", "rate"),
    ("Results", "results"),
)
RAW = "/raw"  # how the `sae_id` of method `poly` ends
METHOD_NAMES = {
    "ard": "AR&D: r = μ·c",
    "mean": "mean activation μ",
    "coverage": "coverage c",
    "random": "random clips",
    "poly": "poly: raw dimensions of x",
}


def tip(text: str) -> str:
    """A small question mark that shows a definition on hover and on focus."""
    return f'<span class="tip" tabindex="0" role="note" aria-label="{escape(text)}">?<span>{escape(text)}</span></span>'


def empty(title: str, text: str, command: str = "") -> str:
    """What would be here, and the command that makes it."""
    code = f"<br><code>{escape(command)}</code>" if command else ""
    return f'<div class="empty ard"><b>{escape(title)}</b><br>{escape(text)}{code}</div>'


def absent(what: str, stage: str, run: object) -> str:
    """One quiet line where a table is missing: what it would show, and the command that makes it."""
    command = f"python -m precompute {stage} --run {run}"
    return f'<p class="note absent">{escape(what)} Made by <code>{escape(command)}</code>.</p>'


def share(value: float | None) -> str:
    """A share as a percentage with two figures that count."""
    if value is None:
        return "–"
    percent = 100 * value
    return "0 %" if percent == 0 else f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def count(value: int | None) -> str:
    """A whole number with thin spaces between thousands."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def figure(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A figure with two decimals, and its interval where there is one: `.93 [.90–.96]`."""
    if value is None:
        return "–"
    text = _short(value)
    return text if low is None or high is None else f"{text} <small>[{_short(low)}–{_short(high)}]</small>"


def _short(value: float) -> str:
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"


def sae_name(sae_id: str) -> str:
    """An SAE for people: `layers.26 · e8 · k250 · paper`; raw dimensions say so."""
    if sae_id.endswith(RAW):
        return f"{sae_id.removesuffix(RAW)} · raw dimensions, no SAE"
    return sae_id.replace("/", " · ") or "no SAE"


def link(path: str, text: str, **params: object) -> str:
    """An anchor to another page of the app; parameters that are empty are left out."""
    query = urlencode({k: v for k, v in params.items() if v not in ("", None)})
    return f'<a href="{path}{"?" + query if query else ""}">{escape(text)}</a>'


def header(here: str, run: str, sae_id: str, clips: int, method: str = "") -> str:
    """The head of every page: name, navigation, where we are. Links keep the SAE."""
    links = "".join(
        link(path, name, sae=sae_id).replace("<a ", '<a aria-current="page" ' if name == here else "<a ", 1)
        for name, path in PAGES
    )
    where = " ▸ ".join(escape(p) for p in (run, sae_name(sae_id), method) if p)
    return (
        '<header id="top" class="ard"><a class="brand" href="./">AR&amp;D Explorer</a>'
        f'<nav aria-label="Pages">{links}</nav>'
        f'<p class="where"><span>{where}</span> <span>{count(clips)} clips</span></p>'
        '<button id="keys" type="button" aria-label="Keys" title="Keys (?)">?</button></header>'
    )


def skeleton(rows: int, height: int) -> str:
    """Grey bars that hold the place of what is being read."""
    bars = f'<i style="height:{height}px"></i>' * rows
    return f'<div class="skeleton" aria-hidden="true">{bars}</div>'


def note(text: str) -> str:
    """One quiet line."""
    return f'<p class="note ard" role="status">{escape(text)}</p>' if text else ""
