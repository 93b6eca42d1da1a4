from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ard import tables
from ard.human import HumanError, alpha_interval, catch_trials, ordinal_alpha, rating_table, summarise

NAN = float("nan")
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), four observers, twelve units: ordinal α = .815.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


def test_alpha_of_the_published_example() -> None:
    assert ordinal_alpha(np.array(PUBLISHED)) == pytest.approx(0.815, abs=0.0005)


def test_alpha_of_two_items_by_hand() -> None:
    """Items (1, 1) and (1, 2): o_11 = 2, o_12 = o_21 = 1; n = (3, 1); δ = (3 + 1)/2 = 2, the same everywhere it
    counts, so α = 1 − 3 · (1 + 1) / (3 · 1 + 1 · 3) = 0."""
    assert ordinal_alpha(np.array([[1.0, 1.0], [1.0, 2.0]])) == pytest.approx(0.0, abs=1e-12)


def test_alpha_by_hand_where_the_order_matters() -> None:
    """Items (0, 0), (1, 2), (2, 2): n = (2, 1, 3), n. = 6. δ²: 01 → (2/2 + 1/2)² = 2.25; 02 → (1 + 1 + 1.5)² = 12.25;
    12 → (.5 + 1.5)² = 4. D_o: o_12 = o_21 = 1 → 8. D_e: 2 (2·1·2.25 + 2·3·12.25 + 1·3·4) = 180. α = 1 − 5 · 8 / 180."""
    assert ordinal_alpha(np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 2.0]])) == pytest.approx(1 - 40 / 180)


def test_alpha_is_one_when_raters_agree_and_below_zero_when_they_oppose() -> None:
    assert ordinal_alpha(np.array([[0.0, 3, 5], [0, 3, 5]])) == pytest.approx(1.0)
    opposed = ordinal_alpha(np.array([[0.0, 5], [5, 0]]))
    assert opposed is not None
    assert opposed < 0


@pytest.mark.parametrize("table", [np.full((2, 3), 4.0), np.array([[1.0, NAN], [NAN, 2.0]]), np.zeros((0, 0))])
def test_alpha_is_undefined_without_pairs_or_differences(table: np.ndarray) -> None:
    assert ordinal_alpha(table) is None
    assert alpha_interval(table) == (None, None, None)


def test_alpha_needs_raters_by_items() -> None:
    with pytest.raises(HumanError, match=r"\[raters, items\]"):
        ordinal_alpha(np.zeros(3))


def test_the_interval_holds_alpha_and_is_seeded() -> None:
    found = alpha_interval(np.array(PUBLISHED), seed=3, resamples=200)
    assert found == alpha_interval(np.array(PUBLISHED), seed=3, resamples=200)
    assert found.alpha is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.alpha <= found.high <= 1


def row(item: str, rater: str, rating: int | None, **more: Any) -> dict[str, Any]:
    base = {
        "study_id": "s", "item_id": item, "rater": rater, "method": "ard", "sae_id": "a", "latent_id": 1,
        "description": "east", "rating": rating, "catch": False, "repeat": False, "heard": True, "seconds": 1.0,
        "saved_at": "2026-01-01T00:00:00+00:00", "name": "east",
    }  # fmt: skip
    return {**base, **more}


def embed(texts: Sequence[str]) -> np.ndarray:
    return np.array([{"east": [1, 0], "north": [0, 1], "north-east": [0.6, 0.8]}[t] for t in texts])


def compare(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
    return np.array([1.0 if text == reference else 0.5 for text, reference in zip(texts, references, strict=True)])


def test_the_summary_by_hand() -> None:
    rows = [
        row("i", "ann", 4, description="north-east"),  # cosine .6
        row("j", "ann", 2),  # cosine 1
        row("i", "ben", 5, description="north"),  # cosine 0
        row("i", "ann", 2, repeat=True),  # 2 away from the first time
        row("c", "ann", 1, catch=True, name="north"),  # passed
        row("c", "ben", 3, catch=True, name="north"),  # not passed
        row("k", "ben", None),  # described, not rated yet
        row("p", "ben", 0, method="poly"),
    ]
    ard, poly = summarise(tables.from_rows("ratings", rows), embed, compare).to_pylist()
    assert (ard["method"], ard["raters"], ard["items"], ard["ratings"]) == ("ard", 2, 2, 3)
    assert ard["rating_mean"] == pytest.approx(11 / 3)
    assert ard["rating_std"] == pytest.approx(np.std([4, 2, 5], ddof=1))
    assert ard["clap_cosine_mean"] == pytest.approx(1.6 / 3)
    assert (ard["catches"], ard["catch_pass_rate"]) == (2, 0.5)
    assert (ard["repeats"], ard["repeat_difference"]) == (1, 2.0)
    assert ard["bertscore_mean"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    expected = ordinal_alpha(np.array([[4, 2], [5, NAN]]))
    assert expected is not None
    assert ard["alpha"] == pytest.approx(expected)
    assert (poly["method"], poly["rating_mean"], poly["rating_std"], poly["alpha"]) == ("poly", 0, None, None)
    # Without ben, who rated the shuffled name 3:
    assert (ard["raters_failed"], ard["ratings_passed"]) == (1, 2)
    assert (ard["rating_mean_passed"], ard["rating_std_passed"]) == (3, pytest.approx(np.sqrt(2)))
    assert ard["alpha_passed"] is None
    assert 0 < ard["catch_pass_low"] < 0.5 < ard["catch_pass_high"] < 1
    assert (poly["raters_failed"], poly["ratings_passed"], poly["rating_mean_passed"]) == (1, 0, None)


def test_catch_trials_over_all_methods_and_for_each_rater() -> None:
    rows = [
        row("i", "ann", 4),
        row("c", "ann", 2, catch=True),
        row("d", "ann", 0, catch=True, method="poly"),
        row("c", "ben", 3, catch=True),
        row("i", "cem", 5),
    ]
    everyone, ann, ben, cem = catch_trials(tables.from_rows("ratings", rows)).to_pylist()
    assert (everyone["rater"], everyone["catches"], everyone["passed"], everyone["ratings"]) == (None, 3, 2, 2)
    assert everyone["pass_rate"] == pytest.approx(2 / 3)
    assert [r["excluded"] for r in (everyone, ann, ben, cem)] == [False, False, True, False]
    assert (ann["pass_rate"], ben["pass_rate"], cem["pass_rate"], cem["catches"]) == (1, 0, None, 0)
    assert catch_trials(tables.empty("ratings")).num_rows == 0


def test_no_ratings_give_no_rows_and_ask_no_model() -> None:
    def never(*texts: Sequence[str]) -> np.ndarray:
        raise AssertionError(texts)

    assert summarise(tables.empty("ratings"), never, never).num_rows == 0
    only_catches = tables.from_rows("ratings", [row("c", "ann", 5, catch=True)])
    (found,) = summarise(only_catches, never, never).to_pylist()
    assert (found["items"], found["rating_mean"], found["catch_pass_rate"]) == (0, None, 0.0)


def test_the_same_item_in_two_studies_is_two_items() -> None:
    table = rating_table([row("i", "ann", 1), row("i", "ann", 2, study_id="t")])
    assert table.tolist() == [[1.0, 2.0]]
