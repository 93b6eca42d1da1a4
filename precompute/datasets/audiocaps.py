"""AudioCaps: captions by people for ten-second clips of AudioSet.

On disk: its three lists, and the audio as you could get it, in one folder or in one for each split::

    AudioCaps/train.csv, val.csv, test.csv     audiocap_id,youtube_id,start_time,caption   (also below dataset/)
    AudioCaps/**/7fmOlUlwoNg.flac              or Y7fmOlUlwoNg, 7fmOlUlwoNg_20, 7fmOlUlwoNg_20000, or the audiocap_id

A training clip has one caption, a validation or test clip five, one a row. Many videos are gone by now: a clip without
a file is listed as missing. Licence: the captions are free for academic use, the sound is its makers'.
Source: https://github.com/cdjkim/audiocaps
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from precompute.datasets import Entry
from precompute.datasets.listing import AudioIndex, Notes, choose, csv_rows, inner, required, shown, text

TITLE = "AudioCaps"
# Clips of the first release: rows of train.csv; five rows each of the 495 and 975 clips of the other two lists.
EXPECTED = {"": 51_308, "train": 49_838, "val": 495, "test": 975}
SPLITS = {"train": "train", "val": "validation", "test": "test"}
COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")


def entries(root: Path, notes: Notes, *, part: str = "") -> Iterator[Entry]:
    """Clips with their first caption; all captions of a clip are a JSON list in the attribute `captions`.

    Args:
        root: the folder with the lists and the audio.
        notes: counts what is odd.
        part: `train`, `val` or `test`; empty: all three.

    Raises:
        DatasetError: a list is missing or malformed.
    """
    choose(part, ("", *SPLITS), TITLE)
    names = (part,) if part else tuple(SPLITS)
    lists = inner(root, "dataset")
    required(lists, TITLE, [f"{name}.csv" for name in names])
    audio = AudioIndex(root)
    for name in names:
        clips: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in csv_rows(lists / f"{name}.csv", COLUMNS, notes):
            video, start = text(row["youtube_id"]), text(row["start_time"])
            if video is None or start is None:
                notes.add("rows without a video or a start, left out", f"{name}.csv, {row['audiocap_id']}")
            else:
                clips.setdefault((video, start), []).append(row)
        for (video, start), rows in clips.items():
            yield _entry(root, audio, SPLITS[name], video, start, rows, notes)


def _entry(
    root: Path, audio: AudioIndex, split: str, video: str, start: str, rows: list[dict[str, str]], notes: Notes
) -> Entry:
    captions = [caption for row in rows if (caption := text(row["caption"]))]
    if not captions:
        notes.add("clips without a caption", video)
    names = [stem for own in (video, f"Y{video}") for stem in (f"{own}_{start}", f"{own}_{start}000", own)]
    found = audio.find(*names, *(str(row["audiocap_id"]) for row in rows)) or root / f"{video}.flac"
    return Entry(
        clip_id=f"audiocaps/{video}_{start}",
        file=found,
        path=shown(found, root),
        caption=captions[0] if captions else None,
        split=split,
        attributes={"captions": json.dumps(captions, ensure_ascii=False)} if captions else {},
        dataset="audiocaps",
        key=f"youtube:{video}",
    )
