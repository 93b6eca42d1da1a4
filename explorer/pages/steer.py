"""The steer page: one clip, one question, one or more clamped concepts, both answers side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from explorer import render, render_steer, uploads
from explorer.asking import Waiting, ask
from explorer.pages import steering
from explorer.pages.shared import (
    MODEL,
    QUIET,
    address,
    header,
    known_sae,
    model_status,
    sae_choices,
    state_of,
)
from explorer.queries import Queries
from explorer.service import LiveModel
from explorer.views import DECODING, MAX_CLAMPS, MAX_PROMPT, POSITIONS, WHEN, Clamped, SteerState

_CLAMPS_JS = """
const all = () => [...element.querySelectorAll('.clamp')].map((c) =>
  [Number(c.dataset.latent), Number(c.querySelector('input').value)]);
element.addEventListener('input', (e) => {
  const clamp = e.target.closest('.clamp');
  if (!clamp) return;
  e.stopPropagation();
  const times = Number(e.target.value), z = times * Number(clamp.dataset.top);
  clamp.querySelector('output').innerHTML = `${times} × <small>z = ${Number(z.toPrecision(3))}</small>`;
});
element.addEventListener('change', (e) => { e.stopPropagation(); trigger('release', {clamps: all()}); });
element.addEventListener('click', (e) => {
  const remove = e.target.closest('.remove');
  if (remove) { remove.closest('.clamp').remove(); trigger('select', {clamps: all()}); }
});
"""
_PICK_JS = """
element.addEventListener('click', (e) => {
  const button = e.target.closest('button');
  if (button) trigger('select', {latent_id: Number(button.dataset.latent), example: Number(button.dataset.example)});
});
"""
_WHEN = [("before TopK (paper)", WHEN[0]), ("after TopK", WHEN[1])]
_POSITIONS = [("all (paper)", POSITIONS[0]), ("audio", POSITIONS[1]), ("question", POSITIONS[2])]
_DECODING = [
    ("x̂ replaces x, unclamped (paper)", DECODING[0]),
    ("clamped too", DECODING[1]),
    ("left alone", DECODING[2]),
]


class SteerPage:
    """Builds the page inside a `gr.Blocks` and answers its events. Holds no state of any visitor."""

    def __init__(self, queries: Queries, live: LiveModel):
        self.queries, self.live = queries, live

    # -- layout --------------------------------------------------------------------------------------------------

    def build(self, blocks: gr.Blocks) -> None:
        """Lay out the page and connect its events."""
        self.state, self.address = gr.State(SteerState()), gr.Textbox(visible=False)
        self.header = gr.HTML(header(self.queries, "Steer", self.queries.default_sae()))
        with gr.Row(elem_id="steer-page", elem_classes="two"):
            with gr.Column(elem_id="steer-inputs"):
                self._inputs()
            with gr.Column(elem_id="steer-outputs"):
                with gr.Row(elem_id="steer-do"):
                    self.go = gr.Button("Steer", variant="primary", elem_id="steer-go", interactive=False)
                    self.stop = gr.Button("Stop", visible=False, elem_id="steer-stop")
                    self.status = gr.HTML(elem_id="model-status")
                self.answer = gr.HTML(elem_id="answers")
                self.examples = gr.HTML(js_on_load=_PICK_JS, elem_id="examples")
        self.timer = gr.Timer(1.0, active=False)  # the page's inputs first: only then may somebody ask
        self.filled = [
            self.state, self.address, self.header, self.sae, self.clip, self.card, self.question, self.clamps,
            self.when, self.positions, self.decoding, self.error_term, self.examples,
        ]  # fmt: skip
        blocks.load(self.open, None, self.filled, **QUIET).then(
            lambda: gr.Timer(active=True), None, self.timer, **QUIET
        )
        self._events()

    def _inputs(self) -> None:
        gr.HTML("<h2>Steer</h2><p class='note'>Clamp concepts while the model listens, and compare its answers.</p>")
        self.sae = gr.Dropdown([], label="SAE", filterable=False, elem_id="steer-sae")
        self.clip = gr.Dropdown([], label="Clip", elem_id="steer-clip")
        self.card = gr.HTML(render.skeleton(1, 96), elem_id="steer-card")
        with gr.Accordion("Or your own sound", open=False, elem_id="steer-own"):
            self.own = gr.Audio(
                sources=["upload", "microphone"], type="filepath", label="Your sound", show_label=False,
                editable=False, elem_id="steer-upload",
            )  # fmt: skip
            gr.HTML(f"<p class='note'>At most {uploads.MAX_MB} MB and the model's window. It replaces the clip.</p>")
        self.question = gr.Dropdown([], label="Question", allow_custom_value=True, elem_id="steer-question")
        gr.HTML("<h3>Concepts</h3>")
        self.clamps = gr.HTML(js_on_load=_CLAMPS_JS, elem_id="clamps")
        self.add = gr.Textbox(label="Add a concept", placeholder="words or latent number", elem_id="steer-add")
        self.found = gr.HTML(js_on_load=_PICK_JS, elem_id="steer-found")
        with gr.Accordion("Expert switches", open=False, elem_id="switches"):
            self.when = gr.Radio(_WHEN, value=WHEN[0], label="When the clamp acts")
            self.positions = gr.Radio(_POSITIONS, value=POSITIONS[0], label="Positions")
            self.decoding = gr.Radio(_DECODING, value=DECODING[0], label="While decoding")
            self.error_term = gr.Checkbox(label="Add the SAE's error x − x̂ back (paper: no)")

    def _events(self) -> None:
        run = {
            "fn": self.steer,
            "inputs": [self.state, self.question, self.own],
            "outputs": [self.answer, self.go, self.stop],
            **MODEL,
            **QUIET,
        }
        state, switches = self.state, [self.when, self.positions, self.decoding, self.error_term]
        here = [state, self.address]
        added = [*here, self.clamps, self.add, self.found]
        quiet = [
            self.sae.input(self.switch_sae, [state, self.sae], self.filled, **QUIET),
            self.clip.input(self.choose_clip, [state, self.clip], [*here, self.card], **QUIET),
            self.question.input(self.put, [state, self.question], here, trigger_mode="always_last", **QUIET),
            self.clamps.select(self.take_away, state, [*here, self.clamps], **QUIET),
            self.found.select(self.add_latent, state, added, **QUIET),
            *(s.input(self.set_switches, [state, *switches], here, **QUIET) for s in switches),
        ]
        for event in quiet:
            event.then(**address(self.address))
        self.add.change(self.suggest, [state, self.add], self.found, trigger_mode="always_last", **QUIET)
        asked = [self.go.click(**run)]
        for event in (
            self.clamps.release(self.set_values, state, here, trigger_mode="always_last", **QUIET),
            self.examples.select(self.take_example, state, [*self.filled, self.own], **QUIET),
        ):
            asked.append(event.then(**address(self.address)).then(**run))
        # First the end of the question, then the word for it: a late "listening" must not take its place.
        ended = self.stop.click(None, None, None, cancels=asked, **QUIET)
        ended.then(self.stopped, None, [self.answer, self.go, self.stop], **QUIET)
        self.timer.tick(lambda: model_status(self.live), None, [self.status, self.timer, self.go], **QUIET)

    # -- what the events show ------------------------------------------------------------------------------------

    def open(self, request: gr.Request) -> list[Any]:
        """First view of a visitor, as the address says; without one, the first example that is known to steer."""
        state = state_of(SteerState, request)
        sae_id = known_sae(self.queries, state.sae_id, raw=False)
        state = replace(state, sae_id="" if sae_id == self.queries.default_sae() else sae_id)
        if state == SteerState(sae_id=state.sae_id):
            state = steering.first(self.queries, state)
        return self._filled(state)

    def _filled(self, state: SteerState) -> list[Any]:
        sae_id = steering.sae_of(self.queries, state)
        clips = steering.clips(self.queries, state, sae_id)
        ids = [clip_id for _, clip_id in clips]
        questions = self.queries.questions() or [steering.QUESTION]
        state = replace(
            state,
            clip_id=state.clip_id if state.clip_id in ids else next(iter(ids), ""),
            prompt=state.prompt or questions[0],
        )
        examples = self.queries.examples(sae_id)
        return [
            state,
            state.to_query(),
            header(self.queries, "Steer", sae_id),
            gr.update(choices=sae_choices(self.queries, raw=False), value=sae_id or None),
            gr.update(choices=clips, value=state.clip_id or None),
            steering.card(self.queries, state),
            gr.update(choices=questions, value=state.prompt),
            steering.sliders(self.queries, state),
            state.when,
            state.positions,
            state.decoding,
            state.error_term,
            render_steer.examples(examples) or render_steer.no_examples(self.queries.run.path),
        ]

    def switch_sae(self, state: SteerState, sae_id: str) -> list[Any]:
        """Another SAE: its latents are others, so the clamps start anew."""
        wished = "" if sae_id == self.queries.default_sae() else sae_id
        return self._filled(steering.first(self.queries, replace(state, sae_id=wished, clamps=())))

    def choose_clip(self, state: SteerState, clip_id: str) -> list[Any]:
        """Another clip."""
        state = replace(state, clip_id=clip_id)
        return [state, state.to_query(), steering.card(self.queries, state)]

    def put(self, state: SteerState, prompt: str | None) -> list[Any]:
        """Another question."""
        state = replace(state, prompt=(prompt or "").strip()[:MAX_PROMPT])
        return [state, state.to_query()]

    def set_switches(self, state: SteerState, when: str, positions: str, decoding: str, error_term: bool) -> list[Any]:
        """Other switches."""
        state = replace(state, when=when, positions=positions, decoding=decoding, error_term=error_term)
        return [state, state.to_query()]

    def set_values(self, state: SteerState, event: gr.EventData) -> list[Any]:
        """The sliders' places after one was let go."""
        state = replace(state, clamps=_read_clamps(event))
        return [state, state.to_query()]

    def take_away(self, state: SteerState, event: gr.EventData) -> list[Any]:
        """One concept less."""
        state = replace(state, clamps=_read_clamps(event))
        return [state, state.to_query(), steering.sliders(self.queries, state)]

    def add_latent(self, state: SteerState, event: gr.EventData) -> list[Any]:
        """One concept more."""
        latent_id, has = int(event.latent_id), {c.latent_id for c in state.clamps}
        if latent_id not in has and len(has) < MAX_CLAMPS:
            state = replace(state, clamps=(*state.clamps, Clamped(latent_id, steering.TIMES)))
        elif latent_id not in has:
            gr.Warning(f"At most {MAX_CLAMPS} concepts are steered together; take one away first.")
        return [state, state.to_query(), steering.sliders(self.queries, state), "", ""]

    def suggest(self, state: SteerState, words: str) -> str:
        """Concepts that fit what is typed."""
        found = self.queries.suggest(steering.sae_of(self.queries, state), words, 8) if words.strip() else []
        return render_steer.suggestions(found, words.strip())

    def take_example(self, state: SteerState, event: gr.EventData) -> list[Any]:
        """All inputs as in an example that is known to steer."""
        known = self.queries.examples(steering.sae_of(self.queries, state))
        number = int(event.example)
        if 0 <= number < len(known):
            state = steering.of_example(self.queries, state, known[number])
        return [*self._filled(state), None]

    # -- steering ------------------------------------------------------------------------------------------------

    def steer(self, state: SteerState, prompt: str | None, own: str | None) -> Iterator[list[Any]]:
        """Both answers; says what it is doing until they are there. Closing this generator stops the model."""
        idle, busy = (
            [gr.update(visible=True), gr.update(visible=False)],
            [gr.update(visible=False), gr.update(visible=True)],
        )
        try:
            if not self.live.status().available:
                raise steering.SteerRequestError(self.live.status().message)
            state = replace(state, prompt=(prompt or "").strip()[:MAX_PROMPT])  # typed a moment ago, perhaps
            asked = steering.question(self.queries, state, own)
            for step in ask(lambda stop: steering.put(self.live, asked, stop)):
                if isinstance(step, Waiting):
                    words = f"Listening and answering, once untouched and once steered … {step.seconds:.0f} s"
                    yield [render.note(words), *busy]
                else:
                    said = step.value
                    yield [render_steer.answers(said.baseline, said.steered, said.note), *idle]
        except ValueError as error:
            yield [render.note(f"{error} Nothing was changed; choose something else and try again."), *idle]

    def stopped(self) -> list[Any]:
        """After Stop."""
        return [render.note("Stopped."), gr.update(visible=True), gr.update(visible=False)]


def _read_clamps(event: gr.EventData) -> tuple[Clamped, ...]:
    """The sliders as the page sent them."""
    return tuple(Clamped(int(latent), float(times)) for latent, times in list(event.clamps)[:MAX_CLAMPS])
