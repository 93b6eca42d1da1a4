"""What the model adapters share: where weights come from, which revision they are, and what counts as audio."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_Loaded = TypeVar("_Loaded")


class ModelError(ValueError):
    """A model folder, id, device or precision that cannot be used; the message says why and what to do."""


class AudioError(ValueError):
    """A clip that the model cannot hear as given; the message says why and what to do."""


def find_model(path_or_id: str | Path) -> Path | str:
    """The folder if there is one, else the hub id.

    Raises:
        ModelError: neither a folder with a `config.json` nor a hub id of the form `owner/name`.
    """
    folder = Path(path_or_id)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"The folder {folder} has no config.json; give a folder written by `save_pretrained`.")
        return folder
    name = str(path_or_id)
    if folder.exists() or folder.is_absolute() or not _HUB_ID.fullmatch(name):
        raise ModelError(f"{name!r} is neither a model folder nor a hub id like 'Qwen/Qwen2-Audio-7B-Instruct'.")
    return name


def load_part(what: str, loader: Callable[..., _Loaded], source: Path | str, **options: Any) -> _Loaded:
    """`loader(source, **options)` with one clear sentence when the files are missing or unreadable.

    Raises:
        ModelError: `source` cannot be loaded as `what`.
    """
    try:
        return loader(source, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
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


def weights_revision(folder: Path) -> str:
    """First 12 hex digits of sha256 over the folder's weight files (names and bytes, in name order).

    Raises:
        ModelError: no weight file in the folder.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES and path.is_file())
    if not files:
        raise ModelError(
            f"The folder {folder} holds no weight file ({', '.join(WEIGHT_SUFFIXES)}); save the model there."
        )
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]


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
