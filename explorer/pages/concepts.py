"""The concepts page: a searchable, paged list; one concept to hear; a slider that steers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from explorer import players, render
from explorer.queries import Clip, Queries
from explorer.service import LiveModel
from explorer.views import SORTS, ViewError, ViewState

_ROWS_JS = """
const pick = (row) => {
  element.querySelectorAll('tr[aria-selected="true"]').forEach((r) => r.setAttribute('aria-selected', 'false'));
  row.setAttribute('aria-selected', 'true');
  trigger('select', {latent_id: Number(row.dataset.latent)});
  if (window.innerWidth <= 1000) document.getElementById('detail').scrollIntoView({block: 'start'});
};
element.addEventListener('click', (e) => {
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
_ADDRESS_JS = "(q) => { window.ardAddress(q); }"
_SORT_LABELS = [
    ("monosemanticity", "monosemanticity"),
    ("name", "name"),
    ("density", "density"),
    ("most clips", "clips"),
]
_SIDE_LABELS = [("most representative", "most"), ("least representative", "least")]
QUESTION = "Describe the sound."  # where a run has no questions of its own
TIMES = 4.0  # where the slider starts, in multiples of the latent's largest activation
TIMES_MAX = 16.0


class ConceptsPage:
    """Builds the page inside a `gr.Blocks` and answers its events. Holds no state of any visitor."""

    def __init__(self, queries: Queries, live: LiveModel):
        self.queries, self.live = queries, live
        self.audio_dir = queries.run.audio_dir.resolve()

    # -- layout --------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the page and connect its events."""
        state = self.state = gr.State(ViewState())
        self.address = gr.Textbox(visible=False)
        self.crumbs = gr.HTML()
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="list"):
                self._list()
            with gr.Column(elem_id="detail"):
                self._detail()
        self.listing = [state, self.address, self.table, self.position, self.previous, self.next]
        self.chosen = [state, self.address, self.head, self.side, self.cards, self.evidence, self.clip, self.scale]
        everything = [*self.listing, *self.chosen[2:], self.crumbs, self.search, self.sort, self.status]
        gr.context.Context.root_block.load(self.open, None, everything, **_QUIET)  # type: ignore[union-attr]
        self._events()

    def _list(self) -> None:
        with gr.Row(elem_id="tools"):
            self.search = gr.Textbox(label="Search concepts", placeholder="words or latent number", elem_id="search")
            self.sort = gr.Dropdown(_SORT_LABELS, value=SORTS[0], label="Sort by", filterable=False, elem_id="sort")
        self.table = gr.HTML(js_on_load=_ROWS_JS, elem_id="concepts")
        with gr.Row(elem_id="pager"):
            self.previous = gr.Button("Previous", size="sm", elem_id="previous")
            self.position = gr.HTML(elem_id="position")
            self.next = gr.Button("Next", size="sm", elem_id="next")

    def _detail(self) -> None:
        self.head = gr.HTML(elem_id="concept")
        self.side = gr.Radio(_SIDE_LABELS, value="most", show_label=False, container=False, elem_id="side")
        self.cards = gr.HTML(elem_id="cards")
        self.evidence = gr.HTML()
        with gr.Column(elem_id="steer"):
            gr.HTML(
                '<h3>Steer</h3><p class="note">Clamp this latent while the model listens, and compare its answers.</p>'
            )
            with gr.Row(elem_id="steer-inputs"):
                self.clip = gr.Dropdown([], label="Clip", filterable=False, elem_id="steer-clip")
                questions = self.queries.questions() or [QUESTION]
                self.question = gr.Dropdown(
                    questions, value=questions[0], label="Question", allow_custom_value=True, elem_id="steer-question"
                )
            with gr.Row(elem_id="steer-value"):
                self.times = gr.Slider(
                    0, TIMES_MAX, value=TIMES, step=0.5, label="Value (× largest activation)", elem_id="steer-slider"
                )
                with gr.Column(min_width=0):
                    self.go = gr.Button("Steer", variant="primary", elem_id="steer-go")
                    self.stop = gr.Button("Stop", visible=False, elem_id="steer-stop")
            self.scale = gr.HTML()
            self.answer = gr.HTML(elem_id="answers")
            self.status = gr.HTML(elem_id="model-status")
            self.timer = gr.Timer(1.0)

    def _events(self) -> None:
        address = {"fn": None, "inputs": self.address, "js": _ADDRESS_JS, "api_visibility": "private"}
        listed = [
            self.search.change(
                self.find, [self.state, self.search], self.listing, trigger_mode="always_last", **_QUIET
            ),
            self.sort.input(self.order, [self.state, self.sort], self.listing, **_QUIET),
            self.previous.click(self.turn_back, self.state, self.listing, **_QUIET),
            self.next.click(self.turn_on, self.state, self.listing, **_QUIET),
        ]
        picked = [
            self.table.select(self.choose, self.state, self.chosen, trigger_mode="always_last", **_QUIET),
            self.side.input(self.turn_side, [self.state, self.side], self.chosen, **_QUIET),
        ]
        for event in [*listed, *picked]:
            event.then(**address)
        self.times.input(self.rescale, [self.state, self.times], self.scale, trigger_mode="always_last", **_QUIET)
        asked = [self.state, self.clip, self.question, self.times]
        shown = [self.answer, self.go, self.stop]
        runs = [
            trigger(self.steer, asked, shown, concurrency_limit=1, concurrency_id="model", **_QUIET)
            for trigger in (self.times.release, self.go.click)
        ]
        self.stop.click(self.stopped, None, shown, cancels=runs, **_QUIET)
        self.timer.tick(self.model_status, None, [self.status, self.timer, self.go], **_QUIET)

    # -- what the events show ------------------------------------------------------------------------------------

    def open(self, request: gr.Request) -> list[Any]:
        """First view of a visitor, as the address says."""
        try:
            state = ViewState.from_query(dict(request.query_params))
        except ViewError as error:
            gr.Warning(f"{error} The first page is shown instead.")
            state = ViewState()
        state, page = self._page(state)
        if state.latent_id is None and page.rows:
            state = state.with_(latent_id=page.rows[0].latent_id)
        sae_id, run = self.queries.sae_of(state), self.queries.run.path.resolve().name
        crumbs = render.crumbs(run, sae_id, state.method, self.queries.clip_count())
        status = render.note(self.live.status().message)
        return [*self._listed(state), *self._chosen(state)[2:], crumbs, state.query, state.sort, status]

    def find(self, state: ViewState, query: str) -> list[Any]:
        """The list after a change of the search."""
        changed = state.with_(query=query)
        if changed.query == state.query:  # `change` also fires when the page itself fills the box
            return [gr.skip() for _ in self.listing]
        return self._listed(changed)

    def order(self, state: ViewState, sort: str) -> list[Any]:
        """The list after a change of its order."""
        return self._listed(state.with_(sort=sort))

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

    def _page(self, state: ViewState) -> tuple[ViewState, Any]:
        page = self.queries.concepts(state)
        return state.with_(page=page.page), page

    def _listed(self, state: ViewState) -> list[Any]:
        state, page = self._page(state)
        return [
            state,
            state.to_query(),
            render.table(page, state, self.queries.run.path),
            render.pager(page),
            gr.update(interactive=page.page > 1),
            gr.update(interactive=page.page < page.pages),
        ]

    def _chosen(self, state: ViewState) -> list[Any]:
        sae_id = self.queries.sae_of(state)
        found = None if state.latent_id is None else self.queries.concept(sae_id, state.latent_id, state.method)
        if found is None:
            return self._nothing(state)
        clips = {
            s: self.queries.representatives(sae_id, found.row.latent_id, state.method, s) for s in ("most", "least")
        }
        top = found.row.max_activation or 0.0
        shown = clips[state.side]
        cards = (
            players.clip_cards(shown, self.audio_dir, top) if shown else render.empty("No clips", _NO_CLIPS[state.side])
        )
        choices = _clip_choices(clips["least"], clips["most"])
        return [
            state,
            state.to_query(),
            render.concept(found),
            state.side,
            cards,
            render.why(found),
            gr.update(choices=choices, value=choices[0][1] if choices else None),
            render.steered_value(TIMES, top),
        ]

    def _nothing(self, state: ViewState) -> list[Any]:
        if state.latent_id is None:
            head = render.empty("No concept chosen", "Choose one in the list to hear its clips.")
        else:
            sae_id = self.queries.sae_of(state) or "this run"
            text = f"Latent {state.latent_id} of {sae_id} has no name: it may be dead or unscored."
            head = render.empty("No such concept", text)
        return [state, state.to_query(), head, state.side, "", "", gr.update(choices=[], value=None), ""]

    # -- steering ------------------------------------------------------------------------------------------------

    def rescale(self, state: ViewState, times: float) -> str:
        """What the slider's place means in z."""
        return render.steered_value(times, self._top(state))

    def _top(self, state: ViewState) -> float | None:
        if state.latent_id is None:
            return None
        found = self.queries.concept(self.queries.sae_of(state), state.latent_id, state.method)
        return found.row.max_activation if found else None

    def steer(self, state: ViewState, clip_id: str | None, question: str | None, times: float) -> Iterator[list[Any]]:
        """Both answers; says what it is doing until they are there."""
        idle = [gr.update(visible=True), gr.update(visible=False)]
        clip = self.queries.clip(clip_id) if clip_id else None
        top, status = self._top(state), self.live.status()
        problem = (
            status.message
            if not status.available
            else "Choose a concept and a clip first."
            if clip is None or clip.audio is None or not top
            else "Put a question first."
            if not (question or "").strip()
            else ""
        )
        if problem or clip is None or clip.audio is None or top is None or state.latent_id is None or not question:
            yield [render.note(problem), *idle]
            return
        yield [
            render.note("Listening and answering, once untouched and once steered …"),
            gr.update(visible=False),
            gr.update(visible=True),
        ]
        try:
            result = self.live.steer(
                self.audio_dir / clip.audio,
                question.strip(),
                sae_id=self.queries.sae_of(state),
                latents=[state.latent_id],
                values=[times * top],
            )
        except ValueError as error:
            yield [render.note(f"{error} Nothing was changed; choose something else and try again."), *idle]
            return
        yield [render.answers(result.baseline, result.steered, result.note), *idle]

    def stopped(self) -> list[Any]:
        """After Stop."""
        return [render.note("Stopped."), gr.update(visible=True), gr.update(visible=False)]

    def model_status(self) -> list[Any]:
        """The model's state; the clock stops once it will not change any more."""
        status = self.live.status()
        return [render.note(status.message), gr.update(active=status.loading), gr.update(interactive=status.available)]


_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_NO_CLIPS = {
    "most": "The latent's most representative clips would be here; the stage `representatives` finds them.",
    "least": "The draw of its least representative clips would be here; the stage `representatives` makes it.",
}


def _clip_choices(least: list[Clip], most: list[Clip]) -> list[tuple[str, str]]:
    """Clips to steer on: first those where the latent is silent, for there a change shows."""
    named = [("silent here", c) for c in least] + [("fires here", c) for c in most]
    return [(f"{c.caption or c.clip_id} ({where})", c.clip_id) for where, c in named if c.audio]
