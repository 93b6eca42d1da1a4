"""What a page shows, as one frozen value that is also its URL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import urlencode

SORTS = ("monosemanticity", "name", "density", "clips", "auroc")
SIDES = ("most", "least")
METHODS = ("ard", "mean", "coverage", "random", "poly")
COLOURS = ("label", "activation")
WHEN = ("before_topk", "after_topk")
POSITIONS = ("all", "audio", "prompt")
DECODING = ("replace", "clamp", "off")
PAGE_SIZE = 50
MAX_QUERY = 200  # characters of a search
MAX_PROMPT = 500  # characters of a question
MAX_CLAMPS = 8  # latents steered together
MAX_HEARD = 30  # latents shown for one recording


class ViewError(ValueError):
    """A URL asks for something that cannot be shown."""


class Clamped(NamedTuple):
    """One latent and its steering value in multiples of the latent's largest activation."""

    latent_id: int
    times: float


@dataclass(frozen=True)
class View:
    """Shared by all pages: fields to URL keys (`KEYS`) and back. `sae_id == ""` is the run's default."""

    sae_id: str = ""

    KEYS: ClassVar[dict[str, str]] = {"sae_id": "sae"}

    def to_query(self) -> str:
        """The URL's query: `?q=dog&p=2`, or `?` when everything is at its default."""
        default = type(self)()
        pairs = [
            (self.KEYS[f.name], _written(getattr(self, f.name)))
            for f in fields(self)
            if getattr(self, f.name) != getattr(default, f.name)
        ]
        return "?" + urlencode(pairs)

    @classmethod
    def from_query(cls, params: Mapping[str, str]) -> Self:
        """The state a URL names; keys it does not know are left to others.

        Raises:
            ViewError: a value that is not allowed, naming the key, the value and what is allowed.
        """
        found = {name: params[key] for name, key in cls.KEYS.items() if key in params}
        return cls(**{name: _READ[name](cls.KEYS[name], text) for name, text in found.items()})


@dataclass(frozen=True)
class ViewState(View):
    """State of the concepts page. `latent_id is None` chooses none; `reverse` turns the column's own order round."""

    method: str = "ard"
    query: str = ""
    sort: str = "monosemanticity"
    page: int = 1
    latent_id: int | None = None
    side: str = "most"
    reverse: bool = False

    KEYS: ClassVar[dict[str, str]] = {
        "sae_id": "sae",
        "method": "method",
        "query": "q",
        "sort": "sort",
        "page": "p",  # `page` is taken: Gradio reads it as the name of one of its pages
        "latent_id": "latent",
        "side": "side",
        "reverse": "rev",
    }

    def with_(self, **changes: Any) -> ViewState:
        """A copy with some fields changed; any change of what is listed goes back to page 1."""
        if {"sae_id", "method", "query", "sort", "reverse"} & changes.keys() and "page" not in changes:
            changes["page"] = 1
        if "query" in changes:
            changes["query"] = changes["query"].strip()[:MAX_QUERY]
        return replace(self, **changes)

    def sorted_by(self, column: str) -> ViewState:
        """After a click on a column's head: ordered by it, or the other way round if it already was."""
        if column not in SORTS:
            return self
        return self.with_(sort=column, reverse=column == self.sort and not self.reverse)


@dataclass(frozen=True)
class MapState(View):
    """State of the maps page: what is greyed out, the chosen concept and clip, what colours the clips."""

    query: str = ""
    latent_id: int | None = None
    clip_id: str = ""
    colour: str = "label"

    KEYS: ClassVar[dict[str, str]] = {
        "sae_id": "sae", "query": "q", "latent_id": "latent", "clip_id": "clip", "colour": "colour",
    }  # fmt: skip


@dataclass(frozen=True)
class SteerState(View):
    """State of the steer page: the question about which clip, what is clamped to what, and the switches."""

    clip_id: str = ""
    prompt: str = ""
    clamps: tuple[Clamped, ...] = ()
    when: str = WHEN[0]
    positions: str = POSITIONS[0]
    decoding: str = DECODING[0]
    error_term: bool = False

    KEYS: ClassVar[dict[str, str]] = {
        "sae_id": "sae", "clip_id": "clip", "prompt": "ask", "clamps": "clamp", "when": "when",
        "positions": "at", "decoding": "decoding", "error_term": "error",
    }  # fmt: skip


@dataclass(frozen=True)
class ListenState(View):
    """State of the listen page; a recording of the visitor's own is never part of the address."""

    clip_id: str = ""
    top: int = 12

    KEYS: ClassVar[dict[str, str]] = {"sae_id": "sae", "clip_id": "clip", "top": "top"}


def _written(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple):
        return ",".join(f"{c.latent_id}:{c.times:g}" for c in value)
    return value


def _text(limit: int) -> Any:
    return lambda _key, value: value[:limit]


def _choice(*allowed: str) -> Any:
    def read(key: str, value: str) -> str:
        if value not in allowed:
            raise ViewError(f"The address has {key}={value!r}; allowed: {', '.join(allowed)}.")
        return value

    return read


def _integer(low: int, high: int = 2**31 - 1) -> Any:
    def read(key: str, value: str) -> int:
        if not (value.isascii() and value.isdigit() and low <= int(value[:12]) <= high):
            upper = f" and at most {high}" if high < 2**31 - 1 else ""
            raise ViewError(f"The address has {key}={value!r}; it must be a whole number of at least {low}{upper}.")
        return int(value)

    return read


def _flag(key: str, value: str) -> bool:
    return _choice("0", "1")(key, value) == "1"


def _clamps(key: str, value: str) -> tuple[Clamped, ...]:
    read: list[Clamped] = []
    for part in filter(None, value.split(",")):
        latent, _, times = part.partition(":")
        try:
            factor = float(times) if times else 1.0
        except ValueError:
            factor = math.nan
        if not (latent.isascii() and latent.isdigit() and len(latent) < 10 and math.isfinite(factor)):
            raise ViewError(f"The address has {key}={value!r}; write latent:times, parted by commas, such as 7:4,12:2.")
        if int(latent) not in {c.latent_id for c in read}:
            read.append(Clamped(int(latent), factor))
    if len(read) > MAX_CLAMPS:
        raise ViewError(f"The address has {len(read)} latents in {key}; at most {MAX_CLAMPS} are steered together.")
    return tuple(read)


_READ: dict[str, Any] = {
    "sae_id": _text(200),
    "clip_id": _text(200),
    "query": _text(MAX_QUERY),
    "prompt": _text(MAX_PROMPT),
    "method": _choice(*METHODS),
    "sort": _choice(*SORTS),
    "side": _choice(*SIDES),
    "colour": _choice(*COLOURS),
    "when": _choice(*WHEN),
    "positions": _choice(*POSITIONS),
    "decoding": _choice(*DECODING),
    "page": _integer(1),
    "latent_id": _integer(0),
    "top": _integer(1, MAX_HEARD),
    "reverse": _flag,
    "error_term": _flag,
    "clamps": _clamps,
}
ADDRESS_KEYS = tuple(sorted({k for view in (ViewState, MapState, SteerState, ListenState) for k in view.KEYS.values()}))
"""Every key of ours in any address; the script that writes the address bar takes them from here."""
