"""The listen page: any sound, and the concepts that fire in it over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from explorer import players, render, render_listen, uploads
from explorer.asking import Waiting, ask
from explorer.pages.shared import MODEL, QUIET, address, header, known_sae, model_status, sae_choices, state_of
from explorer.queries import Queries
from explorer.service import LiveModel
from explorer.views import MAX_HEARD, ListenState

CHOICES = 200  # clips offered; the address may name any other


class ListenPage:
    """Builds the page inside a `gr.Blocks` and answers its events. Holds no state of any visitor."""

    def __init__(self, queries: Queries, live: LiveModel):
        self.queries, self.live = queries, live

    def build(self, blocks: gr.Blocks) -> None:
        """Lay out the page and connect its events."""
        self.state, self.address = gr.State(ListenState()), gr.Textbox(visible=False)
        self.header = gr.HTML(header(self.queries, "Listen", self.queries.default_sae()))
        with gr.Row(elem_classes="two listen"):
            with gr.Column():
                gr.HTML("<h2>Listen</h2><p class='note'>Any sound: which concepts fire in it, and when.</p>")
                self.own = gr.Audio(
                    sources=["upload", "microphone"], type="filepath", label="Your own sound", editable=False,
                    elem_id="listen-upload",
                )  # fmt: skip
                gr.HTML(
                    f'<p class="note">At most {uploads.MAX_MB} MB and {uploads.MAX_SECONDS:.0f} s; '
                    "it stays on this machine.</p>"
                )
                self.clip = gr.Dropdown([], label="Or a clip of the run", elem_id="listen-clip")
                self.sae = gr.Dropdown([], label="SAE", filterable=False, elem_id="listen-sae")
                self.top = gr.Slider(1, MAX_HEARD, value=12, step=1, label="Concepts shown", elem_id="listen-top")
                with gr.Row(elem_id="steer-do"):
                    self.go = gr.Button("Listen", variant="primary", elem_id="listen-go", interactive=False)
                    self.stop = gr.Button("Stop", visible=False, elem_id="listen-stop")
                self.status = gr.HTML(elem_id="model-status")
            with gr.Column():
                self.heard = gr.HTML(elem_id="heard")
        self.timer = gr.Timer(1.0, active=False)  # the page's inputs first: only then may somebody ask
        blocks.load(
            self.open, None, [self.state, self.header, self.sae, self.clip, self.top, self.heard], **QUIET
        ).then(lambda: gr.Timer(active=True), None, self.timer, **QUIET)
        self._events()

    def _events(self) -> None:
        chosen = [self.state, self.sae, self.clip, self.top]
        here = [self.state, self.address]
        for event in (
            self.sae.input(self.choose, chosen, here, **QUIET),
            self.clip.input(self.choose, chosen, here, **QUIET),
            self.top.release(self.choose, chosen, here, **QUIET),
        ):
            event.then(**address(self.address))
        shown = [self.heard, self.go, self.stop]
        runs = [
            trigger(self.listen, [self.state, self.own], shown, **MODEL, **QUIET)
            for trigger in (self.go.click, self.own.upload, self.own.stop_recording)
        ]
        self.stop.click(None, None, None, cancels=runs, **QUIET).then(self.stopped, None, shown, **QUIET)
        self.timer.tick(lambda: model_status(self.live), None, [self.status, self.timer, self.go], **QUIET)

    # -- what the events show ------------------------------------------------------------------------------------

    def open(self, request: gr.Request) -> list[Any]:
        """First view of a visitor, as the address says."""
        state = state_of(ListenState, request)
        sae_id = known_sae(self.queries, state.sae_id, raw=False)
        state = replace(state, sae_id="" if sae_id == self.queries.default_sae() else sae_id)
        clips = self.queries.find_clips("", CHOICES)
        named = self.queries.clip(state.clip_id) if state.clip_id else None
        if named and named.audio and named.clip_id not in [clip_id for _, clip_id in clips]:
            clips.insert(0, (named.caption or named.clip_id, named.clip_id))
        state = replace(state, clip_id=named.clip_id if named and named.audio else next((c for _, c in clips), ""))
        hint = render.empty(
            "Nothing heard yet", "The concepts that fire in the sound appear here over time, strongest first."
        )
        return [
            state,
            header(self.queries, "Listen", sae_id),
            gr.update(choices=sae_choices(self.queries, raw=False), value=sae_id or None),
            gr.update(choices=clips, value=state.clip_id or None),
            state.top,
            hint,
        ]

    def choose(self, state: ListenState, sae_id: str | None, clip_id: str | None, top: float) -> list[Any]:
        """Another SAE, clip or number of concepts."""
        wished = "" if not sae_id or sae_id == self.queries.default_sae() else sae_id
        state = replace(state, sae_id=wished, clip_id=clip_id or "", top=int(top))
        return [state, state.to_query()]

    def listen(self, state: ListenState, own: str | None) -> Iterator[list[Any]]:
        """The concepts over time; says what it is doing until they are there."""
        idle = [gr.update(visible=True), gr.update(visible=False)]
        busy = [gr.update(visible=False), gr.update(visible=True)]
        sae_id = state.sae_id or self.queries.default_sae()
        try:
            if not self.live.status().available:
                raise NotReadyError(self.live.status().message)
            audio = uploads.checked(Path(own)) if own else uploads.of_clip(self.queries, state.clip_id)
            for step in ask(lambda _stop: self.live.listen(audio, sae_id=sae_id, top=state.top)):
                if isinstance(step, Waiting):
                    yield [render.note(f"The model is listening … {step.seconds:.0f} s"), *busy]
                    continue
                latents = [latent.latent_id for latent in step.value.latents]
                named = self.queries.named(sae_id, latents)
                yield [render_listen.heard(step.value, named, self._sound(state, own, audio)), *idle]
        except ValueError as error:
            yield [render.note(f"{error} Nothing is lost; choose another sound and try again."), *idle]

    def _sound(self, state: ListenState, own: str | None, audio: Path) -> render_listen.Sound:
        wave = players.waveform(audio)
        if own:
            return render_listen.Sound(f"gradio_api/file={quote(str(audio))}", "your own sound", wave)
        clip = self.queries.clip(state.clip_id)
        title = (clip.caption if clip else "") or state.clip_id
        return render_listen.Sound(f"audio/{quote(audio.name)}", title, wave)

    def stopped(self) -> list[Any]:
        """After Stop. The model finishes its pass over the sound, but nobody waits for it."""
        return [render.note("Stopped."), gr.update(visible=True), gr.update(visible=False)]


class NotReadyError(ValueError):
    """The model cannot be asked now."""
