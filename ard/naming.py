"""Names and descriptions from captions without a language model: what H's captions share and others do not.

Ours; it takes the place of the paper's language model (AR&D, arXiv 2602.22253, stage 3; `ard/naming_llm.py`) where
there is none.

A phrase is a run of 1 to 5 words inside one clause of a caption, without function words at its edges. With df_H the
number of H's p captions that contain it and df_B the number of the N_B background captions that do:

    contrast = df_H / p − (df_B + 1/2) / (N_B + 1)

A phrase may become a name if more than half of H's captions contain it (3 of 4) and chance seldom explains that:
P(Binomial(p, (df_B + 1/2) / (N_B + 1)) ≥ df_H) ≤ 0.01. The highest contrast wins; equal contrasts go to the longer
phrase, then to the alphabet. A single word grows into the best longer phrase around it, if one passes the same test
("dog" → "dog barks"). A word at the edge that fails the test by itself, and that a function word separates from the
rest, is dropped where that costs no more than 0.05 of contrast ("dog barks in the distance" → "dog barks", where much
is in the distance). Every word of a name or description stands in the captions: nothing is invented.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import binom
from sklearn.feature_extraction.text import CountVectorizer

NAMER = "contrastive-ngrams/1"
NO_NAME = "no common concept"
NO_DESCRIPTION = "The captions share no phrase that other captions lack."
MAX_WORDS = 5
CHANCE = 0.01
_MAX_PHRASES = 3
_TRIM_COST = 0.05
_SETS_AT_ONCE = 4096

# Closed-class English words: scikit-learn's own list also drops words that name sounds ("fire", "cry", "bill", "call").
_FUNCTION_TEXT = """
    a an the this that these those some any each every another other others no not i you he she it we they him her
    them his its their our your my me us who which what where there here is are was were be been being am has have
    had having do does did doing can could will would may might must should of in on at to from by for with without
    into onto over under near through between among around behind beside across along against above below off out up
    down about within upon toward towards inside outside very quite rather too also just only still again so than
    such more most one both all several something someone somewhere s t
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_TEXT.split())
# Words that join two events: a phrase does not cross them.
_JOINERS = ("and", "or", "but", "then", "while", "whilst", "as", "when", "before", "after", "followed", "meanwhile")
_CLAUSE = re.compile(rf"[^\w\s'’-]+|\b(?:{'|'.join(_JOINERS)})\b")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class NamingError(ValueError):
    """Captions from which no name can be made; the message says how to mend it."""


class Asked(NamedTuple):
    """What a chat model was asked about one latent, and what it said."""

    model: str
    """The model that was asked, and its revision where it tells one."""
    revision: str
    prompt: str
    """The first message, captions included."""
    answers: tuple[str, ...]
    """Every answer as it came, in order: unusable ones were followed by the reason and another try."""
    status: str
    """`named`, `no_common`, `malformed` (no usable answer) or `unanswered` (no answer)."""
    reason: str | None
    """Why there is no usable answer; None if there is."""
    prompt_tokens: int | None
    """Over all answers; None if the model does not count."""
    completion_tokens: int | None


class Name(NamedTuple):
    """Name of one latent with its evidence."""

    name: str
    """At most 5 words of the captions, lower case; "no common concept" where nothing is shared."""
    description: str
    """One sentence made of the shared phrases alone."""
    captions: tuple[str, ...]
    """The captions of H, in rank order."""
    support: int | None
    """How many of them contain the name; 0 without one; None where a chat model chose the words."""
    namer: str
    """Which namer made it, and in whose place if another one failed."""
    asked: Asked | None = None
    """The exchange with a chat model, if there was one."""


def phrases(caption: str) -> list[str]:
    """Every phrase of 1 to 5 words within a clause of `caption`, lower case, no function word at either edge."""
    found: list[str] = []
    for clause in _CLAUSE.split(caption.lower()):
        words = _WORD.findall(clause)
        for start, word in enumerate(words):
            if word in _FUNCTION_WORDS:
                continue
            for end in range(start + 1, min(start + MAX_WORDS, len(words)) + 1):
                if words[end - 1] not in _FUNCTION_WORDS:
                    found.append(" ".join(words[start:end]))
    return found


class _Candidate(NamedTuple):
    contrast: float
    phrase: str
    support: int

    def order(self) -> tuple[float, int, str]:
        """Sort key: higher contrast, then more words, then the alphabet; rounding keeps equal contrasts equal."""
        return (-round(self.contrast, 12), -len(self.phrase.split()), self.phrase)


