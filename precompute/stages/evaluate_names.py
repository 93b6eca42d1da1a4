"""Names against classes: both readings for one method of one SAE, with its chance controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ard.average_precision import Similarity, ranked
from ard.chance import chance, expected_map
from ard.interpretability import FIGURES, Reading, choose_tau, clip_reading, vocabulary
from ard.predictions import Firing, Said, said
from ard.resampling import Estimate, bootstrap_weights, highest
from precompute.config_evaluation import EvaluateConfig
from precompute.stages.base import Context
from precompute.stages.evaluate_data import Labelled, NamedConcepts

COUNTS = ("matched", "predictions", "references")
FEW_SHUFFLES = 10
"""Shuffles behind the chance curves over γ, and of the readings with fixed n, on which no check rests."""
SHUFFLED = ("shuffled_labels", "shuffled_names")


class Bench(NamedTuple):
    """What every method is measured with: the same clips, classes, texts and resamples."""

    clips: Labelled
    config: EvaluateConfig
    seed: int
    place: dict[str, int]
    """Row of each name in `similarity`."""
    similarity: np.ndarray
    """CLAP cosine of every name with every class, [names, classes]."""
    weights: np.ndarray
    """Resamples of the clips under test, [draws, clips]."""
    name_weights: np.ndarray
    """Resamples of the names of all methods together, [draws, names]."""

    @classmethod
    def build(cls, ctx: Context, clips: Labelled, names: list[str], texts: list[str]) -> Bench:
        """Embed all names and class texts once."""
        classes = ctx.models.clap.embed_text(texts).double().numpy()
        # Names are drawn from captions, so a run has far fewer of them than latents.
        vectors = ctx.models.clap.embed_text(names).double().numpy() if names else np.zeros((0, classes.shape[1]))
        place = {name: i for i, name in enumerate(names)}
        config = ctx.config.evaluate
        weights = bootstrap_weights(clips.recordings[clips.test], config.bootstrap, ctx.config.seed)
        of_names = bootstrap_weights(np.arange(len(names)), config.bootstrap, ctx.config.seed)
        return cls(clips, config, ctx.config.seed, place, vectors @ classes.T, weights, of_names)

    def similar(self, names: list[str]) -> np.ndarray:
        """Rows of `similarity` for these names."""
        return self.similarity[[self.place[name] for name in names]]


class Result(NamedTuple):
    """One reading of one method and seed, with what chance gives."""

    concepts: NamedConcepts
    reading: str
    found: Reading
    n: int | None = None
    tau: float | None = None
    shuffled: Mapping[str, list[Reading]] = MappingProxyType({})
    """By control; empty where nothing is shuffled."""
    expected: Mapping[str, float] = MappingProxyType({})
    """The mAP that independence predicts for each of them."""


class Shown(NamedTuple):
    """Clip scores of the named concepts, each divided by the concept's 99th percentile on the probing clips."""

    choose: np.ndarray
    """[clips that choose τ, concepts]."""
    test: np.ndarray
    """[clips under test, concepts]."""


def results(bench: Bench, concepts: NamedConcepts, shown: Shown) -> Iterator[Result]:
    """Both readings of one method of one SAE; chance for a method's first seed.

    Args:
        bench: what every method is measured with.
        concepts: the method's.
        shown: their scaled scores.
    """
    names, clips, config = concepts.distinct, bench.clips, bench.config
    similar = bench.similar(names)
    weights = bootstrap_weights(np.arange(len(names)), config.bootstrap, bench.seed)
    shared = bench.name_weights[:, [bench.place[name] for name in names]]
    words = ranked(similar[:, clips.vocabulary])
    yield Result(concepts, "vocabulary", vocabulary(words, config.gamma, weights, shared))
    if not len(clips.choose) or not len(clips.test):
        return
    similarity, column = ranked(similar), {name: i for i, name in enumerate(names)}
    group = np.array([column.get(name, -1) for name in concepts.names])
    known = said(Firing.of(shown.choose, group), group, len(names))
    tau = choose_tau(known, clips.carried[clips.choose], similarity, config.gamma, config.taus)
    firing = Firing.of(shown.test, group)
    spoken = said(firing, group, len(names))
    shuffled = list(_shuffled_names(bench, firing, group, len(names))) if concepts.first else []
    for n in (None, *config.predictions):
        yield _clip_result(bench, concepts, similarity, (n, tau), (spoken, shuffled))


