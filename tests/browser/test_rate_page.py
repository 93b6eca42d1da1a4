"""The rating page in a real browser, over the made-up run with raw dimensions."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from ard.store import Run
from explorer import server
from explorer.queries import Queries
from explorer.ratings import Ratings, rater_id
from explorer.service import NoModel
from explorer.study import Study, select
from tests.browser.conftest import Watch
from tests.fixtures.study import make_study_run

CLIPS = 4
HEARD = "#rate-cards .clip.was-heard"
STEP = "#rate-panel [data-step]"


class Rating(NamedTuple):
    url: str
    run: Run
    study: Study


def serve(run: Run, port: int | None = None) -> tuple[gr.Blocks, str]:
    """The whole app; returns it with its address."""
    blocks = server.build(run, NoModel("Steering is off."))
    return blocks, server.launch(blocks, run, host="127.0.0.1", port=port, auth=None).rstrip("/")


@pytest.fixture(scope="module")
def rating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rating]:
    run = make_study_run(tmp_path_factory.mktemp("rate") / "run")
    blocks, url = serve(run)
    yield Rating(url, run, select(Queries(run)))
    blocks.close(verbose=False)


@pytest.fixture
def page(context: BrowserContext, rating: Rating) -> Iterator[Page]:
    made = context.new_page()
    made.set_default_timeout(30_000)
    watch = Watch(made, rating.url)
    yield made
    assert watch.complaints == []


def begin(page: Page, rating: Rating, query: str = "") -> str:
    """Open, begin; returns the rater's token."""
    page.goto(f"{rating.url}/rate{query}")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator(f"{STEP}[data-step=listen]")).to_be_visible()
    found = re.search(r"rater=([\w-]+)", page.url)
    assert found
    return found[1]


def play_all(page: Page, first: int = 0) -> None:
    """Play each clip nearly all the way: at eight times its speed, for the browser to end it by itself."""
    page.evaluate("document.querySelectorAll('.clip audio').forEach(a => { a.defaultPlaybackRate = 8; })")
    for i in range(first, CLIPS):
        page.locator(".clip .play").nth(i).click()
        expect(page.locator(".clip").nth(i)).to_have_class(re.compile("was-heard"))


def describe(page: Page, words: str) -> None:
    page.locator("#rate-words").fill(words)
    page.get_by_role("button", name="Save and show the name").click()
    expect(page.locator(f"{STEP}[data-step=name]")).to_be_visible()


def rows(rating: Rating, token: str) -> list[dict]:
    mine = rater_id(rating.study.study_id, token)
    if not rating.run.has("ratings"):
        return []
    return [r for r in rating.run.read("ratings").to_pylist() if r["rater"] == mine]


def test_one_item_from_listening_to_rating(page: Page, rating: Rating) -> None:
    fetched: list[str] = []
    page.on("request", lambda r: fetched.append(r.url) if "/audio/" in r.url else None)
    token = begin(page, rating)
    assert f"study={rating.study.study_id}" in page.url
    expect(page.locator(".progress")).to_contain_text("item 1 of 50")
    expect(page.locator(".progress")).to_contain_text("min left")
    assert fetched == [], "nothing sounds or loads by itself"
    expect(page.locator("#rate-words")).to_have_count(0)
    play_all(page)
    expect(page.locator(f"{STEP}[data-step=describe]")).to_be_visible()
    assert page.locator("[data-action=describe] button").is_disabled(), "a description is required"
    describe(page, "a <b>high</b> tone")
    (row,) = rows(rating, token)
    assert (row["description"], row["rating"], row["heard"]) == ("a <b>high</b> tone", None, True)
    expect(page.locator(".rate-panel .own")).to_have_text("a <b>high</b> tone")
    expect(page.locator(".rate-panel .name")).to_have_text(f"“{row['name']}”")
    page.keyboard.press("4")
    expect(page.locator("input[value='4']")).to_be_checked()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator(".progress")).to_contain_text("item 2 of 50")
    expect(page.locator(f"{STEP}[data-step=listen]")).to_be_visible()
    (row,) = rows(rating, token)
    assert (row["rating"], row["repeat"], row["position"]) == (2, False, 1)
    assert row["seconds"] > 0


def test_the_name_and_the_method_are_nowhere_before_the_description_is_saved(page: Page, rating: Rating) -> None:
    bodies: list[str] = []

    def keep(response: Response) -> None:
        if "/audio/" not in response.url and not response.url.endswith((".js", ".css", ".svg")):
            bodies.append(response.url + (response.text() if response.request.method != "HEAD" else ""))

    page.on("requestfinished", lambda request: keep(request.response()) if request.response() else None)
    begin(page, rating)
    play_all(page)
    expect(page.locator(f"{STEP}[data-step=describe]")).to_be_visible()
    everything = "\n".join([page.content(), page.url, *bodies]).lower()
    assert "rate-words" in everything, "the panel itself was looked at"
    for item in rating.study.items:
        assert item.name.lower() not in everything
    for word in ("poly", "hum ", "latent_id", "layers.1", "clip-0", "the sound of", "meowing", "barking"):
        assert word not in everything.replace("polyfill", ""), word


