"""A chat model behind any endpoint that speaks the chat-completions protocol (vLLM, Ollama, llama.cpp, hosted).

The `openai` client sends, times out and tries again (408, 409, 429 with Retry-After, 5xx, cut connections); here are
concurrency, the rate limit, the count of tokens, and what an unusable reply means. The key comes from the environment
and is written nowhere.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, cast

NO_KEY = "none"
"""Sent where the environment holds no key: servers on one's own machine ask for none."""

Message = Mapping[str, str]
"""`role` (`user` or `assistant`) and `content`."""
Conversation = Sequence[Message]
Keep = Callable[[Mapping[int, "Reply"]], None]
"""Takes replies by the number of their conversation, as soon as they are there, from any thread."""


class ChatError(ValueError):
    """An endpoint or model that cannot be asked; the message says why and what to change."""


class Reply(NamedTuple):
    """What a chat model said."""

    text: str
    """As it came; may be empty."""
    model: str
    """The model by the name that answered."""
    revision: str
    """Its fingerprint, revision or weight hash; empty if the endpoint tells none."""
    prompt_tokens: int | None
    """None if the endpoint does not count."""
    completion_tokens: int | None
    cut: bool
    """The answer ended at the longest allowed length."""


class ChatModel(Protocol):
    """Asks a chat model."""

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """What an answer depends on besides the model's name and the conversation."""
        ...

    def ask(self, conversations: Sequence[Conversation], keep: Keep) -> dict[int, str]:
        """Put each conversation to the model and hand every reply to `keep`; why the others got none."""
        ...


class _UnusableReplyError(Exception):
    """A reply with status 200 that is no chat completion."""


@dataclass(frozen=True)
class Endpoint:
    """How to ask an endpoint."""

    base_url: str
    """For instance `http://127.0.0.1:8000/v1`."""
    model: str
    key_env: str = "ARD_LLM_API_KEY"
    """Environment variable that holds the key."""
    timeout_s: float = 120.0
    """Longest silence of the server before a request counts as failed."""
    retries: int = 6
    """Further tries of a request that failed."""
    concurrency: int = 8
    requests_per_minute: float = 0.0
    """0: no limit."""
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How the answer's form is asked for, beside the words of the prompt."""
    temperature: float | None = 0.0
    """None: not sent, for models that refuse it."""
    max_tokens: int = 512
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    section: str = "names.namer"
    """Where its settings stand in the configuration, for messages."""


