"""Stage `human` over published ratings, with a real (tiny, random) CLAP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ard import tables
from ard.store import Run
from explorer.study import Plan
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
