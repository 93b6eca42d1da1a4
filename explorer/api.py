"""The app's endpoints: the same questions as the pages, JSON in, JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from explorer import uploads
from explorer.queries import Queries
from explorer.queries_results import RESULTS
from explorer.service import LiveModel
from explorer.views import DECODING, MAX_CLAMPS, MAX_HEARD, METHODS, POSITIONS, SORTS, WHEN, ViewState

MAX_LIMIT = 500


class Api:
    """Bound to one run and one live model. Errors name the field, its value and what is allowed."""

    def __init__(self, queries: Queries, live: LiveModel):
        self.queries, self.live = queries, live

    def register(self) -> None:
        """Add the endpoints to the `gr.Blocks` in whose context this is called."""
        for fn in (self.search_concepts, self.concept, self.clip, self.results):
            gr.api(fn, api_name=fn.__name__)
        gr.api(self.listen, api_name="listen", concurrency_limit=1, concurrency_id="model")
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
        clips = self.queries.both_sides(sae_id, latent_id, method)
        sides = {side: [c._asdict() for c in some] for side, some in clips.items()}
        return {**found._asdict(), **found.row._asdict(), "row": None, "clips": sides}

    def clip(self, clip_id: str) -> dict[str, Any]:
        """One clip: where its audio is served, its caption and labels."""
        found = self.queries.clip(clip_id)
        if found is None:
            raise gr.Error(f"clip_id {clip_id!r} is not in this run; /concept lists clips.")
        keep = ("clip_id", "duration_s", "caption", "labels")
        url = f"audio/{found.audio}" if found.audio else None
        return {**{k: getattr(found, k) for k in keep}, "audio": url}

    def listen(self, audio: str | dict[str, Any], sae_id: str = "", top: int = 12) -> dict[str, Any]:
        """Concepts over time in a sound: a clip_id of the run, or an uploaded file (`gradio_client.handle_file`).

        `values` is z at each audio token; token i begins at i times `seconds_per_token`. Strongest first, by r (Eq. 2).
        """
        _between("top", top, 1, MAX_HEARD)
        path, chosen = self._audio(audio), self._sae(sae_id)
        self._ready()
        try:
            heard = self.live.listen(path, sae_id=chosen, top=int(top))
        except ValueError as error:
            raise gr.Error(f"audio cannot be heard: {error}") from None
        names = {n.latent_id: n.name for n in self.queries.named(chosen, [h.latent_id for h in heard.latents])}
        return {
            "sae_id": heard.sae_id,
            "seconds": heard.seconds,
            "seconds_per_token": heard.seconds_per_token,
            "tokens": heard.tokens,
            "windows": heard.windows,
            "concepts": [
                {
                    "latent_id": h.latent_id,
                    "name": names.get(h.latent_id, ""),
                    "representativeness": h.representativeness,
                    "mean_activation": h.mean_activation,
                    "coverage": h.coverage,
                    "max_activation": h.max_activation,
                    "values": list(h.values),
                }
                for h in heard.latents
            ],
        }

    def steer(
        self,
        audio: str | dict[str, Any],
        prompt: str,
        latents: list[int],
        values: list[float],
        sae_id: str = "",
        when: str = WHEN[0],
        positions: str = POSITIONS[0],
        decoding: str = DECODING[0],
        error_term: bool = False,
    ) -> dict[str, Any]:
        """Baseline and steered answer about a sound, `latents` clamped to `values` (in the units of z).

        `audio` is a clip_id of the run, or an uploaded file (`gradio_client.handle_file`). The switches default to
        the paper's.
        """
        path = self._audio(audio)
        if not isinstance(prompt, str) or not prompt.strip():
            raise gr.Error("prompt is empty; put a question.")
        ids, numbers = _numbers("latents", latents, int), _numbers("values", values, float)
        if not ids or len(ids) != len(numbers):
            raise gr.Error(f"latents has {len(ids)} and values {len(numbers)} entries; give one value for each latent.")
        if len(ids) > MAX_CLAMPS:
            raise gr.Error(f"latents has {len(ids)} entries; at most {MAX_CLAMPS} are steered together.")
        for field, value, allowed in (("when", when, WHEN), ("positions", positions, POSITIONS)):
            _one_of(field, value, allowed)
        _one_of("decoding", decoding, DECODING)
        switches: dict[str, Any] = {"when": when, "positions": positions, "decoding": decoding}
        chosen = self._sae(sae_id)
        self._ready()
        try:
            result = self.live.steer(
                path,
                prompt.strip(),
                sae_id=chosen,
                latents=ids,
                values=numbers,
                error_term=bool(error_term),
                **switches,
            )
        except ValueError as error:
            raise gr.Error(f"audio, prompt, latents or values cannot be used: {error}") from None
        return {"baseline": result.baseline, "steered": result.steered, "note": result.note}

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """Every table of results, row by row: see RESULTS in queries_results.py; empty if not made."""
        return {name: self.queries.results(name) for name in RESULTS}

    def _audio(self, audio: Any) -> Path:
        try:
            return uploads.of_request(self.queries, audio, Path(get_upload_folder()))
        except ValueError as error:
            raise gr.Error(str(error)) from None

    def _ready(self) -> None:
        status = self.live.status()
        if not status.available:
            raise gr.Error(status.message)

    def _sae(self, sae_id: str) -> str:
        known = self.queries.sae_ids()
        chosen = sae_id or self.queries.default_sae()
        if chosen not in known:
            raise gr.Error(f"sae_id is {chosen!r}; this run has: {', '.join(known) or 'none'}.")
        return chosen


def _numbers(field: str, values: Any, kind: type) -> list[Any]:
    """A list of numbers as JSON brings it."""
    if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise gr.Error(f"{field} is {values!r}; give a list of numbers.")
    if kind is int and any(v != int(v) for v in values):
        raise gr.Error(f"{field} is {values!r}; give whole numbers.")
    return [kind(v) for v in values]


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise gr.Error(f"{field} is {value!r}; allowed: {', '.join(allowed)}.")


def _between(field: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise gr.Error(f"{field} is {value!r}; it must lie between {low} and {high}.")
