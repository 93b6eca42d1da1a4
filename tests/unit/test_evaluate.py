"""What the stages `names` and `evaluate` choose: the top C of each method, and what CLAP reads for a class."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ard import tables
from precompute.stages.evaluate_data import class_texts
from precompute.stages.names import top_latents


def scores(*rows: tuple[str, int, int, float, int]) -> object:
    columns = ("method", "seed", "latent_id", "score", "rank")
    rest = {"sae_id": "layers.0/e2/k2/paper", "coherence_most": 0.5, "coherence_least": 0.1, "std_pooled": 0.1}
    return tables.from_rows("monosemanticity", [rest | dict(zip(columns, row, strict=True)) for row in rows])


def test_random_has_the_top_of_ard_in_its_own_order() -> None:
    table = scores(
        ("ard", 0, 7, 9.0, 1), ("ard", 0, 3, 8.0, 2), ("ard", 0, 5, 1.0, 3),
        ("random", 0, 5, 4.0, 1), ("random", 0, 3, 2.0, 2), ("random", 0, 7, 1.0, 3),
        ("random", 1, 7, 9.0, 1), ("mean", 0, 5, 2.0, 1),
    )  # fmt: skip
    found = [(r["method"], r["seed"], r["latent_id"], r["rank"]) for r in top_latents(table, 2, 0).to_pylist()]
    assert found == [("ard", 0, 7, 1), ("ard", 0, 3, 2), ("mean", 0, 5, 1), ("random", 0, 3, 1), ("random", 0, 7, 2)]


def test_without_ard_random_has_its_own_top() -> None:
    table = scores(("mean", 0, 1, 2.0, 1), ("random", 0, 1, 4.0, 1), ("random", 0, 2, 2.0, 2))
    assert [(r["method"], r["latent_id"]) for r in top_latents(table, 1, 0).to_pylist()] == [("mean", 1), ("random", 1)]


@pytest.mark.parametrize(
    ("source", "labels", "texts"),
    [
        ("audio", ["Acoustic_guitar", "bd", "__"], ["acoustic guitar", "bd", "__"]),
        ("soundscape", ["speech", "gender:female", "emotion:sad", "language:french"],
         ["speech", "woman speaks", "sad voice", "speaks french"]),
    ],
)  # fmt: skip
def test_classes_are_read_as_words(source: str, labels: list[str], texts: list[str]) -> None:
    ctx = SimpleNamespace(config=SimpleNamespace(data=SimpleNamespace(source=source)))
    assert class_texts(ctx, labels) == texts
