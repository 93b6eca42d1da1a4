"""The two maps: drawn without another host, a click opens or plays, a filter greys out."""

from __future__ import annotations

from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.fixtures import run as made

PICK = """([plot, id]) => document.getElementById(plot).dispatchEvent(
  new CustomEvent('ardpick', {detail: id, bubbles: true}))"""
CLICK = """([plot, id]) => {
  const gd = document.getElementById(plot);
  const at = gd.data[0].customdata.indexOf(id);
  gd.emit('plotly_click', {points: [{customdata: gd.data[0].customdata[at]}]});
}"""


def open_maps(page: Page, served: Served, query: str = "") -> None:
    page.goto(f"{served.url}/maps{query}")
    for plot in ("concept-plot", "clip-plot"):
        page.wait_for_function("id => document.getElementById(id)?.data?.length > 0", arg=plot)


def drawn(page: Page, plot: str) -> list[dict[str, Any]]:
    keep = "({type, name, customdata, selectedpoints, marker}) => ({type, name, customdata, selectedpoints, marker})"
    return page.evaluate(f"id => document.getElementById(id).data.map({keep})", plot)


def test_both_maps_show_everything(page: Page, served: Served) -> None:
    open_maps(page, served)
    (concepts,) = drawn(page, "concept-plot")
    assert concepts["type"] == "scattergl"
    assert sorted(concepts["customdata"]) == list(range(made.CONCEPTS))
    assert concepts["marker"]["color"][concepts["customdata"].index(7)] == 9.300000190734863, "m of latent 7"
    clips = drawn(page, "clip-plot")
    assert {t["name"] for t in clips} == set(made.SOUNDS), "one colour a label"
    assert sorted(c for t in clips for c in t["customdata"]) == [made.clip_id(i) for i in range(made.CLIPS)]


def test_a_point_opens_its_concept_and_colours_the_clips(page: Page, served: Served) -> None:
    open_maps(page, served)
    page.evaluate(CLICK, ["concept-plot", 7])
    expect(page.locator("#concept h2")).to_have_text("dog barking 7")
    expect(page.locator("#cards .clip")).to_have_count(4)
    page.wait_for_url("**latent=7**")
    page.wait_for_function("document.getElementById('clip-plot').data[0].name === 'clips'")
    activation, *_ = drawn(page, "clip-plot")
    assert {i for i, r in zip(activation["customdata"], activation["marker"]["color"], strict=True) if r > 0} == {
        made.clip_id(i) for i in made.top_clips(7)
    }
    page.get_by_role("link", name="all about this concept").click()
    expect(page.locator("#concept h2")).to_have_text("dog barking 7")
    expect(page.locator("#concepts tr[data-latent]")).to_have_count(50)


def test_a_point_plays_its_clip(page: Page, served: Served) -> None:
    open_maps(page, served)
    page.mouse.click(5, 300)  # a person was here: browsers allow sound after that
    page.evaluate(PICK, ["clip-plot", "clip-004"])
    expect(page.locator("#map-clip .clip[data-clip='clip-004']")).to_be_visible()
    page.wait_for_function("document.querySelector('#map-clip audio').currentTime > 0.2")
    page.wait_for_url("**clip=clip-004**")


def test_a_filter_greys_out_and_removes_nothing(page: Page, served: Served) -> None:
    open_maps(page, served)
    page.locator("#map-search textarea, #map-search input").first.fill("dog barking")
    page.wait_for_function("document.getElementById('concept-plot').data[0].selectedpoints?.length === 10")
    (concepts,) = drawn(page, "concept-plot")
    assert len(concepts["customdata"]) == made.CONCEPTS
    assert {concepts["customdata"][i] % 6 for i in concepts["selectedpoints"]} == {1}
    clips = drawn(page, "clip-plot")
    assert sum(len(t["customdata"]) for t in clips) == made.CLIPS
    assert {t["name"] for t in clips if t["selectedpoints"]} == {"dog barking"}
    page.wait_for_url("**q=dog**")


def test_the_library_is_served_compressed_by_the_app_itself(served: Served) -> None:
    answer = httpx.get(f"{served.url}/plotly.min.js")
    assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
    assert "plotly.js" in answer.text[:200]
    again = httpx.get(f"{served.url}/plotly.min.js", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
