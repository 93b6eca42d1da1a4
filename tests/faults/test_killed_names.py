"""Kill -9 the stages that ask slow or paid models: what was answered is not asked again, and the end is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ard import tables
from ard.answer_cache import AnswerCache
from ard.models.audio_lm import AudioLM
from ard.store import Run
from precompute.naming import cache_path
from tests.fixtures.chat_server import Act, chat_server
from tests.fixtures.killed_stage import one_stage
from tests.fixtures.models import save_tiny_audio_lm
from tests.fixtures.run import make_run

FULL = bool(os.environ.get("ARD_FULL"))
CONCURRENCY = 3


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_run(tmp_path_factory.mktemp("plain") / "run")
    clips = made.read("clips").to_pylist()
    made.write("clips", tables.from_rows("clips", [c | {"sha256": f"{i:064x}"} for i, c in enumerate(clips)]))
    return made.path


@pytest.fixture
def run(plain: Path, tmp_path: Path) -> Run:
    shutil.copytree(plain, tmp_path / "run")
    return Run(tmp_path / "run")


def kept(run: Run, name: str) -> list[bytes]:
    """The whole lines of the kept answers."""
    path = cache_path(run, name)
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def killed(run: Run, stage: str, tree: dict, batch: int, moment: str) -> None:
    """Run a stage in a process of its own that dies by kill -9 at its n-th batch of answers."""
    words = [str(run.path), stage, json.dumps(tree), str(batch), moment]
    ended = subprocess.run([sys.executable, "-m", "tests.fixtures.killed_stage", *words], check=False, timeout=300)
    assert ended.returncode == -signal.SIGKILL


def test_a_killed_captions_stage_captions_no_clip_twice(run: Run, tmp_path: Path, monkeypatch) -> None:
    torch.set_num_threads(1)
    lm = save_tiny_audio_lm(tmp_path / "lm", dtype=torch.float32)
    tree = {
        "model": {"audio_lm": str(lm), "device": "cpu"},
        "activations": {"batch": 2},
        "names": {"max_new_tokens": 6},
    }
    shutil.copytree(run.path, tmp_path / "whole")
    one_stage(str(tmp_path / "whole"), "captions", tree)
    before = run.read("captions")
    clips = len(set(run.read("representatives")["clip_id"].to_pylist()))
    for batch, moment in [(3, "after"), (2, "before"), (1, "after"), (1, "before")][: 4 if FULL else 1]:
        done = len(kept(run, "captions"))
        killed(run, "captions", tree, batch, moment)
        assert run.read("captions").equals(before)  # nothing unfinished is seen
        assert len(kept(run, "captions")) == done + batch - (moment == "before")
    saved = kept(run, "captions")
    missing = clips - sum(len(json.loads(line)) for line in saved)
    assert 0 < missing < clips
    asked: list[int] = []
    real = AudioLM.generate
    monkeypatch.setattr(AudioLM, "generate", lambda self, x, **o: asked.append(x.batch) or real(self, x, **o))
    one_stage(str(run.path), "captions", tree)
    assert sum(asked) == missing
    assert kept(run, "captions")[: len(saved)] == saved
    assert run.read("captions").equals(Run(tmp_path / "whole").read("captions"))
    one_stage(str(run.path), "captions", tree)
    assert sum(asked) == missing


def sometimes(number: int, body: dict) -> Act:
    """Every fifth request fails in one of many ways; otherwise the first caption's sound is the name."""
    bad = [
        Act(status=500, body="no", headers={"Retry-After": "0.01"}),
        Act(cut="within"),
        Act(status=429, body="{}", headers={"Retry-After": "0.01"}),
        Act(body='{"choices": '),
        Act(content="I would say a bell"),
        Act(content=""),
    ]
    if number % 5 == 4:
        return bad[number // 5 % len(bad)]
    sound = body["messages"][0]["content"].split("The sound of ")[1].split(",")[0]
    content = json.dumps({"shared": True, "name": f"the {sound}", "description": f"It is the {sound}."})
    return Act(content=content, delay_s=0.02 * (number % 3))


def different_captions(run: Run) -> None:
    """Each latent gets an order of clips of its own, so that each is a question of its own."""
    rows = run.read("representatives").to_pylist()
    for row in rows:
        if row["side"] == "most":
            row["rank"] = (row["rank"] + row["latent_id"] // 6) % 4 + 1
    run.write("representatives", tables.from_rows("representatives", rows))
    scores = run.read("monosemanticity").to_pylist()
    run.write("monosemanticity", tables.from_rows("monosemanticity", [s | {"seed": 0} for s in scores]))


def test_a_killed_names_stage_asks_nothing_twice_that_was_answered(run: Run, monkeypatch, capfd) -> None:
    monkeypatch.setenv("ARD_TEST_KEY", "sk-secret-0123456789")
    different_captions(run)
    concepts = run.read("concepts")
    kills = [(5, "after"), (4, "before"), (1, "before"), (3, "after")][: 4 if FULL else 2]
    with chat_server(sometimes) as server:
        namer = {"kind": "endpoint", "model": "judge", "base_url": server.url, "key_env": "ARD_TEST_KEY"}
        tree = {"names": {"namer": namer | {"concurrency": CONCURRENCY, "attempts": 4, "timeout_s": 60.0}}}
        for batch, moment in kills:
            done = len(kept(run, "namings"))
            killed(run, "names", tree, batch, moment)
            assert run.read("concepts").equals(concepts)  # nothing unfinished is seen
            assert len(kept(run, "namings")) >= done + batch - 1
        saved = set(AnswerCache(cache_path(run, "namings")).keys())
        one_stage(str(run.path), "names", tree)
        cache = AnswerCache(cache_path(run, "namings"))
        assert saved < set(cache.keys())
        # Only answers on their way when the process died were asked for again; each kept one was asked for once.
        assert len(server.answered) - len(set(server.answered)) <= len(kills) * CONCURRENCY
        assert len(cache) == len(set(server.answered))
        asked = len(server.seen)
        one_stage(str(run.path), "names", tree)
        assert len(server.seen) == asked
        assert {s.authorization for s in server.seen} == {"Bearer sk-secret-0123456789"}
    rows, exchanges = run.read("concepts").to_pylist(), run.read("namings").to_pylist()
    assert {r["namer"] for r in rows} == {"judge@fp_7"}
    assert {e["status"] for e in exchanges} == {"named"}
    assert len(exchanges) == len(rows) > len({e["prompt"] for e in exchanges}) > 20
    for row in rows:
        assert row["name"] == "the " + row["captions"][0].removeprefix("The sound of ").split(",")[0]
    files = [p for p in run.path.rglob("*") if p.is_file()]
    assert not [p for p in files if b"sk-secret-0123456789" in p.read_bytes()]
    assert "sk-secret" not in "".join(capfd.readouterr())
