"""The rating page: one item at a time, each step stored before the next is shown, the name last of all."""

from __future__ import annotations

import atexit
import json
import re
import secrets
import threading
from pathlib import Path
from typing import Any

import gradio as gr

from explorer import rate_html as html
from explorer.queries import Queries
from explorer.ratings import Ratings, RatingsError, Standing
from explorer.study import Study, StudyError, select

_FOLDER = Path(__file__).parent.parent / "theme"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,64}")
_ADDRESS_JS = """(session) => {
  const {study, rater} = JSON.parse(session || "{}");
  if (!study || !rater) return;
  const params = new URLSearchParams(location.search);
  params.set("study", study);
  params.set("rater", rater);
  history.replaceState(null, "", location.pathname + "?" + params + location.hash);
}"""
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def _theme(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


class RatePage:
    """Builds the page inside a `gr.Blocks` (or a route of it) and answers its events.

    Who somebody is stands in the page's address and comes back with every answer, so a restarted app or a reloaded
    page goes on where it was. The store is opened when somebody first opens the page.
    """

    def __init__(self, queries: Queries):
        self.queries = queries
        self.audio_dir = queries.run.audio_dir.resolve()
        self._lock = threading.Lock()
        self._ratings: Ratings | None = None
        self._default: Study | None = None

    def close(self) -> None:
        """Publish and close the store; opening the page opens it again."""
        with self._lock:
            ratings, self._ratings = self._ratings, None
        if ratings is not None:
            atexit.unregister(self.close)
            ratings.close()

    # -- layout --------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the page and connect its events."""
        gr.Navbar(visible=False)  # a rater is led nowhere else
        gr.HTML(f"<style>{_theme('rate.css')}</style>")
        self.session = gr.Textbox(visible=False)
        with gr.Column(elem_id="rate"):
            self.head = gr.HTML(elem_id="rate-head")
            self.cards = gr.HTML(js_on_load=_theme("rate_cards.js"), elem_id="rate-cards")
            self.panel = gr.HTML(js_on_load=_theme("rate_panel.js"), elem_id="rate-panel")
        shown = [self.session, self.head, self.cards, self.panel]
        opened = gr.context.Context.root_block.load(self.open, None, shown, **_QUIET)  # type: ignore[union-attr]
        opened.then(None, self.session, None, js=_ADDRESS_JS, api_visibility="private")
        for trigger, answer in (
            (self.cards.heard, self.heard),
            (self.cards.failed, self.failed),
            (self.panel.begin, self.begin),
            (self.panel.describe, self.describe),
            (self.panel.rate, self.rate),
        ):
            trigger(answer, self.session, shown, trigger_mode="multiple", **_QUIET)

    # -- what the events show ------------------------------------------------------------------------------------

    def open(self, request: gr.Request) -> list[Any]:
        """The page as its address says: before the beginning, at a step of an item, or finished."""
        asked = dict(request.query_params)
        token = asked.get("rater", "")
        try:
            study = self._study(asked.get("study", ""))
            if not study.items:
                return _words("Nothing to rate yet", study.note, f"python -m precompute run --run {self._run()}")
            if token and not _TOKEN.fullmatch(token):
                raise StudyError("The address has a rater it cannot have; open the link again exactly as it was sent.")
            token = token or secrets.token_urlsafe(16)
            standing = self._store().standing(study.study_id, token)
        except (StudyError, RatingsError) as error:
            return _words("This page cannot be opened", str(error))
        if standing is None:
            return [html.session(study.study_id, token, None), "", "", html.welcome(study)]
        return self._view(study.study_id, token, standing)

    def begin(self, session: str) -> list[Any]:
        """The first item, once the rater's order is stored."""
        study_id, token, _ = _read(session)
        try:
            self._store().begin(self._study(study_id), token)
            return self._after(study_id, token, None)
        except (StudyError, RatingsError) as error:
            raise gr.Error(str(error)) from None

    def heard(self, session: str, event: gr.EventData) -> list[Any]:
        """One more clip was played to its end."""
        return self._clip(session, event, ok=True)

    def failed(self, session: str, event: gr.EventData) -> list[Any]:
        """A clip that the browser cannot play."""
        return self._clip(session, event, ok=False)

    def _clip(self, session: str, event: gr.EventData, *, ok: bool) -> list[Any]:
        study_id, token, shown = _read(session)
        position, clip = _whole(event, "position"), _whole(event, "clip")
        return self._answered(
            study_id, token, shown, lambda s: s.hear(study_id, token, position, clip, ok=ok, seconds=_seconds(event))
        )

    def describe(self, session: str, event: gr.EventData) -> list[Any]:
        """The name, once the description is stored."""
        study_id, token, shown = _read(session)
        position, text = _whole(event, "position"), str(getattr(event, "text", ""))
        return self._answered(
            study_id, token, shown, lambda s: s.describe(study_id, token, position, text, _seconds(event))
        )

    def rate(self, session: str, event: gr.EventData) -> list[Any]:
        """The next item, once the rating is stored."""
        study_id, token, shown = _read(session)
        position, rating = _whole(event, "position"), _whole(event, "rating")
        return self._answered(
            study_id, token, shown, lambda s: s.rate(study_id, token, position, rating, _seconds(event))
        )

    def _answered(self, study_id: str, token: str, shown: int | None, store: Any) -> list[Any]:
        try:
            store(self._store())
            return self._after(study_id, token, shown)
        except RatingsError as error:
            raise gr.Error(str(error)) from None

    def _after(self, study_id: str, token: str, shown: int | None) -> list[Any]:
        standing = self._store().standing(study_id, token)
        if standing is None:
            raise RatingsError("This page's rater is not known here; open the link again as it was sent.")
        return self._view(study_id, token, standing, shown)

    def _view(self, study_id: str, token: str, standing: Standing, shown: int | None = None) -> list[Any]:
        """Head, clips and panel of where the rater stands; clips that are there already are left alone."""
        trial = standing.trial
        if trial is None:
            return [html.session(study_id, token, None), "", "", html.thanks(standing.rater, standing.total)]
        cards = gr.skip() if shown == trial.position else html.cards(trial, self.audio_dir)
        return [html.session(study_id, token, trial.position), html.head(trial), cards, html.panel(trial)]

    # -- the store -----------------------------------------------------------------------------------------------

    def _store(self) -> Ratings:
        with self._lock:
            if self._ratings is None:
                self._ratings = Ratings(self.queries.run)
                atexit.register(self.close)
            return self._ratings

    def _study(self, study_id: str) -> Study:
        """The study of that id; without one, that of the run as it is, which is kept when it is new."""
        if study_id:
            found = self._store().study(study_id)
            if found is None:
                raise StudyError("The address names a study that is not here; ask whoever sent it for the right link.")
            return found
        if self._default is None:
            self._default = select(self.queries)
        if self._default.items:
            self._store().add_study(self._default)
        return self._default

    def _run(self) -> str:
        return str(self.queries.run.path)


def _words(title: str, text: str, command: str = "") -> list[Any]:
    return ["", "", "", html.problem(title, text, command)]


def _read(session: str) -> tuple[str, str, int | None]:
    """Study, rater and shown position of an event; who sends something else is told to open the link again."""
    try:
        content = json.loads(session)
        study_id, token, position = content["study"], content["rater"], content["position"]
    except (json.JSONDecodeError, TypeError, KeyError):
        raise gr.Error("This page has lost its session; reload it to go on where you were.") from None
    if not isinstance(study_id, str) or not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise gr.Error("This page has lost its session; reload it to go on where you were.")
    return study_id, token, position if isinstance(position, int) else None


def _whole(event: gr.EventData, name: str) -> int:
    value = getattr(event, name, None)
    if isinstance(value, bool) or not isinstance(value, int):
        raise gr.Error(f"{name} is {value!r}; it must be a whole number. Reload the page to go on.")
    return value


def _seconds(event: gr.EventData) -> float | None:
    value = getattr(event, "seconds", None)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
