"""The results page shows what the tables hold, with intervals, and what makes a table that is not there."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from ard.store import Run
from explorer import server
from explorer.service import NoModel
from tests.browser.conftest import Served

PAGES = ("", "maps", "steer", "listen", "results", "rate")


def test_every_table_with_its_figures(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/results")
    expect(page.locator("#interpretability-vocabulary")).to_contain_text(".60 [.55–.65]")
    clip = page.locator("#interpretability-clip")
    expect(clip.locator("table").first).to_contain_text(".30 ± .14")  # two seeds of `random`: .2 and .4
    expect(clip).to_contain_text("γ = .70")
    alarm = page.locator("#checks [role=alert]")
    expect(alarm).to_have_count(1)
    expect(alarm).to_contain_text("WARNING")
    expect(alarm).to_contain_text("against untrained_sae")
    expect(page.locator("#checks")).to_contain_text("1 of 2 checks passed")
    page.locator("#checks summary").nth(1).click()
    expect(page.locator("#checks tbody tr").nth(0)).to_contain_text("+0.050 [-0.010 to +0.090]")
    expect(page.locator("#checks tbody tr")).to_contain_text(["not told apart", "better"])
    expect(page.locator("#human")).to_contain_text("4.25 ± .50")
    expect(page.locator("#human")).to_contain_text(".70 [.60–.80]")
    steering = page.locator("#steering tbody tr")
    expect(steering.first).to_contain_text(".75 [.60–.85]")
    expect(steering.first).to_contain_text("2.5 % repeated")
    expect(steering.first).to_contain_text(".65 [.50–.80]")  # by the chat model
    expect(steering.nth(1)).to_contain_text("control: reconstruct only")
    expect(page.locator("#steering")).to_contain_text(".95 [.85–1.00]")  # difference of means
    expect(page.locator("#steering")).to_contain_text(".77")  # κ
    expect(page.locator("#human")).to_contain_text("4.50 ± .25")  # without the rater who failed
    expect(page.locator("#human")).to_contain_text("3 of 6 passed")
    expect(page.locator("#human")).to_contain_text(".55 [.20–.80]")  # ρ
    expect(page.locator("#ablation")).to_contain_text("2.50")
    expect(page.locator("#saes")).to_contain_text("90 %")
    expect(page.locator("#labels")).to_contain_text("python -m precompute evaluate")
    expect(page.locator("#provenance pre")).to_be_hidden()
    page.locator("#provenance summary").click()
    expect(page.locator("#provenance")).to_contain_text("0123abcd")


def test_an_empty_run_says_what_to_do_on_every_page(browser: Browser, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "empty")
    run.update_manifest(preset="nothing")
    blocks = server.build(Run.open(run.path), NoModel("Steering is off because --no-model was given."))
    url = server.launch(blocks, run, host="127.0.0.1", port=None, auth=None).rstrip("/")
    try:
        for path, words in (
            ("", "No concepts yet"), ("maps", "No map yet"), ("steer", "Steering is off"), ("listen", "Nothing heard"),
            ("results", "Not measured in this run yet"), ("rate", "Nothing to rate yet"),
        ):  # fmt: skip
            page = browser.new_page()
            page.goto(f"{url}/{path}")
            expect(page.get_by_text(words).first).to_be_visible()
            page.close()
    finally:
        blocks.close(verbose=False)


def test_a_visitor_walks_through_all_pages(page: Page, served: Served) -> None:
    page.goto(served.url)
    for name in ("Maps", "Steer", "Listen", "Results", "Concepts"):
        page.locator("#top nav a", has_text=name).click()
        expect(page.locator("#top nav a[aria-current=page]")).to_have_text(name)
    expect(page.locator(".nav-holder")).to_be_hidden()


def test_every_page_fits_a_phone(browser: Browser, served: Served) -> None:
    for path in PAGES:
        context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark")
        page = context.new_page()
        page.goto(f"{served.url}/{path}")
        expect(page.locator("#rate-panel button" if path == "rate" else "#top").first).to_be_visible()
        page.wait_for_timeout(1500)  # for what fills the page after it opened
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        context.close()
