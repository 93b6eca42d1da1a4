"""The app's endpoints: the same questions as the pages, JSON in, JSON out."""

from __future__ import annotations

from typing import Any

import gradio as gr

from explorer.queries import Queries
from explorer.service import LiveModel
from explorer.views import METHODS, SORTS, ViewState

MAX_LIMIT = 500


class Api:
    """Bound to one run and one live model. Errors name the field, its value and what is allowed."""

    def __init__(self, queries: Queries, live: LiveModel):
        self.queries, self.live = queries, live

    def register(self) -> None:
        """Add the endpoints to the `gr.Blocks` in whose context this is called."""
        for fn in (self.search_concepts, self.concept, self.clip):
            gr.api(fn, api_name=fn.__name__)
        gr.api(self.steer, api_name="steer", concurrency_limit=1, concurrency_id="model")

    def search_concepts(
        self,
        query: str = "",
        by: str = "monosemanticity",
        limit: int = 50,
        offset: int = 0,
        sae_id: str = "",
        method: str = "ard",
    ) -> dict[str, Any]:
        """Concepts whose name, description or captions hold every word of `query`, ordered `by` a column."""
        _one_of("by", by, SORTS)
        _one_of("method", method, METHODS)
        _between("limit", limit, 1, MAX_LIMIT)
        _between("offset", offset, 0, 2**31)
        state = ViewState(sae_id=sae_id, method=method, query=query, sort=by)
        page = self.queries.concepts(state, limit=limit, offset=offset)
        return {"total": page.total, "offset": offset, "concepts": [r._asdict() for r in page.rows]}

    def concept(self, sae_id: str, latent_id: int, method: str = "ard") -> dict[str, Any]:
        """One concept with its evidence and its most and least representative clips."""
        sae_id = sae_id or self.queries.default_sae()
        found = self.queries.concept(sae_id, latent_id, method)
        if found is None:
            raise gr.Error(f"latent_id {latent_id} of sae_id {sae_id!r} has no concept; /search_concepts lists them.")
        sides = {
            side: [c._asdict() for c in self.queries.representatives(sae_id, latent_id, method, side)]
            for side in ("most", "least")
        }
        return {**found._asdict(), **found.row._asdict(), "row": None, "clips": sides}

    def clip(self, clip_id: str) -> dict[str, Any]:
        """One clip: where its audio is served, its caption and labels."""
        found = self.queries.clip(clip_id)
        if found is None:
            raise gr.Error(f"clip_id {clip_id!r} is not in this run; /concept lists clips.")
        keep = ("clip_id", "duration_s", "caption", "labels")
        url = f"audio/{found.audio}" if found.audio else None
        return {**{k: getattr(found, k) for k in keep}, "audio": url}

    def steer(
        self, clip_id: str, prompt: str, latents: list[int], values: list[float], sae_id: str = ""
    ) -> dict[str, Any]:
        """Baseline and steered answer about one clip of the run, `latents` clamped to `values`."""
        found = self.queries.clip(clip_id)
        if found is None or found.audio is None:
            raise gr.Error(f"clip_id {clip_id!r} has no audio in this run; /concept lists clips.")
        if not latents or len(latents) != len(values):
            raise gr.Error(
                f"latents has {len(latents)} and values {len(values)} entries; give one value for each latent."
            )
        if not prompt.strip():
            raise gr.Error("prompt is empty; put a question.")
        status = self.live.status()
        if not status.available:
            raise gr.Error(status.message)
        audio = self.queries.run.audio_dir / found.audio
        chosen = sae_id or self.queries.default_sae()
        try:
            result = self.live.steer(audio, prompt, sae_id=chosen, latents=latents, values=values)
        except ValueError as error:
            raise gr.Error(str(error)) from None
        return {"baseline": result.baseline, "steered": result.steered, "note": result.note}


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise gr.Error(f"{field} is {value!r}; allowed: {', '.join(allowed)}.")


def _between(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise gr.Error(f"{field} is {value}; it must lie between {low} and {high}.")
