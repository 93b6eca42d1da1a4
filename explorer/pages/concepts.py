"""The concepts page: a searchable, sortable, paged list; one concept to hear, with the evidence of its name."""

from __future__ import annotations

from typing import Any

import gradio as gr

from explorer import render, render_concept
from explorer.pages.detail import detail
from explorer.pages.shared import QUIET, address, header, sae_choices, state_of
from explorer.queries import ConceptPage, Queries
from explorer.views import ViewState

_ROWS_JS = """
const pick = (row) => {
  element.querySelectorAll('tr[aria-selected="true"]').forEach((r) => r.setAttribute('aria-selected', 'false'));
  row.setAttribute('aria-selected', 'true');
  trigger('select', {latent_id: Number(row.dataset.latent)});
  if (window.innerWidth <= 1000) document.getElementById('detail').scrollIntoView({block: 'start'});
};
element.addEventListener('click', (e) => {
  const sort = e.target.closest('button[data-sort]');
  if (sort) return trigger('input', {sort: sort.dataset.sort});
  const row = e.target.closest('tr[data-latent]');
  if (row) pick(row);
});
element.addEventListener('keydown', (e) => {
  const row = e.target.closest('tr[data-latent]');
  if (!row) return;
  if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); e.stopPropagation(); pick(row); }
  const next = {ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling}[e.key];
  if (next) { e.preventDefault(); next.focus(); }
});
"""
_SIDE_LABELS = [("most representative", "most"), ("least representative", "least")]


class ConceptsPage:
    """Builds the page inside a `gr.Blocks` and answers its events. Holds no state of any visitor."""

    def __init__(self, queries: Queries):
        self.queries = queries

    # -- layout --------------------------------------------------------------------------------------------------

    def build(self, blocks: gr.Blocks) -> None:
        """Lay out the page and connect its events."""
        self.state = gr.State(ViewState())
        self.address = gr.Textbox(visible=False)
        self.header = gr.HTML(header(self.queries, "Concepts", self.queries.default_sae()))
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="list"):
                self._list()
            with gr.Column(elem_id="detail"):
                self.head = gr.HTML(render.skeleton(3, 22), elem_id="concept")
                self.side = gr.Radio(_SIDE_LABELS, value="most", show_label=False, container=False, elem_id="side")
                self.cards = gr.HTML(render.skeleton(4, 96), elem_id="cards")
                self.evidence = gr.HTML()
        self.listing = [self.state, self.address, self.header, self.table, self.position, self.previous, self.next]
        self.chosen = [self.state, self.address, self.head, self.side, self.cards, self.evidence]
        self.everything = [*self.listing, *self.chosen[2:], self.search, self.sae, self.method]
        blocks.load(self.open, None, self.everything, **QUIET)
        self._events()

    def _list(self) -> None:
        with gr.Row(elem_id="tools"):
            self.search = gr.Textbox(label="Search concepts", placeholder="words or latent number", elem_id="search")
            self.sae = gr.Dropdown([], label="SAE", filterable=False, elem_id="sae")
            self.method = gr.Dropdown([], label="Method", filterable=False, elem_id="method")
        self.table = gr.HTML(render.skeleton(20, 24), js_on_load=_ROWS_JS, elem_id="concepts")
        with gr.Row(elem_id="pager"):
            self.previous = gr.Button("Previous", size="sm", elem_id="previous")
            self.position = gr.HTML(elem_id="position")
            self.next = gr.Button("Next", size="sm", elem_id="next")

    def _events(self) -> None:
        events = [
            self.search.change(self.find, [self.state, self.search], self.listing, trigger_mode="always_last", **QUIET),
            self.table.input(self.order, self.state, self.listing, **QUIET),
            self.previous.click(self.turn_back, self.state, self.listing, **QUIET),
            self.next.click(self.turn_on, self.state, self.listing, **QUIET),
            self.table.select(self.choose, self.state, self.chosen, trigger_mode="always_last", **QUIET),
            self.side.input(self.turn_side, [self.state, self.side], self.chosen, **QUIET),
            self.sae.input(self.switch, [self.state, self.sae, self.method], self.everything, **QUIET),
            self.method.input(self.switch, [self.state, self.sae, self.method], self.everything, **QUIET),
        ]
        for event in events:
            event.then(**address(self.address))

    # -- what the events show ------------------------------------------------------------------------------------

    def open(self, request: gr.Request) -> list[Any]:
        """First view of a visitor, as the address says."""
        state = state_of(ViewState, request)
        _, method = self.queries.resolve(state.sae_id, state.method)
        return self._all(state.with_(method=method, page=state.page))

    def switch(self, state: ViewState, sae_id: str, method: str) -> list[Any]:
        """Another SAE or method: its best concept. A latent's number means another thing in another SAE."""
        _, method = self.queries.resolve(sae_id, method)
        wished = sae_id if sae_id != self.queries.default_sae() else ""
        keep = wished == state.sae_id
        return self._all(state.with_(sae_id=wished, method=method, latent_id=state.latent_id if keep else None))

    def find(self, state: ViewState, query: str) -> list[Any]:
        """The list after a change of the search."""
        changed = state.with_(query=query)
        if changed.query == state.query:  # `change` also fires when the page itself fills the box
            return [gr.skip() for _ in self.listing]
        return self._listed(changed)

    def order(self, state: ViewState, event: gr.EventData) -> list[Any]:
        """The list by another column, or the other way round."""
        return self._listed(state.sorted_by(str(event.sort)))

    def turn_back(self, state: ViewState) -> list[Any]:
        """The page before."""
        return self._listed(state.with_(page=max(1, state.page - 1)))

    def turn_on(self, state: ViewState) -> list[Any]:
        """The page after."""
        return self._listed(state.with_(page=state.page + 1))

    def choose(self, state: ViewState, event: gr.EventData) -> list[Any]:
        """Another concept."""
        return self._chosen(state.with_(latent_id=int(event.latent_id)))

    def turn_side(self, state: ViewState, side: str) -> list[Any]:
        """The other clips of the same concept."""
        return self._chosen(state.with_(side=side))

    def _all(self, state: ViewState) -> list[Any]:
        state, page = self._page(state)
        if state.latent_id is None and page.rows:
            first = next((row for row in page.rows if row.named), page.rows[0])
            state = state.with_(latent_id=first.latent_id)
        sae_id = self.queries.sae_of(state)
        methods = [m for s, m, _ in self.queries.sources() if s == sae_id]
        return [
            *self._listed(state),
            *self._chosen(state)[2:],
            state.query,
            gr.update(choices=sae_choices(self.queries, raw=True), value=sae_id or None),
            gr.update(choices=[(render.METHOD_NAMES[m], m) for m in methods], value=state.method if methods else None),
        ]

    def _page(self, state: ViewState) -> tuple[ViewState, ConceptPage]:
        page = self.queries.concepts(state)
        return state.with_(page=page.page), page

    def _listed(self, state: ViewState) -> list[Any]:
        state, page = self._page(state)
        sae_id = self.queries.sae_of(state)
        detection = self.queries.has_detection(sae_id, state.method)
        return [
            state,
            state.to_query(),
            header(self.queries, "Concepts", sae_id, state.method),
            render_concept.table(page, state, self.queries.run.path, detection=detection),
            render_concept.pager(page),
            gr.update(interactive=page.page > 1),
            gr.update(interactive=page.page < page.pages),
        ]

    def _chosen(self, state: ViewState) -> list[Any]:
        shown = detail(self.queries, state)
        return [state, state.to_query(), shown.head, state.side, shown.cards, shown.evidence]
