"""What a result depends on besides the data: models, library versions, machine, commit."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from ard.model_files import (
    ModelError,
    checkpoint_revision,
    find_model,
    package_checkpoint,
    weight_files,
    weights_revision,
)

PROJECT = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "transformers", "numpy", "pyarrow", "duckdb", "soundfile", "soxr", "scikit-learn")


def model_source(path_or_id: str) -> str:
    """A model's folder: as given, or below the project (the demo's models work from any folder); else the id."""
    below = PROJECT / path_or_id
    return str(below) if not Path(path_or_id).is_dir() and below.is_dir() else path_or_id


def model_revision(path_or_id: str) -> str:
    """Hash of a folder's weights; a hub id stands for itself; `missing` where there is no such folder."""
    try:
        if found := package_checkpoint(path_or_id):
            return checkpoint_revision(found[1])
        source = find_model(model_source(path_or_id))
        return weights_revision(source) if isinstance(source, Path) else source
    except ModelError:
        return "missing"


def model_stamp(path_or_id: str) -> str:
    """Hash of the folder, names, lengths and times of a model's weight files: while it stays, so does the revision.

    Empty for a hub id and where there is no such folder.
    """
    try:
        found = package_checkpoint(path_or_id)
        source = found[1] if found else find_model(model_source(path_or_id))
        if not isinstance(source, Path):
            return ""
        weights = [source] if found else weight_files(source)
        files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in weights]
    except ModelError:
        return ""
    return hashlib.sha256(repr((str(source.resolve()), files)).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Python and the libraries that numbers depend on."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in LIBRARIES}


def device(name: str) -> str:
    """The device in words."""
    if name.startswith("cuda"):
        import torch

        return f"{name} ({torch.cuda.get_device_name(name)})"
    return f"{name} ({platform.machine()}, {platform.system()})"


def git_commit() -> str | None:
    """Commit of the project, if it is a git checkout."""
    try:
        found = subprocess.run(
            ["git", "-C", str(PROJECT), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