class ContrastiveNamer:
    """Names sets of captions against all the others; see the module's first lines.

    Counting is done once for all captions, so naming thousands of latents costs a sparse row sum each.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        """Count the phrases of `captions`, one a clip: the captions to name and their background.

        Raises:
            NamingError: fewer than two captions, or no caption has a word.
        """
        self.captions = tuple(captions)
        if len(self.captions) < 2:
            raise NamingError(f"There are {len(self.captions)} captions; naming compares at least 2.")
        vectorizer = CountVectorizer(analyzer=phrases, binary=True)
        try:
            self._counts: csr_matrix = vectorizer.fit_transform(self.captions).tocsr()
        except ValueError as error:
            raise NamingError("No caption contains a word; caption the clips again.") from error
        self._phrases = vectorizer.get_feature_names_out()
        self._total = np.asarray(self._counts.sum(axis=0)).ravel()

    def name(self, rows: Sequence[int]) -> Name:
        """Name of the captions `rows` (indices, in rank order) against all other captions.

        Raises:
            NamingError: an index is out of range or repeated, or no caption is left as background.
        """
        return self.name_many([rows])[0]

    def name_many(self, sets: Sequence[Sequence[int]]) -> list[Name]:
        """Names of many sets of captions, each as `name` gives it; their phrases are counted by one sparse product.

        Raises:
            NamingError: as `name`, for any of the sets.
        """
        checked = [self._checked(rows) for rows in sets]
        names: list[Name] = []
        for start in range(0, len(checked), _SETS_AT_ONCE):
            part = checked[start : start + _SETS_AT_ONCE]
            for rows, candidates in zip(part, self._candidates(part), strict=True):
                names.append(self._named(rows, _distinct(candidates)))
        return names

    def _checked(self, rows: Sequence[int]) -> list[int]:
        rows = [int(row) for row in rows]
        if not rows or len(set(rows)) != len(rows) or any(not 0 <= row < len(self.captions) for row in rows):
            raise NamingError(f"The rows {rows} must be different whole numbers from 0 to {len(self.captions) - 1}.")
        if len(rows) == len(self.captions):
            raise NamingError(f"All {len(rows)} captions are to be named; add background captions of other clips.")
        return rows

    def _named(self, rows: list[int], chosen: list[_Candidate]) -> Name:
        captions = tuple(self.captions[row] for row in rows)
        if not chosen:
            return Name(NO_NAME, NO_DESCRIPTION, captions, 0, NAMER)
        return Name(chosen[0].phrase, _sentence(chosen), captions, chosen[0].support, NAMER)

    def _candidates(self, sets: list[list[int]]) -> list[list[_Candidate]]:
        """Phrases that pass the test for each set, best first; a set of one caption shares nothing."""
        size = np.array([len(rows) for rows in sets])
        clips, owner = np.concatenate(sets), np.repeat(np.arange(len(sets)), size)
        member = csr_matrix((np.ones(len(clips), np.int64), (owner, clips)), shape=(len(sets), len(self.captions)))
        support = (member @ self._counts).tocoo()
        keep = (support.data > size[support.row] / 2) & (size[support.row] > 1)
        row, column, df = support.row[keep], support.col[keep], support.data[keep]
        p = size[row]
        share = (self._total[column] - df + 0.5) / (len(self.captions) - p + 1)
        rare = binom.sf(df - 1, p, share) <= CHANCE
        found: list[list[_Candidate]] = [[] for _ in sets]
        for i, c, n, size_of, s in zip(*(v[rare].tolist() for v in (row, column, df, p, share)), strict=True):
            found[i].append(_Candidate(n / size_of - s, str(self._phrases[c]), n))
        return [sorted(candidates, key=_Candidate.order) for candidates in found]


def _distinct(candidates: list[_Candidate]) -> list[_Candidate]:
    """The best phrases, grown and trimmed, none sharing a content word with a better one."""
    by_phrase = {candidate.phrase: candidate for candidate in candidates}
    chosen: list[_Candidate] = []
    used: set[str] = set()
    for candidate in candidates:
        if used & set(candidate.phrase.split()) - _FUNCTION_WORDS:
            continue
        grown = _trim(_grow(candidate, candidates, used), by_phrase)
        chosen.append(grown)
        used |= set(grown.phrase.split())
        if len(chosen) == _MAX_PHRASES:
            break
    return chosen


def _grow(candidate: _Candidate, candidates: list[_Candidate], used: set[str]) -> _Candidate:
    """The best longer phrase that contains a one-word candidate, or the candidate itself."""
    if " " in candidate.phrase:
        return candidate
    for longer in candidates:
        words = longer.phrase.split()
        if len(words) > 1 and candidate.phrase in words and not used & set(words) - _FUNCTION_WORDS:
            return longer
    return candidate


def _trim(candidate: _Candidate, by_phrase: dict[str, _Candidate]) -> _Candidate:
    """Drop edge words behind a function word that are no candidates themselves, while the rest keeps its contrast."""
    words = candidate.phrase.split()
    content = [place for place, word in enumerate(words) if word not in _FUNCTION_WORDS]
    if len(content) < 2:
        return candidate
    for edge, inner, rest in (
        (content[0], content[1], words[content[1] :]),
        (content[-1], content[-2], words[: content[-2] + 1]),
    ):
        shorter = by_phrase.get(" ".join(rest))
        kept = shorter is not None and shorter.contrast >= candidate.contrast - _TRIM_COST
        if kept and abs(edge - inner) > 1 and words[edge] not in by_phrase:
            return _trim(by_phrase[" ".join(rest)], by_phrase)
    return candidate


def _sentence(chosen: list[_Candidate]) -> str:
    """One sentence of the chosen phrases, for instance: Dog barks, rain falls."""
    text = ", ".join(candidate.phrase for candidate in chosen)
    return f"{text[0].upper()}{text[1:]}."


def name_concept(captions: Sequence[str], background: Sequence[str]) -> Name:
    """Name of one latent from the p captions of H and the captions of other clips.

    Raises:
        NamingError: there is no background caption, or no caption has a word.
    """
    if not background:
        raise NamingError("There are 0 background captions; give the captions of clips outside H.")
    return ContrastiveNamer([*captions, *background]).name(range(len(captions)))


def name_concepts(captions: Sequence[str], most: Sequence[Sequence[int]] | np.ndarray) -> list[Name]:
    """Names of many latents: `most` [latents, p] indexes `captions` (one a clip); −1 is a missing clip and left out.

    Raises:
        NamingError: see `ContrastiveNamer`.
    """
    sets = [[row for row in rows if row >= 0] for rows in np.asarray(most).tolist()]
    return ContrastiveNamer(captions).name_many(sets)
