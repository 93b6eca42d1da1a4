"""Clips to names and a steered answer on the other AudioLLM families, by the command line, on random checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import soundfile as sf
import torch

from ard.sae import TopKSAE
from ard.store import Run
from precompute.__main__ import main
from precompute.stages import STAGES
from tests.fixtures.families import TINY, save_tiny_family
from tests.fixtures.models import save_tiny_clap

TO_NAMES = list(STAGES)[: list(STAGES).index("names") + 1]
SETTINGS = (
    "sae=[{layer=1,expansion=4,k=4}]",
    "train.steps=30",
    "train.batch=64",
    "train.kernels=sparse",
    "train.loss_clips=2",
    "activations.max_new_tokens=4",
    "activations.batch=4",
    "names.max_new_tokens=5",
    "names.top=20",
    "rank.draws=2",
    "rank.random_seeds=1",
    "data.held_out=0.2",
    f"stages_left_out={json.dumps([name for name in STAGES if name not in TO_NAMES])}",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLAP and twelve tones of 0.4 to 3 s; the longest become two clips."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("families")
    save_tiny_clap(folder / "clap")
    (folder / "clips").mkdir()
    for i in range(12):
        t = np.arange(round((0.4 + 0.24 * i) * 16000)) / 16000
        sf.write(folder / "clips" / f"tone{i % 3}_{i}.wav", 0.3 * np.sin(2 * np.pi * 220 * (1 + i) * t), 16000)
    return folder


@pytest.mark.parametrize("name", [name for name in TINY if name != "qwen2_audio"])
def test_clips_to_names_and_a_steered_answer(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = save_tiny_family(name, tmp_path / name), tmp_path / "run"
    sets = [part for item in SETTINGS for part in ("--set", item)]
    where = ["--audio", str(root / "clips"), "--run", str(path), "--device", "cpu", "--quiet"]
    assert main(["run", *where, "--model", str(model), "--clap", str(root / "clap"), *sets]) == 0, capsys.readouterr()
    run = Run.open(path)
    assert all(run.manifest["stages"][stage]["finished"] for stage in TO_NAMES)
    assert "map" not in run.manifest["stages"]
    clips = run.read("clips")
    clips = clips.filter(pc.equal(clips["status"], "ok")).to_pylist()
    tokens = {row["clip_id"]: row["audio_tokens"] for row in run.read("answers").to_pylist()}
    per_second = TINY[name].tokens[2.0] / 2
    for clip in clips:
        assert abs(tokens[clip["clip_id"]] - clip["duration_s"] * per_second) < 1, "the sound's tokens, no silence"
    assert run.read("captions").num_rows > 0
    concepts = run.read("concepts").to_pylist()
    assert concepts
    assert all(one["name"] for one in concepts)

    sae = TopKSAE.load(run.sae_dir(run.manifest["default_sae"]))
    assert (sae.cfg.d_in, sae.cfg.model.partition("@")[0]) == (32, name)
    capsys.readouterr()
    latent = next(one["latent_id"] for one in concepts if one["method"] == "ard")
    asked = ["--clip", clips[0]["clip_id"], "--latent", str(latent), "--value", "500", "--max-new-tokens", "6"]
    assert main(["steer", "--run", str(path), *asked, "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["changed"]
    assert said["latents"][0]["dead_zone"] == 0.0
    assert said["positions_steered"] > tokens[clips[0]["clip_id"]]


def test_a_model_of_no_family_is_one_sentence(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--audio", str(root / "clips"), "--run", str(tmp_path / "run"), "--device", "cpu", "--quiet"]
    assert main(["run", *where, "--model", str(root / "clap"), "--clap", str(root / "clap")]) == 2
    said = capsys.readouterr().err
    assert "'clap' model, which no AudioLLM family here serves; give a checkpoint of model_type 'qwen2_audio'" in said
    assert "'voxtral' (Voxtral)" in said
    assert "Traceback" not in said
