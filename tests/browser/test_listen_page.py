"""Listening: which concepts fire in a sound, one strip each, all on its time axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Served
from tests.fixtures import run as made


def open_listen(page: Page, served: Served, query: str = "") -> None:
    page.goto(f"{served.url}/listen{query}")
    expect(page.locator("#heard")).to_contain_text("Nothing heard yet")
    expect(page.locator("#listen-go")).to_be_enabled()


def test_a_clip_of_the_run(page: Page, served: Served) -> None:
    open_listen(page, served, "?clip=clip-003&top=2")
    page.locator("#listen-go").click()
    expect(page.locator("#heard .names li")).to_have_count(2)
    expect(page.locator("#heard .names li").first).to_contain_text("dog barking 7")
    expect(page.locator("#heard .names li").nth(1)).to_contain_text(made.HOSTILE)
    assert page.evaluate("window.hacked") is None
    expect(page.locator("#heard .strip").first.locator("rect")).to_have_count(25)
    assert served.model.heard[-1] == ("00000003.wav", made.SAE_ID, 2)
    assert page.locator("#heard .names a").first.get_attribute("href") == (
        "./?sae=layers.1%2Fe4%2Fk8%2Frecommended&latent=7"
    )


def test_strips_light_in_time_with_the_sound(page: Page, served: Served) -> None:
    open_listen(page, served, "?clip=clip-003&top=3")
    page.locator("#listen-go").click()
    page.locator("#heard .play").click()
    page.wait_for_function("document.querySelectorAll('#heard .strip rect.lit').length === 3")
    page.wait_for_function("document.querySelectorAll('#heard .strip rect.lit').length === 0")  # silent second half


def test_ones_own_sound_is_heard_at_once_and_can_be_played(page: Page, served: Served, tmp_path: Path) -> None:
    own = tmp_path / "mine.wav"
    soundfile.write(own, 0.1 * np.sin(np.arange(32_000) / 5), 16_000)
    open_listen(page, served)
    page.locator("#listen-upload input[type=file]").set_input_files(own)
    expect(page.locator("#heard .names li")).to_have_count(3)
    expect(page.locator("#heard .caption")).to_have_text("your own sound")
    assert served.model.heard[-1][0] == "mine.wav"
    page.locator("#heard .play").click()
    page.wait_for_function("document.querySelector('#heard article audio').currentTime > 0.2")


def test_what_is_no_sound_is_refused_in_a_sentence(context: BrowserContext, served: Served, tmp_path: Path) -> None:
    page = context.new_page()  # not watched: Gradio's own player also complains about the file
    text = tmp_path / "text.wav"
    text.write_text("no sound", encoding="utf-8")
    open_listen(page, served)
    page.locator("#listen-upload input[type=file]").set_input_files(text)
    expect(page.locator("#heard")).to_contain_text("audio cannot be read as sound; give a wav, flac, ogg or mp3 file.")
