"""A browser, and the app over the made-up run with a model that answers from a list."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from ard.store import Run
from explorer import server
from explorer.service import Decoding, Positions, Status, When
from tests.browser.ensure_browser import HINT, find_browser

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

expect.set_options(timeout=90_000)  # what a page shows is checked here, not how fast a busy machine shows it


class Said(NamedTuple):
    baseline: str
    steered: str
    note: str


class Heard(NamedTuple):
    """One latent of `Recording`: fires on the first half of 50 tokens."""

    latent_id: int
    values: list[float]
    mean_activation: float
    coverage: float
    representativeness: float
    max_activation: float


class Recording(NamedTuple):
    sae_id: str
    seconds: float
    seconds_per_token: float
    tokens: int
    windows: int
    latents: list[Heard]


class TalkingModel:
    """Answers with what it was asked, so that the page can be checked without a model."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, tuple[int, ...], tuple[float, ...]]] = []
        self.switches: list[tuple[str, str, str, bool]] = []
        self.heard: list[tuple[str, str, int]] = []
        self.stopped = threading.Event()

    def status(self) -> Status:
        return Status(True, False, "The model made-up is ready.")

    def steer(
        self,
        audio: Path,
        prompt: str,
        *,
        sae_id: str,
        latents: Sequence[int],
        values: Sequence[float],
        when: When = "before_topk",
        error_term: bool = False,
        positions: Positions = "all",
        decoding: Decoding = "replace",
        should_stop: Callable[[], bool] | None = None,
    ) -> Said:
        self.asked.append((audio.name, prompt, tuple(latents), tuple(values)))
        self.switches.append((when, positions, decoding, error_term))
        if "wrong" in prompt:
            raise ValueError("The question cannot be used.")
        for _ in range(1200 if "forever" in prompt else 4):
            time.sleep(0.05)
            if should_stop is not None and should_stop():
                self.stopped.set()
                return Said("", "", "Stopped.")
        return Said("A dog barks.", f"A <i>cat</i> meows at {values[0]:g}.", "Clamped at 50 positions.")

    def listen(self, audio: Path, *, sae_id: str, top: int) -> Recording:
        self.heard.append((audio.name, sae_id, top))
        values = [4.0] * 25 + [0.0] * 25
        latents = [Heard(i, values, 2.0, 0.5, 1.0, 4.0) for i in (7, 5, 63)][:top]
        return Recording(sae_id, 2.0, 0.04, 50, 1, latents)


class Served(NamedTuple):
    url: str
    model: TalkingModel


@pytest.fixture(scope="session")
def served(made_up_run: Run) -> Iterator[Served]:
    model = TalkingModel()
    blocks = server.build(made_up_run, model)
    url = server.launch(blocks, made_up_run, host="127.0.0.1", port=None, auth=None)
    yield Served(url.rstrip("/"), model)
    blocks.close(verbose=False)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        pytest.fail(HINT)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class Watch:
    """Everything a page should not do: errors on the console, requests to another origin, failed requests."""

    def __init__(self, page: Page, origin: str):
        self.complaints: list[str] = []
        self._origin, self._hung_up = origin, False
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda r: self._request(r.url))
        page.on("response", lambda r: self.complaints.append(f"{r.status} {r.url}") if r.status >= 400 else None)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        if "AbortError: signal is aborted" in message.text:  # Gradio's client hangs up: the visitor leaves the page
            self._hung_up = True
        elif not (self._hung_up and "Connection errored out" in message.text):  # what it says after hanging up
            self.complaints.append(f"console: {message.text}")

    def _request(self, url: str) -> None:
        if not url.startswith((self._origin, "data:", "blob:")):
            self.complaints.append(f"outside: {url}")


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1360, "height": 900})
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, served: Served) -> Iterator[Page]:
    """A page that is watched; whatever it did wrong fails the test at its end."""
    made = context.new_page()
    made.set_default_timeout(90_000)
    watch = Watch(made, served.url)
    yield made
    assert watch.complaints == []
