"""Clotho 2.1: 5,929 Freesound recordings of 15 to 30 seconds with five captions each.

On disk, as its archives unpack::

    Clotho/development/Ambience Birds.wav          3,839 clips; also validation (1,045) and evaluation (1,045)
    Clotho/clotho_captions_development.csv         file_name,caption_1,caption_2,caption_3,caption_4,caption_5

File names are people's own: blanks, brackets, accents. They are compared in Unicode's composed form and without blanks
at their ends. The audio folders may also lie below `clotho_audio_files`, the lists below `clotho_csv_files`.
Licence: Tampere University's own, not commercial; each recording has its Creative Commons licence.
Source: https://zenodo.org/records/4783391
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from precompute.datasets import Entry
from precompute.datasets.listing import AudioIndex, Notes, choose, csv_rows, inner, required, shown, text

TITLE = "Clotho"
EXPECTED = {"": 5_929, "development": 3_839, "validation": 1_045, "evaluation": 1_045}
SPLITS = {"development": "train", "validation": "validation", "evaluation": "evaluation"}
CAPTIONS = tuple(f"caption_{i}" for i in range(1, 6))


def entries(root: Path, notes: Notes, *, part: str = "") -> Iterator[Entry]:
    """Clips with their first caption; all captions of a clip are a JSON list in the attribute `captions`.

    Args:
        root: the folder with the lists and the audio folders.
        notes: counts what is odd.
        part: `development`, `validation` or `evaluation`; empty: all three.

    Raises:
        DatasetError: a list or an audio folder is missing, or a list is malformed.
    """
    choose(part, ("", *SPLITS), TITLE)
    names = (part,) if part else tuple(SPLITS)
    lists, sounds = inner(root, "clotho_csv_files"), inner(root, "clotho_audio_files")
    required(lists, TITLE, [f"clotho_captions_{name}.csv" for name in names])
    required(sounds, TITLE, names)
    for name in names:
        audio = AudioIndex(sounds / name)
        for row in csv_rows(lists / f"clotho_captions_{name}.csv", ("file_name", *CAPTIONS), notes):
            file_name = row["file_name"].strip()
            stem = Path(file_name).stem.strip()
            if not stem:
                notes.add("rows without a file name, left out", f"clotho_captions_{name}.csv")
                continue
            captions = [caption for column in CAPTIONS if (caption := text(row[column]))]
            if not captions:
                notes.add("clips without a caption", file_name)
            found = audio.find(stem, f"{stem} ") or sounds / name / file_name
            yield Entry(
                clip_id=f"clotho/{name}/{stem}",
                file=found,
                path=shown(found, root),
                caption=captions[0] if captions else None,
                split=SPLITS[name],
                attributes={"captions": json.dumps(captions, ensure_ascii=False)} if captions else {},
                dataset="clotho",
            )
