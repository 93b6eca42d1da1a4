"""Steering: both answers, several latents, the switches, known examples, the visitor's own sound, and Stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.fixtures import run as made
from tests.fixtures.run_results import EXAMPLE

STEERED = "#answers .answer.steered"


def open_steer(page: Page, served: Served, query: str = "") -> None:
    page.goto(f"{served.url}/steer{query}")
    expect(page.locator("#steer-card .clip")).to_have_count(1)
    expect(page.locator("#steer-go")).to_be_enabled()


def test_both_answers_with_what_changed(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-002&ask=What%20is%20it%3F&clamp=7:4,8:2.5")
    expect(page.locator("#clamps .clamp")).to_have_count(2)
    page.locator("#steer-go").click()
    expect(page.locator("#answers .answer").first).to_contain_text("A dog barks.")
    expect(page.locator(STEERED)).to_contain_text("A <i>cat</i> meows at 32.")
    expect(page.locator(f"{STEERED} mark").first).to_be_visible()
    expect(page.locator("#answers .did")).to_contain_text("Clamped at 50 positions.")
    assert served.model.asked[-1] == ("00000002.wav", "What is it?", (7, 8), (32.0, 20.0)), "largest activation: 8"
    assert served.model.switches[-1] == ("before_topk", "all", "replace", False)


def test_without_an_address_a_known_example_is_ready(page: Page, served: Served) -> None:
    open_steer(page, served)
    expect(page.locator("#clamps .clamp")).to_have_attribute("data-latent", "7")
    expect(page.locator("#clamps output")).to_contain_text("3 × z = 24")


def test_one_click_steers_as_in_a_known_example(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-001&clamp=1:1")
    page.locator("#examples button").click()
    expect(page.locator(STEERED)).to_contain_text("meows at 24.")
    audio, _, latents, values = served.model.asked[-1]
    assert (audio, latents, values) == ("00000002.wav", (EXAMPLE["latent_id"],), (EXAMPLE["value"],))
    assert served.model.switches[-1] == ("after_topk", "all", "clamp", False)
    page.wait_for_url("**clamp=7**")


def test_letting_go_of_a_slider_steers_once(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-002&clamp=7:4")
    handle = page.locator("#clamps input[type=range]")
    box = handle.bounding_box()
    assert box is not None
    before = len(served.model.asked)
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    expect(page.locator(STEERED)).to_contain_text("meows at 64.")
    assert len(served.model.asked) == before + 1
    page.wait_for_url("**clamp=7*8**")


def test_concepts_are_added_and_taken_away(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-002&clamp=7:4")
    page.locator("#steer-add textarea, #steer-add input").first.fill("bell ringing")
    page.locator("#steer-found button", has_text="bell ringing 10").click()
    expect(page.locator("#clamps .clamp")).to_have_count(2)
    page.locator(".clamp[data-latent='7'] .remove").click()
    expect(page.locator("#clamps .clamp")).to_have_count(1)
    expect(page.locator("#clamps .clamp")).to_have_attribute("data-latent", "10")
    page.wait_for_url("**clamp=10*")


def test_the_switches_reach_the_model_and_the_address(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-002&clamp=7:4&at=audio")
    page.get_by_role("button", name="Expert switches").click()
    page.get_by_label("after TopK", exact=True).check()
    page.wait_for_url("**when=after_topk**")
    page.locator("#steer-go").click()
    expect(page.locator(STEERED)).to_be_visible()
    assert served.model.switches[-1] == ("after_topk", "audio", "replace", False)


def test_stop_stops_the_model(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-002&clamp=7:4&ask=Go%20on%20forever")
    served.model.stopped.clear()
    page.locator("#steer-go").click()
    expect(page.locator("#answers")).to_contain_text("Listening and answering")
    page.locator("#steer-stop").click()
    expect(page.locator("#answers")).to_contain_text("Stopped.")
    assert served.model.stopped.wait(30), "the model was told to stop"
    expect(page.locator("#steer-go")).to_be_visible()


def test_leaving_the_page_stops_the_model_too(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-002&clamp=7:4&ask=Go%20on%20forever")
    served.model.stopped.clear()
    page.locator("#steer-go").click()
    expect(page.locator("#answers")).to_contain_text("Listening and answering")
    page.goto("about:blank")
    assert served.model.stopped.wait(60), "nobody waits for this answer"


def test_an_error_of_the_model_is_one_sentence(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-002&clamp=7:4&ask=wrong")
    page.locator("#steer-go").click()
    expect(page.locator("#answers")).to_contain_text("The question cannot be used. Nothing was changed")


def test_ones_own_sound_takes_the_place_of_the_clip(page: Page, served: Served, tmp_path: Path) -> None:
    own = tmp_path / "own.wav"
    soundfile.write(own, 0.1 * np.sin(np.arange(16_000) / 5), 16_000)
    open_steer(page, served, "?clip=clip-002&clamp=7:4")
    page.get_by_role("button", name="Or your own sound").click()
    page.locator("#steer-upload input[type=file]").set_input_files(own)
    expect(page.locator("#steer-upload audio, #steer-upload #waveform").first).to_be_attached()
    page.locator("#steer-go").click()
    expect(page.locator(STEERED)).to_be_visible()
    assert served.model.asked[-1][0] == "own.wav"


def test_no_concept_is_said(page: Page, served: Served) -> None:
    open_steer(page, served, "?clip=clip-002&clamp=62:4")
    page.locator("#steer-go").click()
    expect(page.locator("#answers")).to_contain_text("Latent 62 never fires")


def test_the_card_shows_where_the_first_latent_fires(page: Page, served: Served) -> None:
    open_steer(page, served, f"?clip={made.clip_id(7)}&clamp=7:4")
    expect(page.locator("#steer-card .strip rect")).to_have_count(20)