def test_a_reload_resumes_at_the_step(page: Page, rating: Rating) -> None:
    token = begin(page, rating)
    page.locator(".clip .play").nth(0).click()
    expect(page.locator(HEARD)).to_have_count(1)
    expect(page.locator("#rate-panel .num")).to_have_text("1 of 4")
    page.reload()
    expect(page.locator(HEARD)).to_have_count(1)
    expect(page.locator(f"{STEP}[data-step=listen]")).to_be_visible()
    play_all(page, first=1)
    page.locator("#rate-words").fill("half a thou")
    page.reload()
    expect(page.locator("#rate-words")).to_have_value("half a thou")
    describe(page, "a tone")
    page.reload()
    expect(page.locator(".rate-panel .own")).to_have_text("a tone")
    expect(page.locator(".rate-panel .name")).to_be_visible()
    page.locator(".scale label", has_text="5").click()
    page.get_by_role("button", name="Save and go on").click()
    expect(page.locator(".progress")).to_contain_text("item 2 of 50")
    page.reload()
    expect(page.locator(".progress")).to_contain_text("item 2 of 50")
    assert [r["rating"] for r in rows(rating, token)] == [5]


def test_skipping_to_the_end_is_not_hearing(page: Page, rating: Rating) -> None:
    begin(page, rating)
    bar = page.locator(".clip .seek").first
    box = bar.bounding_box()
    assert box is not None
    bar.click(position={"x": box["width"] * 0.9, "y": 10})
    page.locator(".clip .play").first.click()
    expect(page.locator(".clip .tick").first).to_contain_text("skipped")
    expect(page.locator(HEARD)).to_have_count(0)
    page.locator(".clip .play").first.click()
    expect(page.locator(HEARD)).to_have_count(1)


def test_the_last_item_leads_to_a_code(page: Page, rating: Rating) -> None:
    token = "finished-but-for-one"
    finish(rating, token, leave=1)
    page.goto(f"{rating.url}/rate?study={rating.study.study_id}&rater={token}")
    expect(page.locator(".progress")).to_contain_text("item 50 of 50 · about 1 min left")
    play_all(page)
    describe(page, "the last one")
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    expect(page.locator(f"{STEP}[data-step=done]")).to_contain_text("Thank you")
    code = page.locator(".code").inner_text()
    assert code.replace("-", "").lower() == rater_id(rating.study.study_id, token)
    page.reload()
    expect(page.locator(".code")).to_have_text(code)
    assert len(rows(rating, token)) == 50


def finish(rating: Rating, token: str, leave: int) -> None:
    """Answer all items but `leave`, through a second connection of this process to the store."""
    ratings, study = Ratings(rating.run), rating.study
    ratings.add_study(study)
    ratings.begin(study, token)
    from tests.fixtures.study import answer

    for _ in range(len(study.items) + study.repeats - leave):
        answer(ratings, study, 3, token)
    ratings.close()


def test_an_address_that_cannot_be_opened_says_so(page: Page, rating: Rating) -> None:
    page.goto(f"{rating.url}/rate?study=nonsense")
    expect(page.locator(f"{STEP}[data-step=problem]")).to_contain_text("a study that is not here")
    page.goto(f"{rating.url}/rate?rater=x<y")
    expect(page.locator(f"{STEP}[data-step=problem]")).to_contain_text("exactly as it was sent")


def test_a_missing_clip_does_not_stop_the_study(page: Page, rating: Rating) -> None:
    token = begin(page, rating)
    name = (page.locator(".clip audio").nth(2).get_attribute("src") or "").rsplit("/", 1)[1]
    page.route(f"**/audio/{name}", lambda route: route.fulfill(status=200, content_type="audio/wav", body=b"RIFF"))
    for i in (0, 1, 3):
        page.locator(".clip .play").nth(i).click()
        expect(page.locator(".clip").nth(i)).to_have_class(re.compile("was-heard"))
    page.locator(".clip .play").nth(2).click()
    expect(page.locator(".clip.was-failed")).to_have_count(1)
    describe(page, "three of four")
    assert [r["heard"] for r in rows(rating, token)] == [False]


def test_an_app_that_was_restarted_goes_on_with_the_open_page(context: BrowserContext, tmp_path: Path) -> None:
    run = make_study_run(tmp_path / "run")
    blocks, url = serve(run)
    page = context.new_page()
    token = begin(page, Rating(url, run, select(Queries(run))))
    page.locator(".clip .play").nth(0).click()
    expect(page.locator("#rate-panel .num")).to_have_text("1 of 4")
    blocks.close(verbose=False)
    again, _ = serve(run, port=int(url.rsplit(":", 1)[1]))
    page.reload()
    expect(page.locator(HEARD)).to_have_count(1)
    assert token in page.url
    again.close(verbose=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction_only(browser: Browser, rating: Rating, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    begin(page, rating)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    play_all(page)
    describe(page, "a tone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    measure = "labels => labels.map((l) => l.getBoundingClientRect()).map((box) => [box.width, box.height])"
    sizes = page.locator(".scale label").evaluate_all(measure)
    assert all(width >= 44 and height >= 44 for width, height in sizes)
    context.close()


def test_a_run_without_concepts_says_what_to_do(context: BrowserContext, tmp_path: Path, rating: Rating) -> None:
    folder = tmp_path / "run"
    shutil.copytree(rating.run.path, folder, ignore=shutil.ignore_patterns("ratings*", "concepts*"))
    blocks, url = serve(Run.open(folder))
    page = context.new_page()
    page.goto(f"{url}/rate")
    expect(page.locator(f"{STEP}[data-step=problem]")).to_contain_text("Nothing to rate yet")
    assert not (folder / "ratings.duckdb").exists()
    blocks.close(verbose=False)
