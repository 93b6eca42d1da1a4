"""A folder of audio files: sub-folder names become labels, or the file name before its first `_`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from precompute.audio_io import EXTENSIONS
from precompute.datasets import SPLIT_NAMES, DatasetError, Entry


def entries(root: Path, label_from: str = "auto") -> Iterator[Entry]:
    """One entry for every audio file under `root`; hidden files and folders are passed over.

    Labels: every sub-folder on the way to the file (`folder`), the file name before its first `_` (`prefix`), none, or
    `auto`: sub-folders where there are any, otherwise the prefix. A first sub-folder called `train`, `test` or alike
    is the split.

    Raises:
        DatasetError: no audio file under `root`.
    """
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in EXTENSIONS and _visible(p, root) and p.is_file())
    if not files:
        raise DatasetError(f"{root} holds no audio file; files ending in {', '.join(sorted(EXTENSIONS))} are taken.")
    for file in files:
        relative = file.relative_to(root)
        folders = relative.parts[:-1]
        split = folders[0].lower() if folders and folders[0].lower() in SPLIT_NAMES else ""
        folders = folders[1:] if split else folders
        name = relative.as_posix()
        yield Entry(name, file, name, labels=_labels(folders, file.stem, label_from), split=split)


def _visible(path: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def _labels(folders: tuple[str, ...], stem: str, label_from: str) -> tuple[str, ...]:
    prefix = (stem.split("_", 1)[0],) if stem.find("_") > 0 else ()
    if label_from == "auto":
        return tuple(dict.fromkeys(folders)) or prefix
    return {"folder": tuple(dict.fromkeys(folders)), "prefix": prefix, "none": ()}[label_from]
