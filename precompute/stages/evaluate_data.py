"""What `evaluate` measures: named concepts of every method, their clip scores, and the clips with their classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard.naming import NO_NAME, Name
from precompute.config import Config
from precompute.stages.base import TRAIN, Context
from precompute.stages.names import Evidence, most_clips
from precompute.stages.scores_io import RANDOM


class Labelled(NamedTuple):
    """Usable clips in the order of their ids, with the classes that they carry."""

    clip_ids: list[str]
    recordings: np.ndarray
    classes: list[str]
    carried: np.ndarray
    """Bool [clips, classes]."""
    train: np.ndarray
    """Indices of the probing clips."""
    probing: np.ndarray
    """Those of them that carry a class: what chooses latents and labels."""
    hidden: np.ndarray
    """Indices of all other clips."""
    held_out: np.ndarray
    """Those of them that carry a class."""
    choose: np.ndarray
    """Those of them that choose τ."""
    test: np.ndarray
    """Those of them that the reading `clip` measures."""
    vocabulary: np.ndarray
    """Classes that the clips under test can carry: those that some clip of their data sets carries."""


class NamedConcepts(NamedTuple):
    """The named concepts of one SAE (or the raw dimensions of x), method and seed."""

    sae_id: str
    method: str
    seed: int
    control: str
    latent_ids: np.ndarray
    names: list[str]
    """One a concept, its name or its description (`evaluate.text`); where the captions share nothing it is no name."""
    m: np.ndarray
    """Monosemanticity of each."""
    first: bool
    """The method's first seed: its controls are measured too."""

    @property
    def distinct(self) -> list[str]:
        """Distinct names, sorted; without the one that says that there is none."""
        return sorted(set(self.names) - {NO_NAME})


def labelled(ctx: Context) -> Labelled:
    """The clips with their classes, and which of them choose τ and which are measured."""
    clips = ctx.ok_clips()
    labels = clips["labels"].to_pylist()
    classes = sorted({label for row in labels for label in row})
    column = {label: i for i, label in enumerate(classes)}
    carried = np.zeros((clips.num_rows, len(classes)), dtype=bool)
    for row, found in enumerate(labels):
        carried[row, [column[label] for label in found]] = True
    split = np.array(clips["split"].to_pylist(), dtype=object)
    recordings = np.array(clips["recording_id"].to_pylist(), dtype=object)
    hidden = (split != TRAIN).nonzero()[0]
    held_out = hidden[carried[hidden].any(1)]
    choose, test = _choose_and_test(ctx.config, split, recordings, held_out)
    train = (split == TRAIN).nonzero()[0]
    probing = train[carried[train].any(1)]
    ids = clips["clip_id"].to_pylist()
    datasets = np.array(clips["dataset"].to_pylist(), dtype=object)
    # Classes of another corpus, which no clip under test could have, are no references.
    same = np.isin(datasets, np.unique(datasets[test])) if len(test) else np.ones(len(ids), dtype=bool)
    vocabulary = carried[same].any(0).nonzero()[0]
    return Labelled(ids, recordings, classes, carried, train, probing, hidden, held_out, choose, test, vocabulary)


def _choose_and_test(
    config: Config, split: np.ndarray, recordings: np.ndarray, held_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The two named splits; where one is missing, the rest of the held-out clips; where both are, halves of them."""
    choose, test = (held_out[split[held_out] == name] for name in (config.evaluate.choose_on, config.evaluate.test_on))
    if not len(choose) and not len(test):
        order = sorted(
            set(recordings[held_out]), key=lambda r: hashlib.blake2b(f"{config.seed}\0{r}".encode()).digest()
        )
        first = set(order[: len(order) // 2])
        in_first = np.array([r in first for r in recordings[held_out]], dtype=bool)
        return held_out[in_first], held_out[~in_first]
    rest = np.setdiff1d(held_out, np.concatenate([choose, test]))
    return (choose if len(choose) else rest), (test if len(test) else rest)


def named_concepts(ctx: Context) -> list[NamedConcepts]:
    """Every SAE and method with its concepts; `random` once a seed, the later seeds named here."""
    columns = ["sae_id", "method", "latent_id", "name", "description", "monosemanticity"]
    concepts = ctx.run.read("concepts").select(columns).to_pandas()
    found = []
    for (sae_id, method), rows in concepts.groupby(["sae_id", "method"], sort=True):
        ids = rows["latent_id"].to_numpy()
        m = rows["monosemanticity"].to_numpy(dtype=np.float64)
        named = rows["name"] == NO_NAME
        texts = rows["name"].where(named, rows[ctx.config.evaluate.text]).tolist()
        found.append(NamedConcepts(sae_id, method, ctx.config.seed, "none", ids, texts, m, True))
    drawn = [c for c in found if c.method == RANDOM]
    if not drawn:
        return found
    evidence = Evidence.read(ctx)
    return found + [more for c in drawn for more in _more_seeds(ctx, c, evidence)]


def texts_of(ctx: Context, named: Iterable[Name | None]) -> list[str]:
    """What stands for each concept: its name, or its description; no name stays no name."""
    return [NO_NAME if n is None or n.name == NO_NAME else getattr(n, ctx.config.evaluate.text) for n in named]


def _more_seeds(ctx: Context, first: NamedConcepts, evidence: Evidence) -> Iterator[NamedConcepts]:
    """The other draws of `random` for the latents of the first one."""
    one = (pc.field("sae_id") == first.sae_id) & (pc.field("method") == RANDOM)
    scores = ctx.run.read("monosemanticity").filter(one)
    clips = ctx.run.read("representatives").filter(one)
    for seed in sorted(set(scores["seed"].to_pylist()) - {first.seed}):
        rows = scores.filter(pc.field("seed") == seed)
        m = dict(zip(rows["latent_id"].to_pylist(), rows["score"].to_pylist(), strict=True))
        most = most_clips(clips.filter(pc.field("seed") == seed))
        ids = np.array([i for i in first.latent_ids.tolist() if i in m])
        named = evidence.names([most[first.sae_id, RANDOM, i] for i in ids.tolist()])
        names = texts_of(ctx, named)
        yield first._replace(
            seed=seed, latent_ids=ids, names=names, m=np.array([m[i] for i in ids.tolist()]), first=False
        )


def vectors(ctx: Context, clip_ids: list[str]) -> np.ndarray:
    """CLAP embeddings of these clips."""
    stored = ctx.run.read("embeddings")
    place = pc.index_in(pa.array(clip_ids, pa.string()), value_set=stored["clip_id"]).to_numpy()
    return np.array(stored["vector"].take(pa.array(place)).to_pylist(), dtype=np.float32)


def class_texts(ctx: Context, classes: list[str]) -> list[str]:
    """What CLAP reads for each class, lower case as names are: the label's words, or the demo world's own phrase."""
    readable: Callable[[str], str] = _demo_text if ctx.config.data.source == "soundscape" else _plain_text
    return [readable(label).lower() for label in classes]


def _plain_text(label: str) -> str:
    return " ".join(label.replace("_", " ").split()) or label


def _demo_text(label: str) -> str:
    from precompute.soundscape.grammar import PERSON
    from precompute.soundscape.grammar import label as event_label

    kind, colon, value = label.partition(":")
    if not colon:
        return event_label(label)
    phrases = {"gender": "{} speaks", "emotion": "{} voice", "language": "speaks {}"}
    return phrases[kind].format(PERSON.get(value, value))
