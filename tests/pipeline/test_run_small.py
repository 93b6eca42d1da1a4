"""The whole pipeline on a handful of generated clips with tiny random models: invariants, resuming, mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile as sf
import torch

from ard.models.clap import Clap
from ard.sae import TopKSAE
from ard.staging import Staging
from ard.store import Run
from precompute.__main__ import main
from precompute.config import build
from precompute.runner import Runner
from precompute.shards import Shards
from precompute.stages import STAGES
from tests.fixtures.models import save_tiny_audio_lm, save_tiny_clap

LENGTHS = (1.0, 2.0, 0.7, 3.5, 1.2, 1.9)
SETTINGS = (
    'sae=[{layer=1,expansion=4,k=4},{layer=2,expansion=2,k=3,recipe="paper"}]',
    "train.steps=30",
    "train.batch=64",
    "train.kernels=sparse",
    "train.loss_clips=4",
    "activations.max_new_tokens=5",
    "activations.batch=4",
    "activations.shard_clips=8",
    "names.max_new_tokens=8",
    "data.held_out=0.2",
    "ablation.expansions=[2]",
    "ablation.steps=20",
    "stages_left_out=[]",
)
MAY_BE_EMPTY = (
    *("localisation", "stability", "namings", "human", "human_catches", "human_correlation"),
    *("steering", "steering_examples", "steering_comparators", "steering_answers"),
    *("judgements", "judge_agreement", "steering_judged"),
)
"""Tones have no true times and no question that steers; one SAE is trained; nobody has rated; no chat model names."""


def make_clips(folder: Path) -> Path:
    """18 tones at three rates, mono and stereo, some longer than the model's 2 s; and five that cannot be used."""
    rng = np.random.default_rng(0)
    for label, hertz in (("low", 200), ("mid", 800), ("high", 3000)):
        (folder / label).mkdir(parents=True)
        for i, seconds in enumerate(LENGTHS):
            rate = (8000, 16000, 44100)[i % 3]
            t = np.arange(round(seconds * rate)) / rate
            x = 0.3 * np.sin(2 * np.pi * hertz * (1 + 0.05 * i) * t) + 0.02 * rng.normal(size=t.size)
            sf.write(folder / label / f"{label}_{i}.wav", np.stack([x, x / 2], 1) if i % 2 else x, rate)
    sf.write(folder / "silent.wav", np.zeros(16000), 16000)
    sf.write(folder / "short.wav", np.full(100, 0.1), 16000)
    sf.write(folder / "slow.wav", np.full(4000, 0.1), 4000)
    (folder / "broken.flac").write_bytes(b"not audio at all")
    (folder / "empty.mp3").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("small")
    save_tiny_audio_lm(root / "lm")
    save_tiny_clap(root / "clap")
    make_clips(root / "clips")
    assert main(["run", *arguments(root, root / "run")]) == 0
    return root


def arguments(root: Path, run: Path) -> list[str]:
    sets = [part for item in SETTINGS for part in ("--set", item)]
    models = ["--model", str(root / "lm"), "--clap", str(root / "clap"), "--device", "cpu"]
    return ["--audio", str(root / "clips"), "--run", str(run), *models, *sets, "--quiet"]


@pytest.fixture
def run(work: Path) -> Run:
    return Run.open(work / "run")


@pytest.fixture
def copy(work: Path, tmp_path: Path) -> Run:
    shutil.copytree(work / "run", tmp_path / "run")
    return Run(tmp_path / "run")


def runner(run: Run) -> Runner:
    return Runner(run, build(run.manifest["config"]), quiet=True)


def by_score(run: Run, name: str) -> pa.Table:
    """The rows of the methods that rank the SAEs' latents by a score; `random` and `poly`: test_evaluate_small."""
    return run.read(name).filter(pc.field("method").isin(["ard", "mean", "coverage"]))


def finished(run: Run) -> dict[str, str]:
    return {name: record["finished"] + str(record["seconds"]) for name, record in run.manifest["stages"].items()}


# -- what comes out -----------------------------------------------------------------------------------------------


def test_every_stage_is_done_and_every_table_readable(run: Run) -> None:
    states = {s.stage: s.state for s in runner(run).states()}
    assert states == dict.fromkeys(STAGES, "done")
    for stage in STAGES.values():
        assert all((run.path / name).is_file() for name in stage.files)
        for name in stage.tables:
            assert run.read(name).num_rows > 0 or name in MAY_BE_EMPTY
    manifest = run.manifest
    assert manifest["default_sae"] == "layers.1/e4/k4/recommended"
    assert {"config", "preset", "seed", "stages", "versions", "device", "models"} <= set(manifest)
    assert not list(run.path.glob(".staging*"))


