"""VoxCeleb1: 153,516 utterances of 1,251 speakers, cut from interviews on YouTube.

On disk, as its archives unpack (both into one folder, or each into its own)::

    VoxCeleb1/wav/id10270/5r0dWxy17C8/00001.wav     also dev/wav/… and test/wav/…
    VoxCeleb1/vox1_meta.csv                         one row a speaker, tabs between the columns
                                                    VoxCeleb1 ID, VGGFace1 ID, Gender (m or f), Nationality, Set

The same file names come back under every video, so a clip is named by speaker, video and file. There is no list of all
utterances: a missing file cannot be told from one that never was; speakers without any are counted. `Set` says which
speakers are the test set (4,874 utterances of 40 speakers: those of AudioBench's VoxCeleb1-Gender).

Licence: CC BY 4.0 for the metadata; the recordings are their makers'. Audio by request.
Source: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from precompute.datasets import DatasetError, Entry
from precompute.datasets.listing import Notes, choose, csv_rows, required, shown, text

TITLE = "VoxCeleb1"
EXPECTED = {"": 153_516, "dev": 148_642, "test": 4_874}
META = "vox1_meta.csv"
COLUMNS = ("VoxCeleb1 ID", "Gender", "Nationality", "Set")
GENDERS = {"m": "male", "f": "female"}
SPLITS = {"dev": "train", "test": "test"}
PLACES = ("wav", "dev/wav", "test/wav", "vox1_dev_wav/wav", "vox1_test_wav/wav", ".")
SPEAKER = re.compile(r"id1\d{4}")


def entries(root: Path, notes: Notes, *, part: str = "") -> Iterator[Entry]:
    """Utterances with the speaker's gender as the label; the speakers' sets `dev` and `test` are the splits.

    Args:
        root: the folder with `vox1_meta.csv` and the audio.
        notes: counts what is odd.
        part: `dev` or `test`; empty: both.

    Raises:
        DatasetError: the table of speakers or the audio is missing or malformed.
    """
    choose(part, ("", *SPLITS), TITLE)
    required(root, TITLE, [META])
    speakers = _speakers(root / META, notes)
    folders = _speaker_folders(root)
    wanted = {name for name, row in speakers.items() if not part or row["Set"].strip() == part}
    for name in sorted(wanted - set(folders)):
        notes.add(f"speakers of {META} without any audio", name)
    for name in sorted(folders):
        if name not in speakers:
            notes.add(f"speakers that {META} lacks, left out", name)
        elif name in wanted:
            yield from _speaker(root, name, folders[name], speakers[name])


def _speakers(file: Path, notes: Notes) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in csv_rows(file, COLUMNS, notes, delimiter="\t"):
        name, gender, group = (row[c].strip() for c in ("VoxCeleb1 ID", "Gender", "Set"))
        if gender not in GENDERS or group not in SPLITS:
            raise DatasetError(
                f"{file}: speaker {name!r} has gender {gender!r} and set {group!r}; m or f, and dev or test, are known."
            )
        found[name] = row
    return found


def _speaker_folders(root: Path) -> dict[str, list[Path]]:
    """Folders of each speaker, one for each archive that holds some of their videos."""
    found: dict[str, list[Path]] = {}
    for place in PLACES:
        folder = root / place
        for one in sorted(folder.iterdir()) if folder.is_dir() else ():
            if one.is_dir() and SPEAKER.fullmatch(one.name):
                found.setdefault(one.name, []).append(one)
    if not found:
        raise DatasetError(
            f"{TITLE} at {root} has no speaker folder id10001 … in {', '.join(PLACES)}; "
            "folders named after people are those of its first release, which is not read."
        )
    return found


def _speaker(root: Path, name: str, folders: list[Path], row: dict[str, str]) -> Iterator[Entry]:
    gender = GENDERS[row["Gender"].strip()]
    attributes = {"speaker": name, "gender": gender}
    if nationality := text(row["Nationality"]):
        attributes["nationality"] = nationality
    for folder in folders:
        for place, videos, files in os.walk(folder):
            videos.sort()
            video = Path(place).name
            for file in sorted(f for f in files if f.lower().endswith(".wav") and not f.startswith(".")):
                wav = Path(place, file)
                identity = f"{name}/{video}/{wav.stem}"
                yield Entry(
                    clip_id=f"voxceleb1/{identity}",
                    file=wav,
                    path=shown(wav, root),
                    labels=(gender,),
                    split=SPLITS[row["Set"].strip()],
                    attributes=attributes | {"video": video},
                    dataset="voxceleb1",
                    key=f"voxceleb1:{identity}",
                )
