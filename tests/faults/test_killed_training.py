"""Kill -9 a training run at random moments: it goes on and ends with the weights of an uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

KILLS = 10 if os.environ.get("ARD_FULL") else 2
SCRIPT = """
import sys
from pathlib import Path
import torch
from ard.sae import SAEConfig
from ard.train import TrainConfig, fit_many

torch.set_num_threads(2)
folder, steps = Path(sys.argv[1]), 200
x = torch.randn(3000, 32, generator=torch.Generator().manual_seed(0))
cfgs = [SAEConfig("layers.0", 32, 4.0, 4, recipe) for recipe in ("recommended", "batchtopk")]
train = TrainConfig(steps=steps, batch=64, lr=3e-3, log_every=50, kernels="sparse", dead_after_tokens=2000)
print("ready", flush=True)
for result in fit_many(x, cfgs, train, checkpoint=folder / "training.safetensors", checkpoint_every=5):
    result.sae.save(folder / result.sae.cfg.recipe)
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE, cwd=Path.cwd())


def test_training_killed_again_and_again_ends_with_the_same_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    assert start(tmp_path / "whole").wait() == 0
    killed = 0
    for _ in range(KILLS):
        process = start(tmp_path / "killed")
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        file = tmp_path / "killed" / "training.safetensors"
        before, deadline = file.stat().st_mtime_ns if file.exists() else 0, time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if file.exists() and file.stat().st_mtime_ns > before:
                break
            time.sleep(0.002)
        time.sleep(float(rng.uniform(0, 0.05)))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed > 0
    assert start(tmp_path / "killed").wait() == 0
    for name in ("recommended/sae.safetensors", "batchtopk/sae.safetensors", "batchtopk/cfg.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