def _clip_result(
    bench: Bench,
    concepts: NamedConcepts,
    similarity: Similarity,
    chosen: tuple[int | None, float],
    spoken: tuple[Said, list[Said]],
) -> Result:
    """Reading `clip` with τ, or with the n strongest names of a clip."""
    config, (n, tau) = bench.config, chosen
    carried, floor = bench.clips.carried[bench.clips.test], min(config.gammas)
    shuffles = spoken[1] if n is None else spoken[1][:FEW_SHUFFLES]
    mine, *others = (some.above(tau) if n is None else some.first(n) for some in (spoken[0], *shuffles))
    found = clip_reading(mine, carried, similarity, config.gamma, bench.weights, floor)
    made = Result(concepts, "clip", found, n, tau if n is None else None)
    if not others:
        return made
    rng = np.random.default_rng([bench.seed, 1])
    orders = [rng.permutation(len(carried)) for _ in others]
    floors = [floor if i < FEW_SHUFFLES else None for i in range(len(others))]
    by_labels = [
        clip_reading(mine, carried[order], similarity, config.gamma, floor=low)
        for order, low in zip(orders, floors, strict=True)
    ]
    by_names = [
        clip_reading(other, carried, similarity, config.gamma, floor=low)
        for other, low in zip(others, floors, strict=True)
    ]
    expected = (
        expected_map([mine], carried, similarity, labels=True),
        expected_map(others, carried, similarity, labels=False),
    )
    return made._replace(
        shuffled=dict(zip(SHUFFLED, (by_labels, by_names), strict=True)),
        expected=dict(zip(SHUFFLED, expected, strict=True)),
    )


def _shuffled_names(bench: Bench, firing: Firing, group: np.ndarray, names: int) -> Iterator[Said]:
    """What is said when the names change places among the concepts."""
    rng = np.random.default_rng([bench.seed, 2])
    for _ in range(bench.config.shuffles):
        yield said(firing, rng.permutation(group), names)


def interpretability_rows(bench: Bench, result: Result) -> Iterator[dict[str, Any]]:
    """Rows of `interpretability`: the figures, then chance."""
    yield _row(bench, result, result.concepts.control, result.found)
    for control, readings in result.shuffled.items():
        yield _row(bench, result, control, _over(readings), len(readings))


def curve_rows(bench: Bench, result: Result) -> Iterator[dict[str, Any]]:
    """Rows of `interpretability_curve`; τ stays the one chosen at `evaluate.gamma`, so predictions are the same."""
    few = {control: readings[:FEW_SHUFFLES] for control, readings in result.shuffled.items()}
    for control, readings in {result.concepts.control: [result.found], **few}.items():
        key = _key(result, control) | {"tau": result.tau, "draws": len(readings)}
        for gamma in bench.config.gammas:
            found = np.mean([reading.at(gamma) for reading in readings], 0)
            yield key | {"gamma": gamma} | dict(zip(("matched", *FIGURES[:3]), map(float, found), strict=True))


def _key(result: Result, control: str) -> dict[str, Any]:
    of = result.concepts
    return {
        "reading": result.reading,
        "method": of.method,
        "sae_id": of.sae_id,
        "seed": of.seed,
        "control": control,
        "n": result.n,
    }


def _over(readings: list[Reading]) -> Reading:
    """Mean over shuffles; the interval is the middle 95 % of them."""

    def estimate(name: str) -> Estimate:
        return Estimate(*chance([getattr(r, name).value for r in readings])[:3])

    matched, given, wanted = (float(np.mean([getattr(r, name) for r in readings])) for name in COUNTS)
    return Reading.of([estimate(name) for name in FIGURES], (matched, given, wanted))


def _row(bench: Bench, result: Result, control: str, found: Reading, draws: int = 1) -> dict[str, Any]:
    concepts = result.concepts
    row: dict[str, Any] = _key(result, control) | {
        "tau": result.tau,
        "clips": len(bench.clips.test) if result.reading == "clip" else 0,
        "gamma": bench.config.gamma,
        "map_classes": found.map_classes,
        "draws": draws,
        **{name: getattr(found, name) for name in COUNTS},
    }
    # A shuffle leaves the clips of each latent as they are, so it has no m of its own.
    top = highest(concepts.m) if control == concepts.control else None
    for name, estimate in (("ms_max", top), *((name, getattr(found, name)) for name in FIGURES)):
        row[name] = estimate.value if estimate else None
        row[f"{name}_low"] = estimate.low if estimate else None
        row[f"{name}_high"] = estimate.high if estimate else None
    return row
