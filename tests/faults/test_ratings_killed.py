"""A process that writes ratings is killed with SIGKILL: everything it had acknowledged is there afterwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ard.store import Run
from explorer.ratings import Ratings, rater_id
from explorer.study import Plan
from tests.fixtures.study import TOKEN, make_study_run, opened

WRITER = """
import sys
from ard.store import Run
from tests.fixtures.study import TOKEN, Plan, opened
ratings, study = opened(Run.open(sys.argv[1]), Plan(items=50))
print("ready", flush=True)
while (trial := ratings.standing(study.study_id, TOKEN).trial) is not None:
    p = trial.position
    for clip in sorted(set(range(len(trial.item.clips))) - trial.heard):
        ratings.hear(study.study_id, TOKEN, p, clip, ok=True)
        print("heard", p, clip, flush=True)
    if trial.description is None:
        ratings.describe(study.study_id, TOKEN, p, f"words {p}")
        print("described", p, flush=True)
    ratings.rate(study.study_id, TOKEN, p, p % 6)
    print("rated", p, flush=True)
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_study_run(tmp_path_factory.mktemp("killed") / "run")


def write_and_kill(run: Run, answers: int, wait: float) -> list[str]:
    """Start the writer, read what it acknowledges, kill it `wait` seconds after the given number of answers."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(run.path)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        said = [process.stdout.readline().strip() for _ in range(answers)]
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().strip().splitlines()  # what it managed to say before it died
        process.wait()
        assert process.returncode == -signal.SIGKILL
    return [line for line in said if line]


def test_nothing_that_was_acknowledged_is_lost(original: Run, tmp_path: Path, full: bool) -> None:
    rng = random.Random(0)
    run = Run.open(shutil.copytree(original.path, tmp_path / "run"))
    heard: set[tuple[int, int]] = set()
    described: set[int] = set()
    rated: set[int] = set()
    for _ in range(25 if full else 4):
        for line in write_and_kill(run, rng.randint(1, 12 if full else 25), rng.uniform(0, 0.05)):
            kind, position, *clip = line.split()
            if kind == "heard":
                heard.add((int(position), int(clip[0])))
            else:
                (described if kind == "described" else rated).add(int(position))
        ratings = Ratings(run)
        stored = check(ratings, heard, described, rated)
        ratings.close()
        described, rated = stored  # what was stored and never acknowledged must stay as well
    assert rated, "the writer came as far as rating something"


def check(
    ratings: Ratings, heard: set[tuple[int, int]], described: set[int], rated: set[int]
) -> tuple[set[int], set[int]]:
    """The store and the published table hold every answer known before, at most one more, and nothing twice.

    Returns the positions with a description and those with a rating.
    """
    published = (
        {r["position"]: r for r in ratings.run.read("ratings").to_pylist()} if ratings.run.has("ratings") else {}
    )
    assert described <= published.keys() <= described | {max(described, default=0) + 1}
    found = {p for p, r in published.items() if r["rating"] is not None}
    assert rated <= found <= rated | {max(rated, default=0) + 1}
    for position, row in published.items():
        assert row["description"] == f"words {position}"
        assert row["heard"]
        assert row["rating"] in (None, position % 6)
    study = ratings._connection.execute("SELECT study_id FROM studies").fetchall()[0][0]
    standing = ratings.standing(study, TOKEN)
    assert standing is not None
    assert standing.trial is not None
    assert standing.trial.position == len(found) + 1, "it goes on at the first item without a rating"
    assert standing.trial.heard >= {clip for position, clip in heard if position == standing.trial.position}
    assert {r["rater"] for r in published.values()} <= {rater_id(study, TOKEN)}
    return set(published), found


def test_a_kill_between_commit_and_publication_is_mended_on_opening(original: Run, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(original.path, tmp_path / "run"))
    code = (
        "import os, signal, sys\n"
        "from ard.store import Run\n"
        "from tests.fixtures.study import TOKEN, Plan, opened\n"
        "ratings, study = opened(Run.open(sys.argv[1]), Plan(items=10))\n"
        "for clip in range(4): ratings.hear(study.study_id, TOKEN, 1, clip, ok=True)\n"
        "Run.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ratings.describe(study.study_id, TOKEN, 1, 'a tone')"
    )
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not run.has("ratings")
    ratings, study = opened(run, Plan(items=10))
    assert [r["description"] for r in run.read("ratings").to_pylist()] == ["a tone"]
    standing = ratings.standing(study.study_id, TOKEN)
    assert standing is not None
    assert standing.trial is not None
    assert standing.trial.description == "a tone"
