"""What the model adapters share: where weights come from, which revision they are, and what counts as audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError

from ard.model_files import ModelError, find_model, weights_revision

__all__ = [
    "AudioError",
    "ModelError",
    "check_audios",
    "compute_dtype",
    "find_model",
    "load_part",
    "load_weights",
    "named_dtype",
    "revision_of",
]

_Loaded = TypeVar("_Loaded")


class AudioError(ValueError):
    """A clip that the model cannot hear as given; the message says why and what to do."""


def load_part(what: str, loader: Callable[..., _Loaded], source: Path | str, **options: Any) -> _Loaded:
    """`loader(source, **options)` with one clear sentence when the files are missing or unreadable.

    Raises:
        ModelError: `source` cannot be loaded as `what`.
    """
    try:
        return loader(source, **options)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        where = f"the folder {source}" if isinstance(source, Path) else f"the hub id {source!r}"
        raise ModelError(
            f"The {what} in {where} does not load ({first.strip()}); check the files or the id."
        ) from error


def load_weights(loader: Callable[..., Any], source: Path | str, **options: Any) -> Any:
    """A transformers model with every weight read from `source`; none is left at random.

    Raises:
        ModelError: files missing or unreadable, or weights missing or of another shape.
    """
    model, info = load_part("model", loader, source, output_loading_info=True, **options)
    absent = sorted([*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])])
    if absent:
        raise ModelError(
            f"The model in {source} lacks {len(absent)} weights or has them in another shape, such as {absent[0]}; "
            "save it again with its own config.json."
        )
    return model


def compute_dtype(device: str | torch.device, dtype: torch.dtype | None) -> torch.dtype:
    """The precision to load in: as asked, else float32 on CPU (whatever the file holds) and bfloat16 elsewhere.

    Raises:
        ModelError: float16 on a CPU, or a type that is no float.
    """
    on_cpu = torch.device(device).type == "cpu"
    if dtype is None:
        return torch.float32 if on_cpu else torch.bfloat16
    allowed = (torch.float32, torch.bfloat16) if on_cpu else (torch.float32, torch.bfloat16, torch.float16)
    if dtype not in allowed:
        names = ", ".join(str(one).removeprefix("torch.") for one in allowed)
        raise ModelError(f"dtype {dtype} does not work on {device}; use one of {names}, or leave it out.")
    return dtype


def named_dtype(name: str) -> torch.dtype | None:
    """The precision of this name; None for `auto`."""
    return None if name == "auto" else {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(name, torch.float16)


def revision_of(source: Path | str, config: Any) -> str:
    """Hash of the weights for a folder, commit hash for a hub id."""
    if isinstance(source, Path):
        return weights_revision(source)
    return str(getattr(config, "_commit_hash", None) or "unknown")


def check_audios(audios: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Mono float32 copies of the clips [samples].

    Raises:
        AudioError: a clip is not one-dimensional, empty, not floating point, or holds NaN or infinity.
    """
    return [_check_audio(index, audio) for index, audio in enumerate(audios)]


def _check_audio(index: int, audio: np.ndarray) -> np.ndarray:
    samples = np.asarray(audio)
    if samples.ndim != 1:
        raise AudioError(f"Clip {index} has shape {samples.shape}; give mono samples of shape (samples,).")
    if samples.size == 0:
        raise AudioError(f"Clip {index} is empty; leave it out or give at least a fraction of a second.")
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"Clip {index} holds {samples.dtype} samples; give floats between -1 and 1.")
    if not np.isfinite(samples).all():
        raise AudioError(f"Clip {index} holds NaN or infinite samples; repair the file or leave it out.")
    return samples.astype(np.float32)
