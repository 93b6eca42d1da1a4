"""The state of a training run on disk: enough to go on and end with the same weights as if nothing had happened.

One safetensors file, replaced as a whole: weights, Adam's moments, the log, and in its metadata the step, the kernels
in use and a fingerprint of everything that makes the result. The order of the batches follows from the seed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ard.files import fsync_dir
from ard.sae import SAEError

FORMAT = "ard-training/1"


class Checkpoint(NamedTuple):
    """What `read` found."""

    step: int
    """Steps done."""
    kernels: list[str]
    """Kernels of each SAE."""
    tensors: list[dict[str, Tensor]]
    """Per SAE, the tensors given to `write`."""
    values: list[dict[str, Any]]
    """Per SAE, the plain values given to `write`."""


def write(
    path: Path,
    step: int,
    kernels: list[str],
    fingerprint: str,
    tensors: list[dict[str, Tensor]],
    values: list[dict[str, Any]],
) -> None:
    """Replace the checkpoint at `path`; a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"format": FORMAT, "step": step, "kernels": kernels, "fingerprint": fingerprint, "values": values}
    named = {f"{i}.{name}": t.detach().cpu().contiguous() for i, one in enumerate(tensors) for name, t in one.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(named, temporary, metadata={"training": json.dumps(record)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_dir(path.parent)


def read(path: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint at `path`; None where there is none.

    Raises:
        SAEError: unreadable, or of a training run with other settings or other activations.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {}).get("training", "{}"))
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise SAEError(f"{path} is not a readable checkpoint ({error}); delete it and train from the start.") from error
    if record.get("format") != FORMAT or record.get("fingerprint") != fingerprint:
        raise SAEError(
            f"{path} is a checkpoint of other settings or other activations; delete it, or name another file."
        )
    tensors: list[dict[str, Tensor]] = [{} for _ in record["values"]]
    for name, tensor in named.items():
        index, _, rest = name.partition(".")
        tensors[int(index)][rest] = tensor
    return Checkpoint(record["step"], record["kernels"], tensors, record["values"])
