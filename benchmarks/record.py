"""Results of the benchmarks: one JSON file a claim, with the machine and the commit that made it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
KEYS = ("claim", "peer", "ours", "theirs", "ratio", "unit", "machine", "commit")


def machine() -> str:
    """CPU model, cores and memory, and the GPU where there is one."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return ", ".join([f"{model}, {os.cpu_count()} cores, {gib:.0f} GiB", *_gpus()])


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def commit() -> str:
    """Short hash of HEAD, with `+` where tracked files differ from it."""
    root = Path(__file__).parents[1]
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=root, check=False).returncode
    return head.stdout.strip() + ("+" if changed else "")


def write(claim: str, records: Sequence[dict[str, Any]]) -> Path:
    """Write `results/<claim>.json`; machine, commit and ratio (theirs / ours, above 1: we are faster) are filled in."""
    here = {"claim": claim, "machine": machine(), "commit": commit(), "date": datetime.date.today().isoformat()}
    rows = []
    for record in records:
        row = {**here, **record}
        theirs, ours = row.get("theirs"), row.get("ours")
        row.setdefault("ratio", theirs / ours if theirs is not None and ours else None)
        if missing := [key for key in KEYS if key not in row]:
            raise ValueError(f"A record of {claim} lacks {', '.join(missing)}.")
        rows.append(row)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{claim}.json"
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return path
