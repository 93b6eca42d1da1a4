from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from ard import tables
from ard.human_correlation import correlate, spearman
from tests.unit.test_human import row


def test_rho_by_hand() -> None:
    """Ranks 1 2 3 4 and 2 1 4 3: Σ d² = 4, ρ = 1 − 6 · 4 / (4 · 15) = .6."""
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 9, 5])).rho == pytest.approx(0.6)


def test_rho_is_not_defined_for_two_concepts_or_a_constant_side() -> None:
    assert spearman(np.array([1.0, 2]), np.array([1.0, 2])) == (None, None, None)
    assert spearman(np.array([1.0, 2, 3]), np.array([4.0, 4, 4])) == (None, None, None)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-2, 2, width=16)), min_size=3, max_size=30))
def test_rho_is_scipys_and_lies_in_its_interval(pairs: list[tuple[int, float]]) -> None:
    x, y = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    found = spearman(x, y, seed=1, resamples=50)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found.rho is None
        return
    assert found.rho == pytest.approx(spearmanr(x, y).statistic, abs=1e-9)
    assert found == spearman(x, y, seed=1, resamples=50)
    if found.low is not None and found.high is not None:
        assert -1 <= found.low <= found.high <= 1


def test_concepts_stand_for_their_mean_rating() -> None:
    rows = [
        row("i", "ann", 1, latent_id=1),
        row("i", "ben", 3, latent_id=1),  # concept 1: mean 2
        row("j", "ann", 3, latent_id=2),
        row("k", "ann", 5, latent_id=3),
        row("k", "ann", 0, latent_id=3, repeat=True),  # counts in no mean
        row("c", "ben", 5, latent_id=4, catch=True, name="north"),  # ben has failed
        row("p", "ann", 4, latent_id=9, method="poly"),
    ]
    m = {("a", "ard", 1): 1.0, ("a", "ard", 2): 3.0, ("a", "ard", 3): 2.0, ("a", "poly", 9): 4.0}
    found = correlate(tables.from_rows("ratings", rows), {"monosemanticity": m}).to_pylist()
    by = {(r["method"], r["figure"], r["raters"]): r for r in found}
    assert {r["figure"] for r in found} == {"monosemanticity", "auroc", "auroc_clap"}
    everyone = by["all", "monosemanticity", "all"]  # means 2 3 5 4 against 1 3 2 4: ranks 1 2 4 3 and 1 3 2 4
    assert (everyone["concepts"], everyone["spearman"]) == (4, pytest.approx(0.4))
    assert by["ard", "monosemanticity", "all"]["spearman"] == pytest.approx(0.5)
    assert by["poly", "monosemanticity", "all"]["spearman"] is None
    assert by["all", "auroc", "all"]["concepts"] == 0
    assert by["ard", "monosemanticity", "passed"]["concepts"] == 3  # concept 1 is ann's 1 alone


def test_no_ratings_give_no_rows() -> None:
    assert correlate(tables.empty("ratings"), {}).num_rows == 0
