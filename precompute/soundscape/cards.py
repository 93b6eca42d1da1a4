"""Model cards of the demo models: what they are, what made them, what they can do."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from precompute.soundscape.registry import EVENTS
from precompute.soundscape.sounds import load_all


def machine() -> str:
    """The processor or accelerator this process computes on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpu = next(
        (line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return f"{torch.get_num_threads()} threads of {cpu}"


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def write_card(
    folder: Path, title: str, purpose: str, command: str, settings: dict[str, Any], notes: Sequence[str] = ()
) -> None:
    """Write `README.md` beside the weights from `figures.json`, `curve.json` and the settings of the training."""
    load_all()
    figures = json.loads((folder / "figures.json").read_text())
    curve = json.loads((folder / "curve.json").read_text())
    weights = (folder / "model.safetensors").stat().st_size / 1e6
    lines = [
        f"# {title}",
        "",
        purpose,
        "",
        f"- **Data**: clips of the demo world (`precompute/soundscape`), {len(EVENTS)} sound events and speech;"
        " training, validation, selection and evaluation clips share no seed and no spoken text.",
        f"- **Command**: `{command}`",
        "- **Settings**: " + ", ".join(f"{k} {v}" for k, v in settings.items()),
        f"- **Time**: {curve[-1]['seconds'] / 60:.0f} minutes for {curve[-1]['step']} steps on {settings['machine']}"
        if curve
        else "- **Time**: not recorded",
        f"- **Size**: {weights:.1f} MB in float16",
        *[f"- {note}" for note in notes],
        "",
        "## Held-out figures",
        "",
        "| figure | value |",
        "| --- | --- |",
        *[
            f"| {name} | {_told(value)} |"
            for name, value in figures.items()
            if not isinstance(value, dict) or "share" in value
        ],
        "",
        "Licence: Apache-2.0, like the project.",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines))


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['share']} of {value['clips']} clips"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
