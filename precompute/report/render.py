"""From sections to one HTML file and one Markdown file; every text is escaped, nothing is loaded from elsewhere."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from precompute.report.blocks import Section


def render(template: str, title: str, made: str, sections: Sequence[Section]) -> str:
    """`report.html` or `report.md` filled in.

    Args:
        template: file name below `precompute/templates`.
        title: heading.
        made: when, in words.
        sections: in order; the only markup taken as it is are the drawings of `plots.py`.
    """
    environment = Environment(
        loader=PackageLoader("precompute"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    text = environment.get_template(template).render(title=title, made=made, sections=sections)
    return text if template.endswith(".html") else re.sub(r"\n{3,}", "\n\n", text)


def cell(text: str) -> str:
    """Text that stays text in a Markdown table: one line, no column breaks, no markup, no HTML."""
    flat = html.escape(" ".join(str(text).splitlines()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", flat)
