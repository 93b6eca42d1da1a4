"""Small line plots beside one another as inline SVG: one panel a task, the same scale from 0 to 1 in each."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from precompute.report.plots import ticks

WIDTH, HEIGHT = 220, 150
LEFT, RIGHT, TOP, BOTTOM = 30, 12, 22, 32


class Point(NamedTuple):
    """One measured share with its interval."""

    x: float
    y: float
    low: float
    high: float
    degenerate: bool = False
    """Most answers there are no answer: drawn as a cross."""
    chosen: bool = False


class Panel(NamedTuple):
    """One curve, and the control beside it."""

    title: str
    points: Sequence[Point]
    controls: Sequence[Point] = ()


def multiples(panels: Sequence[Panel], x_label: str) -> str:
    """The panels in as many columns as fit the page."""
    return f'<div class="multiples">{"".join(_panel(panel, x_label) for panel in panels)}</div>' if panels else ""


def _panel(panel: Panel, x_label: str) -> str:
    everything = [*panel.points, *panel.controls]
    x_ticks = ticks(min(0.0, *(p.x for p in everything)), max(p.x for p in everything), 3)
    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across(x: float) -> float:
        return LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (right - LEFT)

    def down(y: float) -> float:
        return low - y * (low - TOP)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="small"><title>{escape(panel.title)}</title>',
        f'<text class="name" x="{LEFT}" y="14">{escape(panel.title)}</text>',
    ]
    for y in (0.0, 0.5, 1.0):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{down(y):.1f}" y2="{down(y):.1f}"/>')
        parts.append(f'<text class="end" x="{LEFT - 5}" y="{down(y) + 4:.1f}">{y:g}</text>')
    for x in (x_ticks[0], x_ticks[-1]):
        place = "start" if x == x_ticks[0] else "end"
        parts.append(f'<text class="{place}" x="{across(x):.1f}" y="{low + 14}">{x:,g}</text>')
    parts.append(f'<text class="mid" x="{(LEFT + right) / 2}" y="{low + 14}">{escape(x_label)}</text>')
    points = sorted(panel.points, key=lambda p: p.x)
    path = " ".join(f"{across(p.x):.1f},{down(p.y):.1f}" for p in points)
    parts.append(f'<polyline class="s0" points="{path}"/>')
    parts += [_mark(p, across(p.x), down(p.low), down(p.high), down(p.y), "s5") for p in panel.controls]
    parts += [_mark(p, across(p.x), down(p.low), down(p.high), down(p.y), "s0") for p in points]
    return "".join(parts) + "</svg>"


def _mark(point: Point, x: float, low: float, high: float, y: float, style: str) -> str:
    """The interval as a bar; the share as a dot (chosen: larger), or as a cross where answers degenerate."""
    words = f"{point.y:.2f} at {point.x:.3g}" + (", most answers are no answer" if point.degenerate else "")
    bar = f'<line class="bar {style}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
    if point.degenerate:
        cross = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
        mark = f'<path class="cross {style}" d="{cross}"/>'
    else:
        mark = f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="{4.5 if point.chosen else 2.8}"/>'
    return f"<g><title>{escape(words)}</title>{bar}{mark}</g>"
