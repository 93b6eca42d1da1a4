"""The page's answers without a browser: the right number of outputs, and words where there is nothing to show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from ard.store import Run
from explorer.pages.concepts import ConceptsPage
from explorer.queries import Queries
from explorer.service import NoModel
from explorer.views import ViewState
from tests.fixtures import run as made


def built(run: Run) -> ConceptsPage:
    page = ConceptsPage(Queries(run), NoModel("Steering is off."))
    with gr.Blocks(analytics_enabled=False):
        page.build()
    return page


def request(**params: str) -> Any:
    return SimpleNamespace(query_params=params)


def test_a_run_without_concepts_says_how_to_get_some(tmp_path: Path) -> None:
    page = built(made.make_run(tmp_path / "run", concepts=0))
    text = " ".join(str(value) for value in page.open(request()))
    assert "No concepts yet" in text
    assert f"python -m precompute run --run {tmp_path / 'run'}" in text
    assert "No concept chosen" in text


@pytest.mark.parametrize(
    "params", [{}, {"latent": "7"}, {"latent": "63"}, {"p": "9"}, {"q": "nothing like it"}, {"sae": "x"}]
)
def test_every_address_fills_every_output(made_up_run: Run, params: dict[str, str]) -> None:
    page = built(made_up_run)
    out = page.open(request(**params))
    assert len(out) == len(page.listing) + len(page.chosen) - 2 + 4
    assert len(page.find(ViewState(), "dog")) == len(page.listing)
    assert len(page.find(ViewState(query="dog"), "dog")) == len(page.listing)


def test_a_latent_without_a_name_says_so(made_up_run: Run) -> None:
    text = " ".join(str(value) for value in built(made_up_run).open(request(latent="63")))
    assert "No such concept" in text


def test_steering_without_a_model_says_why(made_up_run: Run) -> None:
    page = built(made_up_run)
    (out,) = page.steer(ViewState(latent_id=7), "clip-001", "What is it?", 4.0)
    assert "Steering is off." in out[0]
