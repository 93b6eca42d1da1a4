from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from ard.store import Run
from explorer import server
from explorer.service import NoModel
from tests.browser.conftest import Served
from tests.fixtures import run as made

ROWS = "#concepts tr[data-latent]"


def open_page(page: Page, served: Served, query: str = "") -> None:
    page.goto(f"{served.url}/{query}")
    expect(page.locator(".clip")).to_have_count(4)


def test_the_page_opens_with_the_best_concept(page: Page, served: Served) -> None:
    open_page(page, served)
    expect(page.locator(ROWS)).to_have_count(50)
    expect(page.locator("#position")).to_contain_text("1–50 of 60")
    expect(page.locator("#concept h2")).to_have_text("cat meowing 0")
    expect(page.locator(f"{ROWS}[aria-selected=true]")).to_have_attribute("data-latent", "0")


def test_paging(page: Page, served: Served) -> None:
    open_page(page, served)
    expect(page.locator("#previous")).to_be_disabled()
    page.locator("#next").click()
    expect(page.locator(ROWS)).to_have_count(10)
    expect(page.locator("#next")).to_be_disabled()
    page.wait_for_url("**p=2**")
    page.locator("#previous").click()
    expect(page.locator(ROWS)).to_have_count(50)


def test_search_filters_and_lands_in_the_address(page: Page, served: Served) -> None:
    open_page(page, served)
    page.locator("#search textarea, #search input").first.fill("meowing")
    expect(page.locator(ROWS)).to_have_count(10)
    page.wait_for_url("**q=meowing**")
    page.reload()
    expect(page.locator(ROWS)).to_have_count(10)
    page.locator("#search textarea, #search input").first.fill("no such sound")
    expect(page.locator("#concepts .empty")).to_contain_text("Nothing found")


def test_choosing_a_concept_shows_its_clips(page: Page, served: Served) -> None:
    open_page(page, served)
    page.locator(f"{ROWS}[data-latent='7']").click()
    expect(page.locator("#concept h2")).to_have_text("dog barking 7")
    expect(page.locator(".clip")).to_have_count(4)
    ids = page.locator(".clip").evaluate_all("cards => cards.map(c => c.dataset.clip)")
    assert ids == [made.clip_id(i) for i in made.top_clips(7)]
    assert page.locator(".clip").first.locator(".strip rect").count() == 20
    page.wait_for_url("**latent=7**")
    page.locator("#side label", has_text="least").click()
    expect(page.locator(f".clip[data-clip='{made.clip_id(2)}']")).to_be_visible()
    expect(page.locator(".strip rect")).to_have_count(0)


def test_rows_can_be_chosen_from_the_keyboard(page: Page, served: Served) -> None:
    open_page(page, served)
    page.locator(f"{ROWS}[data-latent='1']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#concept h2")).to_have_text("door closing 2")


def test_sound_loads_when_asked_and_plays(page: Page, served: Served) -> None:
    fetched: list[str] = []
    page.on("request", lambda r: fetched.append(r.url) if "/audio/" in r.url else None)
    open_page(page, served)
    assert fetched == [], "no sound may be fetched before somebody presses play"
    first, second = page.locator(".clip").nth(0), page.locator(".clip").nth(1)
    first.locator(".play").click()
    page.wait_for_function("document.querySelector('.clip audio').currentTime > 0.3")
    assert "playing" in (first.get_attribute("class") or "")
    second.locator(".play").click()
    page.wait_for_function("document.querySelectorAll('.clip audio')[1].currentTime > 0.2")
    page.wait_for_function("document.querySelectorAll('.clip audio')[0].paused")
    assert "playing" not in (first.get_attribute("class") or "")
    assert len({url.rsplit("/", 1)[1] for url in fetched}) == 2
    page.wait_for_function("document.querySelectorAll('.clip.playing').length === 0")  # it ends by itself


def test_click_on_the_waveform_seeks_and_space_plays(page: Page, served: Served) -> None:
    open_page(page, served)
    bar = page.locator(".clip .seek").first
    box = bar.bounding_box()
    assert box is not None
    bar.click(position={"x": box["width"] / 2, "y": 10})
    page.wait_for_function("Math.abs(document.querySelector('.clip audio').currentTime - 1) < 0.02")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.clip audio').currentTime > 1.2")
    page.wait_for_function("document.querySelector('.clip .strip') !== null")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.clip audio').paused")


def test_j_and_k_walk_through_the_concepts_and_over_the_page(page: Page, served: Served) -> None:
    open_page(page, served)
    page.keyboard.press("j")
    expect(page.locator("#concept h2")).to_have_text("dog barking 1")
    page.keyboard.press("k")
    expect(page.locator("#concept h2")).to_have_text("cat meowing 0")
    page.locator(f"{ROWS}[data-latent='49']").click()
    expect(page.locator("#concept h2")).to_have_text("dog barking 49")
    page.keyboard.press("j")
    expect(page.locator("#concept h2")).to_have_text("door closing 50")
    expect(page.locator("#position")).to_contain_text("51–60 of 60")
    page.keyboard.press("k")
    expect(page.locator("#concept h2")).to_have_text("dog barking 49")


