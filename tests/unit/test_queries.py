from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ard import tables
from ard.store import Run
from explorer.queries import Queries
from explorer.views import PAGE_SIZE, SORTS, ViewState
from tests.fixtures import run as made
from tests.fixtures import run_results


@pytest.fixture(scope="module", params=[16 << 20, 0], ids=["small tables", "large tables"])
def queries(made_up_run: Run, request: pytest.FixtureRequest) -> Iterator[Queries]:
    """Every question is put to tables copied into memory, and to tables of which only parts are read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explorer.queries_base.IN_MEMORY", request.param)
        yield Queries(made_up_run)


def test_what_the_run_holds(queries: Queries) -> None:
    assert queries.default_sae() == made.SAE_ID
    assert queries.sources() == [(made.SAE_ID, "ard", 60), ("layers.1/raw", "poly", 6)]
    assert queries.resolve("layers.1/raw", "ard") == ("layers.1/raw", "poly")
    assert queries.clip_count() == 24
    assert queries.questions() == ["What can be heard in this clip?", "Describe the audio."]


def test_pages_hold_every_concept_once_in_rank_order(queries: Queries) -> None:
    first, second = (queries.concepts(ViewState(page=p)) for p in (1, 2))
    assert (first.total, first.pages, len(first.rows), len(second.rows)) == (60, 2, PAGE_SIZE, 10)
    assert [r.rank for r in first.rows + second.rows] == list(range(1, 61))


def test_a_page_past_the_end_is_the_last(queries: Queries) -> None:
    assert queries.concepts(ViewState(page=99)) == queries.concepts(ViewState(page=2))


@pytest.mark.parametrize(
    ("search", "latents"),
    [
        ("meowing", [i for i in range(60) if i % 6 == 0]),
        ("DOG barking", [i for i in range(60) if i % 6 == 1]),
        ("take 4", list(range(60))),  # in the captions; every latent's fourth clip
        ("dog meowing", []),
        ("17", [17]),  # a latent's number
        ("%", []), ("_", []), ("'; DROP TABLE concepts; --", []), ("{{value}}", [5]),
        ("onerror=\"window.hacked=1\"", [5]),
    ],
)  # fmt: skip
def test_search(queries: Queries, search: str, latents: list[int]) -> None:
    found = [r for p in (1, 2) for r in queries.concepts(ViewState(query=search, page=p)).rows]
    assert sorted({r.latent_id for r in found}) == latents


@pytest.mark.parametrize("sort", SORTS)
def test_every_order_shows_every_concept(queries: Queries, sort: str) -> None:
    rows = [r for p in (1, 2) for r in queries.concepts(ViewState(sort=sort, page=p)).rows]
    assert len({r.latent_id for r in rows}) == 60
    if sort == "density":
        assert rows[0].latent_id == 59
    if sort == "name":
        assert [r.name.lower() for r in rows] == sorted(r.name.lower() for r in rows)


def test_one_concept(queries: Queries) -> None:
    concept = queries.concept(made.SAE_ID, 7)
    assert concept is not None
    assert concept.row.name == "dog barking 7"
    assert concept.row.monosemanticity == pytest.approx(9.3)
    assert (concept.row.rank, concept.row.max_activation, concept.row.clips_active) == (8, 8.0, 11)
    assert concept.median == pytest.approx(10 - 0.1 * 29.5)
    assert concept.captions[0] == "The sound of dog barking, take 1."


@pytest.mark.parametrize("missing", [(made.SAE_ID, 63), ("layers.9/e8/k1/paper", 7), ("", 0)])
def test_no_such_concept(queries: Queries, missing: tuple[str, int]) -> None:
    assert queries.concept(*missing) is None


def test_representative_clips_with_their_traces(queries: Queries) -> None:
    clips = queries.representatives(made.SAE_ID, 7)
    assert [c.clip_id for c in clips] == [made.clip_id(i) for i in (1, 7, 13, 19)]
    assert clips[0].values == pytest.approx(made.trace(7, 0))
    assert clips[0].coverage == pytest.approx(20 / 50)
    assert clips[0].representativeness == pytest.approx(clips[0].mean_activation * clips[0].coverage)
    assert clips[0].seconds_per_token == pytest.approx(0.04)
    silent = queries.representatives(made.SAE_ID, 7, side="least")
    assert [c.representativeness for c in silent] == [0, 0, 0, 0]
    assert max(max(c.values) for c in silent) == 0


def test_one_clip(queries: Queries) -> None:
    clip = queries.clip("clip-007")
    assert clip is not None
    assert (clip.caption, clip.audio, clip.duration_s) == ("The sound of dog barking, take 2.", "00000007.wav", 2.0)
    assert queries.clip("clip-999") is None


def test_a_run_without_tables_is_empty_not_an_error(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "empty")
    run.update_manifest(preset="nothing")
    queries = Queries(run)
    page = queries.concepts(ViewState())
    assert (page.rows, page.total, page.pages) == ([], 0, 1)
    assert (queries.default_sae(), queries.questions(), queries.sources()) == ("", [], [])


def test_many_threads_ask_at_once(queries: Queries) -> None:
    wrong: list[int] = []

    def ask(latent: int) -> None:
        for _ in range(5):
            concept = queries.concept(made.SAE_ID, latent)
            if concept is None or concept.row.latent_id != latent:
                wrong.append(latent)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_table_made_while_the_app_is_open_is_seen(tmp_path: Path) -> None:
    run = made.make_run(tmp_path / "run", concepts=0)
    queries = Queries(run)
    assert queries.results("human") == []
    run.write("human", tables.from_rows("human", run_results.results()["human"]))
    assert [r["method"] for r in queries.results("human")] == ["ard"]


def test_seeds_become_mean_and_spread(queries: Queries) -> None:
    by = {(r["reading"], r["method"], r["control"], r["n"]): r for r in queries.interpretability()}
    drawn = by["clip", "random", "none", None]
    assert (drawn["seeds"], drawn["f1_low"]) == (2, None)
    assert drawn["f1"] == pytest.approx(0.3)
    assert drawn["f1_std"] == pytest.approx(0.2 / 2**0.5)
    assert by["clip", "ard", "none", None]["f1_low"] == pytest.approx(0.5)


def test_suggestions_fire_and_fit(queries: Queries) -> None:
    assert [n.latent_id for n in queries.suggest(made.SAE_ID, "DOG bark", 3)] == [1, 7, 13]
    assert [n.latent_id for n in queries.suggest(made.SAE_ID, "17", 3)] == [17]
    assert queries.suggest(made.SAE_ID, "63", 3) == [], "it never fires"
    assert [n.latent_id for n in queries.named(made.SAE_ID, [9, 999, 7])] == [9, 7]


def test_clips_are_found_by_words_and_labels(queries: Queries) -> None:
    assert queries.find_clips("dog take 2", 5) == [("The sound of dog barking, take 2.", "clip-007")]
    assert len(queries.find_clips("", 5)) == 5


def test_a_clip_as_an_example_of_a_latent(queries: Queries) -> None:
    fires, silent = (queries.clip_of(made.clip_id(i), made.SAE_ID, 7) for i in (made.top_clips(7)[0], 0))
    assert fires is not None
    assert silent is not None
    assert (fires.coverage, len(fires.values)) == (pytest.approx(0.4), 50)
    assert (silent.representativeness, silent.values) == (0, [])
