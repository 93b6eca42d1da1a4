"""Asking where a run stands loads no model library: what makes `status`, and a `run` with nothing to do, quick."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ard.store import Run, RunError
from precompute.config import ConfigError, build
from precompute.environment import PROJECT, model_stamp
from precompute.runner import Runner
from precompute.stages import STAGES

HEAVY = ("torch", "transformers", "sklearn", "scipy.stats", "umap", "numba", "jinja2")


@pytest.mark.parametrize("command", ["status --run RUN", "run --run RUN --set preset=mine", "--help"])
def test_no_model_library_is_loaded(tmp_path: Path, command: str) -> None:
    """A run whose every stage is left out: nothing to do, and everything to compare."""
    Run.create(tmp_path).update_manifest(
        config={"stages_left_out": list(STAGES), "model": {"device": "cpu"}}, preset="mine", stages={}
    )
    code = (
        "import sys; from precompute.__main__ import main; status = main(sys.argv[1:]);"
        f"print('LOADED', status, [m for m in {HEAVY} if m in sys.modules])"
    )
    arguments = command.replace("RUN", str(tmp_path)).split()
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert "LOADED 0 []" in found.stdout, found.stdout + found.stderr


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_its_work_in_the_module_of_its_name(name: str) -> None:
    module = import_module(f"precompute.stages.{name}")
    assert callable(module.run)
    assert not hasattr(module, "STAGE"), "declared in precompute/stages/__init__.py, and only there"


def test_stages_come_after_what_they_read() -> None:
    names = list(STAGES)
    for place, stage in enumerate(STAGES.values()):
        for need in (*stage.needs, *stage.reads_if_there):
            assert need in names[:place], f"{stage.name} reads {need}"


def test_a_stage_that_is_left_out_has_no_part_in_what_is_open(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    runner = Runner(run, build({"stages_left_out": ["ablation"]}), quiet=True)
    states = {s.stage: s for s in runner.states()}
    assert states["ablation"].state == "left out"
    assert states["clips"].state == "missing"
    with pytest.raises(ConfigError, match="'nap', which is no stage; stages are clips"):
        Runner(run, build({"stages_left_out": ["nap"]}))


def test_a_stage_cannot_run_on_one_that_was_left_out(tmp_path: Path) -> None:
    runner = Runner(Run.create(tmp_path), build({"stages_left_out": ["clips"], "model": {"device": "cpu"}}), quiet=True)
    with pytest.raises(RunError, match="Stage activations needs clips, which has not run"):
        runner.run_all()


def test_weights_are_read_again_only_when_their_files_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights = model / "model.safetensors"
    weights.write_bytes(b"weights")
    run = Run.create(tmp_path / "run")
    config = build({"model": {"audio_lm": str(model)}})
    stamp = model_stamp(str(model))
    first = Runner(run, config)._revision("audio_lm")
    run.update_manifest(models={"audio_lm": first}, model_stamps={"audio_lm": stamp})
    monkeypatch.setattr("precompute.environment.weights_revision", lambda _: "read again")
    assert Runner(run, config)._revision("audio_lm") == first
    weights.write_bytes(b"other weights")
    assert model_stamp(str(model)) != stamp
    assert Runner(run, config)._revision("audio_lm") == "read again"
    assert model_stamp("owner/name") == model_stamp(str(tmp_path / "none")) == ""
