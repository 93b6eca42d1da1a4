"""Stage `activations` on a handful of clips: what lies on disk is what the model computes, under every switch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ard.activations import estimate
from ard.activations.formats import Stored, decode, encode, token_bytes
from ard.activations.shard import open_shard, shard_path
from ard.activations.shuffled import ShuffledReader
from ard.models.audio_lm import AudioLM
from ard.store import Run, RunError
from ard.token_source import TensorSource
from precompute.__main__ import main
from precompute.shards import Shards
from precompute.stages import STAGES
from tests.fixtures.models import save_tiny_audio_lm, save_tiny_clap
from tests.pipeline.test_run_small import arguments, make_clips

LEFT_OUT = [name for name in STAGES if name != "clips"]
LAYERS = (0, 2)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose clips are there: 21, some of them windows of the same recording."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("activations")
    save_tiny_audio_lm(root / "lm")
    save_tiny_clap(root / "clap")
    make_clips(root / "clips")
    settings = ["--set", f"stages_left_out={LEFT_OUT}", "--set", "activations.layers=[0,2]"]
    settings += ["--set", "sae=[{layer=2,k=4}]", "--set", "ablation.layers=[]"]
    assert main(["run", *arguments(root, root / "start"), *settings]) == 0
    return root


@pytest.fixture(scope="module")
def extract(work: Path) -> Callable[..., Run]:
    """The run with its activations under some settings."""
    made: dict[tuple[str, ...], Run] = {}

    def make(*settings: str) -> Run:
        if settings not in made:
            path = work / f"run{len(made)}"
            shutil.copytree(work / "start", path)
            sets = [part for item in settings for part in ("--set", item)]
            assert main(["activations", "--run", str(path), "--quiet", *sets]) == 0
            made[settings] = Run.open(path)
        return made[settings]

    return make


def files(run: Run) -> dict[str, bytes]:
    return {str(p.relative_to(run.path)): p.read_bytes() for p in run.activations_dir.glob("layers.*/*")}


def test_what_is_stored_is_what_the_model_computes(work: Path, extract: Callable[..., Run]) -> None:
    """Each clip alone, without neighbours or padding, through the whole model with all its hidden states."""
    run, lm = extract(), AudioLM.load(work / "lm")
    audio = {c["clip_id"]: c["audio"] for c in run.read("clips").to_pylist()}
    import soundfile as sf

    for row in run.read("answers").to_pylist()[::5]:
        samples = sf.read(run.audio_dir / audio[row["clip_id"]], dtype="float32")[0]
        inputs = lm.prepare([samples], [row["question"]], [row["answer"]])
        with torch.no_grad():
            hidden = lm.model(**inputs.tensors, output_hidden_states=True).hidden_states
        for layer in LAYERS:
            shards, x = Shards(run, f"layers.{layer}"), hidden[layer + 1][0]
            np.testing.assert_allclose(shards.audio(row["clip_id"]), x[inputs.audio[0]], atol=4e-3)
            both = torch.cat([x[inputs.audio[0]], x[inputs.text[0]]])
            np.testing.assert_allclose(shards.gather([row["clip_id"]], "all").float(), both, atol=4e-3)


def test_files_and_table_describe_themselves(work: Path, extract: Callable[..., Run]) -> None:
    run, lm = extract(), AudioLM.load(work / "lm")
    answers = run.read("answers").to_pylist()
    tokens = sum(r["audio_tokens"] + r["text_tokens"] for r in answers)
    rows = {r["hookpoint"]: r for r in run.read("hookpoints").to_pylist()}
    assert set(rows) == {"layers.0", "layers.2"}
    for hookpoint, row in rows.items():
        shards = [open_shard(p) for p in sorted((run.activations_dir / hookpoint).iterdir())]
        assert len(shards) == 3  # 21 clips, 8 a file
        for shard in shards:
            assert (shard.header.hookpoint, shard.header.format, shard.header.d_in) == (hookpoint, "float16", 32)
            assert shard.header.model == f"lm@{lm.revision}"
        assert row["tokens"] == tokens == sum(s.header.tokens for s in shards)
        assert row["bytes"] == sum(p.stat().st_size for p in (run.activations_dir / hookpoint).iterdir())
        assert row["bytes"] == len(shards) * 4096 + tokens * token_bytes(32, "float16")
        assert 0 < row["storage_fvu"] < 1e-6
        norm = np.concatenate([s.norm for s in shards])
        out = np.concatenate([s.sink for s in shards])
        assert row["outliers"] == out.sum()
        assert row["norm_median"] == pytest.approx(np.median(norm[~out]))
        assert row["norm_max"] == pytest.approx(norm.max())


def test_a_set_is_every_token_of_its_clips(extract: Callable[..., Run]) -> None:
    """`reader` hands out in one pass exactly what `gather` returns, text as often as it counts."""
    run = extract()
    shards = Shards(run, "layers.2")
    clips = [r["clip_id"] for r in run.read("answers").to_pylist()][::2]
    for tokens, weight in (("audio", 1), ("all", 1), ("all", 3)):
        x = shards.gather(clips, tokens, weight)
        reader = shards.reader(clips, tokens, weight, buffer_bytes=3 << 20)
        assert reader.tokens == len(x)
        (got,) = reader.batches(len(x), 1, seed=1)
        assert not got.equal(x)
        assert sorted(map(tuple, got.tolist())) == sorted(map(tuple, x.tolist()))


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int8"])
def test_other_formats_hold_the_same_values(extract: Callable[..., Run], name: str) -> None:
    exact, run = extract("activations.dtype=float32"), extract(f"activations.dtype={name}")
    clips = [r["clip_id"] for r in run.read("answers").to_pylist()]
    x, got = (Shards(r, "layers.2").gather(clips, "all") for r in (exact, run))
    assert got.equal(decode(Stored(*encode(x, name))))
    row = run.read("hookpoints").to_pylist()[1]
    deviation = (x - x.mean(0)).double().square().sum()
    assert row["storage_fvu"] == pytest.approx(float((got.double() - x).square().sum() / deviation), rel=0.2, abs=1e-12)
    assert row["storage_fvu"] < 1e-3


def test_workers_change_no_byte(extract: Callable[..., Run]) -> None:
    assert files(extract("activations.workers=0")) == files(extract("activations.workers=3")) == files(extract())


def test_sinks_are_masked_or_kept_and_said(extract: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    """A factor of 1.05 marks many tokens: masked, they are not in a training set; kept, they are."""
    factor = "activations.sink_factor=1.05"
    masked, kept = extract(factor), extract(factor, "activations.sinks=keep")
    clips = [r["clip_id"] for r in masked.read("answers").to_pylist()]
    row, other = (r.read("hookpoints").to_pylist()[1] for r in (masked, kept))
    assert row["outliers"] == other["outliers"] > 0
    assert (row["masked"], other["masked"]) == (True, False)
    assert row["outlier_norm_median"] > row["norm_median"]
    sizes = [len(Shards(r, "layers.2").gather(clips, "all")) for r in (masked, kept)]
    assert sizes == [row["tokens"] - row["outliers"], row["tokens"]]
    assert [Shards(r, "layers.2").reader(clips, "all").tokens for r in (masked, kept)] == sizes
    assert main(["activations", "--run", str(masked.path), "--force"]) == 0
    assert "none masked" not in capsys.readouterr().out.split("layers.2")[-1]


def test_one_pass_reads_all_layers_and_no_later_one_runs(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answering runs all four layers; reading layers 0 and 2 runs 0, 1 and 2 once a batch, and 3 never."""
    shutil.copytree(work / "start", tmp_path / "run")
    calls = dict.fromkeys(range(4), 0)
    generating = []
    load, generate = AudioLM.load, AudioLM.generate

    def counted(*args: object, **more: object) -> AudioLM:
        lm = load(*args, **more)
        for layer in calls:
            lm.layer(layer).register_forward_hook(
                lambda *_, i=layer: None if generating else calls.__setitem__(i, calls[i] + 1)
            )
        return lm

    def answering(*args: object, **more: object) -> list[str]:
        generating.append(1)
        try:
            return generate(*args, **more)
        finally:
            generating.pop()

    monkeypatch.setattr(AudioLM, "load", counted)
    monkeypatch.setattr(AudioLM, "generate", answering)
    assert main(["activations", "--run", str(tmp_path / "run"), "--quiet"]) == 0
    batches = 2 + 2 + 2  # 8, 8 and 5 clips a file, 4 a batch
    assert calls == {0: batches, 1: batches, 2: batches, 3: 0}


