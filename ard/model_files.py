"""Where a model's files lie and which revision they are. Loads no model library, so that asking is quick."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class ModelError(ValueError):
    """A model folder, id, device or precision that cannot be used; the message says why and what to do."""


PACKAGES = ("laion-clap", "msclap")
"""Packages with checkpoints of their own kind: one file, written `PACKAGE:FILE`."""


def package_checkpoint(path_or_id: str | Path) -> tuple[str, Path] | None:
    """Package and file of `PACKAGE:FILE`; None for anything else.

    Raises:
        ModelError: the file is not there.
    """
    package, colon, file = str(path_or_id).partition(":")
    if not colon or package not in PACKAGES:
        return None
    if not Path(file).is_file():
        raise ModelError(f"There is no checkpoint file {file!r} for {package}; give {package}:FILE.")
    return package, Path(file)


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


def weight_files(folder: Path) -> list[Path]:
    """The folder's weight files in the order of their names.

    Raises:
        ModelError: no weight file in the folder.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES and path.is_file())
    if not files:
        raise ModelError(
            f"The folder {folder} holds no weight file ({', '.join(WEIGHT_SUFFIXES)}); save the model there."
        )
    return files


def weights_revision(folder: Path) -> str:
    """First 12 hex digits of sha256 over the folder's weight files (names and bytes, in name order).

    Raises:
        ModelError: no weight file in the folder.
    """
    return _revision(weight_files(folder))


def checkpoint_revision(file: Path) -> str:
    """The same of one checkpoint file."""
    return _revision([file])


def _revision(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]
