"""The page's answers without a browser: the right number of outputs, and words where there is nothing to show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from ard import tables
from ard.store import Run
from explorer.pages.concepts import ConceptsPage
from explorer.queries import Queries
from explorer.views import ViewState
from tests.fixtures import run as made


def built(run: Run) -> ConceptsPage:
    page = ConceptsPage(Queries(run))
    with gr.Blocks(analytics_enabled=False) as blocks:
        page.build(blocks)
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
    "params",
    [
        {},
        {"latent": "7"},
        {"latent": "63"},
        {"p": "9"},
        {"q": "nothing like it"},
        {"sae": "x"},
        {"sae": "layers.1/raw"},
        {"sort": "auroc", "rev": "1"},
    ],
)
def test_every_address_fills_every_output(made_up_run: Run, params: dict[str, str]) -> None:
    page = built(made_up_run)
    out = page.open(request(**params))
    assert len(out) == len(page.everything)
    assert len(page.find(ViewState(), "dog")) == len(page.listing)
    assert len(page.find(ViewState(query="dog"), "dog")) == len(page.listing)


def test_a_latent_without_a_name_says_so(made_up_run: Run) -> None:
    text = " ".join(str(value) for value in built(made_up_run).open(request(latent="63")))
    assert "No such concept" in text


def test_raw_dimensions_are_shown_with_their_own_method(made_up_run: Run) -> None:
    page = built(made_up_run)
    out = dict(zip(page.everything, page.open(request(sae="layers.1/raw")), strict=True))
    state = out[page.state]
    assert (state.sae_id, state.method, state.latent_id) == ("layers.1/raw", "poly", 0)
    assert "hum 0" in out[page.head]
    assert "steer?" not in out[page.head], "a raw dimension cannot be clamped through an SAE"
    back = dict(zip(page.everything, page.switch(state, made.SAE_ID, "poly"), strict=True))
    assert (back[page.state].sae_id, back[page.state].method) == ("", "ard")


def test_a_click_on_a_head_sorts_and_a_second_turns_it_round(made_up_run: Run) -> None:
    page = built(made_up_run)
    event = SimpleNamespace(sort="auroc")
    once = page.order(ViewState(), event)  # type: ignore[arg-type]
    assert (once[0].sort, once[0].reverse) == ("auroc", False)
    assert once[3].index('data-latent="11"') < once[3].index('data-latent="10"') < once[3].index('data-latent="0"')
    assert 'aria-sort="descending"' in once[3]
    twice = page.order(once[0], event)  # type: ignore[arg-type]
    assert twice[3].index('data-latent="0"') < twice[3].index('data-latent="11"') < twice[3].index('data-latent="12"')
    assert page.order(ViewState(), SimpleNamespace(sort="; DROP"))[0] == ViewState()  # type: ignore[arg-type]


def test_the_evidence_of_a_name(made_up_run: Run) -> None:
    page = built(made_up_run)
    out = dict(zip(page.everything, page.open(request(latent="7")), strict=True))
    evidence = out[page.evidence]
    assert "The sound of <mark>dog</mark> <mark>barking</mark>, take 1." in evidence
    assert "the name alone finds its clips <b>.70 <small>[.60–.80]</small></b> (chance .5)" in evidence
    assert "74 tokens above 0" in evidence
    assert "&lt;b&gt;dog&lt;/b&gt;" in evidence
    assert "latent=13" in evidence, "its neighbour"
    assert ".78 <small>[.68–.83]</small>" in out[page.head]
    bare = dict(zip(page.everything, page.open(request(latent="3")), strict=True))[page.evidence]
    assert bare.count("python -m precompute neighbours") == 2
    assert "the name alone" not in bare
    assert "python -m precompute latents" in bare


def test_the_page_opens_with_the_best_concept_that_has_a_name(tmp_path: Path) -> None:
    run = made.make_run(tmp_path / "run")
    concepts = run.read("concepts").to_pylist()
    ranked = sorted(
        (c for c in concepts if (c["sae_id"], c["method"]) == (made.SAE_ID, "ard")), key=lambda c: c["rank"]
    )
    for row in ranked[:2]:
        row |= {"name": "no common concept", "support": 0.0}
    run.write("concepts", tables.from_rows("concepts", concepts))
    page = built(run)
    opened = " ".join(str(value) for value in page.open(request()))
    assert opened.count('aria-selected="true"') == 1
    assert f'data-latent="{ranked[2]["latent_id"]}" tabindex="0" aria-selected="true"' in opened
