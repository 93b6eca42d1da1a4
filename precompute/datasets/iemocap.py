"""IEMOCAP: 10,039 acted utterances of ten speakers, each with the emotion that its raters agreed on.

On disk, as the release unpacks::

    IEMOCAP_full_release/Session1 … Session5/
        dialog/EmoEvaluation/Ses01F_impro01.txt        the labels of one dialogue
        dialog/transcriptions/Ses01F_impro01.txt       its words (may be absent)
        sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav

A label is a line `[6.2901 - 8.2357]<tab>Ses01F_impro01_F000<tab>neu<tab>[2.5000, 2.5000, 2.5000]`: times in the
dialogue, utterance, emotion, mean valence, activation and dominance. The lines below it, one for each rater, are not
read. The letter after `Ses01` says who wore the markers of the motion capture; who *speaks* is the last part's letter.
`xxx` means that the raters did not agree, `oth` another emotion: such utterances stay, without an emotion's label.

Licence: by request from the University of Southern California, for research. Source: https://sail.usc.edu/iemocap/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from precompute.datasets import DatasetError, Entry
from precompute.datasets.listing import Notes, inner, required, shown, text

TITLE = "IEMOCAP"
EXPECTED = {"": 10_039}
SESSIONS = (1, 2, 3, 4, 5)
EMOTIONS = {
    "ang": "angry",
    "hap": "happy",
    "exc": "excited",
    "sad": "sad",
    "neu": "neutral",
    "fru": "frustrated",
    "fea": "fearful",
    "sur": "surprised",
    "dis": "disgusted",
    "oth": "other",
    "xxx": "no agreement",
}
UNLABELLED = ("other", "no agreement")
GENDERS = {"F": "female", "M": "male"}
UTTERANCE = re.compile(r"Ses0[1-5][FM]_(?:impro|script)\w*?_[FM](?:\d{3}|XX\d)")
"""Name of an utterance, for instance `Ses03M_script01_1b_F012`."""
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_LABEL = re.compile(rf"\[{_NUMBER}-{_NUMBER}\]\s+(\w+)\s+(\w+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*$")
_WORDS = re.compile(r"(\w+) \[[\d.]+-[\d.]+\]:(.*)")


def entries(
    root: Path, notes: Notes, *, sessions: Sequence[int] = SESSIONS, merge_excited: bool = False
) -> Iterator[Entry]:
    """Utterances of these sessions, with emotion and gender as labels.

    Args:
        root: the folder with the sessions, or the one above it.
        notes: counts what is odd.
        sessions: which of the five.
        merge_excited: call excited utterances happy, as many studies do.

    Raises:
        DatasetError: a session or one of its folders is missing, or holds no labels.
    """
    unknown = [s for s in sessions if s not in SESSIONS]
    if unknown or not sessions:
        raise DatasetError(f"{TITLE} has no session {unknown[0] if unknown else 'of that list'!r}; it has 1 to 5.")
    root = inner(root, "IEMOCAP_full_release")
    needs = ("dialog/EmoEvaluation", "sentences/wav")
    required(root, TITLE, [f"Session{s}/{need}" for s in sessions for need in needs])
    for session in sessions:
        folder = root / f"Session{session}"
        files = _visible(folder / "dialog" / "EmoEvaluation", "*.txt")
        if not files:
            raise DatasetError(f"{folder / 'dialog' / 'EmoEvaluation'} holds no label file; unpack the release again.")
        labelled: set[str] = set()
        for file in files:
            for entry in _dialogue(root, folder, file, notes, merge_excited):
                labelled.add(entry.path)
                yield entry
        _unlabelled(root, folder, labelled, notes)


def _dialogue(root: Path, folder: Path, file: Path, notes: Notes, merge_excited: bool) -> Iterator[Entry]:
    words = _transcript(folder / "dialog" / "transcriptions" / file.name)
    seen: set[str] = set()
    for number, line in enumerate(_lines(file), 1):
        if not line.startswith("["):
            continue
        found = _LABEL.match(line)
        if found is None or UTTERANCE.fullmatch(found[3]) is None:
            notes.add("label lines that cannot be read", f"{file.name}:{number}")
        elif found[3] in seen:
            notes.add("utterances labelled twice, the first counts", f"{found[3]} in {file.name}:{number}")
        else:
            seen.add(found[3])
            yield _entry(root, folder, file.stem, found, words, notes, merge_excited)


def _entry(
    root: Path, folder: Path, dialogue: str, found: re.Match[str], words: dict[str, str], notes: Notes, merge: bool
) -> Entry:
    name, code = found[3], found[4].lower()
    emotion = EMOTIONS.get(code)
    if emotion is None:
        notes.add("emotion codes that are not known", f"{code} of {name}")
        emotion = "no agreement"
    emotion = "happy" if merge and emotion == "excited" else emotion
    letter = name.rsplit("_", 1)[1][0]
    wav = folder / "sentences" / "wav" / dialogue / f"{name}.wav"
    attributes = {
        "speaker": f"{name[:5]}{letter}",
        "gender": GENDERS[letter],
        "emotion": emotion,
        "session": int(name[4]),
        "dialogue": dialogue,
        "valence": float(found[5]),
        "activation": float(found[6]),
        "dominance": float(found[7]),
    }
    return Entry(
        clip_id=f"iemocap/{name}",
        file=wav,
        path=shown(wav, root),
        labels=(*(() if emotion in UNLABELLED else (emotion,)), GENDERS[letter]),
        attributes=attributes | ({"transcript": words[name]} if name in words else {}),
        dataset="iemocap",
        key=f"iemocap:{name}",
    )


def _transcript(file: Path) -> dict[str, str]:
    """Words of each utterance; lines of another form (asides without an utterance) are passed over."""
    if not file.is_file():
        return {}
    found = (_WORDS.match(line) for line in _lines(file))
    return {one[1]: said for one in found if one and (said := text(one[2]))}


def _lines(file: Path) -> list[str]:
    """Lines of a text file; the release is ASCII but for a few accented letters in the raters' remarks."""
    try:
        return file.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}.") from None


def _unlabelled(root: Path, folder: Path, labelled: set[str], notes: Notes) -> None:
    for dialogue in _visible(folder / "sentences" / "wav", "*"):
        for wav in _visible(dialogue, "*.wav") if dialogue.is_dir() else ():
            if shown(wav, root) not in labelled:
                notes.add("wav files without a label, left out", wav.name)


def _visible(folder: Path, pattern: str) -> list[Path]:
    """Files of that name but the hidden copies that another system's archiver leaves behind (`._Ses01…`)."""
    return sorted(p for p in folder.glob(pattern) if not p.name.startswith("."))
