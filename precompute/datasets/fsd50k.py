"""FSD50K: 51,197 Freesound clips with 200 classes of the AudioSet ontology.

On disk, as its archives unpack::

    FSD50K/FSD50K.dev_audio/64760.wav          40,966 clips
    FSD50K/FSD50K.eval_audio/37199.wav         10,231 clips
    FSD50K/FSD50K.ground_truth/dev.csv         fname,labels,mids,split   (split: train or val)
    FSD50K/FSD50K.ground_truth/eval.csv        fname,labels,mids
    FSD50K/FSD50K.ground_truth/vocabulary.csv  index,label,mid           (no header)

`labels` is one field with commas between the class names, the more general classes included. File names are Freesound
ids. Licence: CC BY 4.0 as a whole, each clip has its own Creative Commons licence.
Source: https://zenodo.org/records/4060432. Paper: the evaluation set, 10,231 clips of 200 classes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from precompute.datasets import DatasetError, Entry
from precompute.datasets.listing import Notes, choose, csv_rows, inner, readable, required, shown, text

TITLE = "FSD50K"
PARTS = {"": ("dev", "eval"), "dev": ("dev",), "train": ("dev",), "val": ("dev",), "eval": ("eval",)}
EXPECTED = {"": 51_197, "dev": 40_966, "train": 36_796, "val": 4_170, "eval": 10_231}
SPLITS = {"train": "train", "val": "validation", "eval": "evaluation"}
TRUTH = "FSD50K.ground_truth"


def entries(root: Path, notes: Notes, *, part: str = "") -> Iterator[Entry]:
    """Clips with their classes, written as people write them (`Acoustic_guitar` is `acoustic guitar`).

    Args:
        root: the folder with `FSD50K.ground_truth`, or the one above it.
        notes: counts what is odd.
        part: `dev`, its halves `train` and `val`, or `eval`; empty: all. They become the splits `train`, `validation`
            and `evaluation`.

    Raises:
        DatasetError: a list or a folder of audio is missing or malformed.
    """
    choose(part, tuple(PARTS), TITLE)
    root = inner(root, "FSD50K")
    names = PARTS[part]
    lists = [f"{TRUTH}/{name}.csv" for name in names]
    required(root, TITLE, [f"{TRUTH}/vocabulary.csv", *lists, *(f"FSD50K.{name}_audio" for name in names)])
    classes = _vocabulary(root / TRUTH / "vocabulary.csv")
    for name in names:
        columns = ("fname", "labels", "split") if name == "dev" else ("fname", "labels")
        for row in csv_rows(root / TRUTH / f"{name}.csv", columns, notes):
            half = row.get("split") or name
            if half not in SPLITS:
                notes.add("rows of no known split, left out", f"{row['fname']} ({half})")
            elif part not in ("train", "val") or half == part:
                yield _entry(root, f"FSD50K.{name}_audio", row, SPLITS[half], classes, notes)


def _entry(root: Path, folder: str, row: dict[str, str], split: str, classes: set[str], notes: Notes) -> Entry:
    name = text(row["fname"]) or ""
    # A table writer that took the ids for numbers with gaps leaves `64760.0`.
    name = name.removesuffix(".wav").removesuffix(".0")
    labels = [one for part in (row["labels"] or "").split(",") if (one := text(part))]
    if not labels:
        notes.add("clips without a label", name)
    for label in labels:
        if label not in classes:
            notes.add("labels that vocabulary.csv lacks", f"{label} of {name}")
    file = root / folder / f"{name}.wav"
    return Entry(
        clip_id=f"fsd50k/{name}",
        file=file,
        path=shown(file, root),
        labels=tuple(dict.fromkeys(readable(label) for label in labels)),
        split=split,
        dataset="fsd50k",
        key=f"freesound:{name}",
        problem="" if name else "no file name",
    )


def _vocabulary(file: Path) -> set[str]:
    """The class names; the file has no header."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read as a UTF-8 table: {error}.") from None
    short = [i for i, row in enumerate(rows, 1) if len(row) < 3]
    if short or not rows:
        where = f"row {short[0]} has {len(rows[short[0] - 1])}" if short else "it has no rows"
        raise DatasetError(f"{file} needs three columns (index, label, mid) and no header; {where}.")
    return {row[1] for row in rows}
