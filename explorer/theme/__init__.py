"""How everything looks: one Gradio theme and one stylesheet that share the same few colours."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from explorer.views import ADDRESS_KEYS

_FOLDER = Path(__file__).parent
_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
_MONO = ["ui-monospace", "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", "monospace"]

CSS = "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("ard.css", "pages.css"))
FAVICON = _FOLDER / "icon.svg"


def head() -> str:
    """What goes into the page's head: the player, the address bar, the keys, the maps. No file of another host."""
    keys = f"window.ardKeys = {json.dumps(list(ADDRESS_KEYS))};"
    parts = [keys, *((_FOLDER / name).read_text(encoding="utf-8") for name in ("ard.js", "keys.js", "maps.js"))]
    return "".join(f"<script>{part}</script>" for part in parts)


def theme() -> gr.themes.Base:
    """Neutral greys, system fonts; colour is left to activation (amber) and steering (teal)."""
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.neutral,
        secondary_hue=gr.themes.colors.neutral,
        neutral_hue=gr.themes.colors.neutral,
        text_size=gr.themes.sizes.text_sm,
        spacing_size=gr.themes.sizes.spacing_sm,
        radius_size=gr.themes.sizes.radius_sm,
        font=_SANS,
        font_mono=_MONO,
    )
    both = {
        "body_background_fill": "var(--ground)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--ink-2)",
        "background_fill_primary": "var(--surface)",
        "background_fill_secondary": "var(--ground)",
        "border_color_primary": "var(--line)",
        "block_background_fill": "transparent",
        "block_border_width": "0px",
        "block_label_text_color": "var(--ink-2)",
        "block_title_text_color": "var(--ink-2)",
        "block_shadow": "none",
        "input_background_fill": "var(--surface)",
        "input_border_color": "var(--line-2)",
        "input_border_color_focus": "var(--ink-2)",
        "input_placeholder_color": "var(--ink-2)",
        "button_secondary_background_fill": "var(--surface)",
        "button_secondary_background_fill_hover": "var(--hover)",
        "button_secondary_border_color": "var(--line-2)",
        "button_secondary_text_color": "var(--ink)",
        "button_primary_background_fill": "var(--teal-fill)",
        "button_primary_background_fill_hover": "var(--teal)",
        "button_primary_text_color": "var(--on-teal)",
        "slider_color": "var(--teal)",
    }
    plain = {"block_border_width", "block_shadow"}
    values = {**both, **{f"{k}_dark": v for k, v in both.items() if k not in plain}}
    return base.set(**values, input_border_width="1px", button_border_width="1px", block_padding="0px")
