"""What the steer page asks: its inputs filled from the run, and the question put to the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from explorer import players, render, render_steer, uploads
from explorer.queries import Queries
from explorer.queries_latents import Named
from explorer.queries_results import Example
from explorer.service import LiveModel, SteerAnswer
from explorer.views import Clamped, SteerState

QUESTION = "Describe the sound."  # where a run has no questions of its own
TIMES = 4.0  # where a slider starts, in multiples of the latent's largest activation
CHOICES = 200  # clips offered; the address may name any other


class SteerRequestError(ValueError):
    """The page's inputs do not make a question yet."""


class Question(NamedTuple):
    """A question that the model can be asked."""

    audio: Path
    prompt: str
    sae_id: str
    latents: list[int]
    values: list[float]
    switches: dict[str, Any]


def sae_of(queries: Queries, state: SteerState) -> str:
    """The SAE a state means."""
    return state.sae_id or queries.default_sae()


def first(queries: Queries, state: SteerState) -> SteerState:
    """What an address without inputs shows: the first example that is known to steer, else the best concept."""
    known = queries.examples(sae_of(queries, state), limit=1)
    if known:
        return of_example(queries, state, known[0])
    best = queries.suggest(sae_of(queries, state), "", 1)
    return replace(state, clamps=tuple(Clamped(n.latent_id, TIMES) for n in best))


def clips(queries: Queries, state: SteerState, sae_id: str) -> list[tuple[str, str]]:
    """Clips to choose from: the one of the address, those where the first latent is silent or fires, others."""
    offered: dict[str, str] = {}
    if state.clip_id:
        wished = queries.clip(state.clip_id)
        if wished is None or wished.audio is None:
            gr.Warning(f"The address has clip={state.clip_id!r}, which is no clip of this run with sound.")
        else:
            offered[wished.clip_id] = wished.caption or wished.clip_id
    for side, words in (("least", "silent here"), ("most", "fires here")):
        for c in state.clamps[:1]:
            for clip in queries.representatives(sae_id, c.latent_id, side=side):
                if clip.audio:
                    offered.setdefault(clip.clip_id, f"{clip.caption or clip.clip_id} ({words})")
    for caption, clip_id in queries.find_clips("", CHOICES):
        offered.setdefault(clip_id, caption)
    return [(words, clip_id) for clip_id, words in offered.items()]


def card(queries: Queries, state: SteerState) -> str:
    """The chosen clip to hear, with the strip of the first latent where its trace is stored."""
    latent = state.clamps[0].latent_id if state.clamps else -1
    clip = queries.clip_of(state.clip_id, sae_of(queries, state), latent) if state.clip_id else None
    if clip is None:
        return render.empty("No clip", "Choose a clip, or bring your own sound.")
    top = next((n.max_activation for n in queries.named(sae_of(queries, state), [latent])), None)
    return players.clip_cards([clip], queries.run.audio_dir.resolve(), top or 0.0)


def sliders(queries: Queries, state: SteerState) -> str:
    """One slider for each clamped latent."""
    return render_steer.clamps(state.clamps, named(queries, state), sae_of(queries, state))


def of_example(queries: Queries, state: SteerState, example: Example) -> SteerState:
    """The state that asks an example's question again."""
    latent = next(iter(queries.named(example.sae_id, [example.latent_id])), None)
    top = (latent.max_activation if latent else None) or 1.0
    clamps = (Clamped(example.latent_id, round(example.value / top, 4)),)
    known = {"when", "positions", "decoding", "error_term"}
    switches = {k: v for k, v in json.loads(example.switches or "{}").items() if k in known}
    return SteerState(state.sae_id, example.clip_id, example.prompt, clamps, **switches)


def named(queries: Queries, state: SteerState) -> list[Named]:
    """The latents of the state's sliders."""
    return queries.named(sae_of(queries, state), [c.latent_id for c in state.clamps])


def question(queries: Queries, state: SteerState, own: str | None) -> Question:
    """The page's inputs as one question.

    Raises:
        ValueError: something is missing or cannot be used, in one sentence.
    """
    tops = {n.latent_id: n.max_activation or 0.0 for n in named(queries, state)}
    missing = [c.latent_id for c in state.clamps if not tops.get(c.latent_id)]
    if not state.clamps or missing:
        which = f"Latent {missing[0]} never fires" if missing else "No concept is chosen"
        raise SteerRequestError(f"{which}; add one that is found under “Add a concept”.")
    if not state.prompt:
        raise SteerRequestError("The question is empty; put one.")
    audio = uploads.checked(Path(own)) if own else uploads.of_clip(queries, state.clip_id)
    switches = {name: getattr(state, name) for name in ("when", "positions", "decoding", "error_term")}
    latents, values = [c.latent_id for c in state.clamps], [c.times * tops[c.latent_id] for c in state.clamps]
    return Question(audio, state.prompt, sae_of(queries, state), latents, values, switches)


def put(live: LiveModel, q: Question, should_stop: Callable[[], bool]) -> SteerAnswer:
    """Ask it.

    Raises:
        ValueError: the model is not there, or cannot use an input.
    """
    return live.steer(
        q.audio, q.prompt, sae_id=q.sae_id, latents=q.latents, values=q.values, should_stop=should_stop, **q.switches
    )
