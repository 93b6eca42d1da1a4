"""Kill -9 a running pipeline again and again: what is visible is whole, and the next run ends with the same tables."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ard.store import Run, RunError
from precompute.__main__ import main
from precompute.stages import STAGES
from tests.fixtures.models import save_tiny_audio_lm, save_tiny_clap
from tests.pipeline.test_run_small import arguments, make_clips

KILLS = 20 if os.environ.get("ARD_FULL") else 4
CHANGING = {"curves": ["tokens_per_s"]}  # measured times: the only columns that two runs may not share


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("killed")
    save_tiny_audio_lm(root / "lm")
    save_tiny_clap(root / "clap")
    make_clips(root / "clips")
    assert main(["run", *arguments(root, root / "whole")]) == 0
    return root


def start(root: Path, run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "precompute", "run", *arguments(root, run)], start_new_session=True, cwd=Path.cwd()
    )


def kill_in_the_middle(root: Path, run: Path, stage: str, rng: np.random.Generator) -> None:
    """Start a run and kill it shortly after the stage before `stage` was recorded; at once for the first."""
    before = [n for n in STAGES if n != stage][: list(STAGES).index(stage)][-1:]
    process = start(root, run)
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if run.joinpath("manifest.json").exists() and set(before) <= set(Run(run).manifest.get("stages", {})):
            break
        time.sleep(0.01)
    time.sleep(float(rng.uniform(0, 0.15)))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def everything_visible_is_whole(run: Path) -> None:
    if not (run / "manifest.json").exists():  # killed before the first stage was recorded
        with pytest.raises(RunError, match="manifest"):
            Run.open(run)
        return
    opened = Run.open(run)
    for name in opened.manifest.get("stages", {}):
        for table in STAGES[name].tables:
            opened.read(table)  # checks the schema; raises on a torn file


def test_a_run_killed_again_and_again_ends_with_the_same_tables(work: Path) -> None:
    rng = np.random.default_rng(0)
    stages = list(STAGES)
    run = work / "killed"
    for stage in [stages[i] for i in np.linspace(0, len(stages) - 1, KILLS).astype(int)]:
        kill_in_the_middle(work, run, stage, rng)
        everything_visible_is_whole(run)
    assert start(work, run).wait() == 0
    one, other = Run.open(work / "whole"), Run.open(run)
    for stage in STAGES.values():
        for name in stage.tables:
            expected, got = (r.read(name).drop_columns(CHANGING.get(name, [])) for r in (one, other))
            assert got.equals(expected), name