def test_slash_searches_and_a_question_mark_shows_the_keys(page: Page, served: Served) -> None:
    open_page(page, served)
    page.keyboard.press("?")
    expect(page.locator("#key-list")).to_contain_text("next concept")
    page.keyboard.press("Escape")
    expect(page.locator("#key-list")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("dog j?")
    expect(page.locator("#search textarea, #search input").first).to_have_value("dog j?")
    expect(page.locator("#key-list")).to_be_hidden()


def test_a_click_on_a_head_sorts_and_lands_in_the_address(page: Page, served: Served) -> None:
    open_page(page, served)
    page.locator("#concepts th button", has_text="density").click()
    expect(page.locator(ROWS).first).to_have_attribute("data-latent", "59")
    page.locator("#concepts th button", has_text="density").click()
    expect(page.locator(ROWS).first).to_have_attribute("data-latent", "0")
    page.wait_for_url("**sort=density**rev=1**")
    page.locator("#concepts th button", has_text="AUROC").click()
    expect(page.locator(ROWS).first).to_have_attribute("data-latent", "11")


def test_another_sae_shows_its_own_concepts(page: Page, served: Served) -> None:
    open_page(page, served, "?latent=7")
    page.get_by_label("SAE", exact=True).click()
    page.get_by_role("option", name="layers.1 · raw dimensions, no SAE").click()
    expect(page.locator("#concept h2")).to_have_text("hum 0")
    expect(page.locator(ROWS)).to_have_count(6)
    page.wait_for_url("**method=poly**")
    page.reload()
    expect(page.locator("#concept h2")).to_have_text("hum 0")


def test_why_a_concept_has_its_name(page: Page, served: Served) -> None:
    open_page(page, served, "?latent=7")
    expect(page.locator(".why mark").first).to_have_text("dog")
    expect(page.locator(".hist rect")).to_have_count(4)
    expect(page.locator(".outputs")).to_contain_text("<b>dog</b>")
    page.locator(".near a").click()
    expect(page.locator("#concept h2")).to_have_text("dog barking 13")
    page.get_by_role("link", name="steer this").click()
    expect(page.locator("#clamps .clamp")).to_have_attribute("data-latent", "13")


def test_a_hostile_name_stays_text(page: Page, served: Served) -> None:
    open_page(page, served, "?latent=5")
    expect(page.locator("#concept h2")).to_have_text(made.HOSTILE)
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system(browser: Browser, served: Served, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    open_page(page, served)
    back, ink = (
        page.evaluate(f"getComputedStyle(document.querySelector('.clip')).{p}.match(/\\d+/g).slice(0, 3).map(Number)")
        for p in ("backgroundColor", "color")
    )
    assert (sum(back) < sum(ink)) == (scheme == "dark")
    context.close()


@pytest.mark.parametrize("query", ["", "?latent=5", "?__theme=dark"])
def test_a_phone_scrolls_in_one_direction_only(browser: Browser, served: Served, query: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    open_page(page, served, query)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    player, listing = page.locator(".clip").first.bounding_box(), page.locator("#concepts").bounding_box()
    assert player is not None
    assert listing is not None
    assert player["y"] < listing["y"], "the player comes first"
    context.close()


def test_an_address_that_cannot_be_shown_says_so(page: Page, served: Served) -> None:
    open_page(page, served, "?p=none")
    expect(page.get_by_text("it must be a whole number")).to_be_visible()


def test_audio_is_served_in_ranges_and_nothing_else_is(served: Served) -> None:
    part = httpx.get(f"{served.url}/audio/00000001.wav", headers={"Range": "bytes=44-143"})
    assert (part.status_code, len(part.content)) == (206, 100)
    for name in ("..%2Fmanifest.json", "%2e%2e%2fmanifest.json", "manifest.json", "none.wav", ".wav", "%00.wav"):
        assert httpx.get(f"{served.url}/audio/{name}").status_code == 404, name


def test_sound_needs_the_password_too(made_up_run: Run) -> None:
    blocks = server.build(made_up_run, NoModel("off"))
    url = server.launch(blocks, made_up_run, host="127.0.0.1", port=None, auth=[("ann", "secret")]).rstrip("/")
    try:
        with httpx.Client(base_url=url) as client:
            assert client.get("/audio/00000001.wav").status_code == 401
            assert client.post("/login", data={"username": "ann", "password": "wrong"}).status_code == 400
            assert client.get("/audio/00000001.wav").status_code == 401
            assert client.post("/login", data={"username": "ann", "password": "secret"}).status_code == 200
            assert client.get("/audio/00000001.wav").status_code == 200
    finally:
        blocks.close(verbose=False)
