"""The chat models that a run's configuration asks for, and the namer over the run's captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ard.files import HIDDEN
from ard.naming import ContrastiveNamer
from ard.naming_answer import MALFORMED, UNANSWERED
from ard.store import Run
from precompute.config_names import JudgeConfig, NamerConfig
from precompute.environment import model_source

if TYPE_CHECKING:
    from ard.models.llm import ChatModel
    from ard.naming_llm import LLMNamer
    from precompute.stages.base import Context

__all__ = ["MALFORMED", "UNANSWERED", "cache_path", "chat_model", "llm_namer"]

CACHE = f"{HIDDEN}cache"
"""Folder of a run for answers that outlive a killed stage; deleting it loses only what they cost."""


def cache_path(run: Run, name: str) -> Path:
    """File of the kept answers of one kind."""
    return run.path / CACHE / f"{name}.jsonl"


def chat_model(namer: NamerConfig | JudgeConfig, device: str, section: str, schema: dict[str, Any]) -> ChatModel:
    """The chat model that a section of the configuration names; `schema` is that of its answers.

    Raises:
        ChatError: the openai package is not there. ModelError: the local model cannot be used.
    """
    if namer.kind == "local":
        from ard.models.llm_local import LocalChat

        options = {"batch": namer.concurrency, "max_tokens": namer.max_tokens}
        return LocalChat.load(model_source(namer.model), device=device, **options)
    from ard.models.llm import Endpoint, EndpointChat

    endpoint = Endpoint(
        base_url=namer.base_url,
        model=namer.model,
        key_env=namer.key_env,
        timeout_s=namer.timeout_s,
        retries=namer.retries,
        concurrency=namer.concurrency,
        requests_per_minute=namer.requests_per_minute,
        structured=namer.structured,
        temperature=None if namer.temperature == "unset" else namer.temperature,
        max_tokens=namer.max_tokens,
        limit_name=namer.limit_name,
        section=section,
    )
    return EndpointChat(endpoint, schema)


def llm_namer(ctx: Context, fallback: ContrastiveNamer, bar: tqdm) -> LLMNamer:
    """A namer that asks the configured chat model; what earlier processes were answered is not asked again."""
    from ard.answer_cache import AnswerCache
    from ard.naming_llm import LLMNamer

    namer = ctx.config.names.namer
    cache = AnswerCache(cache_path(ctx.run, "namings"))
    return LLMNamer(
        ctx.models.namer, fallback, cache, prompt=namer.prompt, attempts=namer.attempts, done=lambda n: bar.update(n)
    )
