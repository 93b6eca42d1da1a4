"""Kill -9 the extraction half-way: the next run goes on with the file that was missing and ends with the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ard.store import Run
from precompute.__main__ import main
from tests.fixtures.models import save_tiny_audio_lm, save_tiny_clap
from tests.pipeline.test_run_small import arguments, make_clips

KILLS = (3, 4, 5) if os.environ.get("ARD_FULL") else ()
"""Complete files at which it is killed again, after the first time at two."""
SETTINGS = ["activations.shard_clips=4", "activations.dtype=int8", "activations.layers=[0,1,2]"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose clips are there, and the same with activations: 21 clips in six files a layer."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("extraction")
    save_tiny_audio_lm(root / "lm")
    save_tiny_clap(root / "clap")
    make_clips(root / "clips")
    left_out = 'stages_left_out=["sae","latents","representatives","embeddings","monosemanticity","captions","names",'
    left_out += '"neighbours","map","evaluate","steering","ablation","human","report","activations"]'
    settings = [part for item in (*SETTINGS, left_out) for part in ("--set", item)]
    assert main(["run", *arguments(root, root / "start"), *settings]) == 0
    shutil.copytree(root / "start", root / "whole")
    assert main(["activations", "--run", str(root / "whole"), "--quiet"]) == 0
    return root


def parts(run: Path) -> set[str]:
    """Files of activations whose rows are kept, so that they are complete at every layer."""
    return {p.stem for p in run.glob(".parts-activations/activations/rows/*.parquet")}


def kill_after(run: Path, files: int) -> None:
    """Start the stage, kill it as soon as so many files are complete."""
    command = [sys.executable, "-m", "precompute", "activations", "--run", str(run), "--quiet"]
    process = subprocess.Popen(command, start_new_session=True, cwd=Path.cwd())
    deadline = time.monotonic() + 120
    while len(parts(run)) < files and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the stage ended before it could be killed"


def content(run: Path) -> dict[str, bytes]:
    files = [*run.glob("activations/*/*"), *(run / f"tables/{name}.parquet" for name in ("answers", "hookpoints"))]
    return {str(p.relative_to(run)): p.read_bytes() for p in files}


def when_written(run: Path) -> dict[str, int]:
    """Of the finished files of a run that is not published yet, by their place in the end."""
    done = parts(run)
    folder = run / ".parts-activations"
    files = [p for p in folder.glob("activations/*/*.safetensors") if p.name[:5] in done and p.name[0] != "."]
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in files}


@pytest.fixture(scope="module")
def killed(work: Path) -> Path:
    """A run that was killed when two of its six files were complete."""
    shutil.copytree(work / "start", work / "killed")
    kill_after(work / "killed", 2)
    return work / "killed"


def test_a_killed_extraction_goes_on_and_ends_with_the_same_bytes(work: Path, killed: Path) -> None:
    run = work / "again"
    shutil.copytree(killed, run)
    kept = when_written(run)
    for files in KILLS:
        kill_after(run, files)
        assert kept.items() <= when_written(run).items()
        kept = when_written(run)
    assert len(kept) >= 3 * 2
    assert not (run / "activations").exists()
    assert "activations" not in Run(run).manifest["stages"]
    assert main(["activations", "--run", str(run), "--quiet"]) == 0
    assert kept.items() <= {p: (run / p).stat().st_mtime_ns for p in kept}.items()
    expected = content(work / "whole")
    assert len(expected) == (3 + 1) * 6 + 2
    assert content(run) == expected
    assert not (run / ".parts-activations").exists()


def test_other_settings_never_reuse_what_was_finished(work: Path, killed: Path) -> None:
    run, fresh = work / "changed", work / "fresh"
    shutil.copytree(killed, run)
    shutil.copytree(work / "start", fresh)
    for path in (run, fresh):
        arguments_ = ["--run", str(path), "--quiet", "--set", "activations.max_new_tokens=3"]
        assert main(["activations", *arguments_]) == 0
    assert content(run) == content(fresh) != content(work / "whole")
