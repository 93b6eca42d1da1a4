"""What all pages share: how events behave, the header, the model's state, the choice of an SAE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import gradio as gr

from explorer import render
from explorer.queries import Queries
from explorer.service import LiveModel
from explorer.views import View, ViewError

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
ADDRESS_JS = "(q) => { window.ardAddress(q); }"
MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}  # one question to the model at a time
V = TypeVar("V", bound=View)


def address(component: gr.Textbox) -> dict[str, Any]:
    """Keyword arguments of an event that writes the component's text into the address bar."""
    return {"fn": None, "inputs": component, "js": ADDRESS_JS, "api_visibility": "private"}


def state_of(kind: type[V], request: gr.Request) -> V:
    """The state an address names; one that cannot be shown is said, and the default is shown instead."""
    params: Mapping[str, str] = dict(request.query_params)
    try:
        return kind.from_query(params)
    except ViewError as error:
        gr.Warning(f"{error} The page's default is shown instead.")
        return kind()


def header(queries: Queries, here: str, sae_id: str, method: str = "") -> str:
    """The head of a page."""
    return render.header(here, queries.run.path.resolve().name, sae_id, queries.clip_count(), method)


def sae_choices(queries: Queries, *, raw: bool) -> list[tuple[str, str]]:
    """SAEs that have concepts, as (words, sae_id); `raw` lets the raw dimensions of method `poly` in."""
    names = dict.fromkeys(s for s, _, _ in queries.sources() if raw or not s.endswith(render.RAW))
    return [(render.sae_name(s), s) for s in names]


def known_sae(queries: Queries, wished: str, *, raw: bool) -> str:
    """The wished SAE if the run has it, else the run's default."""
    known = [s for _, s in sae_choices(queries, raw=raw)]
    if wished and wished not in known:
        gr.Warning(f"The address has sae={wished!r}, which this run does not have; its default is shown instead.")
    return wished if wished in known else queries.default_sae()


def model_status(live: LiveModel) -> list[Any]:
    """(words, clock, button): the clock stops once the model's state will not change any more."""
    status = live.status()
    return [render.note(status.message), gr.update(active=status.loading), gr.update(interactive=status.available)]
