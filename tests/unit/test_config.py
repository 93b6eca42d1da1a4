"""Settings: presets, files, --set, and what is refused."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from precompute import config
from precompute.config import Config, ConfigError


@pytest.mark.parametrize("name", config.presets())
def test_every_preset_loads_and_survives_the_manifest(name: str) -> None:
    loaded = config.load(name)
    assert loaded.preset == name
    assert config.build(config.to_dict(loaded)) == loaded


@pytest.mark.parametrize(
    "section", [c for c in vars(config).values() if dataclasses.is_dataclass(c)], ids=lambda c: c.__name__
)
def test_every_setting_is_explained(section: type) -> None:
    source = inspect.getsource(section)
    if section is not Config:
        assert source.count('"""') == 2 * (len(dataclasses.fields(section)) + 1)


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seed = 5\n[train]\nsteps = 7\nbatch = 9\n")
    loaded = config.load("demo", file, {"model.device": "cpu"}, ["train.steps=8", "model.clap=some/where"])
    assert (loaded.seed, loaded.train.steps, loaded.train.batch) == (5, 8, 9)
    assert loaded.model.clap == "some/where"
    assert loaded.model.audio_lm == config.load("demo").model.audio_lm


def test_set_reaches_into_the_list_of_saes_and_one_split() -> None:
    loaded = config.load("demo", sets=["sae.0.k=3", "data.clips.train=11"])
    plain = config.load("demo")
    assert loaded.sae[0] == dataclasses.replace(plain.sae[0], k=3)
    assert loaded.sae[1:] == plain.sae[1:]
    assert loaded.data.clips == {**plain.data.clips, "train": 11}


def test_layers_are_those_of_the_saes_and_those_asked_for() -> None:
    sets = ["sae=[{layer=4},{layer=1},{layer=4,k=2}]", "activations.layers=[0]"]
    assert config.load("demo", sets=sets).layers == (0, 1, 4)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("train.stpes=3", ["train.stpes", "did you mean steps?"]),
        ("modle.device=cpu", ["modle", "did you mean model?"]),
        ("sae.0.kk=2", ["sae.0.kk", "did you mean k?"]),
        ("sae.7.k=2", ["sae.7 does not exist", "2 entries"]),
        ("train.steps=0", ["train.steps = 0", "greater than or equal to 1"]),
        ("train.lr=nan", ["train.lr", "nan"]),
        ("train.lr=inf", ["train.lr", "finite"]),
        ("data.source=web", ["data.source = 'web'", "'soundscape', 'audio'", "'wavcaps'"]),
        ("rank.p=1", ["rank.p = 1", "greater than or equal to 2"]),
        ("activations.questions=[]", ["activations.questions", "at least 1"]),
        ("sae=[]", ["sae", "at least 1"]),
        ("sae=[{k=2},{k=2}]", ["sae.1 repeats sae.0"]),
        ("nothing", ["'nothing'", "key=value"]),
        ("=3", ["key=value"]),
    ],
)
def test_mistakes_get_one_sentence(item: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load("demo", sets=[item])
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_missing_files_and_presets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no preset 'dmo' \(did you mean demo\?\)"):
        config.load("dmo")
    with pytest.raises(ConfigError, match="does not exist"):
        config.load("demo", tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[train\n")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        config.load("demo", broken)


def test_there_are_at_least_eight_questions() -> None:
    assert len(set(config.load("demo").activations.questions)) >= 8


def test_a_preset_may_go_over_another() -> None:
    demo, full = config.load("demo"), config.load("demo-full")
    assert demo.stages_left_out == ("ablation",)
    assert full.stages_left_out == ()
    assert full.data.clips["train"] > demo.data.clips["train"]
    assert (full.sae, full.model, full.activations.questions) == (demo.sae, demo.model, demo.activations.questions)
    assert full.preset == "demo-full"
    assert set(full.ablation.layers) <= set(full.layers)


def test_the_paper_preset_is_the_papers() -> None:
    paper = config.load("paper")
    assert [(s.layer, s.expansion, s.k, s.recipe) for s in paper.sae] == [(n, 8, 250, "paper") for n in (26, 16, 5)]
    assert (paper.train.steps, paper.train.batch, paper.train.lr) == (100_000, 4096, 1e-5)
    assert (paper.rank.p, paper.rank.random_seeds, paper.names.top, paper.evaluate.gamma) == (4, 10, 5000, 0.7)
    assert (paper.data.source, paper.data.long, paper.model.audio_lm) == (
        "corpora",
        "first",
        "Qwen/Qwen2-Audio-7B-Instruct",
    )
    assert (paper.ablation.layers, paper.ablation.expansions, paper.ablation.k) == ((5, 16, 26), (4, 8, 16), 250)
    assert paper.stages_left_out == ()
    assert [(c.name, c.part, c.split) for c in paper.data.corpus] == [
        ("wavcaps", "AudioSet_SL", "train"),
        ("iemocap", "", "train"),
        ("fsd50k", "eval", "evaluation"),
        ("fsd50k", "val", "selection"),
        ("audiobench", "iemocap_emotion_recognition", "steering"),
        ("audiobench", "voxceleb_gender_test", "steering"),
    ]
    tasks = [(task.source, task.target) for task in paper.steering.task]
    assert tasks == [("neutral", "happy"), ("sad", "happy"), ("happy", "angry"), ("female", "male")]
    assert {c.split for c in paper.data.corpus} >= {paper.steering.choose_on, paper.steering.test_on}