def test_clips_say_why_they_were_left_out(run: Run) -> None:
    clips = {c["clip_id"]: c for c in run.read("clips").to_pylist()}
    assert clips["silent.wav"]["status"] == "silent"
    assert clips["short.wav"]["status"].startswith("too short")
    assert clips["slow.wav"]["status"].startswith("sample rate 4000 Hz")
    assert clips["broken.flac"]["status"].startswith("unreadable")
    assert clips["empty.mp3"]["status"] == "empty file"
    assert sum(c["status"] == "ok" for c in clips.values()) == 21


def test_long_recordings_become_windows_of_the_models_length(run: Run) -> None:
    clips = {c["clip_id"]: c for c in run.read("clips").to_pylist()}
    first, second = clips["low/low_3.wav@0"], clips["low/low_3.wav@1"]
    assert (first["start_s"], first["end_s"], second["start_s"], second["end_s"]) == (0.0, 2.0, 2.0, 3.5)
    assert first["recording_id"] == second["recording_id"] != clips["low/low_1.wav"]["recording_id"]
    assert first["split"] == second["split"]
    assert first["labels"] == ["low"]


def test_copies_are_mono_at_the_models_rate_under_opaque_names(run: Run) -> None:
    clips = [c for c in run.read("clips").to_pylist() if c["status"] == "ok"]
    assert {p.name for p in run.audio_dir.iterdir()} == {c["audio"] for c in clips}
    for clip in clips:
        head = sf.info(run.audio_dir / clip["audio"])
        assert (head.channels, head.samplerate) == (1, 16000)
        assert abs(head.duration - clip["duration_s"]) < 1e-3
        assert not any(word in clip["audio"] for word in ("low", "mid", "high"))


def test_clip_scores_are_equation_2_over_audio_tokens_alone(run: Run) -> None:
    sae_id = run.manifest["default_sae"]
    sae = TopKSAE.load(run.sae_dir(sae_id))
    shards = Shards(run, sae.cfg.hookpoint)
    tokens = {r["clip_id"]: r["audio_tokens"] for r in run.read("answers").to_pylist()}
    rows = run.read("clip_latents").filter(pc.field("sae_id") == sae_id)
    for clip_id in ("low/low_0.wav", "high/high_3.wav@1"):
        with torch.no_grad():
            z = sae.encode(shards.audio(clip_id)).double().numpy()
        assert len(z) == tokens[clip_id]
        mine = {r["latent_id"]: r for r in rows.filter(pc.field("clip_id") == clip_id).to_pylist()}
        assert set(mine) == set((z > 0).any(0).nonzero()[0].tolist())
        for k, row in mine.items():
            mean, coverage = z[:, k].sum() / len(z), (z[:, k] > 0).sum() / len(z)
            assert row["mean_activation"] == pytest.approx(mean, rel=1e-5)
            assert row["coverage"] == pytest.approx(coverage, rel=1e-6)
            assert row["representativeness"] == pytest.approx(mean * coverage, rel=1e-5)
            assert row["max_activation"] == pytest.approx(z[:, k].max(), rel=1e-6)


def test_latents_add_up_over_the_probing_set(run: Run) -> None:
    clips = {c["clip_id"]: c["split"] for c in run.read("clips").to_pylist()}
    tokens = {r["clip_id"]: r["audio_tokens"] for r in run.read("answers").to_pylist()}
    total = sum(n for c, n in tokens.items() if clips[c] == "train")
    expected: dict[tuple[str, int], list[float]] = {}
    for r in run.read("clip_latents").to_pylist():
        if clips[r["clip_id"]] == "train":
            entry = expected.setdefault((r["sae_id"], r["latent_id"]), [0.0, 0, 0.0])
            entry[0] += r["coverage"] * tokens[r["clip_id"]]
            entry[1] += 1
            entry[2] = max(entry[2], r["max_activation"])
    counts = {(h["sae_id"], h["latent_id"]): sum(h["counts"]) for h in run.read("histograms").to_pylist()}
    for latent in run.read("latents").to_pylist():
        active, clips_active, largest = expected.get((latent["sae_id"], latent["latent_id"]), [0.0, 0, 0.0])
        assert latent["density"] == pytest.approx(active / total, abs=1e-6)
        assert latent["clips_active"] == clips_active
        assert latent["max_activation"] == pytest.approx(largest)
        assert latent["dead"] == (clips_active == 0) == (latent["status"] == "dead")
        assert counts.get((latent["sae_id"], latent["latent_id"]), 0) == round(active)


