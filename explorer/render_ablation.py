"""The results page's Table 4: layers, expansions and k."""

from __future__ import annotations

from html import escape
from pathlib import Path

from explorer.render import count, figure, share
from explorer.render_tables import Cell, Row, absence, method, section, table


def ablation(rows: list[Row], run: Path) -> str:
    """Table 4 of the paper."""
    words = (
        "Highest monosemanticity m over layers, expansions and k, beside the raw dimensions (poly) of the same layer, "
        "every SAE trained in the same way. The highest m is one latent, and it grows with the number that are scored."
    )
    if not rows:
        return section("Ablation", words, absence("ablation", run), "ablation")
    return section("Ablation", words, table(_ABLATION, rows), "ablation")


_ABLATION: list[tuple[str, str, Cell]] = [
    ("hookpoint", "", lambda r: f"<small>{escape(r['hookpoint'])}</small>"),
    ("method", "", method),
    ("expansion", "n", lambda r: "–" if r["expansion"] is None else f"{r['expansion']:g}"),
    ("k", "n", lambda r: count(r["k"])),
    ("highest m", "n", lambda r: figure(r["ms_max"])),
    ("mean of the top", "n", lambda r: f"{figure(r['ms_top'])} <small>of {count(r['top'])}</small>"),
    ("scored", "n", lambda r: count(r["scored"])),
    ("FVU", "n", lambda r: share(r["fvu"])),
    ("dead", "n", lambda r: share(r["dead_fraction"])),
]
