"""Line plots as inline SVG: no script, no font, no file from elsewhere; colours come from the page's stylesheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 150, 12, 36
COLOURS = 6
"""Classes s0 to s5 of the stylesheet; dashes tell further lines apart."""


class Line(NamedTuple):
    """One curve."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


def lines(curves: Sequence[Line], x_label: str, y_label: str, title: str) -> str:
    """Curves over shared axes with round ticks; the legend at the right, in the order given."""
    points = [(x, y) for c in curves for x, y in zip(c.x, c.y, strict=True)]
    if not points:
        return ""
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    y_ticks = ticks(min(0.0, *(y for _, y in points)), max(y for _, y in points))

    def across(x: float) -> float:
        return LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - TOP - BOTTOM)

    right, low = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="plot"><title>{escape(title)}</title>']
    for y in y_ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{down(y):.1f}" y2="{down(y):.1f}"/>')
        parts.append(f'<text class="end" x="{LEFT - 6}" y="{down(y) + 4:.1f}">{y:g}</text>')
    for x in x_ticks:
        parts.append(f'<text class="mid" x="{across(x):.1f}" y="{low + 15}">{x:,g}</text>')
    parts.append(f'<text class="mid name" x="{(LEFT + right) / 2}" y="{HEIGHT - 4}">{escape(x_label)}</text>')
    middle = (TOP + low) / 2
    turned = f'transform="rotate(-90 12 {middle})"'
    parts.append(f'<text class="mid name" x="12" y="{middle}" {turned}>{escape(y_label)}</text>')
    for i, curve in enumerate(curves):
        style = f's{i % COLOURS}" stroke-dasharray="{"5 3" if curve.dashed or i >= COLOURS else "none"}'
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        at = TOP + 8 + 16 * i
        parts.append(f'<polyline class="{style}" points="{path}"/>')
        parts.append(f'<line class="{style}" x1="{right + 10}" x2="{right + 26}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{right + 31}" y="{at + 4}">{escape(curve.label)}</text>')
    return "".join(parts) + "</svg>"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values from at most `low` to at least `high`, 1, 2 or 5 times a power of ten apart."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