class EndpointChat:
    """A chat model at an endpoint.

    Attributes:
        name: the model's name there.
        requests: HTTP requests sent, tries after a failure included.
    """

    def __init__(self, endpoint: Endpoint, schema: Mapping[str, Any] | None = None) -> None:
        """Make the client; nothing is sent yet.

        Args:
            endpoint: where and how to ask.
            schema: JSON schema of an answer, sent where `structured` is `json_schema`.

        Raises:
            ChatError: the openai package is not installed.
        """
        try:
            import openai
        except ImportError:
            raise ChatError(
                "Asking an endpoint needs the openai package; install it with `pip install 'ard-explorer[llm]'`."
            ) from None
        self.endpoint, self.name, self.requests = endpoint, endpoint.model, 0
        self._schema = dict(schema or {})
        self._openai = openai
        self._key = os.environ.get(endpoint.key_env, "").strip()
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._in_a_row = 0
        self._fatal: ChatError | None = None
        http = openai.DefaultHttpxClient(event_hooks={"request": [self._wait_for_slot]})
        self._client = openai.OpenAI(
            base_url=endpoint.base_url,
            api_key=self._key or NO_KEY,
            timeout=endpoint.timeout_s,
            max_retries=endpoint.retries,
            http_client=http,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What is sent besides model and messages."""
        e = self.endpoint
        sent: dict[str, Any] = {e.limit_name: e.max_tokens}
        if e.temperature is not None:
            sent["temperature"] = e.temperature
        if e.structured == "json_object":
            sent["response_format"] = {"type": "json_object"}
        elif e.structured == "json_schema" and self._schema:
            form = {"name": "answer", "strict": True, "schema": self._schema}
            sent["response_format"] = {"type": "json_schema", "json_schema": form}
        return sent

    def ask(self, conversations: Sequence[Conversation], keep: Keep) -> dict[int, str]:
        """Put all conversations to the model, several at once; a reply is kept by the thread that received it.

        Returns:
            For each conversation without a usable reply after all tries, why.

        Raises:
            ChatError: the endpoint refuses key or model, or 2 × concurrency requests in a row failed for good; every
                reply that had come is kept.
        """
        failed: dict[int, str] = {}
        self._fatal, self._in_a_row = None, 0
        pool = ThreadPoolExecutor(self.endpoint.concurrency, thread_name_prefix="chat")
        try:
            for _ in pool.map(lambda item: self._one(item[0], item[1], keep, failed), enumerate(conversations)):
                pass
        finally:
            # Stopped or not: what is under way may be paid for already, so it is waited for and kept.
            pool.shutdown(cancel_futures=True)
        if self._fatal is not None:
            raise self._fatal
        return failed

    def _one(self, number: int, conversation: Conversation, keep: Keep, failed: dict[int, str]) -> None:
        if self._fatal is not None:
            return
        try:
            reply = self._reply(conversation)
        except (self._openai.OpenAIError, _UnusableReplyError) as error:
            self._note_failure(number, error, failed)
            return
        keep({number: reply})
        with self._lock:
            self._in_a_row = 0

    def _reply(self, conversation: Conversation) -> Reply:
        """One usable reply; a body that is no chat completion is asked for again as a failed request is."""
        for left in range(self.endpoint.retries, -1, -1):
            try:
                raw = self._client.chat.completions.with_raw_response.create(
                    model=self.name, messages=cast(Any, [dict(m) for m in conversation]), **self.settings
                )
                return self._read(raw.text)
            except _UnusableReplyError:
                if not left:
                    raise
                time.sleep(min(8.0, 0.25 * 2 ** (self.endpoint.retries - left)))
        raise AssertionError("unreachable: the last try returns or raises")

    def _read(self, body: str) -> Reply:
        try:
            content = json.loads(body)
            choice = content["choices"][0]
            message, usage = choice["message"], content.get("usage") or {}
            text = message.get("content") or message.get("refusal") or ""
            revision, model = content.get("system_fingerprint") or "", content.get("model") or self.name
            counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise _UnusableReplyError(f"a reply that is no chat completion ({type(error).__name__})") from None
        if not all(isinstance(value, str) for value in (text, revision, model)):
            raise _UnusableReplyError("a reply that is no chat completion (text expected)")
        tokens = [n if type(n) is int and n >= 0 else None for n in counts]
        cut = choice.get("finish_reason") == "length"
        return Reply(self._clean(text), self._clean(model), self._clean(revision), tokens[0], tokens[1], cut)

    def _note_failure(self, number: int, error: Exception, failed: dict[int, str]) -> None:
        status = getattr(error, "status_code", None)
        reason = self._clean(f"{type(error).__name__}: {error}" if status is None else f"status {status}: {error}")
        with self._lock:
            failed[number] = " ".join(reason.split())[:300]
            self._in_a_row += 1
            if self._fatal is None:
                self._fatal = self._verdict(status, failed[number])

    def _verdict(self, status: int | None, reason: str) -> ChatError | None:
        """The sentence that ends the asking, or None if only this request failed."""
        where = f"{self.endpoint.base_url} (model {self.name!r})"
        if status in (401, 403):
            return ChatError(
                f"{where} refuses the key (status {status}); put a valid one into the environment variable "
                f"{self.endpoint.key_env}."
            )
        if status == 404:
            section = self.endpoint.section
            return ChatError(f"{where} answers 404; check {section}.base_url (it ends in /v1) and {section}.model.")
        limit = 2 * self.endpoint.concurrency
        if self._in_a_row < limit:
            return None
        hint = f" (or set {self.endpoint.section}.structured to json_object or none)" if status in (400, 422) else ""
        return ChatError(
            f"{where} failed {self._in_a_row} times in a row, last with {reason}; mend the endpoint{hint} and run the "
            "same command again: every answer so far is kept."
        )

    def _clean(self, text: str) -> str:
        """The text without the key, should a server send it back."""
        return text.replace(self._key, "***") if self._key else text

    def _wait_for_slot(self, _request: Any) -> None:
        """Called before every request, repeated ones too: at most `requests_per_minute`, evenly spaced."""
        rate = self.endpoint.requests_per_minute
        with self._lock:
            self.requests += 1
            now = time.monotonic()
            slot = max(now, self._next_slot) if rate else now
            self._next_slot = slot + (60 / rate if rate else 0)
        if slot > now:
            time.sleep(slot - now)
