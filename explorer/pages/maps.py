"""The maps page: concepts by their clips, clips by their sound; a click opens the concept or plays the clip."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from explorer import figures, players, render
from explorer.pages.detail import detail
from explorer.pages.shared import QUIET, address, header, known_sae, sae_choices, state_of
from explorer.queries import Queries
from explorer.views import COLOURS, MAX_QUERY, MapState, ViewState

_PLOT = '<div class="plot" id="{id}" role="img" aria-label="{label}">{skeleton}</div>'
_PLOT_JS = """
element.addEventListener('ardpick', (e) => { e.stopPropagation(); trigger('select', {picked: e.detail}); });
"""
_COLOURS = [("label", COLOURS[0]), ("the chosen concept's activation", COLOURS[1])]
ALL = 2**31 - 1


class MapsPage:
    """Builds the page inside a `gr.Blocks` and answers its events. Holds no state of any visitor."""

    def __init__(self, queries: Queries):
        self.queries = queries

    def build(self, blocks: gr.Blocks) -> None:
        """Lay out the page and connect its events."""
        self.state, self.address = gr.State(MapState()), gr.Textbox(visible=False)
        self.header = gr.HTML(header(self.queries, "Maps", self.queries.default_sae()))
        with gr.Row(elem_id="map-tools"):
            self.search = gr.Textbox(
                label="Filter both maps", placeholder="words; what does not fit turns grey", elem_id="map-search"
            )
            self.sae = gr.Dropdown([], label="SAE", filterable=False, elem_id="map-sae")
            self.colour = gr.Radio(_COLOURS, value=COLOURS[0], label="Colour of the clips", elem_id="map-colour")
        with gr.Row(elem_id="maps"):
            self.concepts, self.concept_data, self.concept_words = self._map(
                "concept-plot", "Monosemanticity map", "Concepts; near ones fire on clips that sound alike."
            )
            self.clips, self.clip_data, self.clip_words = self._map(
                "clip-plot", "CLAP map", "Clips; near ones sound alike to CLAP."
            )
        with gr.Row(elem_id="map-chosen", elem_classes="two"):
            with gr.Column():
                self.head = gr.HTML(elem_id="concept")
                self.cards = gr.HTML(elem_id="cards")
            with gr.Column():
                self.clip = gr.HTML(elem_id="map-clip")
        self.plots = [self.concept_data, self.concept_words, self.clip_data, self.clip_words]
        self.chosen = [self.head, self.cards, self.clip]
        everything = [
            self.state,
            self.address,
            self.header,
            *self.plots,
            *self.chosen,
            self.search,
            self.sae,
            self.colour,
        ]
        blocks.load(self.open, None, everything, **QUIET)
        self._events()

    def _map(self, plot: str, title: str, words: str) -> tuple[gr.HTML, gr.HTML, gr.HTML]:
        with gr.Column(elem_classes="map"):
            gr.HTML(f"<h2>{title}</h2><p class='note'>{words}</p>")
            drawn = _PLOT.format(id=plot, label=f"{title}: {words}", skeleton=render.skeleton(1, 420))
            return gr.HTML(drawn, js_on_load=_PLOT_JS), gr.HTML(elem_classes="data"), gr.HTML()

    def _events(self) -> None:
        here = [self.state, self.address]
        events = [
            self.search.change(
                self.find, [self.state, self.search], [*here, *self.plots], trigger_mode="always_last", **QUIET
            ),
            self.sae.input(self.switch, [self.state, self.sae], [*here, *self.plots, *self.chosen], **QUIET),
            self.colour.input(self.paint, [self.state, self.colour], [*here, *self.plots], **QUIET),
            self.concepts.select(self.choose, self.state, [*here, *self.plots, *self.chosen], **QUIET),
            self.clips.select(self.play, self.state, [*here, *self.plots, self.clip], **QUIET),
        ]
        for event in events:
            event.then(**address(self.address))

    # -- what the events show ------------------------------------------------------------------------------------

    def open(self, request: gr.Request) -> list[Any]:
        """First view of a visitor, as the address says."""
        state = state_of(MapState, request)
        sae_id = known_sae(self.queries, state.sae_id, raw=True)
        state = replace(state, sae_id="" if sae_id == self.queries.default_sae() else sae_id)
        return [
            state,
            state.to_query(),
            header(self.queries, "Maps", sae_id),
            *self._drawn(state),
            *self._concept(state),
            self._clip(state),
            state.query,
            gr.update(choices=sae_choices(self.queries, raw=True), value=sae_id or None),
            state.colour,
        ]

    def find(self, state: MapState, query: str) -> list[Any]:
        """Another filter."""
        query = query.strip()[:MAX_QUERY]
        if query == state.query:
            return [gr.skip()] * 6
        state = replace(state, query=query)
        return [state, state.to_query(), *self._drawn(state)]

    def switch(self, state: MapState, sae_id: str) -> list[Any]:
        """Another SAE: no concept is chosen."""
        state = replace(state, sae_id="" if sae_id == self.queries.default_sae() else sae_id, latent_id=None)
        return [state, state.to_query(), *self._drawn(state), *self._concept(state), self._clip(state)]

    def paint(self, state: MapState, colour: str) -> list[Any]:
        """Another colour of the clips."""
        state = replace(state, colour=colour)
        return [state, state.to_query(), *self._drawn(state)]

    def choose(self, state: MapState, event: gr.EventData) -> list[Any]:
        """A concept was clicked: it opens, and the clips show how much they fire it."""
        state = replace(state, latent_id=int(event.picked), colour=COLOURS[1])
        return [state, state.to_query(), *self._drawn(state), *self._concept(state), self._clip(state)]

    def play(self, state: MapState, event: gr.EventData) -> list[Any]:
        """A clip was clicked: it plays."""
        state = replace(state, clip_id=str(event.picked))
        return [state, state.to_query(), *self._drawn(state), self._clip(state, play=True)]

    # -- drawing -------------------------------------------------------------------------------------------------

    def _sae(self, state: MapState) -> str:
        return state.sae_id or self.queries.default_sae()

    def _view(self, state: MapState) -> ViewState:
        method = self.queries.resolve(state.sae_id, "ard")[1]
        return ViewState(sae_id=state.sae_id, method=method, query=state.query, latent_id=state.latent_id)

    def _drawn(self, state: MapState) -> list[str]:
        return [*self._concept_map(state), *self._clip_map(state)]

    def _concept_map(self, state: MapState) -> tuple[str, str]:
        points = self.queries.concept_map(self._sae(state))
        if not points:
            return _data("concept-plot", None), self._empty("The concepts of this SAE would lie here.")
        kept = None
        if state.query:
            kept = {r.latent_id for r in self.queries.concepts(self._view(state), limit=ALL).rows}
        figure = figures.concept_figure(points, kept, state.latent_id)
        fit = "" if kept is None else f"{render.count(sum(p.latent_id in kept for p in points))} of "
        words = f"{fit}{render.count(len(points))} concepts. Colour: m, 0 is chance. A click opens the concept."
        return _data("concept-plot", figure), render.note(words)

    def _clip_map(self, state: MapState) -> tuple[str, str]:
        named = self.queries.named(self._sae(state), [state.latent_id] if state.latent_id is not None else [])
        active = bool(named) and state.colour == COLOURS[1]
        points = self.queries.clip_map(self._sae(state), named[0].latent_id if active else None)
        if not points:
            return _data("clip-plot", None), self._empty("The clips would lie here by their CLAP embedding.")
        concept = named[0].name if active else ""
        figure = figures.clip_figure(
            points, state.query.lower().split(), chosen=state.clip_id, concept=concept, by_activation=active
        )
        if active:
            words = f"Colour: r of “{concept}” (Eq. 2), 0 where it does not fire. A click plays the clip."
        elif state.colour == COLOURS[1]:
            words = "Choose a concept on the other map to see how much each clip fires it."
        else:
            words = "Colour: the commonest labels; of several the rarest. A click plays the clip."
        return _data("clip-plot", figure), render.note(f"{render.count(len(points))} clips. {words}")

    def _empty(self, text: str) -> str:
        command = f"python -m precompute map --run {self.queries.run.path}"
        return render.empty("No map yet", text, command)

    def _concept(self, state: MapState) -> list[str]:
        if state.latent_id is None:
            return [render.note("Click a concept to hear its clips here."), ""]
        shown = detail(self.queries, self._view(state))
        more = render.link("./", "all about this concept", sae=state.sae_id, latent=state.latent_id)
        return [f'{shown.head}<p class="ard more">{more}</p>', shown.cards]

    def _clip(self, state: MapState, *, play: bool = False) -> str:
        if not state.clip_id:
            return render.note("Click a clip to hear it here.")
        latent = -1 if state.latent_id is None else state.latent_id
        clip = self.queries.clip_of(state.clip_id, self._sae(state), latent)
        if clip is None:
            return render.empty("No such clip", f"The run has no clip {state.clip_id}.")
        named = self.queries.named(self._sae(state), [latent])
        top = (named[0].max_activation if named else None) or 0.0
        card = players.clip_cards([clip], self.queries.run.audio_dir.resolve(), top)
        labels = f'<p class="note ard">{escape(", ".join(clip.labels) or "no labels")} · {escape(clip.clip_id)}</p>'
        steer = render.link("steer", "steer with this clip", sae=state.sae_id, clip=clip.clip_id)
        listen = render.link("listen", "which concepts fire in it", sae=state.sae_id, clip=clip.clip_id)
        return f'<div{" data-autoplay" if play else ""}>{card}</div>{labels}<p class="ard more">{steer}{listen}</p>'


def _data(plot: str, figure: dict[str, Any] | None) -> str:
    """A figure for the page's script; None takes the drawing away."""
    text = escape(json.dumps(figure, separators=(",", ":"), ensure_ascii=False))
    return f'<div hidden data-plot="{plot}" data-figure="{text}"></div>'
