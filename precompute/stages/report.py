"""Stage `report`: one HTML page and one Markdown file with the run's provenance, quality and Tables 1–4.

They say what the run holds when the stage runs; a table that is not there yet is named with the command that makes it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from precompute.report.about import clips, provenance, saes, scores
from precompute.report.labels import labels
from precompute.report.render import render
from precompute.report.results import ablation, human, steering
from precompute.report.table_1 import interpretability
from precompute.stages.base import Context

PARTS = (saes, scores, interpretability, human, steering, ablation, labels, clips, provenance)


def run(ctx: Context) -> None:
    """Write `report.html` and `report.md`."""
    sections = [part(ctx.run) for part in PARTS]
    title = f"Report of the run {ctx.run.path.resolve().name}"
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    for name in ("report.html", "report.md"):
        ctx.out.write_file(name, render(name, title, made, sections).encode("utf-8"))
    missing = [s.title.split(":")[0] for s in sections if s.missing]
    ctx.say(f"{ctx.run.path / 'report.html'}" + (f"; without {', '.join(missing)}" if missing else ""))