def test_representatives_are_training_clips_in_order_one_window_a_recording(run: Run) -> None:
    clips = {c["clip_id"]: c for c in run.read("clips").to_pylist()}
    groups: dict[tuple, list[dict]] = {}
    for r in by_score(run, "representatives").sort_by("rank").to_pylist():
        groups.setdefault((r["sae_id"], r["method"], r["latent_id"], r["side"]), []).append(r)
    scores = {(r["sae_id"], r["latent_id"], r["clip_id"]): r for r in run.read("clip_latents").to_pylist()}
    column = {"ard": "representativeness", "mean": "mean_activation", "coverage": "coverage"}
    for (sae_id, method, latent, side), rows in groups.items():
        assert [r["rank"] for r in rows] == list(range(1, len(rows) + 1))
        assert len({clips[r["clip_id"]]["recording_id"] for r in rows}) == len(rows) <= 4
        assert {clips[r["clip_id"]]["split"] for r in rows} == {"train"}
        values = [r["score"] for r in rows]
        assert values == sorted(values, reverse=side == "most")
        for r in rows:
            found = scores.get((sae_id, latent, r["clip_id"]), {}).get(column[method], 0.0)
            assert r["score"] == pytest.approx(found)
            assert side == "least" or r["score"] > 0


def test_monosemanticity_is_equation_4_and_dead_latents_have_none(run: Run) -> None:
    vectors = {r["clip_id"]: np.array(r["vector"], dtype=float) for r in run.read("embeddings").to_pylist()}
    sides: dict[tuple, list[np.ndarray]] = {}
    for r in by_score(run, "representatives").to_pylist():
        sides.setdefault((r["sae_id"], r["method"], r["latent_id"], r["side"]), []).append(vectors[r["clip_id"]])
    scored = by_score(run, "monosemanticity").to_pylist()
    for row in scored[::17]:
        key = (row["sae_id"], row["method"], row["latent_id"])
        cosines = []
        for side in ("most", "least"):
            e = np.stack(sides[*key, side])
            cosines.append([e[i] @ e[j] for i in range(4) for j in range(i)])
        pooled = np.sqrt((np.var(cosines[0]) + np.var(cosines[1])) / 2)
        expected = (np.mean(cosines[0]) - np.mean(cosines[1])) / (pooled + 1e-6)
        assert row["score"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    usable = {(r["sae_id"], r["latent_id"]) for r in run.read("latents").to_pylist() if r["status"] == "ok"}
    assert {(r["sae_id"], r["latent_id"]) for r in scored} <= usable
    for method in ("ard", "mean", "coverage"):
        mine = [r for r in scored if r["method"] == method and r["sae_id"] == run.manifest["default_sae"]]
        by_rank = sorted(mine, key=lambda r: r["rank"])
        assert [r["rank"] for r in by_rank] == list(range(1, len(mine) + 1))
        assert [r["score"] for r in by_rank] == sorted((r["score"] for r in mine), reverse=True)


def test_a_concepts_captions_are_those_of_its_clips(run: Run) -> None:
    captions = {r["clip_id"]: r["caption"] for r in run.read("captions").to_pylist()}
    most: dict[tuple, list[str]] = {}
    for r in by_score(run, "representatives").filter(pc.field("side") == "most").sort_by("rank").to_pylist():
        most.setdefault((r["sae_id"], r["method"], r["latent_id"]), []).append(captions[r["clip_id"]])
    for concept in by_score(run, "concepts").to_pylist():
        assert concept["captions"] == most[concept["sae_id"], concept["method"], concept["latent_id"]]
        assert 1 <= len(concept["name"].split()) <= 5


def test_a_trace_averages_to_the_clips_mean_activation(run: Run) -> None:
    means = {(r["sae_id"], r["latent_id"], r["clip_id"]): r for r in run.read("clip_latents").to_pylist()}
    for r in run.read("traces").to_pylist()[::23]:
        mean = means[r["sae_id"], r["latent_id"], r["clip_id"]]["mean_activation"]
        assert np.mean(r["values"]) == pytest.approx(mean, rel=1e-4)
        assert r["seconds_per_token"] == pytest.approx(0.04)


def test_saes_are_saved_under_their_id_with_a_loss(run: Run) -> None:
    for row in run.read("saes").to_pylist():
        sae = TopKSAE.load(run.sae_dir(row["sae_id"]))
        assert (sae.cfg.sae_id, sae.cfg.d_sae, sae.cfg.k) == (row["sae_id"], row["d_sae"], row["k"])
        assert row["l0"] <= row["k"]
        assert row["loss_clean"] > 0
        assert row["held_out_clips"] > 0


# -- running again ------------------------------------------------------------------------------------------------


def test_running_again_does_nothing(copy: Run, work: Path) -> None:
    before = (copy.path / "manifest.json").read_bytes()
    assert main(["run", *arguments(work, copy.path)]) == 0
    assert main(["run", "--run", str(copy.path), "--quiet"]) == 0
    assert (copy.path / "manifest.json").read_bytes() == before


def test_only_what_depends_on_a_setting_runs_again(copy: Run) -> None:
    before = finished(copy)
    assert main(["run", "--run", str(copy.path), "--quiet", "--set", "names.top=3"]) == 0
    changed = [name for name, value in finished(copy).items() if value != before[name]]
    assert changed[0] == "names"  # and what reads its table
    assert by_score(copy, "concepts")["rank"].to_pylist() == [1, 2, 3] * 6


def test_status_says_what_is_stale_and_why(copy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--run", str(copy.path), "--set", "train.steps=31", "--json"]) == 0
    states = {s["stage"]: (s["state"], s["why"]) for s in json.loads(capsys.readouterr().out)}
    assert states["activations"] == ("done", "")
    assert states["sae"] == ("stale", "setting train.steps changed from 30 to 31")
    assert states["names"][0] == "stale"
    assert states["embeddings"] == ("done", "")
    assert main(["status", "--run", str(copy.path)]) == 0
    assert "names           done" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["model.dtype=bfloat16", "model.quantisation=int4"])
def test_another_precision_makes_stale_what_the_model_computed(
    key: str, copy: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--run", str(copy.path), "--set", key, "--json"]) == 0
    states = {s["stage"]: (s["state"], s["why"]) for s in json.loads(capsys.readouterr().out)}
    assert states["clips"] == states["embeddings"] == ("done", "")
    assert states["activations"] == ("stale", "the model audio_lm changed")
    assert states["captions"] == ("stale", "the model captioner changed")


def test_a_precision_acts_and_one_that_cannot_is_said(copy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["activations", "--run", str(copy.path), "--set", "model.dtype=bfloat16", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["activations", "--run", str(copy.path), "--set", "model.dtype=float16", "--quiet"]) == 2
    assert "float16 does not work on cpu; use one of float32, bfloat16" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["clip_latents", "concepts"])
def test_a_damaged_table_is_noticed_and_mended(copy: Run, name: str) -> None:
    path = copy.path / "tables" / f"{name}.parquet"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    stale = [s.stage for s in runner(copy).states() if "damaged" in s.why]
    assert stale == ["latents" if name == "clip_latents" else "names"]
    assert main(["run", "--run", str(copy.path), "--quiet"]) == 0
    assert path.read_bytes() == good


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_an_interruption_at_any_point_is_made_good(copy: Run, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before, while, or after the outputs of `representatives` take their places, without the manifest."""
    expected = {p.name: p.read_bytes() for p in (copy.path / "tables").iterdir()}
    publish = Staging.publish

    def killed(self: Staging) -> None:
        if when == "between":
            self.rows.pop("traces")
        if when != "before":
            publish(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Staging, "publish", killed)
    assert main(["run", "--run", str(copy.path), "--quiet", "--set", 'rank.methods=["ard"]']) == 130
    monkeypatch.undo()
    states = {s.stage: s.state for s in runner(copy).states()}
    assert states["sae"] == "done"
    assert states["monosemanticity"] != "done"
    assert main(["run", "--run", str(copy.path), "--quiet"]) == 0
    assert {p.name: p.read_bytes() for p in (copy.path / "tables").iterdir()} == expected


def test_a_new_file_changes_the_clips(work: Path, tmp_path: Path, copy: Run) -> None:
    clips = tmp_path / "clips"
    shutil.copytree(work / "clips", clips)
    args = [str(clips) if a == str(work / "clips") else a for a in arguments(work, copy.path)]
    assert main(["clips", "--run", str(copy.path), "--quiet", "--set", f"data.audio={clips}"]) == 0
    rows = copy.read("clips").num_rows
    sf.write(clips / "new.wav", 0.1 * np.random.default_rng(1).normal(size=16000), 16000)
    assert main(["run", *args]) == 0
    assert copy.read("clips").num_rows == rows + 1
    assert "new.wav" in copy.read("embeddings")["clip_id"].to_pylist()


# -- steering and mistakes ----------------------------------------------------------------------------------------


def steer(run: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["steer", "--run", str(run), "--max-new-tokens", "6", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_steer_prints_one_json_object(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = steer(run.path, capsys, "--clip", "low/low_0.wav", "--latent", "3", "--value", "1000", "--prompt", "What?")
    assert found["latents"][0]["latent_id"] == 3
    assert found["latents"][0]["dead_zone"] == 0
    assert found["prompt"] == "What?"
    assert found["sae_id"] == run.manifest["default_sae"]
    assert isinstance(found["baseline"], str)
    assert isinstance(found["steered"], str)
    assert found["norm_ratio"] > 1


def test_steer_takes_a_file_and_a_value_of_zero_may_vanish(
    run: Run, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(work / "clips" / "mid" / "mid_3.wav")
    found = steer(run.path, capsys, "--clip", file, "--latent", "0", "--value", "-1", "--positions", "audio")
    assert found["cut_to_window"] is True
    assert found["latents"][0]["dead_zone"] == 1


@pytest.mark.parametrize(
    ("arguments_", "words"),
    [
        ("steer --run RUN --clip nope --latent 1 --value 1", "neither a clip_id"),
        ("steer --run RUN --clip silent.wav --latent 1 --value 1", "left out of the run (silent)"),
        ("steer --run RUN --clip low/low_0.wav --latent 9999 --value 1", "from 0 to 127"),
        ("steer --run RUN --clip low/low_0.wav --latent 1 --value nan", "finite"),
        ("steer --run RUN --clip low/low_0.wav --latent x --value 1", "invalid int value: 'x'"),
        ("steer --run RUN --clip low/low_0.wav --latent 1 --value 1 --sae a/b/c/d", "no SAE 'a/b/c/d'"),
        ("steer --run RUN --clip low/low_0.wav --latent 1 --latent 2 --value 1", "one value for each"),
        ("run --run RUN --set train.stpes=1", "did you mean steps?"),
        ("run --run RUN --set sae.0.layer=9", "Layer 9 does not exist"),
        ("run --run RUN --model /nope", "'/nope' is neither a model folder nor a hub id"),
        ("run --run RUN --device tpu", "Device 'tpu' is not there"),
        ("run --run RUN --set data.window_s=9", "hears at most 2 s"),
        ("run --run NEW --audio /nope --model LM", "/nope does not exist"),
        ("run --preset dmo", "did you mean demo?"),
        ("names --run NEW", "has no manifest.json yet"),
        ("run --run RUN --set stages_left_out=['nap']", "'nap', which is no stage"),
        ("stats --run RUN", "did you mean status?"),
        ("run --run RUN --frobnicate", "unrecognized arguments"),
        ("clips", "required: --run"),
    ],
)
def test_mistakes_get_one_sentence_and_status_2(
    copy: Run, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments_: str, words: str
) -> None:
    text = (
        arguments_.replace("RUN", str(copy.path)).replace("NEW", str(tmp_path / "new")).replace("LM", str(work / "lm"))
    )
    assert main(text.split()) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


def test_nothing_usable_is_a_mistake(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    args = ["run", "--audio", str(tmp_path / "silent.wav").replace("/silent.wav", ""), "--run", str(tmp_path / "run")]
    assert main([*args, "--model", str(work / "lm"), "--quiet"]) == 2
    assert "None of the 1 clips" in capsys.readouterr().err
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_two_processes_cannot_write_to_one_run(copy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    with (copy.path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["run", "--run", str(copy.path), "--quiet"]) == 2
    assert "Another process is working" in capsys.readouterr().err


def test_a_clip_is_embedded_once(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = copy.read("embeddings")
    heard: list[int] = []
    real = Clap.embed_audio
    monkeypatch.setattr(Clap, "embed_audio", lambda self, x, *a, **o: heard.append(len(x)) or real(self, x, *a, **o))
    again = runner(copy)
    again.run_all(["embeddings"], force=True)
    assert heard == []
    assert Run.open(copy.path).read("embeddings").equals(before)
