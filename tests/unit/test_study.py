from __future__ import annotations

from pathlib import Path

import pytest

from ard import tables
from ard.store import Run
from explorer.queries import Queries
from explorer.study import GAP, Plan, Study, StudyError, main, order, select
from tests.fixtures import run as made
from tests.fixtures.study import POLY, RAW, make_study_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_study_run(tmp_path_factory.mktemp("study") / "run")


@pytest.fixture(scope="module")
def study(run: Run) -> Study:
    return select(Queries(run))


def test_fifty_items_of_both_methods(study: Study) -> None:
    catches = [i for i in study.items if i.catch]
    assert (len(study.items), len(catches), study.repeats, study.note) == (45, 5, 5, "")
    assert sum(i.method == "poly" for i in study.items) == POLY, "all there are"
    assert {i.method for i in catches} == {"ard", "poly"}
    assert {(i.method, i.sae_id) for i in study.items} == {("ard", made.SAE_ID), ("poly", RAW)}
    assert len({(i.method, i.latent_id) for i in study.items}) == 45, "no concept twice"


def test_an_item_shows_the_clips_of_its_concept(study: Study) -> None:
    for item in study.items:
        assert [c.audio for c in item.clips] == [f"{i:08x}.wav" for i in made.top_clips(item.latent_id)]
        assert {c.duration_s for c in item.clips} == {made.SECONDS}


def test_a_catch_item_shows_the_name_of_another_sound(study: Study) -> None:
    for item in study.items:
        own = f"hum {item.latent_id}" if item.method == "poly" else made.name_of(item.latent_id)
        assert (item.name != own) == item.catch
        if item.catch:
            assert not item.name.startswith(made.sound_of(item.latent_id).split()[0])


def test_the_selection_follows_the_seed(run: Run, study: Study) -> None:
    assert select(Queries(run)) == study
    other = select(Queries(run), Plan(seed=1))
    assert other.study_id != study.study_id
    assert {i.latent_id for i in other.items if i.method == "ard"} != {
        i.latent_id for i in study.items if i.method == "ard"
    }


def test_ids_do_not_tell_the_method(study: Study) -> None:
    for item in study.items:
        assert len(item.item_id) == 12
        assert int(item.item_id, 16) >= 0
    places = [i.method for i in sorted(study.items, key=lambda i: i.item_id)]
    assert places not in (sorted(places), sorted(places, reverse=True))


def test_each_rater_gets_another_order_and_always_the_same(study: Study) -> None:
    ann, ben = order(study, "ann"), order(study, "ben")
    assert ann == order(study, "ann")
    assert ann != ben
    for showings in (ann, ben):
        assert len(showings) == 50
        assert sorted(s.item_id for s in showings if not s.repeat) == sorted(i.item_id for i in study.items)


@pytest.mark.parametrize("rater", [f"rater-{i}" for i in range(20)])
def test_repeats_come_later_and_never_of_a_catch_item(study: Study, rater: str) -> None:
    showings = order(study, rater)
    catches = {i.item_id for i in study.items if i.catch}
    assert showings[0].item_id not in catches
    repeated = [s.item_id for s in showings if s.repeat]
    assert len(set(repeated)) == len(repeated) == 5
    assert not catches & set(repeated)
    for item_id in repeated:
        first, second = (i for i, s in enumerate(showings) if s.item_id == item_id)
        assert second - first >= GAP


def test_a_small_run_keeps_the_shares(tmp_path: Path) -> None:
    study = select(Queries(make_study_run(tmp_path / "run", concepts=9, poly=0)))
    assert len(study.items) == 9
    assert (sum(i.catch for i in study.items), study.repeats) == (1, 1)
    assert study.note == "The run has no concepts of the method poly; the study holds ard alone."
    assert len(order(study, "ann")) == 10


def test_one_concept_is_no_catch_item(tmp_path: Path) -> None:
    study = select(Queries(make_study_run(tmp_path / "run", concepts=1, poly=0)), Plan(catch_share=0.5, repeat_share=0))
    assert [(i.latent_id, i.catch) for i in study.items] == [(0, False)]


def test_a_concept_whose_clips_have_no_audio_is_not_drawn(tmp_path: Path) -> None:
    run = make_study_run(tmp_path / "run", concepts=12, poly=0)
    rows = run.read("clips").to_pylist()
    silent = {made.clip_id(i) for i in made.top_clips(0)}  # the clips of latents 0, 6
    run.write("clips", tables.from_rows("clips", [{**r, "audio": None} if r["clip_id"] in silent else r for r in rows]))
    study = select(Queries(Run.open(run.path)))
    assert {i.latent_id for i in study.items} == set(range(12)) - {0, 6}


def test_a_run_without_concepts_gives_nothing_to_rate(tmp_path: Path) -> None:
    study = select(Queries(make_study_run(tmp_path / "run", concepts=0, poly=0)))
    assert (study.items, study.repeats) == ((), 0)
    assert "nothing to rate" in study.note
    assert order(study, "ann") == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"items": 0}, "1 to 500"),
        ({"items": 501}, "items is 501"),
        ({"catch_share": -0.1}, "must not be negative"),
        ({"catch_share": 0.4, "repeat_share": 0.2}, "together at most 0.5"),
    ],
)
def test_a_plan_that_cannot_be(settings: dict, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        Plan(**settings)


def test_the_command_prints_the_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_study_run(tmp_path / "run", poly=0)
    assert main(["--run", str(run.path), "--items", "10", "--seed", "4"]) == 0
    said = capsys.readouterr().out
    assert f"/rate?study={select(Queries(run), Plan(items=10, seed=4)).study_id}" in said
    assert "8 ard, 0 poly, 1 catch items, 1 repeats" in said
    assert "the study holds ard alone" in said


@pytest.mark.parametrize("arguments", [["--run", "/nope"], ["--run", "RUN", "--items", "0"]])
def test_the_command_refuses_in_one_sentence(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main([str(run.path) if a == "RUN" else a for a in arguments]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "Traceback" not in error
