"""A chat model reads steered answers behind a server that misbehaves; killed, it asks nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ard import tables
from ard.answer_cache import AnswerCache
from ard.store import Run
from precompute.naming import cache_path
from tests.fixtures.chat_server import Act, ChatServer, always, chat_server
from tests.fixtures.killed_stage import one_stage

CLIPS, LATENTS = 12, 5
TASK = {"kind": "pitch", "source": "low", "target": "high", "prompt": "How high?", "answers": ["low", "high", "mid"]}
WORDS = ("It is high.", "rather high", "It is low.", "mid", "", "a bell", "so high and shrill", "high, I think")
READ = {"It is high.": "A", "rather high": "A", "It is low.": "B", "mid": "C", "": "D", "a bell": "C"}
"""What the chat model says; it reads anything else as "something else". A is high, B is low."""
VERDICT = {"It is low.": "source", "mid": "other", "": "degenerate", "a bell": "degenerate"}
"""What the rules say; the other answers name the target."""


def answers() -> list[dict[str, Any]]:
    """60 steered answers of five latents about twelve clips; every third untouched answer is not the source."""
    rows = []
    for latent in range(LATENTS):
        for clip in range(CLIPS):
            untouched = "It is low." if clip % 3 else "mid"
            steered = f"{WORDS[(latent * 5 + clip) % len(WORDS)]}"
            rows.append(
                {
                    "task": "pitch", "source": "low", "target": "high", "method": "ard", "sae_id": "layers.1/e4/k4/x",
                    "control": "none" if latent else "random_latent", "latent_id": latent, "value": 2.0,
                    "clip_id": f"c{clip}", "baseline": untouched, "baseline_verdict": VERDICT[untouched],
                    "steered": steered, "verdict": VERDICT.get(steered, "target"),
                }
            )  # fmt: skip
    return rows


def answer_of(body: dict[str, Any]) -> str:
    text = body["messages"][0]["content"].split("Answer: ")[1].split("\n")[0]
    return "" if text == "(nothing)" else text


def script(number: int, body: dict[str, Any]) -> Act:
    """Every third request fails in one of many ways; otherwise the choice of `READ`."""
    bad = [
        Act(content="A, I would say"),
        Act(content='{"choice": "E"}'),
        Act(content=""),
        Act(status=500, body="no", headers={"Retry-After": "0.01"}),
        Act(cut="within"),
        Act(status=429, body="{}", headers={"Retry-After": "0.01"}),
        Act(body='{"choices": '),
    ]
    if number % 3 == 2:
        return bad[number // 3 % len(bad)]
    return Act(content=json.dumps({"choice": READ.get(answer_of(body), "C")}))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "run")
    made.write("steering_answers", tables.from_rows("steering_answers", answers()))
    return made


def tree(server: ChatServer, **more: Any) -> dict[str, Any]:
    chat = {"kind": "endpoint", "model": "reader", "base_url": server.url, "concurrency": 2, "attempts": 4} | more
    return {"data": {"source": "audio", "audio": "x"}, "steering": {"task": [TASK], "judge": chat}}


def test_a_killed_judge_asks_nothing_twice_and_agrees_as_far_as_it_does(run: Run) -> None:
    with chat_server(script) as server:
        words = [str(run.path), "judge", json.dumps(tree(server)), "3", "after"]
        ended = subprocess.run([sys.executable, "-m", "tests.fixtures.killed_stage", *words], check=False, timeout=300)
        assert ended.returncode == -signal.SIGKILL
        assert not run.has("judgements")
        saved = set(AnswerCache(cache_path(run, "judgements")).keys())
        assert len(saved) == 3
        one_stage(str(run.path), "judge", tree(server))
        assert saved < set(AnswerCache(cache_path(run, "judgements")).keys())
        assert len(server.answered) - len(set(server.answered)) <= 2, "only what was under way is asked for again"
        seen = len(server.seen)
        one_stage(str(run.path), "judge", tree(server))
        assert len(server.seen) == seen
    judged = {r["answer"]: r for r in run.read("judgements").to_pylist()}
    assert set(judged) == {*WORDS}
    names = {"A": "target", "B": "source", "C": "other", "D": "degenerate"}
    assert {a: r["verdict"] for a, r in judged.items()} == {a: names[READ.get(a, "C")] for a in WORDS}
    assert all(r["model"] == "reader" and r["revision"] == "fp_7" and r["status"] == "judged" for r in judged.values())
    assert all(json.loads(r["replies"][-1])["choice"] == READ.get(a, "C") for a, r in judged.items())
    assert any(len(r["replies"]) > 1 for r in judged.values()), "unusable replies are kept"
    check_figures(run, {a: r["verdict"] for a, r in judged.items()})


def check_figures(run: Run, read: dict[str, str]) -> None:
    rows = answers()
    untouched = {r["clip_id"]: (r["baseline_verdict"], read[r["baseline"]]) for r in rows}
    pairs = [*untouched.values(), *((r["verdict"], read[r["steered"]]) for r in rows)]
    everything, one = run.read("judge_agreement").to_pylist()
    assert (everything["task"], one["task"]) == ("all", "pitch")
    assert everything["answers"] == len(pairs) == CLIPS + len(rows)
    same = sum(a == b for a, b in pairs) / len(pairs)
    chance = (
        sum(
            sum(a == v for a, _ in pairs) * sum(b == v for _, b in pairs)
            for v in ("target", "source", "other", "degenerate")
        )
        / len(pairs) ** 2
    )
    assert everything["agreement"] == pytest.approx(same)
    assert everything["kappa"] == pytest.approx((same - chance) / (1 - chance))
    figures = run.read("steering_judged").to_pylist()
    assert len(figures) == LATENTS
    for figure in figures:
        mine = [r for r in rows if (r["control"] == "random_latent") == (figure["control"] == "random_latent")]
        mine = [r for r in mine if figure["latent_id"] in (None, r["latent_id"])]
        moved = [read[r["steered"]] for r in mine if read[r["baseline"]] == "source"]
        assert figure["samples"] == len(moved) == 8
        assert figure["sensitivity"] == pytest.approx(moved.count("target") / len(moved))
        assert figure["sensitivity_low"] <= figure["sensitivity"] <= figure["sensitivity_high"]


def test_answers_that_cannot_be_read_have_no_verdict_and_are_counted(run: Run) -> None:
    with chat_server(always(Act(content="I will not say"))) as server:
        one_stage(str(run.path), "judge", tree(server, attempts=2))
        assert len(server.seen) == 2 * len(WORDS)
    rows = run.read("judgements").to_pylist()
    assert {(r["status"], r["verdict"], len(r["replies"])) for r in rows} == {("malformed", None, 2)}
    everything = run.read("judge_agreement").to_pylist()[0]
    assert (everything["answers"], everything["agreement"]) == (0, None)
    assert everything["unjudged"] == CLIPS + CLIPS * LATENTS
    assert {r["samples"] for r in run.read("steering_judged").to_pylist()} == {0}


def test_without_a_chat_model_the_tables_are_empty(run: Run) -> None:
    one_stage(str(run.path), "judge", {"data": {"source": "audio", "audio": "x"}, "steering": {"task": [TASK]}})
    assert [run.read(name).num_rows for name in ("judgements", "judge_agreement", "steering_judged")] == [0, 0, 0]
