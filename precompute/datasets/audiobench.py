"""AudioBench's test sets of emotion and gender, on which steering is measured.

On disk, as its hub repositories `AudioLLMs/iemocap_emotion_recognition` (1,004 rows; first called
`iemocap_emotion_test`) and `AudioLLMs/voxceleb_gender_test` (4,874) lay them out::

    AudioLLMs/iemocap_emotion_recognition/data/test-00000-of-00001.parquet
    AudioLLMs/voxceleb_gender_test/data/test-00000-of-00003.parquet

A row holds `context` (the sound, a struct {bytes, path}), `instruction` (a question) and `answer` (a sentence that
names the label, such as `The speaker's emotion seems frustration.`); in older copies each of the three is a struct with
the fields `text` and `audio`. Further columns differ. The label is the one word for an emotion or a gender in the
answer. A row's own name of the utterance, where it has one, is its key; rows without one are told from training clips
by their sound (`precompute/datasets/overlap.py`).

Licence: as IEMOCAP and VoxCeleb1. Source: https://github.com/AudioLLMs/AudioBench
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from precompute.datasets import Entry
from precompute.datasets.hub import attributes, rows
from precompute.datasets.iemocap import UTTERANCE
from precompute.datasets.listing import Notes, shown, text

TITLE = "AudioBench"
EXPECTED = {"iemocap_emotion_recognition": 1_004, "iemocap_emotion_test": 1_004, "voxceleb_gender_test": 4_874}
WORDS = {
    "angry": ("angry", "anger"),
    "happy": ("happy", "happiness", "joy", "joyful"),
    "excited": ("excited", "excitement"),
    "sad": ("sad", "sadness"),
    "neutral": ("neutral",),
    "frustrated": ("frustrated", "frustration"),
    "fearful": ("fearful", "fear", "afraid"),
    "surprised": ("surprised", "surprise"),
    "disgusted": ("disgusted", "disgust"),
    "female": ("female", "woman"),
    "male": ("male", "man"),
}
"""Words of an answer that name a label."""
LABEL_OF = {word: label for label, words in WORDS.items() for word in words}
GENDERS = ("female", "male")
_VOXCELEB = re.compile(r"(id1\d{4})[/_-](.{11})[/_-](\d{5})")


def entries(root: Path, notes: Notes, *, part: str = "", merge_excited: bool = False) -> Iterator[Entry]:
    """Rows of one test set, or of all of them, with the answer's emotion or gender as the label.

    Args:
        root: the folder of one test set, or the one above several.
        notes: counts what is odd.
        part: the folder of one test set below `root`.
        merge_excited: call excited utterances happy, as the adapter of IEMOCAP can.

    Raises:
        DatasetError: no table, a table that cannot be read, or no column of sound.
    """
    for folder in _folders(root, part):
        for split, number, table, row in rows(folder):
            answer = _said(row.values.get("answer"))
            label = _label(answer)
            if label is None:
                notes.add("answers that do not name one emotion or gender", f"{folder.name}, row {number}: {answer}")
            label = "happy" if merge_excited and label == "excited" else label
            found = attributes(row)
            found |= {"instruction": q} if (q := _said(row.values.get("instruction"))) else {}
            found |= {"answer": answer} if answer else {}
            if label:
                found["gender" if label in GENDERS else "emotion"] = label
            yield Entry(
                clip_id=f"audiobench/{folder.name}/{number:05d}",
                file=table.file,
                path=f"{shown(table.file, root)}#{number}",
                labels=(label,) if label else (),
                split=split or "test",
                attributes={k: v for k, v in found.items() if k not in ("hub_answer", "hub_instruction")},
                dataset=folder.name,
                key=_key([row.path, *(v for v in row.values.values() if isinstance(v, str))]),
                source=row.sound,
            )


def _folders(root: Path, part: str) -> list[Path]:
    if part:
        return [root / part]
    several = sorted(p for p in root.glob("*") if p.name in EXPECTED and p.is_dir())
    return several or [root.resolve()]


def _said(value: Any) -> str | None:
    """The text of a column that holds text, or a struct with a field `text`."""
    return text(value.get("text") if isinstance(value, dict) else value)


def _label(answer: str | None) -> str | None:
    """The one label that the words of an answer name; None if there is none, or more than one."""
    found = {LABEL_OF[word] for word in re.findall(r"\w+", (answer or "").lower()) if word in LABEL_OF}
    return found.pop() if len(found) == 1 else None


def _key(values: list[str | None]) -> str:
    """The utterance's name in IEMOCAP or VoxCeleb1, if one of these texts holds it."""
    for value in values:
        if found := UTTERANCE.search(value or ""):
            return f"iemocap:{found[0]}"
        if found := _VOXCELEB.search(value or ""):
            return f"voxceleb1:{found[1]}/{found[2]}/{found[3]}"
    return ""
