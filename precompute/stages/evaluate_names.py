"""Names against classes: rows of `interpretability` for one method of one SAE, with its chance controls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ard.average_precision import Similarity, ranked
from ard.interpretability import (
    Reading,
    choose_tau,
    clip_reading,
    name_scores,
    percentile_scale,
    predict,
    vocabulary,
)
from ard.resampling import Estimate, bootstrap_weights, highest
from precompute.config_evaluation import EvaluateConfig
from precompute.stages.base import Context
from precompute.stages.evaluate_data import Labelled, NamedConcepts

FIGURES = ("precision", "recall", "f1", "map")
COUNTS = ("matched", "predictions", "references")


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

    @classmethod
    def build(cls, ctx: Context, clips: Labelled, names: list[str], texts: list[str]) -> Bench:
        """Embed all names and class texts once."""
        classes = ctx.models.clap.embed_text(texts).double().numpy()
        # Names are drawn from captions, so a run has far fewer of them than latents.
        vectors = ctx.models.clap.embed_text(names).double().numpy() if names else np.zeros((0, classes.shape[1]))
        place = {name: i for i, name in enumerate(names)}
        weights = bootstrap_weights(clips.recordings[clips.test], ctx.config.evaluate.bootstrap, ctx.config.seed)
        return cls(clips, ctx.config.evaluate, ctx.config.seed, place, vectors @ classes.T, weights)

    def similar(self, names: list[str]) -> np.ndarray:
        """Rows of `similarity` for these names."""
        return self.similarity[[self.place[name] for name in names]]


def interpretability_rows(bench: Bench, concepts: NamedConcepts, matrix: np.ndarray) -> Iterator[dict[str, Any]]:
    """Rows of one method of one SAE: both readings; controls for a method's first seed."""
    names = concepts.distinct
    similarity = ranked(bench.similar(names))
    weights = bootstrap_weights(np.arange(len(names)), bench.config.bootstrap, bench.seed)
    yield _row(
        bench, concepts, "vocabulary", concepts.control, None, vocabulary(similarity, bench.config.gamma, weights)
    )
    if len(bench.clips.choose) and len(bench.clips.test):
        yield from _clip_rows(bench, concepts, matrix[:, concepts.latent_ids], similarity)


def _clip_rows(
    bench: Bench, concepts: NamedConcepts, scores: np.ndarray, similarity: Similarity
) -> Iterator[dict[str, Any]]:
    clips, config, names = bench.clips, bench.config, concepts.distinct
    scaled = scores / percentile_scale(scores[clips.train])
    column = {name: i for i, name in enumerate(names)}
    group = np.array([column.get(name, -1) for name in concepts.names])
    known = name_scores(scaled[clips.choose], group, len(names))
    tau = choose_tau(known, clips.carried[clips.choose], similarity, config.gamma, config.taus)
    carried = clips.carried[clips.test]
    own = name_scores(scaled[clips.test], group, len(names))
    shuffled = list(_shuffled_names(bench, scaled[clips.test], group, len(names))) if concepts.first else []
    for n in (None, *config.predictions):
        said = _said(own, tau, n)
        chosen = {"n": n, "tau": tau if n is None else None}
        reading = clip_reading(said, carried, similarity, config.gamma, bench.weights)
        yield _row(bench, concepts, "clip", concepts.control, chosen, reading)
        if not concepts.first:
            continue
        rng = np.random.default_rng([bench.seed, 1])
        orders = [rng.permutation(len(carried)) for _ in range(config.shuffles)]
        chance = [clip_reading(said, carried[order], similarity, config.gamma) for order in orders]
        yield _row(bench, concepts, "clip", "shuffled_labels", chosen, _over(chance), len(chance))
        chance = [clip_reading(_said(other, tau, n), carried, similarity, config.gamma) for other in shuffled]
        yield _row(bench, concepts, "clip", "shuffled_names", chosen, _over(chance), len(chance))


def _said(scores: np.ndarray, tau: float, n: int | None) -> np.ndarray:
    return predict(scores, tau=tau) if n is None else predict(scores, n=n)


def _shuffled_names(bench: Bench, scaled: np.ndarray, group: np.ndarray, names: int) -> Iterator[np.ndarray]:
    """Scores of the names when they change places among the concepts."""
    rng = np.random.default_rng([bench.seed, 2])
    for _ in range(bench.config.shuffles):
        yield name_scores(scaled, rng.permutation(group), names)


def _over(readings: list[Reading]) -> Reading:
    """Mean over shuffles; the interval is the middle 95 % of them."""

    def estimate(name: str) -> Estimate:
        values = [getattr(r, name).value for r in readings]
        return Estimate(float(np.mean(values)), *(float(v) for v in np.percentile(values, (2.5, 97.5))))

    matched, given, wanted = (float(np.mean([getattr(r, name) for r in readings])) for name in COUNTS)
    return Reading.of([estimate(name) for name in FIGURES], (matched, given, wanted))


def _row(
    bench: Bench,
    concepts: NamedConcepts,
    reading: str,
    control: str,
    chosen: dict[str, Any] | None,
    found: Reading,
    draws: int = 1,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "reading": reading,
        "method": concepts.method,
        "sae_id": concepts.sae_id,
        "seed": concepts.seed,
        "control": control,
        **(chosen or {"n": None, "tau": None}),
        "clips": len(bench.clips.test) if reading == "clip" else 0,
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
