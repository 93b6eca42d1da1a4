"""A listening study (the paper's human study, Table 2): which concepts are rated, and in which order by whom.

Paper: 50 random concepts; annotators hear H, describe it blind, then rate the automatic name from 0 to 5. Ours: the
methods `ard` and `poly` mixed, catch items (a name of something else), repeated items, one order for each rater.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from ard.store import Run, RunError
from explorer.queries import Queries

METHODS = ("ard", "poly")
MAX_ITEMS = 500
GAP = 5  # items between the two showings of a repeated one, where there are enough
_STEM = 4  # letters that make two words count as the same: "bark", "barking"


class StudyError(ValueError):
    """A study cannot be made or found; the message says what to do."""


@dataclass(frozen=True)
class Plan:
    """What a study asks of each rater."""

    items: int = 50
    """Items shown to each rater in all: concepts, catch items and repeats."""
    seed: int = 0
    """Draws the concepts, the catch names and every rater's order."""
    catch_share: float = 0.1
    """Share of the items that show the name of something else."""
    repeat_share: float = 0.1
    """Share of the items that were shown before."""

    def __post_init__(self) -> None:
        if not 1 <= self.items <= MAX_ITEMS:
            raise StudyError(f"items is {self.items}; a study has 1 to {MAX_ITEMS} items.")
        if min(self.catch_share, self.repeat_share) < 0 or self.catch_share + self.repeat_share > 0.5:
            raise StudyError(
                f"catch_share {self.catch_share:g} and repeat_share {self.repeat_share:g} must not be negative, "
                "and together at most 0.5."
            )


class StudyClip(NamedTuple):
    """One clip of an item: its opaque file name under `RUN/audio`, and its length in seconds."""

    audio: str
    duration_s: float


class Item(NamedTuple):
    """One concept to be rated. `name` is what the rater is shown: in a catch item that of something else."""

    item_id: str
    method: str
    sae_id: str
    latent_id: int
    name: str
    catch: bool
    clips: tuple[StudyClip, ...]


class Study(NamedTuple):
    """A frozen selection: it stays as it is when the run changes. `note` says what is not as planned."""

    study_id: str
    seed: int
    repeats: int
    note: str
    items: tuple[Item, ...]


class Showing(NamedTuple):
    """One place in a rater's order."""

    item_id: str
    repeat: bool


class _Counts(NamedTuple):
    concepts: int
    catches: int
    repeats: int


def select(queries: Queries, plan: Plan | None = None) -> Study:
    """Draw the items of a study: seeded, `ard` and `poly` in turn, no concept twice.

    Only concepts whose H clips all have their audio are drawn. The same run and plan give the same study, `study_id`
    (a hash of everything it asks) included. A run without concepts gives a study of no items.
    """
    plan = plan or Plan()
    rng = random.Random(f"{plan.seed}")
    pools = {method: _shuffled(_concepts(queries, method), rng) for method in METHODS}
    everything = [c for pool in pools.values() for c in pool]
    counts = _counts(plan, len(everything))
    usable = _usable(queries, zip_longest(*pools.values()))
    drawn = list(islice(usable, counts.concepts + counts.catches))
    counts = _counts(plan, len(drawn)) if len(drawn) < counts.concepts + counts.catches else counts
    items = []
    for i, (concept, clips) in enumerate(drawn):
        wrong = _foreign_name(concept, everything, rng) if i < counts.catches else None  # of both methods in turn
        key = f"{plan.seed}|{concept['method']}|{concept['sae_id']}|{concept['latent_id']}"
        name = wrong or concept["name"]
        place = (concept["method"], concept["sae_id"], concept["latent_id"])
        items.append(Item(_hash(key, 12), *place, name, wrong is not None, clips))
    note = _note(pools, [item.method for item in items])
    study_id = _hash(json.dumps([plan.seed, counts.repeats, items]), 10)
    return Study(study_id, plan.seed, counts.repeats if items else 0, note, tuple(items))


def order(study: Study, rater: str) -> list[Showing]:
    """A rater's own order, the same whenever it is asked for: items shuffled, then some of them once more later on.

    Repeats are of items under their true name. The first item shows a true name.
    """
    rng = random.Random(f"{study.study_id}|{rater}")
    items = rng.sample(study.items, len(study.items))
    first = next((i for i, item in enumerate(items) if not item.catch), 0)
    items[:1], items[first : first + 1] = items[first : first + 1], items[:1]
    showings = [Showing(item.item_id, False) for item in items]
    early = [item.item_id for item in items[: max(1, len(items) - GAP)] if not item.catch]
    for item_id in rng.sample(early, min(study.repeats, len(early))):
        shown = showings.index(Showing(item_id, False))
        showings.insert(rng.randint(min(shown + GAP, len(showings)), len(showings)), Showing(item_id, True))
    return showings


