"""What a page shows, as one frozen value that is also its URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

SORTS = ("monosemanticity", "name", "density", "clips")
SIDES = ("most", "least")
METHODS = ("ard", "mean", "coverage", "random", "poly")
PAGE_SIZE = 50
MAX_QUERY = 200  # characters of a search


class ViewError(ValueError):
    """A URL asks for something that cannot be shown."""


@dataclass(frozen=True)
class ViewState:
    """State of the concepts page. `sae_id == ""` is the run's default; `latent_id is None` chooses none."""

    sae_id: str = ""
    method: str = "ard"
    query: str = ""
    sort: str = "monosemanticity"
    page: int = 1
    latent_id: int | None = None
    side: str = "most"

    def with_(self, **changes: Any) -> ViewState:
        """A copy with some fields changed; any change of what is listed goes back to page 1."""
        if {"sae_id", "method", "query", "sort"} & changes.keys() and "page" not in changes:
            changes["page"] = 1
        if "query" in changes:
            changes["query"] = changes["query"].strip()[:MAX_QUERY]
        return replace(self, **changes)

    def to_query(self) -> str:
        """The URL's query: `?q=dog&p=2`, or `?` when everything is at its default."""
        default = ViewState()
        pairs = [
            (_KEYS[f.name], getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != getattr(default, f.name)
        ]
        return "?" + urlencode(pairs)

    @classmethod
    def from_query(cls, params: Mapping[str, str]) -> ViewState:
        """The state a URL names; keys it does not know are left to others.

        Raises:
            ViewError: a value that is not allowed, naming the key, the value and what is allowed.
        """
        values = {name: params[key] for name, key in _KEYS.items() if key in params}
        state: dict[str, Any] = {"sae_id": values.get("sae_id", ""), "query": values.get("query", "")[:MAX_QUERY]}
        for name, allowed in (("method", METHODS), ("sort", SORTS), ("side", SIDES)):
            if name in values:
                state[name] = _choice(_KEYS[name], values[name], allowed)
        if "page" in values:
            state["page"] = _integer(_KEYS["page"], values["page"], low=1)
        if "latent_id" in values:
            state["latent_id"] = _integer(_KEYS["latent_id"], values["latent_id"], low=0)
        return cls(**state)


_KEYS = {
    "sae_id": "sae",
    "method": "method",
    "query": "q",
    "sort": "sort",
    "page": "p",  # `page` is taken: Gradio reads it as the name of one of its pages
    "latent_id": "latent",
    "side": "side",
}


def _choice(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ViewError(f"The address has {key}={value!r}; allowed: {', '.join(allowed)}.")
    return value


def _integer(key: str, value: str, low: int) -> int:
    if not (value.isascii() and value.isdigit() and low <= int(value[:12]) < 2**31):
        raise ViewError(f"The address has {key}={value!r}; it must be a whole number of at least {low}.")
    return int(value)
