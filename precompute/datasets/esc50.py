"""ESC-50: 2,000 clips of five seconds, 50 classes with 40 clips each, in five folds.

On disk, as its archive unpacks::

    ESC-50-master/audio/1-100032-A-0.wav
    ESC-50-master/meta/esc50.csv        filename,fold,target,category,esc10,src_file,take

`src_file` is the Freesound recording, from which several clips (`take`) may be cut; such clips are in one fold.
Licence: CC BY-NC 3.0. Source: https://github.com/karolpiczak/ESC-50
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from precompute.datasets import DatasetError, Entry
from precompute.datasets.listing import Notes, csv_rows, inner, readable, required, shown, text

TITLE = "ESC-50"
EXPECTED = {"": 2_000}
LIST = "meta/esc50.csv"
COLUMNS = ("filename", "fold", "category", "src_file", "take")
FOLDS = ("1", "2", "3", "4", "5")


def entries(root: Path, notes: Notes, *, test_fold: int = 0) -> Iterator[Entry]:
    """Clips with their class as the label (`door_wood_knock` is `door wood knock`).

    Args:
        root: the folder with `meta` and `audio`, or the one above it.
        notes: counts what is odd.
        test_fold: 1 to 5: this fold is the split `evaluation`, the others are `train`; 0: no splits.

    Raises:
        DatasetError: the list or the audio folder is missing, or a fold is none of the five.
    """
    if test_fold and str(test_fold) not in FOLDS:
        raise DatasetError(f"{TITLE} has no fold {test_fold!r}; test_fold is 1 to 5, or 0 for no splits.")
    root = inner(root, "ESC-50-master", "ESC-50")
    required(root, TITLE, [LIST, "audio"])
    for row in csv_rows(root / LIST, COLUMNS, notes):
        name, category = text(row["filename"]), text(row["category"])
        if name is None or row["fold"] not in FOLDS:
            notes.add("rows without a file name or a fold from 1 to 5, left out", f"{name or row}")
            continue
        if category is None:
            notes.add("clips without a label", name)
        split = "evaluation" if row["fold"] == str(test_fold) else "train"
        file = root / "audio" / name
        yield Entry(
            clip_id=f"esc50/{Path(name).stem}",
            file=file,
            path=shown(file, root),
            labels=(readable(category),) if category else (),
            split=split if test_fold else "",
            recording_id=f"freesound-{row['src_file']}",
            attributes={"fold": int(row["fold"]), "take": row["take"]},
            dataset="esc50",
            key=f"freesound:{row['src_file']}",
        )
