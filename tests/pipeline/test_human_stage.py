"""Stage `human` over published ratings, with a real (tiny, random) CLAP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ard import tables
from ard.store import Run
from explorer.ratings import Ratings, rater_id
from explorer.study import Plan, Study, order
from precompute.config import build
from precompute.runner import Runner
from precompute.stages import STAGES, human
from precompute.stages.base import Context, Models
from tests.fixtures.models import save_tiny_clap
from tests.fixtures.study import TOKEN, answer, make_study_run, opened


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clap(tmp_path_factory.mktemp("clap") / "clap")


def summary(run: Run, clap: Path) -> list[dict]:
    """What the stage writes."""
    config = build({"model": {"clap": str(clap)}})
    with run.staging("human") as out:
        human.run(Context(run, config, out, Models(config), quiet=True))
        out.publish()
    return run.read("human").to_pylist()


def test_table_2_from_a_whole_session(tmp_path: Path, clap: Path) -> None:
    run = make_study_run(tmp_path / "run", concepts=20)
    assert summary(run, clap) == [], "nobody has rated: an empty table"
    ratings, study = opened(run, Plan(items=20))
    for i in range(20):
        answer(ratings, study, i % 6, TOKEN)
    ratings.close()
    found = {r["method"]: r for r in summary(run, clap)}
    assert set(found) == {"ard", "poly"}
    stored = run.read("ratings").to_pylist()
    for method, row in found.items():
        mine = [r for r in stored if r["method"] == method and not r["catch"] and not r["repeat"]]
        assert row["ratings"] == row["items"] == len(mine)
        assert row["rating_mean"] == pytest.approx(np.mean([r["rating"] for r in mine]))
        catches = [r["rating"] <= 2 for r in stored if r["method"] == method and r["catch"]]
        assert row["catches"] == len(catches)
        assert row["catch_pass_rate"] == pytest.approx(np.mean(catches))
        models = Models(build({"model": {"clap": str(clap)}}))
        names, words = (models.clap.embed_text([r[c] for r in mine]).numpy() for c in ("name", "description"))
        assert row["clap_cosine_mean"] == pytest.approx((names * words).sum(1).mean(), abs=1e-5)
        assert (row["raters"], row["alpha"]) == (1, None), "one rater agrees with nobody"


RATERS, CARELESS = 60, 10
WORDS = ("a dog", "barking", "rain on a roof", "somebody speaks", "a bell far away")


def rate_many(ratings: Ratings, study: Study, quality: dict[str, float]) -> None:
    """Sixty raters judge everything they are shown: by the concept's quality, the first ten of them at random."""
    rng, at = np.random.default_rng(0), "2026-01-01T00:00:00.000+00:00"
    catches = {item.item_id for item in study.items if item.catch}
    columns = ("study_id", "rater", "position", "kind", "part", "text", "rating", "seconds", "saved_at")
    rows: list[tuple] = []
    for number in range(RATERS):
        token = f"rater number {number}"
        ratings.begin(study, token)
        rater = rater_id(study.study_id, token)
        for position, showing in enumerate(order(study, rater), 1):
            fits = 0.0 if showing.item_id in catches else quality[showing.item_id] + rng.normal(0, 0.7)
            rating = int(rng.integers(6)) if number < CARELESS else int(np.clip(round(fits), 0, 5))
            key = (study.study_id, rater, position)
            rows.append((*key, "description", 0, WORDS[int(rng.integers(len(WORDS)))], None, 3.0, at))
            rows.append((*key, "rating", 0, None, rating, 1.0, at))
    given = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
    ratings._connection.register("given", given).execute("INSERT INTO answers SELECT * FROM given")


def test_thousands_of_ratings_through_the_real_store(tmp_path: Path, clap: Path) -> None:
    run = make_study_run(tmp_path / "run")
    ratings, study = opened(run, Plan(items=50))
    m = {(c["method"], c["latent_id"]): c["monosemanticity"] for c in run.read("concepts").to_pylist()}
    middle = np.median(list(m.values()))
    spread = np.ptp(list(m.values()))
    quality = {i.item_id: 2.5 + 4 * (m[i.method, i.latent_id] - middle) / spread for i in study.items}
    rate_many(ratings, study, quality)
    ratings.close()
    stored = run.read("ratings").to_pylist()
    assert len(stored) == RATERS * (len(study.items) + study.repeats) > 2500
    found = {r["method"]: r for r in summary(run, clap)}
    failed = {r["rater"] for r in stored if r["catch"] and r["rating"] > 2}
    assert 0 < len(failed) <= CARELESS
    for method, row in found.items():
        mine = [r for r in stored if r["method"] == method and not r["catch"] and not r["repeat"]]
        kept = [r["rating"] for r in mine if r["rater"] not in failed]
        assert (row["raters"], row["raters_failed"]) == (RATERS, len(failed))
        assert (row["ratings"], row["ratings_passed"]) == (len(mine), len(kept))
        assert row["rating_mean"] == pytest.approx(np.mean([r["rating"] for r in mine]))
        assert row["rating_mean_passed"] == pytest.approx(np.mean(kept))
        assert row["alpha_low"] <= row["alpha"] <= row["alpha_high"]
        assert row["alpha"] < row["alpha_passed"]
    catches = run.read("human_catches").to_pylist()
    assert len(catches) == 1 + RATERS
    assert {r["rater"] for r in catches if r["excluded"]} == failed
    assert catches[0]["catches"] == sum(r["catches"] for r in catches[1:]) == sum(r["catch"] for r in stored)
    rho = {(r["method"], r["figure"], r["raters"]): r for r in run.read("human_correlation").to_pylist()}
    assert rho["ard", "monosemanticity", "all"]["spearman"] > 0.8
    assert rho["ard", "monosemanticity", "all"]["concepts"] == found["ard"]["items"]
    assert rho["ard", "monosemanticity", "passed"]["spearman_low"] > 0.5


def test_names_that_are_not_stored_are_those_of_the_concepts(tmp_path: Path, clap: Path) -> None:
    run = make_study_run(tmp_path / "run", concepts=20)
    ratings, study = opened(run, Plan(items=10))
    for _ in range(10):
        answer(ratings, study, 4)
    ratings.close()
    before = summary(run, clap)
    rows = [{k: v for k, v in r.items() if k != "name"} for r in run.read("ratings").to_pylist()]
    run.write("ratings", tables.from_rows("ratings", rows))
    assert summary(run, clap) == before


def test_new_ratings_make_the_stage_run_again(tmp_path: Path, clap: Path) -> None:
    run, stage = make_study_run(tmp_path / "run", concepts=20), STAGES["human"]
    config = build({"model": {"clap": str(clap)}})
    nobody = Runner(run, config).ingredients(stage)
    ratings, study = opened(run, Plan(items=10))
    answer(ratings, study, 4)
    once = Runner(run, config).ingredients(stage)
    answer(ratings, study, 4)
    twice = Runner(run, config).ingredients(stage)
    ratings.close()
    assert nobody != once != twice
    assert twice == Runner(run, config).ingredients(stage)
