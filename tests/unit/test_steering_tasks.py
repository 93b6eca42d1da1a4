from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ard import tables
from ard.store import Run
from precompute.config import ConfigError, build
from precompute.stages.base import Context, Models
from precompute.steering_tasks import RunTask, _ordered, _splits, label_matrix, named, tasks_of

ENTRY = {"source": "low", "target": "high", "prompt": "Is it low or high?", "answers": ["low", "high"]}


def context(path: Path, tree: dict, clips: list[dict] | None = None) -> Context:
    run = Run.create(path / "run")
    if clips is not None:
        run.write("clips", tables.from_rows("clips", [CLIP | clip for clip in clips]))
    config = build(tree)
    return Context(run, config, run.staging("steering"), Models(config), quiet=True)  # type: ignore[arg-type]


CLIP = {"path": "a.wav", "dataset": "d", "split": "train", "labels": [], "status": "ok", "recording_id": "r"}


def test_the_demo_world_has_four_speaker_tasks_and_ten_swaps(tmp_path: Path) -> None:
    found = tasks_of(context(tmp_path, {}))
    assert [one.task.name for one in found[:4]] == ["neutral>happy", "sad>happy", "happy>angry", "female>male"]
    assert len(found) == 14
    neutral, swap = found[0], found[4]
    assert (neutral.task.source_label, neutral.task.target_answer) == ("emotion:neutral", "Happy.")
    assert neutral.fits(["speech", "emotion:neutral", "gender:male", "rain"])
    assert swap.fits(["dog_bark"])
    assert not swap.fits(["dog_bark", "rain"])
    assert swap.task.judge(swap.task.target_answer) == "target"
    assert swap.task.judge(swap.task.source_answer) == "source"
    assert len(tasks_of(context(tmp_path, {"steering": {"tasks": 2}}))) == 6


def test_a_users_task_comes_from_the_configuration(tmp_path: Path) -> None:
    own = {"data": {"source": "audio", "audio": "x"}, "steering": {"task": [ENTRY | {"source_label": "bass"}]}}
    (one,) = tasks_of(context(tmp_path, own))
    assert (one.task.kind, one.task.source_label, one.task.target_label) == ("label", "bass", "high")
    assert one.world is None
    assert one.fits(["x", "bass"])
    assert one.task.judge("It is HIGH.") == "target"
    assert tasks_of(context(tmp_path, {"data": {"source": "audio", "audio": "x"}})) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": ["high", "middle"]}, r"steering\.task\.0: 'low' is not among the answers high, middle"),
        ({"answers": ["low"]}, r"steering\.task\.0\.answers"),
        ({"prompt": ""}, r"steering\.task\.0\.prompt"),
        ({"word": "x"}, r"There is no setting steering\.task\.0\.word"),
    ],
)
def test_a_task_that_cannot_be_used_is_one_sentence(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tasks_of(context(tmp_path, {"steering": {"task": [ENTRY | change]}}))


def test_no_split_both_chooses_and_measures(tmp_path: Path) -> None:
    def splits(folder: str, *names: str) -> tuple[set[str], set[str]]:
        clips = [{"clip_id": str(i), "split": name} for i, name in enumerate(names)]
        return _splits(context(tmp_path / folder, {}, clips))

    assert splits("a", "train", "selection", "evaluation", "validation") == ({"selection"}, {"evaluation"})
    assert splits("b", "train", "held_out") == ({"train"}, {"held_out"})
    assert splits("c", "train", "selection", "held_out") == ({"selection"}, {"held_out"})
    assert splits("d", "train") == ({"train"}, set())


def test_one_window_a_recording_and_the_plainest_clips_first() -> None:
    clips = [
        {"clip_id": "a@0", "recording_id": "a", "labels": ["x", "y"]},
        {"clip_id": "a@1", "recording_id": "a", "labels": ["x"]},
        {"clip_id": "b", "recording_id": "b", "labels": ["x", "y", "z"]},
        {"clip_id": "c", "recording_id": "c", "labels": ["x", "y"]},
    ]
    assert [c["clip_id"] for c in _ordered(0, clips)] == ["a@1", "c", "b"]
    assert _ordered(0, clips) == _ordered(0, clips[::-1])


def test_latents_by_name_share_words_with_the_answer() -> None:
    def concept(latent: int, name: str, rank: int, **more: str) -> dict:
        m = {"monosemanticity": 1.0, "rank": rank, "captions": [], "namer": "n", "description": ""}
        return {"sae_id": "s", "method": "ard", "latent_id": latent, "name": name, **m, **more}

    rows = [
        concept(1, "a dog", 4),
        concept(2, "the dog barking", 3),
        concept(3, "dog", 1, description="A dog barking."),
        concept(4, "rain", 2),
        concept(5, "dog barking", 1, method="mean"),
        concept(6, "dog barking", 1, sae_id="other"),
    ]
    assert named(tables.from_rows("concepts", rows), "s", "Dog barking.") == [3, 2, 1]
    assert named(tables.from_rows("concepts", rows), "s", "A the of.") == []


def test_labels_as_a_matrix(tmp_path: Path) -> None:
    clips = tables.from_rows("clips", [CLIP | {"clip_id": "1", "labels": ["a", "b"]}, CLIP | {"clip_id": "2"}])
    assert np.array_equal(label_matrix(clips, ["b", "c"]), [[True, False], [False, False]])
    assert label_matrix(clips, []).shape == (2, 0)


def test_a_tasks_own_clips_need_not_be_of_the_demo_world(tmp_path: Path) -> None:
    (one,) = tasks_of(context(tmp_path, {"data": {"source": "audio"}, "steering": {"task": [ENTRY]}}))
    assert isinstance(one, RunTask)
    assert not one.fits(["high"])


def test_a_repeated_answer_is_no_answer_unless_it_may_be_named(tmp_path: Path) -> None:
    again = "It is treble. " * 3
    for repeats, verdict in (("degenerate", "degenerate"), ("named", "target")):
        own = {"data": {"source": "audio", "audio": "x"}, "steering": {"task": [ENTRY], "repeats": repeats}}
        (one,) = tasks_of(context(tmp_path / repeats, own))
        assert one.task.judge(again.replace("treble", one.task.target)) == verdict
