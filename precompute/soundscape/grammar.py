"""What can be said about a clip: captions, questions, answers; and the way back from an answer to the truth.

Paraphrases are drawn from a generator seeded by the clip, so the same clip is always described alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from precompute.soundscape.registry import EVENTS
from precompute.soundscape.sounds import load_all
from precompute.soundscape.world import EMOTIONS, GENDERS, LANGUAGES, SPEECH, ClipTruth, EventTruth

SPEECH_LABEL = "speech"
NOBODY = "No one speaks."
PERSON = {"female": "woman", "male": "man"}
NUMBERS = {1: "One.", 2: "Two.", 3: "Three."}

DESCRIBE = (
    "Describe the audio.",
    "Describe what you hear.",
    "Generate a detailed caption for the audio clip",
    "What is happening in this recording?",
    "Write a caption for this sound.",
)
WHICH = (
    "Which sounds can be heard?",
    "Which sounds are in the clip?",
    "What sounds do you hear?",
    "List the sounds.",
    "Name every sound in the recording.",
)
GENDER = (
    "What is the gender of the speaker?",
    "Is the speaker female or male?",
    "Is it a woman or a man who speaks?",
    "Tell the gender of the voice.",
)
EMOTION = (
    "What emotion does the speaker show?",
    "What is the emotion of the speaker?",
    "How does the speaker feel?",
    "Which emotion is in the voice?",
)
LANGUAGE = (
    "Which language is spoken?",
    "What language does the speaker use?",
    "In which language does the person speak?",
    "Name the language of the speech.",
)
COUNT = ("How many different sounds are there?", "How many kinds of sound can be heard?")
FIRST = ("Which sound comes first?", "What is the first sound?", "What do you hear first?")
YES_NO = ("Is there {label} in the clip?", "Can you hear {label}?", "Does the recording contain {label}?")

EXTRACTION_PROMPTS = (
    DESCRIBE[0],
    DESCRIBE[2],
    WHICH[0],
    WHICH[3],
    GENDER[0],
    EMOTION[0],
    LANGUAGE[0],
    FIRST[0],
    COUNT[0],
)
"""The questions under which activations are extracted (at least eight)."""


class QA(NamedTuple):
    """A question about a clip and its right answer."""

    kind: str
    question: str
    answer: str


def label(key: str) -> str:
    """Noun phrase of an event key."""
    load_all()
    return SPEECH_LABEL if key == SPEECH else EVENTS[key].label


def sentence(text: str) -> str:
    """Capital first letter, full stop."""
    return text[0].upper() + text[1:] + "."


def speech_clauses(event: EventTruth) -> tuple[str, ...]:
    """Paraphrases of who speaks how in which language."""
    who, emotion, language = PERSON[event.gender or ""], event.emotion, (event.language or "").capitalize()
    if emotion == "neutral":
        return (f"a {who} speaks {language} in a neutral voice", f"a neutral {who} is speaking {language}")
    voice = ("an " if emotion == "angry" else "a ") + f"{emotion} voice"
    article = "an" if emotion == "angry" else "a"
    return (f"a {who} speaks {language} in {voice}", f"{article} {emotion} {who} is speaking {language}")


def _clause(event: EventTruth, rng: np.random.Generator) -> str:
    load_all()
    options = speech_clauses(event) if event.key == SPEECH else EVENTS[event.key].clauses
    return options[int(rng.integers(len(options)))]


def overlap(first: EventTruth, second: EventTruth) -> bool:
    """Whether two events sound together for more than 0.4 s."""
    return min(first.end_s, second.end_s) - max(first.start_s, second.start_s) > 0.4


def caption(truth: ClipTruth, rng: np.random.Generator | None = None) -> str:
    """One sentence in the order of onset: `while` joins what overlaps, `then` what follows."""
    rng = rng or np.random.default_rng([truth.seed, truth.index, 1])
    parts = [_clause(truth.events[0], rng)]
    for before, event in zip(truth.events, truth.events[1:], strict=False):
        parts.append(("while " if overlap(before, event) else "then ") + _clause(event, rng))
    text = parts[0]
    for part in parts[1:]:
        text += (" " if part.startswith("while") else ", ") + part
    return sentence(text)


def sounds_answer(keys: Sequence[str]) -> str:
    """Answer to `WHICH`: the labels in the order of onset."""
    return sentence(", ".join(label(k) for k in keys))


def speaker_of(truth: ClipTruth) -> EventTruth | None:
    """The clip's spoken event, if any."""
    return next((e for e in truth.events if e.key == SPEECH), None)


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def question(kind: str, truth: ClipTruth, rng: np.random.Generator) -> QA:
    """One question of a kind with its right answer.

    Raises:
        ValueError: unknown kind.
    """
    who = speaker_of(truth)
    keys = [e.key for e in truth.events]
    if kind == "describe":
        return QA(kind, _pick(DESCRIBE, rng), caption(truth, rng))
    if kind == "which":
        return QA(kind, _pick(WHICH, rng), sounds_answer(keys))
    if kind == "gender":
        return QA(kind, _pick(GENDER, rng), sentence(who.gender or "") if who else NOBODY)
    if kind == "emotion":
        return QA(kind, _pick(EMOTION, rng), sentence(who.emotion or "") if who else NOBODY)
    if kind == "language":
        return QA(kind, _pick(LANGUAGE, rng), sentence(who.language or "") if who else NOBODY)
    if kind == "count":
        return QA(kind, _pick(COUNT, rng), NUMBERS[len(truth.events)])
    if kind == "first":
        return QA(kind, _pick(FIRST, rng), sounds_answer(keys[:1]))
    if kind == "yes_no":
        present = bool(rng.random() < 0.5)
        absent = sorted(set(EVENTS) | {SPEECH}) if EVENTS else [SPEECH]
        key = _pick(keys, rng) if present else _pick([k for k in absent if k not in keys], rng)
        return QA(kind, _pick(YES_NO, rng).format(label=label(key)), "Yes." if present else "No.")
    raise ValueError(f"question kind {kind!r} does not exist; use one of {', '.join(KINDS)}")


