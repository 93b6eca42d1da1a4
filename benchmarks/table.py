"""All results as one table: printed, and written to `results/README.md`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.record import RESULTS

HEADER = ("claim", "what", "peer", "ours", "theirs", "ratio", "unit", "machine", "commit")
APART = ("question", "size", "clips", "d_in", "d_sae", "k", "compute", "layer", "from", "workers")
"""Fields that tell the rows of one claim apart, where a record has them."""


def rows(folder: Path = RESULTS) -> list[tuple[str, ...]]:
    """One row a record, in the order of the files; ratio = theirs / ours, above 1: we are faster."""
    out = []
    for path in sorted(folder.glob("*.json")):
        for record in json.loads(path.read_text(encoding="utf-8")):
            what = ", ".join(f"{name} {_label(record[name])}" for name in APART if record.get(name) not in (None, ""))
            what += f", ours in {record['ours_compute']}" if "ours_compute" in record else ""
            peer = " ".join(str(record[name]) for name in ("peer", "peer_compute") if record.get(name))
            shown = {**record, "what": what, "peer": peer or None}
            out.append(tuple(_text(shown.get(name)) for name in HEADER))
    return out


def _label(value: Any) -> Any:
    return value.get("label", value) if isinstance(value, dict) else value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "–" if value is None else str(value).replace("|", "/")


def markdown(found: list[tuple[str, ...]]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADER, tuple("---" for _ in HEADER), *found]
    words = "ratio = theirs / ours: above 1 we are faster. Made by `make bench`.\n\n"
    return "# Benchmarks\n\n" + words + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Print the table and keep it beside the results."""
    text = markdown(rows())
    (RESULTS / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