def _concepts(queries: Queries, method: str) -> list[dict[str, Any]]:
    """Named concepts of the default SAE (`ard`) or of the raw dimensions of its hookpoint (`poly`), by latent_id."""
    if not queries.run.has("concepts"):
        return []
    sae_id = queries.default_sae()
    wanted = sae_id if method == "ard" else f"{sae_id.split('/')[0]}/raw"
    columns = ["sae_id", "method", "latent_id", "name", "description", "captions", "support"]
    table = queries.run.read("concepts", columns)
    table = table.filter((pc.field("method") == method) & (pc.field("sae_id") == wanted))
    return [row for row in table.sort_by("latent_id").to_pylist() if row["name"].strip()]


def _shuffled(rows: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    return rng.sample(rows, len(rows))


def _usable(
    queries: Queries, turns: Iterable[tuple[dict[str, Any] | None, ...]]
) -> Iterator[tuple[dict[str, Any], tuple[StudyClip, ...]]]:
    """The concepts, methods in turn, that can be heard; each with the clips of its H."""
    for turn in turns:
        for concept in turn:
            if concept is None:
                continue
            most = queries.representatives(concept["sae_id"], concept["latent_id"], concept["method"], "most")
            clips = tuple(StudyClip(c.audio, round(c.duration_s, 3)) for c in most if c.audio)
            if clips and len(clips) == len(most):
                yield concept, clips


def _counts(plan: Plan, available: int) -> _Counts:
    """How many concepts, catch items and repeats: as planned, or in the same proportions where there is less."""
    catches, repeats = round(plan.items * plan.catch_share), round(plan.items * plan.repeat_share)
    concepts = plan.items - catches - repeats
    if concepts + catches <= available:
        return _Counts(concepts, catches, repeats)
    catches = round(available * plan.catch_share / (1 - plan.repeat_share))
    repeats = round(available * plan.repeat_share / (1 - plan.repeat_share))
    return _Counts(available - catches, catches, repeats)


def _foreign_name(concept: dict[str, Any], everything: list[dict[str, Any]], rng: random.Random) -> str | None:
    """A name of another concept, if possible one that shares no word with this one's name or evidence."""
    own = _stems(" ".join((concept["name"], concept["description"], *concept["captions"])))
    others = sorted({c["name"] for c in everything if c["support"] != 0} - {concept["name"]})  # 0: it names nothing
    unlike = [name for name in others if not _stems(name) & own]
    return rng.choice(unlike or others) if others else None


def _stems(text: str) -> set[str]:
    return {word[:_STEM] for word in re.findall(r"\w{4,}", text.lower())}


def _note(pools: dict[str, list[dict[str, Any]]], drawn: list[str]) -> str:
    if not drawn:
        return "The run has no named concept whose clips can be heard, so there is nothing to rate."
    missing = [method for method, pool in pools.items() if not pool]
    if missing:
        return f"The run has no concepts of the method {missing[0]}; the study holds {drawn[0]} alone."
    return ""


def _hash(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def main(argv: list[str] | None = None) -> int:
    """`python -m explorer.study --run RUN`: make a study (while the app is closed) and print its link."""
    from explorer.ratings import Ratings, RatingsError

    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m explorer.study", description="Make a listening study.")
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument("--items", type=int, default=plan.items, help=f"items for each rater (default: {plan.items})")
    parser.add_argument("--seed", type=int, default=plan.seed, help=f"seed of the selection (default: {plan.seed})")
    args = parser.parse_args(argv)
    try:
        run = Run.open(args.run)
        study = select(Queries(run), Plan(items=args.items, seed=args.seed))
        if not study.items:
            raise StudyError(f"{study.note} Run the stage `names` first: python -m precompute run --run {args.run}")
        ratings = Ratings(run)
        ratings.add_study(study)
        ratings.close()
    except (RunError, StudyError, RatingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    methods = ", ".join(f"{sum(i.method == m and not i.catch for i in study.items)} {m}" for m in METHODS)
    catches = sum(i.catch for i in study.items)
    sys.stdout.write(
        f"Study {study.study_id}: {methods}, {catches} catch items, {study.repeats} repeats. {study.note}\n"
    )
    sys.stdout.write(f"Link for raters, on the app's own address: /rate?study={study.study_id}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
