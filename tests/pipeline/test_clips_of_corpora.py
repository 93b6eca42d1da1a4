"""Stage clips on several corpora at once: every clip has a status, and nothing that is tested is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from ard.store import Run
from precompute.config import Config, build
from precompute.runner import Runner
from tests.fixtures import corpora
from tests.fixtures.models import save_tiny_audio_lm

CORPUS = [
    {"name": "wavcaps", "part": "AudioSet_SL", "split": "train"},
    {"name": "iemocap", "split": "train", "options": {"sessions": [1, 2]}},
    {"name": "fsd50k", "part": "eval", "split": "evaluation"},
    {"name": "audiobench", "split": "steering"},
]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpora")
    save_tiny_audio_lm(root / "lm")
    corpora.wavcaps(root / "all/WavCaps")
    corpora.iemocap(root / "all/IEMOCAP_full_release")
    corpora.fsd50k(root / "all/FSD50K")
    corpora.audiobench(root / "all/AudioLLMs")
    return root


def config(work: Path, **data: Any) -> Config:
    data = {"source": "corpora", "root": str(work / "all"), "corpus": CORPUS, "long": "first"} | data
    return build({"data": data, "model": {"audio_lm": str(work / "lm"), "device": "cpu"}})


def clips(work: Path, name: str, **data: Any) -> tuple[Run, dict[str, dict[str, Any]]]:
    run = Run.create(work / name)
    Runner(run, config(work, **data), quiet=True).run_all(["clips"])
    return run, {row["clip_id"]: row for row in run.read("clips").to_pylist()}


@pytest.fixture(scope="module")
def made(work: Path) -> tuple[Run, dict[str, dict[str, Any]]]:
    return clips(work, "run")


def test_every_clip_has_its_split_labels_and_a_status(made: tuple[Run, dict[str, dict[str, Any]]]) -> None:
    run, found = made
    assert len(found) == 6 + 14 + 2 + 8
    assert {row["dataset"]: row["split"] for row in found.values()} == {
        "wavcaps": "train",
        "iemocap": "train",
        "fsd50k": "evaluation",
        "iemocap_emotion_recognition": "steering",
        "voxceleb_gender_test": "steering",
    }
    bad = {name: row["status"] for name, row in found.items() if row["status"] != "ok"}
    assert bad == {
        "wavcaps/AudioSet_SL/Ymissing0001": "missing file",
        "wavcaps/AudioSet_SL/Yb0RFKhbpFJA#2": "repeated id: wavcaps/AudioSet_SL/Yb0RFKhbpFJA",
        "iemocap/Ses01F_impro01_M001": "missing file",
        "iemocap/Ses01F_impro01_F000": "held out: same recording as audiobench/iemocap_emotion_recognition/00000",
        "iemocap/Ses01F_impro01_M000": "held out: same recording as audiobench/iemocap_emotion_recognition/00001",
        "iemocap/Ses02F_impro01_M001": "held out: same recording as audiobench/iemocap_emotion_recognition/00002",
        "fsd50k/175151": "missing file",
        "audiobench/iemocap_emotion_recognition/00003": "missing file: the row holds no sound",
    }
    one = found["iemocap/Ses02M_script01_1b_F000"]
    assert (one["labels"], one["speaker"], one["emotion"], one["transcript"]) == (
        ["happy", "female"],
        "Ses02F",
        "happy",
        None,
    )
    assert found["wavcaps/AudioSet_SL/Y-0xzrMun0Rs"]["caption"] == "A dog barks — twice."
    kept = {row["audio"] for row in found.values() if row["status"] == "ok"}
    assert {file.name for file in run.audio_dir.iterdir()} == kept


def test_sound_from_a_parquet_row_is_the_utterances_own(made: tuple[Run, dict[str, dict[str, Any]]]) -> None:
    run, found = made
    row = found["audiobench/voxceleb_gender_test/00002"]
    heard, rate = sf.read(run.audio_dir / row["audio"])
    assert abs(heard - corpora.noise("id10270-1")).max() <= 3 / 32768
    assert (rate, row["sample_rate"], row["labels"]) == (16000, 16000, ["female"])
    assert row["sha256"] is not None


def test_a_long_recording_gives_its_first_window(made: tuple[Run, dict[str, dict[str, Any]]]) -> None:
    row = made[1]["wavcaps/AudioSet_SL/Ylong0000001"]
    assert (row["start_s"], row["end_s"], row["sample_rate"]) == (0.0, 2.0, 8000)


def test_the_manifest_says_what_was_odd(made: tuple[Run, dict[str, dict[str, Any]]]) -> None:
    said = made[0].manifest["corpora"]
    assert "wavcaps/AudioSet_SL: clips without a caption: 1 (Ynocaption01.wav)" in said
    assert "1 training clips are in a held-out set too, left out of training: iemocap/Ses01F_impro01_F000" in said
    assert said[-1] == (
        "by their sound: 2 training clips are in a held-out set too, left out of training: "
        "iemocap/Ses01F_impro01_M000, iemocap/Ses02F_impro01_M001"
    )


def test_the_overlap_may_be_kept_and_is_said(work: Path) -> None:
    run, found = clips(work, "kept", overlap="keep")
    assert {found[f"iemocap/{name}"]["status"] for name in ("Ses01F_impro01_F000", "Ses02F_impro01_M001")} == {"ok"}
    assert sum("kept in training" in sentence for sentence in run.manifest["corpora"]) == 2


def test_a_file_that_comes_back_makes_the_stage_stale(work: Path) -> None:
    run = Run.create(work / "run")
    runner = Runner(run, config(work), quiet=True)
    [state] = [s for s in runner.states() if s.stage == "clips"]
    assert state.state == "done"
    file = corpora.sound(work / "all/FSD50K/FSD50K.eval_audio/175151.wav")
    try:
        [state] = [s for s in Runner(run, config(work), quiet=True).states() if s.stage == "clips"]
        assert state.state == "stale"
    finally:
        file.unlink()