def test_too_little_room_is_said_before_anything_is_read(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(work / "start", tmp_path / "run")
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda _: SimpleNamespace(free=estimate.SPARE + 1000))
    monkeypatch.setattr(AudioLM, "generate", lambda *_, **__: pytest.fail("a clip was read"))
    assert main(["activations", "--run", str(tmp_path / "run"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "The activations need 0.00 GB more" in error
    assert "--set activations.dtype=int8" in error
    assert len(error.strip().splitlines()) == 1


def test_the_estimate_is_above_what_is_written_and_not_by_much(extract: Callable[..., Run], work: Path) -> None:
    run, lm = extract(), AudioLM.load(work / "lm")
    clips = run.read("clips").to_pylist()
    audio = sum(lm.audio_token_count(round(c["duration_s"] * 16000)) for c in clips if c["status"] == "ok")
    rows = run.read("answers").to_pylist()
    assert audio == sum(r["audio_tokens"] for r in rows)
    bound = estimate.text_bound([lm.prompt_tokens(r["question"]) for r in rows], 5)
    longest = max(r["text_tokens"] for r in rows)
    assert longest <= bound <= longest + 40


def test_a_damaged_file_is_found_and_it_alone_is_written_again(
    extract: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(extract().path, tmp_path / "run")
    run = Run(tmp_path / "run")
    command = ["--run", str(run.path)]
    assert main(["status", *command, "--verify"]) == 0
    assert "6 files of activations are as they were written" in capsys.readouterr().out
    path = shard_path(run.activations_dir / "layers.2", 1)
    whole, other = path.read_bytes(), path.with_name("00000.safetensors").stat().st_mtime_ns
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert main(["status", *command]) == 0
    assert main(["status", *command, "--verify"]) == 1
    assert "layers.2/00001.safetensors is damaged (its hash differs); delete it" in capsys.readouterr().err
    path.unlink()
    assert main(["activations", *command]) == 0
    assert "2 of 3 files are there from an earlier run" in capsys.readouterr().out
    assert path.read_bytes() == whole
    assert path.with_name("00000.safetensors").stat().st_mtime_ns == other
    assert main(["status", *command, "--verify"]) == 0


# -- without storing --------------------------------------------------------------------------------------------------


def live(run: Run, work: Path) -> Run:
    """The run with a model, as a running stage has it."""
    from precompute.config import build
    from precompute.stages.base import Context, Models

    config = build(run.manifest["config"])
    run.live = Context(run, config, None, Models(config), quiet=True).read_live  # type: ignore[arg-type]
    return run


def test_without_storing_the_same_values_are_computed(work: Path, extract: Callable[..., Run]) -> None:
    """Norms and marks alone lie on disk; reading a clip, a set, or a pass gives what was stored otherwise."""
    stored, bare = extract(), live(extract("activations.store=none"), work)
    assert sum(map(len, files(bare).values())) < sum(map(len, files(stored).values())) / 4
    clips = [r["clip_id"] for r in bare.read("answers").to_pylist()]
    one, other = Shards(stored, "layers.2"), Shards(bare, "layers.2")
    assert (one.stored, other.stored) == (True, False)
    np.testing.assert_allclose(other.audio(clips[3]), one.audio(clips[3]), atol=5e-3)
    for weight in (1, 2):
        x = one.gather(clips[::2], "all", weight)
        np.testing.assert_allclose(other.gather(clips[::2], "all", weight).float(), x.float(), atol=5e-3)
        reader, streamed = (s.reader(clips[::2], "all", weight, 3 << 20) for s in (one, other))
        assert streamed.tokens == reader.tokens == len(x)
        (got,) = streamed.batches(len(x), 1, seed=0)
        assert got.dtype == x.dtype
        assert not got.equal(x)
        np.testing.assert_allclose(got.float().sort(0).values, x.float().sort(0).values, atol=5e-3)
        again = torch.cat(list(other.reader(clips[::2], "all", weight, 3 << 20).batches(30, 10, seed=0, skip=2)))
        assert again.equal(torch.cat(list(streamed.batches(30, 10, seed=0)))[60:])
        sample = streamed.sample(40, seed=1)
        assert sample.shape == (40, 32)
        assert sample.equal(streamed.sample(40, seed=1))
        nearest = torch.cdist(sample.float(), x.float()).min(1).values
        assert nearest.max() < 0.05


def test_without_storing_and_without_a_model_is_said(extract: Callable[..., Run]) -> None:
    run = Run(extract("activations.store=none").path)
    clip = run.read("answers")["clip_id"][0].as_py()
    with pytest.raises(RunError, match=r"stores no activations of layers\.2 and no model is loaded"):
        Shards(run, "layers.2").audio(clip)


def test_large_sets_are_read_in_random_order(extract: Callable[..., Run], work: Path) -> None:
    """Under a small buffer_mb the source is a reader with the tokens that memory would hold."""
    from dataclasses import replace

    from precompute.config import SAEEntry, build
    from precompute.sources import open_source
    from precompute.stages.base import Context, Models

    run = extract("activations.dtype=float32")
    config = build(run.manifest["config"])
    config = replace(config, train=replace(config.train, text_weight=40))
    roomy = Context(run, config, None, Models(config), quiet=True)  # type: ignore[arg-type]
    entry = SAEEntry(layer=2)
    held = open_source(roomy, entry)
    assert isinstance(held, TensorSource)
    narrow = replace(roomy, config=replace(config, activations=replace(config.activations, buffer_mb=1)))
    source = open_source(narrow, entry)
    assert isinstance(source, ShuffledReader)
    assert (source.tokens, source.d_in) == (held.tokens, 32)
    (x,) = source.batches(source.tokens, 1, 0)
    assert sorted(map(tuple, x.tolist())) == sorted(map(tuple, held.x.tolist()))
