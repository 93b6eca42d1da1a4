"""Look through a corpus on disk before a run: what is there, what is missing, what would be left out and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from precompute.config_sections import CorpusEntry
from precompute.datasets import DatasetError, Entry
from precompute.datasets.corpora import CORPORA, Corpus, entries_of
from precompute.datasets.listing import Notes, distinct


@dataclass(frozen=True)
class Report:
    """What a check found."""

    title: str
    clips: int
    """Listed, whether they can be used or not."""
    splits: dict[str, int]
    """Clips of each split; `-` where the corpus has none."""
    labels: int
    """Distinct labels."""
    captions: int
    """Clips with a caption."""
    left_out: list[str]
    """Why clips would be left out of a run, a sentence each; nothing is decoded, so a broken file is not seen here."""
    odd: list[str]
    """What else is odd, a sentence each."""
    published: int | None
    """Clips of this part as published, where that is known."""

    @property
    def good(self) -> bool:
        """Whether every listed clip has a file."""
        return not self.left_out

    def lines(self) -> list[str]:
        """The report for a console."""
        splits = ", ".join(f"{name} {count:,}" for name, count in sorted(self.splits.items()))
        out = [
            f"{self.title}: {self.clips:,} clips ({splits}), {self.labels:,} labels, {self.captions:,} with a caption"
        ]
        if self.published is not None:
            same = "as published" if self.clips == self.published else f"published: {self.published:,}"
            out.append(f"  {same}")
        out += [f"  left out: {sentence}" for sentence in self.left_out]
        out += [f"  odd: {sentence}" for sentence in self.odd]
        return out


def check(entry: CorpusEntry, root: str | Path) -> Report:
    """List a corpus and look for every file; no sound is decoded.

    Raises:
        DatasetError: a file, a folder or an option without which nothing can be listed.
    """
    corpus = CORPORA[entry.name]
    odd, out = Notes(), Notes()
    clips = captions = 0
    splits: Counter[str] = Counter()
    labels: set[str] = set()
    # The bar is for a person at a terminal; None leaves it out elsewhere.
    for one in tqdm(distinct(entries_of(entry, Path(root), odd)), unit=" clip", leave=False, disable=None):
        clips += 1
        splits[one.split or "-"] += 1
        labels.update(one.labels)
        captions += one.caption is not None
        if why := _why_not(one):
            out.add(why, one.clip_id if one.problem else one.path)
    if not clips:
        raise DatasetError(f"{corpus.title} at {root} has no clips{f' in part {entry.part!r}' if entry.part else ''}.")
    published = None if entry.limit else _published(corpus, entry, Path(root))
    return Report(corpus.title, clips, dict(splits), len(labels), captions, out.sentences(), odd.sentences(), published)


def _why_not(entry: Entry) -> str:
    """Why a clip cannot be used, as far as names and sizes tell."""
    if entry.problem:
        return f"clips with a problem ({entry.problem.split(':')[0]})"
    if entry.source is not None:
        return ""
    if not entry.file.is_file():
        return "missing files"
    return "" if entry.file.stat().st_size else "empty files"


def _published(corpus: Corpus, entry: CorpusEntry, root: Path) -> int | None:
    """The published number for this part; test sets that are folders of their own are known by the folder's name."""
    names = (entry.part,) if entry.part else ("", root.resolve().name)
    return next((corpus.expected[name] for name in names if name in corpus.expected), None)
