"""The part of the configuration that says who names latents and judges answers: a rule, or a chat model."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

FORBID = ConfigDict(extra="forbid", allow_inf_nan=False)
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]


@dataclasses.dataclass(frozen=True)
class ChatConfig:
    """A chat model and how it is asked."""

    __pydantic_config__ = FORBID

    model: str = ""
    """For `endpoint`: the model's name there; for `local`: a folder or a hub id.
    The paper: Llama-3-70B-Instruct."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """For `endpoint`: its address, without user, password or query. Kept answers belong to the model's name alone, so a
    model may move to another address."""
    key_env: str = "ARD_LLM_API_KEY"
    """For `endpoint`: the environment variable that holds the key; the key itself is written nowhere."""
    max_tokens: Positive = 512
    """Longest answer."""
    temperature: Annotated[float, Field(ge=0)] | Literal["unset"] = 0.0
    """For `endpoint`; `unset` sends none, for models that refuse it."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """For `endpoint`: what it calls the longest answer."""
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """For `endpoint`: how it is told to answer in JSON; for endpoints that refuse one of these."""
    attempts: Positive = 3
    """How often one question is asked in all, while the answers cannot be used."""
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


@dataclasses.dataclass(frozen=True)
class NamerConfig(ChatConfig):
    """Who turns the captions of H into a name and a description: `[names.namer]`."""

    __pydantic_config__ = FORBID

    kind: Literal["contrastive", "endpoint", "local"] = "contrastive"
    """`contrastive`: what the captions share and others lack, no language model; `endpoint`: a chat model that speaks
    the chat-completions protocol (vLLM, Ollama, llama.cpp, hosted); `local`: a chat model of transformers."""
    prompt: Annotated[str, Field(min_length=1)] = (
        "Describe the common sound-related concept present among these captions"
    )
    """Sentence before the captions (the paper's)."""


@dataclasses.dataclass(frozen=True)
class JudgeConfig(ChatConfig):
    """Who reads the steered answers beside the rules of the task: `[steering.judge]`."""

    __pydantic_config__ = FORBID

    kind: Literal["labels", "endpoint", "local"] = "labels"
    """`labels`: the rules alone; `endpoint`, `local`: a chat model too, as in `names.namer`. The rules always decide
    latent and value; the chat model reads the answers about the test clips, and both figures are kept."""
    prompt: Annotated[str, Field(min_length=1)] = (
        "An audio model was asked a question about a recording. Say which of the choices its answer means"
    )
    """Sentence before question, answer and choices."""
    max_tokens: Positive = 128
    """Longest reply."""


_SENT = ("kind", "model", "prompt", "max_tokens", "temperature", "structured", "attempts")


def changes_names(namer: NamerConfig) -> dict[str, Any]:
    """The settings that the names depend on: none for the contrastive namer, and never an address or a limit."""
    return {} if namer.kind == "contrastive" else {name: getattr(namer, name) for name in _SENT}


def changes_verdicts(judge: JudgeConfig) -> dict[str, Any]:
    """The settings that the chat model's verdicts depend on: none without one, and never an address or a limit."""
    return {} if judge.kind == "labels" else {name: getattr(judge, name) for name in _SENT}


def wrong_chat(chat: NamerConfig | JudgeConfig, section: str) -> str:
    """One sentence if the chat model cannot be used as it is configured, otherwise nothing; it repeats no secret."""
    if not re.fullmatch(r"https?://[^@?#\s]+", chat.base_url):
        return (
            f"{section}.base_url is not of the form http://HOST/v1 or https://HOST/v1; leave out user, password and "
            f"query, and put a key into the environment variable that {section}.key_env names."
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", chat.key_env):
        return (
            f"{section}.key_env is not the name of an environment variable (letters, digits and _); put the key into "
            "such a variable and give its name."
        )
    if chat.kind in ("contrastive", "labels") or chat.model:
        return ""
    return (
        f"{section}.kind = {chat.kind!r} needs a model; set {section}.model to "
        f"{'the name that the endpoint knows it by' if chat.kind == 'endpoint' else 'a folder or a hub id'}."
    )
