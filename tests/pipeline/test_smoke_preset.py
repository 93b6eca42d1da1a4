"""Preset `smoke`, every stage by the command line on the demo's models; then other captions and names for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from ard.store import Run
from precompute.__main__ import main
from precompute.config import build
from precompute.runner import Runner
from precompute.stages import STAGES
from tests.fixtures.chat_server import Act, chat_server

MAY_BE_EMPTY = (
    *("human", "human_catches", "human_correlation", "namings", "steering_examples"),
    *("judgements", "judge_agreement", "steering_judged"),
)
"""Nobody has rated; no chat model named; two clips may show no change."""


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("smoke") / "run"
    assert main(["run", "--preset", "smoke", "--run", str(path), "--quiet"]) == 0
    return path


@pytest.fixture
def copy(smoke: Path, tmp_path: Path) -> Run:
    shutil.copytree(smoke, tmp_path / "run")
    return Run(tmp_path / "run")


def stage(run: Run, *words: str) -> int:
    return main([words[0], "--run", str(run.path), "--quiet", *(part for w in words[1:] for part in ("--set", w))])


def test_every_stage_is_done_and_has_something_to_say(smoke: Path) -> None:
    run = Run.open(smoke)
    config = build(run.manifest["config"])
    assert {s.stage: s.state for s in Runner(run, config, quiet=True).states()} == dict.fromkeys(STAGES, "done")
    for name in (table for one in STAGES.values() for table in one.tables):
        assert run.read(name).num_rows > 0 or name in MAY_BE_EMPTY, name
    assert run.manifest["preset"] == "smoke"
    assert config.names.namer.kind == "contrastive"
    assert {c["namer"] for c in run.read("concepts").to_pylist()} == {"contrastive-ngrams/1"}


def test_another_captioner_writes_the_captions_and_is_in_the_manifest(copy: Run, tmp_path: Path) -> None:
    before = copy.read("captions").to_pylist()
    assert stage(copy, "captions", "names.captions=model") == 0  # done already: nothing is asked
    other = tmp_path / "other"
    shutil.copytree("data/demo/audio_lm", other)
    assert stage(copy, "captions", f"names.captioner={other}", "names.caption_prompt=List the sounds.") == 0
    after = copy.read("captions").to_pylist()
    assert {c["model"].partition("@")[0] for c in after} == {"other"}
    assert {c["prompt"] for c in after} == {"List the sounds."}
    assert [c["clip_id"] for c in after] == [c["clip_id"] for c in before]
    assert copy.manifest["models"]["captioner"] == copy.manifest["models"]["audio_lm"]
    assert stage(copy, "captions", "names.captioner=no/where/at/all") == 2
    assert copy.read("captions").to_pylist() == after


def test_an_endpoint_names_every_concept_and_every_control(copy: Run) -> None:
    def script(number: int, body: dict) -> Act:
        captions = body["messages"][0]["content"].count("\n") > 0
        name = {"shared": number % 4 != 3, "name": f"sound {number % 7}", "description": "A sound."}
        return Act(content=json.dumps(name)) if captions else Act(status=400, body="{}")

    with chat_server(script) as server:
        sets = ["kind=endpoint", "model=judge", f"base_url={server.url}", "price_prompt=2", "price_completion=10"]
        sets = [f"names.namer.{item}" for item in sets]
        assert stage(copy, "names", *sets) == 0
        named = len(server.seen)
        assert stage(copy, "evaluate", *sets) == 0
        assert len(server.seen) > named  # the other draws of `random`, and the untrained SAE
        asked = [json.dumps(s.body["messages"]) for s in server.seen]
        assert len(asked) == len(set(asked))
        assert stage(copy, "evaluate", *sets, "evaluate.bootstrap=21") == 0
        assert len(server.seen) == len(asked)
    concepts, exchanges = copy.read("concepts").to_pylist(), copy.read("namings").to_pylist()
    assert {c["namer"] for c in concepts if len(c["captions"]) > 1} == {"judge@fp_7"}
    assert {e["status"] for e in exchanges} == {"named", "no_common"}
    assert {e["cost"] for e in exchanges} == {(40 * 2 + 10 * 10) / 1e6}
    assert copy.manifest["config"]["names"]["namer"]["model"] == "judge"
    found = copy.read("detection").to_pylist()
    assert len(found) == len(concepts)
    assert any(row["auroc_clap"] is not None for row in found)


def test_an_endpoint_that_is_not_there_is_one_sentence_and_leaves_the_names(
    copy: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copy.read("concepts")
    with chat_server(lambda number, body: Act()) as server:
        url = server.url
    sets = ["kind=endpoint", "model=judge", f"base_url={url}", "retries=0", "concurrency=1"]
    assert stage(copy, "names", *(f"names.namer.{item}" for item in sets)) == 2
    words = capsys.readouterr().err
    assert "failed 2 times in a row" in words
    assert "Traceback" not in words
    assert copy.read("concepts").equals(before)