KINDS = ("describe", "which", "gender", "emotion", "language", "count", "first", "yes_no")


@lru_cache(maxsize=1)
def _phrases() -> list[tuple[str, str]]:
    """(phrase, key) longest first, so that no phrase hides inside a longer one."""
    load_all()
    pairs = [(phrase, e.key) for e in EVENTS.values() for phrase in (e.label, *e.clauses)]
    return sorted(pairs, key=lambda p: -len(p[0]))


class Heard(NamedTuple):
    """What an answer says is in the clip."""

    keys: frozenset[str]
    gender: str | None
    emotion: str | None
    language: str | None


def parse(text: str) -> Heard:
    """Read an answer back: the event keys it names and the speaker values. The deterministic judge of the demo."""
    low = text.lower()
    keys, rest = set(), low
    for phrase, key in _phrases():
        if phrase in rest:
            keys.add(key)
            rest = rest.replace(phrase, " | ")
    words = set(rest.replace(".", " ").replace(",", " ").split())
    gender = "female" if words & {"woman", "female"} else "male" if words & {"man", "male"} else None
    emotion = next((e for e in EMOTIONS if e in words), None)
    language = next((x for x in LANGUAGES if x in words), None)
    if words & {"speech", "speaks", "speaking"} and "no one speaks" not in low:
        keys.add(SPEECH)
    return Heard(frozenset(keys), gender, emotion, language)


@lru_cache(maxsize=1)
def _telling_words() -> dict[str, str]:
    """Words that occur in the phrases of one event only, with that event."""
    load_all()
    owners: dict[str, set[str]] = {}
    for e in EVENTS.values():
        for word in set(_words(" ".join((e.label, *e.clauses)))):
            owners.setdefault(word, set()).add(e.key)
    said_of_speakers = set(_words(" ".join([NOBODY, SPEECH_LABEL, *PERSON.values(), *GENDERS, *EMOTIONS, *LANGUAGES])))
    return {w: min(k) for w, k in owners.items() if len(k) == 1 and len(w) > 2 and w not in said_of_speakers}


def _words(text: str) -> list[str]:
    return "".join(c if c.isalpha() else " " for c in text.lower()).split()


def named_sounds(text: str) -> frozenset[str]:
    """Event keys that an answer names, in whatever sentence: whole phrases, and words that only one event has.

    More lenient than `parse`, which holds captions to the grammar: "A siren is sounding." names the siren here, though
    the grammar has no such clause. Words that several events share ("bell", "plays") name none of them.
    """
    telling = _telling_words()
    return parse(text).keys | {telling[w] for w in _words(text) if w in telling}


def vocabulary_text() -> list[str]:
    """Every sentence form once: what the demo tokenizer is trained on."""
    load_all()
    lines = list(NUMBERS.values()) * 40
    for e in EVENTS.values():
        for phrase in (e.label, *e.clauses):
            lines += [sentence(phrase), f"then {phrase}", f"while {phrase}", f", {phrase}."]
        lines += [form.format(label=e.label) for form in YES_NO]
    for g in GENDERS:
        for em in EMOTIONS:
            for la in LANGUAGES:
                event = EventTruth(SPEECH, 0, 1, ((0, 1),), "near", 0, g, em, la)
                lines += [sentence(c) for c in speech_clauses(event)] + [f"then {c}" for c in speech_clauses(event)]
    lines += [sentence(x) for x in (*GENDERS, *EMOTIONS, *LANGUAGES)] * 40
    questions = [*DESCRIBE, *WHICH, *GENDER, *EMOTION, *LANGUAGE, *COUNT, *FIRST, NOBODY, "Yes.", "No."]
    return lines + questions * 40
