"""The corpora by name, and several of them as the clips of one run."""

from __future__ import annotations

import difflib
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

from precompute.config_sections import CorpusEntry, CorpusName, DataConfig
from precompute.datasets import (
    DatasetError,
    Entry,
    audiobench,
    audiocaps,
    clotho,
    esc50,
    fsd50k,
    hub,
    iemocap,
    overlap,
    voxceleb1,
    wavcaps,
)
from precompute.datasets.listing import Notes, distinct, few


@dataclass(frozen=True)
class Corpus:
    """A corpus and what its adapter says of it."""

    name: str
    module: ModuleType
    folder: str
    """Its usual folder below `data.root`."""
    download: str
    """What to fetch, in a few words."""
    licence: str

    @property
    def title(self) -> str:
        """Its name as people write it."""
        return self.module.TITLE

    @property
    def layout(self) -> str:
        """The adapter's description: layout, licence, source."""
        return inspect.cleandoc(self.module.__doc__ or "")

    @property
    def expected(self) -> Mapping[str, int]:
        """Published numbers of clips of each part; `""` is the whole. They are compared, never enforced."""
        return self.module.EXPECTED

    @property
    def options(self) -> dict[str, Any]:
        """The adapter's options with their defaults, but `part`."""
        parameters = inspect.signature(self.entries).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "part"}

    @property
    def entries(self) -> Callable[..., Iterator[Entry]]:
        """The adapter's listing."""
        return self.module.entries


_NONE = "the data set's own"
CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus("wavcaps", wavcaps, "WavCaps", "hub cvssp/WavCaps: json_files, Zip_files", "academic use"),
        Corpus("iemocap", iemocap, "IEMOCAP_full_release", "USC: IEMOCAP_full_release.tar.gz", "research, by request"),
        Corpus("fsd50k", fsd50k, "FSD50K", "Zenodo 4060432: ground_truth, dev and eval audio", "CC BY 4.0"),
        Corpus("voxceleb1", voxceleb1, "VoxCeleb1", "VGG: dev and test wav, vox1_meta.csv", "CC BY 4.0, by request"),
        Corpus("audiobench", audiobench, "AudioLLMs", "hub AudioLLMs/…: Parquet files", "as IEMOCAP, VoxCeleb1"),
        Corpus("esc50", esc50, "ESC-50-master", "GitHub karolpiczak/ESC-50", "CC BY-NC 3.0"),
        Corpus("audiocaps", audiocaps, "AudioCaps", "GitHub cdjkim/audiocaps; audio of AudioSet", "academic use"),
        Corpus("clotho", clotho, "Clotho", "Zenodo 4783391: audio and captions", "not commercial"),
        Corpus("hf", hub, "NAME", "any hub data set with a column of sound", _NONE),
    )
}


class Listing(NamedTuple):
    """All clips of a run's corpora."""

    entries: list[Entry]
    """Sorted by clip_id; those with a `problem` are left out of the run, with that as their status."""
    notes: list[str]
    """What was odd, a sentence each, with the corpus's name."""


def chosen(data: DataConfig) -> list[CorpusEntry]:
    """The corpora that a configuration names: `data.corpus`, or the one that `data.source` is.

    Raises:
        DatasetError: `corpora` without any.
    """
    if data.source == "corpora":
        if not data.corpus:
            raise DatasetError('data.source is "corpora", but data.corpus is empty; add [[data.corpus]] with a name.')
        return list(data.corpus)
    return [CorpusEntry(name=cast(CorpusName, data.source), root=".")]


def place(entry: CorpusEntry, root: str | Path) -> Path:
    """The folder of one corpus: its own `root`, or its usual name, below `data.root`."""
    corpus = CORPORA[entry.name]
    return Path(root) / (entry.root or corpus.folder)


def open_corpora(data: DataConfig, say: Callable[[str], None] = lambda _: None) -> Listing:
    """The clips of all corpora of a run. Nothing is decoded.

    Args:
        data: which corpora, and where.
        say: is told which corpus is being listed; at the paper's size that takes seconds.

    Raises:
        DatasetError: a folder, a list or an option that cannot be used.
    """
    found: list[Entry] = []
    notes: list[str] = []
    for entry in chosen(data):
        odd, root = Notes(), place(entry, data.root)
        say(f"listing {_called(entry)} at {root}")
        mine = list(entries_of(entry, root, odd))
        if not mine:
            raise DatasetError(f"{CORPORA[entry.name].title} at {root} has no clips.")
        notes += [f"{_called(entry)}: {sentence}" for sentence in odd.sentences()]
        found += mine
    found, same = overlap.by_key(list(distinct(found)), keep=data.overlap == "keep")
    if same:
        notes.append(overlap_note(same, data.overlap))
    return Listing(sorted(found, key=lambda e: e.clip_id), notes)


def overlap_note(same: list[str], choice: str) -> str:
    """The sentence about training clips that are held-out clips too."""
    done = "kept in training (data.overlap)" if choice == "keep" else "left out of training"
    return f"{len(same):,} training clips are in a held-out set too, {done}: {few(same)}"


def entries_of(entry: CorpusEntry, root: Path, notes: Notes) -> Iterator[Entry]:
    """Clips of one corpus, with its split and limit applied.

    Raises:
        DatasetError: a folder, a list or an option that cannot be used.
    """
    corpus, options = CORPORA[entry.name], _options(CORPORA[entry.name], entry)
    if _parted(corpus, entry):
        options["part"] = entry.part
    listed = corpus.entries(root, notes, **options)
    if entry.split:
        listed = (replace(one, split=entry.split) for one in listed)
    return iter(_some(listed, entry.limit)) if entry.limit else listed


def _parted(corpus: Corpus, entry: CorpusEntry) -> bool:
    """Whether the adapter knows parts; one that does not refuses any."""
    if "part" in inspect.signature(corpus.entries).parameters:
        return True
    if entry.part:
        raise DatasetError(f"{corpus.title} has no parts; leave part = {entry.part!r} out.")
    return False


def _options(corpus: Corpus, entry: CorpusEntry) -> dict[str, Any]:
    for key, value in entry.options.items():
        if key not in corpus.options:
            near = difflib.get_close_matches(key, corpus.options, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]}?)" if near else ""
            known = ", ".join(corpus.options) or "none"
            raise DatasetError(f"{corpus.title} has no option {key!r}{hint}; its options are {known}.")
        default = corpus.options[key]
        wanted = list | tuple if isinstance(default, list | tuple) else type(default)
        if not isinstance(value, wanted):
            raise DatasetError(f"{corpus.title}: option {key} is {value!r}; give a value like {default!r}.")
    return dict(entry.options)


def _some(entries: Iterator[Entry], limit: int) -> list[Entry]:
    """As many as `limit`, chosen by the hash of their ids: the same ones each time, from all over the corpus."""
    return sorted(entries, key=lambda e: hashlib.sha256(f"limit\0{e.clip_id}".encode()).digest())[:limit]


def _called(entry: CorpusEntry) -> str:
    return f"{entry.name}/{entry.part}" if entry.part else entry.name
