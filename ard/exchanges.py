"""Put questions to a chat model until each has a usable answer; every reply is kept and never asked for twice.

Ours: a reply that cannot be used stays in the conversation with the reason behind it, and is asked for again a bounded
number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from ard.answer_cache import AnswerCache, answer_key
from ard.chat_form import ANSWERED, MALFORMED, UNANSWERED, MalformedAnswerError, again
from ard.models.llm import ChatModel, Reply

__all__ = ["ANSWERED", "MALFORMED", "UNANSWERED", "Asker", "Exchange", "Totals"]

T = TypeVar("T")


class Totals(NamedTuple):
    """What the asking cost; replies that were kept from an earlier process count in neither requests nor tokens."""

    questions: int
    """Different questions."""
    replies: int
    """Replies received now."""
    kept: int
    """Replies found in the cache."""
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Exchange(Generic[T]):
    """The conversation about one question."""

    messages: list[dict[str, str]]
    replies: list[Reply] = field(default_factory=list)
    answer: T | None = None
    reason: str | None = None
    """Why there is no usable answer."""
    status: str = ""
    """`ANSWERED`, `MALFORMED` or `UNANSWERED`; empty while it is open."""

    @classmethod
    def about(cls, question: str) -> Exchange[T]:
        """A conversation that begins with this question."""
        return cls([{"role": "user", "content": question}])

    @property
    def tokens(self) -> tuple[int | None, int | None]:
        """Tokens sent and received over all replies; None where the model counts none."""
        return _sum([r.prompt_tokens for r in self.replies]), _sum([r.completion_tokens for r in self.replies])

    def who(self, chat: ChatModel) -> tuple[str, str]:
        """Name and revision of the model by its last reply."""
        return (self.replies[-1].model, self.replies[-1].revision) if self.replies else (chat.name, "")

    def take(self, reply: Reply, read: Callable[[Reply], T]) -> None:
        """Read a reply; an unusable one stays in the conversation with the reason behind it."""
        self.replies.append(reply)
        try:
            self.answer = read(reply)
        except MalformedAnswerError as error:
            self.reason = str(error)
            # An empty turn of the model's own is refused by some endpoints.
            self.messages.append({"role": "assistant", "content": reply.text.strip() or "(nothing)"})
            self.messages.append({"role": "user", "content": again(self.reason)})
        else:
            self.reason, self.status = None, ANSWERED


class Asker(Generic[T]):
    """Asks one chat model; replies are cached by model, settings and whole conversation.

    Args:
        chat: the model.
        cache: replies of this and earlier processes.
        read: the answer in a reply; raises `MalformedAnswerError` for one that cannot be used.
        attempts: how often a question is asked in all while the answers cannot be used.
        done: called with the number of replies that came, from any thread, for a progress bar.
    """

    def __init__(
        self,
        chat: ChatModel,
        cache: AnswerCache,
        read: Callable[[Reply], T],
        *,
        attempts: int = 3,
        done: Callable[[int], Any] = lambda _: None,
    ) -> None:
        self.chat, self.cache, self.attempts = chat, cache, attempts
        self._read, self._done = read, done
        self.totals = Totals(0, 0, 0, 0, 0)

    def settle(self, exchanges: Sequence[Exchange[T]]) -> None:
        """Ask until every exchange has a status.

        Raises:
            ChatError: the model cannot be asked; what came is kept.
        """
        for _ in range(self.attempts):
            self._ask([e for e in exchanges if not e.status])
        for exchange in exchanges:
            exchange.status = exchange.status or MALFORMED
        self.totals = self.totals._replace(questions=self.totals.questions + len(exchanges))

    def _ask(self, open_: list[Exchange[T]]) -> None:
        """One more reply for each exchange, from the cache where it is there."""
        keys = [answer_key(self.chat.name, self.chat.settings, exchange.messages) for exchange in open_]
        missing = [i for i, key in enumerate(keys) if key not in self.cache]
        known = set(keys) - {keys[i] for i in missing}

        def keep(replies: Mapping[int, Reply]) -> None:
            self.cache.keep({keys[missing[i]]: reply._asdict() for i, reply in replies.items()})
            self._done(len(replies))

        failed = self.chat.ask([open_[i].messages for i in missing], keep) if missing else {}
        for i, reason in failed.items():
            exchange = open_[missing[i]]
            exchange.status, exchange.reason = UNANSWERED, reason
        for exchange, key in zip(open_, keys, strict=True):
            if exchange.status:
                continue
            reply = Reply(**self.cache[key])
            exchange.take(reply, self._read)
            self._count(reply, kept=key in known)

    def _count(self, reply: Reply, *, kept: bool) -> None:
        total = self.totals
        if kept:
            self.totals = total._replace(kept=total.kept + 1)
            return
        self.totals = total._replace(
            replies=total.replies + 1,
            prompt_tokens=total.prompt_tokens + (reply.prompt_tokens or 0),
            completion_tokens=total.completion_tokens + (reply.completion_tokens or 0),
        )


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
