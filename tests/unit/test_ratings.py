from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from subprocess import run as run_process

import pytest

from ard import tables
from ard.store import Run, RunError
from explorer.ratings import MAX_DESCRIPTION, Ratings, RatingsError, rater_id
from explorer.study import Plan, Study, order
from tests.fixtures.study import TOKEN, answer, make_study_run, opened

SMALL = Plan(items=10)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_study_run(tmp_path_factory.mktemp("ratings") / "run", concepts=20)


@pytest.fixture
def run(original: Run, tmp_path: Path) -> Run:
    shutil.copytree(original.path, tmp_path / "run")
    return Run.open(tmp_path / "run")


@pytest.fixture
def store(run: Run) -> tuple[Ratings, Study]:
    return opened(run, SMALL)


def trial(ratings: Ratings, study: Study, token: str = TOKEN):
    standing = ratings.standing(study.study_id, token)
    assert standing is not None
    assert standing.trial is not None
    return standing.trial


def hear_all(ratings: Ratings, study: Study, position: int = 1) -> None:
    for clip in range(4):
        ratings.hear(study.study_id, TOKEN, position, clip, ok=True)


def test_a_study_comes_back_as_it_was_kept(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    assert ratings.study(study.study_id) == study
    ratings.add_study(study._replace(seed=99))
    assert ratings.study(study.study_id) == study, "kept once, it stays"
    assert ratings.study("another") is None


def test_the_steps_of_one_item(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    first = order(study, rater_id(study.study_id, TOKEN))[0]
    assert trial(ratings, study).item.item_id == first.item_id
    assert (trial(ratings, study).position, trial(ratings, study).total, trial(ratings, study).unheard) == (1, 10, 4)
    with pytest.raises(RatingsError, match="4 of the clips are not played"):
        ratings.describe(study.study_id, TOKEN, 1, "too early")
    ratings.hear(study.study_id, TOKEN, 1, 2, ok=True)
    assert trial(ratings, study).heard == {2}
    hear_all(ratings, study)
    with pytest.raises(RatingsError, match="not saved yet"):
        ratings.rate(study.study_id, TOKEN, 1, 3)
    ratings.describe(study.study_id, TOKEN, 1, "  a\n tone\u0000 ")
    assert trial(ratings, study).description == "a tone"
    ratings.rate(study.study_id, TOKEN, 1, 3)
    assert trial(ratings, study).position == 2


def test_what_is_opened_again_stands_where_it_stood(run: Run) -> None:
    ratings, study = opened(run, SMALL)
    answer(ratings, study, 4)
    ratings.hear(study.study_id, TOKEN, 2, 0, ok=True)
    before = trial(ratings, study)
    ratings.close()
    again = Ratings(run)
    assert trial(again, study) == before
    assert (before.position, before.heard) == (2, {0})
    again.begin(study, TOKEN)
    assert trial(again, study) == before, "beginning again changes nothing"


def test_every_answer_is_published_at_once(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    run = ratings.run
    assert not run.has("ratings"), "nobody has answered: no table"
    hear_all(ratings, study)
    assert not run.has("ratings")
    ratings.describe(study.study_id, TOKEN, 1, "a tone", 4.0)
    (row,) = run.read("ratings").to_pylist()
    assert (row["description"], row["rating"], row["heard"], row["seconds"]) == ("a tone", None, True, 4.0)
    ratings.rate(study.study_id, TOKEN, 1, 5, 1.5)
    (row,) = run.read("ratings").to_pylist()
    item = next(i for i in study.items if i.item_id == row["item_id"])
    assert (row["rating"], row["seconds"], row["position"]) == (5, 5.5, 1)
    assert (row["method"], row["sae_id"], row["latent_id"]) == item[1:4]
    assert (row["name"], row["catch"], row["repeat"]) == (item.name, item.catch, False)
    assert row["rater"] == rater_id(study.study_id, TOKEN)
    assert TOKEN.encode() not in (run.path / "tables" / "ratings.parquet").read_bytes()


def test_a_whole_session_has_its_catches_and_repeats(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    for i in range(10):
        assert answer(ratings, study, i % 6) == i + 1
    assert ratings.standing(study.study_id, TOKEN)._replace(rater="") == ("", 10, None)  # type: ignore[union-attr]
    rows = ratings.run.read("ratings").to_pylist()
    assert sorted(r["position"] for r in rows) == list(range(1, 11))
    assert (sum(r["catch"] for r in rows), sum(r["repeat"] for r in rows)) == (1, 1)
    assert [r["rating"] for r in rows] == [i % 6 for i in range(10)], "in the rater's order"


def test_the_pace_is_the_median_of_what_is_done(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    for _ in range(2):
        answer(ratings, study, 1)
    assert trial(ratings, study).pace is None
    answer(ratings, study, 1)
    assert trial(ratings, study).pace == pytest.approx(4 * 2.0 + 5.0 + 1.0)


def test_an_answer_that_comes_twice_counts_once(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    answer(ratings, study, 4)
    ratings.rate(study.study_id, TOKEN, 1, 0)
    ratings.describe(study.study_id, TOKEN, 1, "other words")
    ratings.hear(study.study_id, TOKEN, 1, 0, ok=False)
    ratings.rate(study.study_id, TOKEN, 7, 0)  # an item that has not come yet
    (row,) = ratings.run.read("ratings").to_pylist()
    assert (row["rating"], row["description"]) == (4, "my words for 1")
    hear_all(ratings, study, position=2)
    ratings.describe(study.study_id, TOKEN, 2, "first")
    ratings.describe(study.study_id, TOKEN, 2, "second")
    assert trial(ratings, study).description == "first"


def test_a_clip_that_cannot_be_played_is_stated(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    for clip in range(4):
        ratings.hear(study.study_id, TOKEN, 1, clip, ok=clip != 3)
    ratings.describe(study.study_id, TOKEN, 1, "a tone")
    assert [r["heard"] for r in ratings.run.read("ratings").to_pylist()] == [False]


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u200b\u0000"])
def test_a_description_is_required(store: tuple[Ratings, Study], text: str) -> None:
    ratings, study = store
    hear_all(ratings, study)
    with pytest.raises(RatingsError, match="description is empty"):
        ratings.describe(study.study_id, TOKEN, 1, text)


def test_limits_are_named(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    hear_all(ratings, study)
    with pytest.raises(RatingsError, match=f"has {MAX_DESCRIPTION + 1} characters; write at most {MAX_DESCRIPTION}"):
        ratings.describe(study.study_id, TOKEN, 1, "x" * (MAX_DESCRIPTION + 1))
    for rating in (-1, 6):
        with pytest.raises(RatingsError, match=f"The rating is {rating}"):
            ratings.rate(study.study_id, TOKEN, 1, rating)
    with pytest.raises(RatingsError, match="clips 0 to 3"):
        ratings.hear(study.study_id, TOKEN, 1, 4, ok=True)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 1e9, None])
def test_a_time_that_cannot_be_is_no_time(store: tuple[Ratings, Study], seconds: float | None) -> None:
    ratings, study = store
    hear_all(ratings, study)
    ratings.describe(study.study_id, TOKEN, 1, "a tone", seconds)
    assert [r["seconds"] for r in ratings.run.read("ratings").to_pylist()] == [None]


def test_raters_at_the_same_time_do_not_mix(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    tokens = [f"rater-number-{i}" for i in range(4)]

    def session(token: str) -> None:
        ratings.begin(study, token)
        for _ in range(3):
            answer(ratings, study, int(token[-1]), token)

    threads = [threading.Thread(target=session, args=(t,)) for t in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = ratings.run.read("ratings").to_pylist()
    for i, token in enumerate(tokens):
        mine = [r for r in rows if r["rater"] == rater_id(study.study_id, token)]
        assert [(r["position"], r["rating"]) for r in mine] == [(p, i) for p in (1, 2, 3)]
        showings = order(study, rater_id(study.study_id, token))
        assert [r["item_id"] for r in mine] == [s.item_id for s in showings[:3]]


def test_an_answer_is_kept_when_the_table_cannot_be_written(
    store: tuple[Ratings, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings, study = store
    hear_all(ratings, study)

    def full(self: Run, name: str, table: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write", full)
        with pytest.raises(RatingsError, match="No space left"):
            ratings.describe(study.study_id, TOKEN, 1, "a tone")
    assert trial(ratings, study).description == "a tone"
    assert not ratings.run.has("ratings")
    ratings.describe(study.study_id, TOKEN, 1, "a tone")  # the rater presses the button again
    assert ratings.run.read("ratings").num_rows == 1


def test_what_was_not_published_is_published_on_opening(run: Run) -> None:
    ratings, study = opened(run, SMALL)
    answer(ratings, study, 4)
    ratings.close()
    published = run.path / "tables" / "ratings.parquet"
    wanted = published.read_bytes()
    run.write("ratings", tables.empty("ratings"))
    Ratings(run).close()
    assert published.read_bytes() == wanted, "and the same answers give the same file"


def test_a_second_process_is_refused_in_one_sentence(store: tuple[Ratings, Study]) -> None:
    ratings, _ = store
    code = (
        "import sys; from ard.store import Run; from explorer.ratings import Ratings, RatingsError\n"
        "try: Ratings(Run(sys.argv[1]))\n"
        "except RatingsError as error: print(error); sys.exit(2)"
    )
    found = run_process(
        [sys.executable, "-c", code, str(ratings.run.path)], capture_output=True, text=True, check=False
    )
    assert (found.returncode, len(found.stdout.strip().splitlines())) == (2, 1), found.stderr
    assert "close the other program" in found.stdout


def test_a_damaged_file_is_named(run: Run) -> None:
    (run.path / "ratings.duckdb").write_bytes(b"this is no database" * 1000)
    with pytest.raises(RatingsError, match="move it aside"):
        Ratings(run)


def test_the_table_is_readable_by_everyone_else(store: tuple[Ratings, Study]) -> None:
    ratings, study = store
    answer(ratings, study, 4)
    assert Run.open(ratings.run.path).connect().execute("SELECT rating FROM ratings").fetchall() == [(4,)]
    with pytest.raises(RunError):
        Run.open(ratings.run.path / "nowhere")
