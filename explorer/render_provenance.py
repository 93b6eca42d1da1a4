"""What a run was made from, as HTML text: read from its manifest alone."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from explorer.render import count, empty


def provenance(manifest: dict[str, Any]) -> str:
    """What the run was made from: models, revisions, seed, code, machine, stages, the whole configuration."""
    if not manifest:
        return empty("No manifest", "The run says nothing about itself.")
    facts: dict[str, Any] = {
        "preset": manifest.get("preset"),
        "command": manifest.get("command"),
        "seed": manifest.get("seed"),
        "git commit": manifest.get("git_commit"),
        "device": manifest.get("device"),
        **{f"model: {k}": v for k, v in manifest.get("models", {}).items()},
        **{f"version: {k}": v for k, v in manifest.get("versions", {}).items()},
    }
    lines = "".join(
        f"<tr><td>{escape(k)}</td><td>{escape(_plain(v))}</td></tr>" for k, v in facts.items() if v not in (None, "")
    )
    stages = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{s.get("seconds", 0):.1f} s</td>'
        f'<td class="n">{count(sum(s.get("rows", {}).values()))} rows</td>'
        f"<td>{escape(str(s.get('finished', '')))}</td></tr>"
        for name, s in manifest.get("stages", {}).items()
    )
    config = escape(json.dumps(manifest.get("config", {}), indent=2, ensure_ascii=False))
    return f"""<section id="provenance"><details><summary>What this run was made from</summary>
<div class="wide"><table class="plain">{lines}</table></div>
<h3>Stages</h3><div class="wide"><table class="plain">{stages}</table></div>
<h3>Configuration</h3><pre>{config}</pre></details></section>"""


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
