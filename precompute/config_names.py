"""The part of the configuration that says who names the latents: a rule, a chat endpoint, or a chat model at hand."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any, Literal

from pydantic import Field

from precompute.config_evaluation import FORBID, NotNegative, Positive

Amount = Annotated[float, Field(ge=0)]


@dataclasses.dataclass(frozen=True)
class NamerConfig:
    """Who turns the captions of H into a name and a description: `[names.namer]`."""

    __pydantic_config__ = FORBID

    kind: Literal["contrastive", "endpoint", "local"] = "contrastive"
    """`contrastive`: what the captions share and others lack, no language model; `endpoint`: a chat model that speaks
    the chat-completions protocol (vLLM, Ollama, llama.cpp, hosted); `local`: a chat model of transformers."""
    model: str = ""
    """For `endpoint`: the model's name there; for `local`: a folder or a hub id. The paper: Llama-3-70B-Instruct."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """For `endpoint`: its address, without user, password or query. Kept answers belong to the model's name alone, so a
    model may move to another address."""
    key_env: str = "ARD_LLM_API_KEY"
    """For `endpoint`: the environment variable that holds the key; the key itself is written nowhere."""
    prompt: Annotated[str, Field(min_length=1)] = (
        "Describe the common sound-related concept present among these captions"
    )
    """Sentence before the captions (the paper's)."""
    max_tokens: Positive = 512
    """Longest answer."""
    temperature: Annotated[float, Field(ge=0)] | Literal["unset"] = 0.0
    """For `endpoint`; `unset` sends none, for models that refuse it."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """For `endpoint`: what it calls the longest answer."""
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """For `endpoint`: how it is told to answer in JSON; for endpoints that refuse one of these."""
    attempts: Positive = 3
    """How often one set of captions is asked about in all, while the answers cannot be used."""
    retries: NotNegative = 6
    """For `endpoint`: further tries of a request that failed (timeout, cut connection, 408, 409, 429, 5xx)."""
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """For `endpoint`: longest silence before a request has failed."""
    concurrency: Positive = 8
    """Requests under way at once; for `local` the conversations answered together."""
    requests_per_minute: Amount = 0.0
    """For `endpoint`: no more requests than that, evenly spaced; 0: no limit."""
    price_prompt: Amount = 0.0
    """Price of a million prompt tokens, for the count of the cost."""
    price_completion: Amount = 0.0
    """Price of a million answer tokens, in the same currency."""


_SENT = ("kind", "model", "prompt", "max_tokens", "temperature", "structured", "attempts")


def changes_names(namer: NamerConfig) -> dict[str, Any]:
    """The settings that the names depend on: none for the contrastive namer, and never an address or a limit."""
    return {} if namer.kind == "contrastive" else {name: getattr(namer, name) for name in _SENT}


def wrong_namer(namer: NamerConfig) -> str:
    """One sentence if the namer cannot be used as it is configured, otherwise nothing; it repeats no secret."""
    if not re.fullmatch(r"https?://[^@?#\s]+", namer.base_url):
        return (
            "names.namer.base_url is not of the form http://HOST/v1 or https://HOST/v1; leave out user, password and "
            "query, and put a key into the environment variable that names.namer.key_env names."
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", namer.key_env):
        return (
            "names.namer.key_env is not the name of an environment variable (letters, digits and _); put the key into "
            "such a variable and give its name."
        )
    if namer.kind == "contrastive" or namer.model:
        return ""
    return (
        f"names.namer.kind = {namer.kind!r} needs a model; set names.namer.model to "
        f"{'the name that the endpoint knows it by' if namer.kind == 'endpoint' else 'a folder or a hub id'}."
    )
