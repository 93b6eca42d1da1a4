"""Stage `report`: one HTML page and one Markdown file with the run's provenance, quality and Tables 1–4; CSV files.

They say what the run holds when the stage runs; a table that is not there yet is named with the command that makes it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pyarrow.csv import write_csv

from precompute.report.about import clips, provenance, saes, scores
from precompute.report.labels import labels
from precompute.report.render import render
from precompute.report.table_1 import interpretability
from precompute.report.table_2 import human
from precompute.report.table_3 import steering
from precompute.report.table_4 import ablation
from precompute.stages.base import Context

CSV = (
    *("saes", "interpretability", "interpretability_curve", "comparisons", "controls", "stability"),
    *("detection", "recovery", "purity", "localisation"),
    *("human", "human_catches", "human_correlation"),
    *("steering", "steering_comparators", "steering_judged", "judge_agreement", "steering_answers"),
    "ablation",
)
"""Tables that also come as CSV files, every figure in full."""
PARTS = (saes, scores, interpretability, human, steering, ablation, labels, clips, provenance)


def run(ctx: Context) -> None:
    """Write `report.html`, `report.md` and `report/<table>.csv`."""
    sections = [part(ctx.run) for part in PARTS]
    title = f"Report of the run {ctx.run.path.resolve().name}"
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    for name in ("report.html", "report.md"):
        ctx.out.write_file(name, render(name, title, made, sections).encode("utf-8"))
    folder = ctx.out.make_folder("report")
    for table in (name for name in CSV if ctx.run.has(name)):
        write_csv(ctx.run.read(table), folder / f"{table}.csv")
    missing = [s.title.split(":")[0] for s in sections if s.missing]
    ctx.say(f"{ctx.run.path / 'report.html'}" + (f"; without {', '.join(missing)}" if missing else ""))
