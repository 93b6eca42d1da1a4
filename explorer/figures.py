"""The two maps as Plotly figures in plain dictionaries; the page's script adds what depends on light and dark."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

from explorer.queries_maps import ClipPoint, ConceptPoint

SCALE = "Cividis"  # perceptually uniform, the same for every kind of colour vision
# Okabe and Ito's set without black and grey: tells apart for every kind of colour vision, on light and on dark.
LABEL_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")
OTHER = "#8d8d95"
_EXCLUDED = {"marker": {"color": OTHER, "opacity": 0.18}}


def concept_figure(points: list[ConceptPoint], kept: set[int] | None, chosen: int | None) -> dict[str, Any]:
    """Concepts, colour = monosemanticity m; what is not in `kept` is greyed out (None keeps all), never removed."""
    texts = [f"{escape(p.name)}<br>m {_two(p.monosemanticity)} · latent {p.latent_id}" for p in points]
    trace = {
        **_trace(points, [p.latent_id for p in points], texts),
        "name": "concepts",
        "marker": {
            "color": [p.monosemanticity for p in points],
            "colorscale": SCALE,
            "showscale": True,
            "size": 8,
            "opacity": 0.9,
            "colorbar": {"title": {"text": "m (Eq. 4)"}, "thickness": 10, "len": 0.9, "outlinewidth": 0},
        },
    }
    if kept is not None:
        trace["selectedpoints"] = [i for i, p in enumerate(points) if p.latent_id in kept]
    return {"data": [trace, *_ring(points, [p.latent_id for p in points], chosen)], "layout": {"showlegend": False}}


def clip_figure(
    points: list[ClipPoint], words: list[str], *, chosen: str, concept: str = "", by_activation: bool
) -> dict[str, Any]:
    """Clips by their CLAP embedding, colour = the commonest labels, or r of the chosen concept (Eq. 2)."""
    kept = {p.clip_id for p in points if _fits(p, words)} if words else None
    traces = _activation_trace(points, kept, concept) if by_activation else _label_traces(points, kept)
    ring = _ring(points, [p.clip_id for p in points], chosen)
    return {"data": [*traces, *ring], "layout": {"showlegend": not by_activation}}


def _activation_trace(points: list[ClipPoint], kept: set[str] | None, concept: str) -> list[dict[str, Any]]:
    texts = [f"{_caption(p)}<br>r {p.activation or 0.0:.3g} of {escape(concept)}" for p in points]
    trace = {
        **_trace(points, [p.clip_id for p in points], texts),
        "name": "clips",
        "marker": {
            "color": [p.activation or 0.0 for p in points],
            "colorscale": SCALE,
            "showscale": True,
            "size": 7,
            "opacity": 0.9,
            "colorbar": {"title": {"text": "r (Eq. 2)"}, "thickness": 10, "len": 0.9, "outlinewidth": 0},
        },
    }
    if kept is not None:
        trace["selectedpoints"] = [i for i, p in enumerate(points) if p.clip_id in kept]
    return [trace]


def _label_traces(points: list[ClipPoint], kept: set[str] | None) -> list[dict[str, Any]]:
    """One trace a common label, the rest as “other” below them."""
    seen = Counter(label for p in points for label in p.labels)
    common = [label for label, _ in seen.most_common(len(LABEL_COLOURS))]
    rarest_first = sorted(common, key=lambda label: seen[label])
    groups: dict[str, list[ClipPoint]] = {"other": [], **{label: [] for label in common}}
    for p in points:
        groups[next((label for label in rarest_first if label in p.labels), "other")].append(p)
    traces = []
    for (name, members), colour in zip(groups.items(), (OTHER, *LABEL_COLOURS), strict=False):
        if not members:
            continue
        texts = [f"{_caption(p)}<br>{escape(', '.join(p.labels))}" for p in members]
        trace = {
            **_trace(members, [p.clip_id for p in members], texts),
            "name": escape(name),
            "marker": {"color": colour, "size": 7, "opacity": 0.35 if name == "other" else 0.85},
        }
        if kept is not None:
            trace["selectedpoints"] = [i for i, p in enumerate(members) if p.clip_id in kept]
        traces.append(trace)
    return traces


def _trace(points: list[Any], ids: list[Any], texts: list[str]) -> dict[str, Any]:
    return {
        "type": "scattergl",
        "mode": "markers",
        "x": [round(p.x, 4) for p in points],
        "y": [round(p.y, 4) for p in points],
        "customdata": ids,
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "unselected": _EXCLUDED,
    }


def _ring(points: list[Any], ids: list[Any], chosen: Any) -> list[dict[str, Any]]:
    """A ring round the chosen point; the page's script gives it the colour of ink."""
    at = [p for p, i in zip(points, ids, strict=True) if i == chosen]
    if not at:
        return []
    return [
        {
            "type": "scattergl", "mode": "markers", "x": [at[0].x], "y": [at[0].y], "hoverinfo": "skip",
            "showlegend": False, "meta": "chosen",
            "marker": {"size": 17, "symbol": "circle-open", "line": {"width": 2}},
        }
    ]  # fmt: skip


def _fits(p: ClipPoint, words: list[str]) -> bool:
    text = f"{p.caption} {' '.join(p.labels)} {p.clip_id}".lower()
    return all(word in text for word in words)


def _caption(p: ClipPoint) -> str:
    return escape(p.caption or p.clip_id)


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
