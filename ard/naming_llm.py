"""Names and descriptions by a chat model (AR&D, arXiv 2602.22253, stage 3), every exchange kept.

Ours: an answer that cannot be used is asked for again with the reason, a bounded number of times. Then, and where no
answer came, the contrastive namer names the latent, and the name says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ard.answer_cache import AnswerCache, answer_key
from ard.models.llm import ChatModel, Reply
from ard.naming import Asked, ContrastiveNamer, Name
from ard.naming_answer import (
    MALFORMED,
    NAMED,
    NO_COMMON,
    PROMPT,
    UNANSWERED,
    ConceptAnswer,
    MalformedAnswerError,
    again,
    question,
    read_answer,
)


class NamingTotals(NamedTuple):
    """What naming cost; exchanges that were kept from an earlier process count in neither requests nor tokens."""

    questions: int
    """Different sets of captions."""
    replies: int
    """Replies received now."""
    kept: int
    """Replies found in the cache."""
    prompt_tokens: int
    completion_tokens: int


@dataclass
class _Exchange:
    """The conversation about one set of captions."""

    messages: list[dict[str, str]]
    replies: list[Reply] = field(default_factory=list)
    answer: ConceptAnswer | None = None
    reason: str | None = None
    status: str = ""

    def key(self, chat: ChatModel) -> str:
        return answer_key(chat.name, chat.settings, self.messages)

    def take(self, reply: Reply) -> None:
        """Read a reply; an unusable one stays in the conversation with the reason behind it."""
        self.replies.append(reply)
        try:
            self.answer = read_answer(reply.text, cut=reply.cut)
        except MalformedAnswerError as error:
            self.reason = str(error)
            # An empty turn of the model's own is refused by some endpoints.
            self.messages.append({"role": "assistant", "content": reply.text.strip() or "(nothing)"})
            self.messages.append({"role": "user", "content": again(self.reason)})
        else:
            self.reason, self.status = None, NAMED if self.answer.shared else NO_COMMON


class LLMNamer:
    """Names sets of captions by asking a chat model; replies are cached by model, settings and whole conversation."""

    def __init__(
        self,
        chat: ChatModel,
        fallback: ContrastiveNamer,
        cache: AnswerCache,
        *,
        prompt: str = PROMPT,
        attempts: int = 3,
        done: Callable[[int], Any] = lambda _: None,
    ) -> None:
        """Make the namer; nothing is asked yet.

        Args:
            chat: the model.
            fallback: holds the captions; names where the chat model gives no usable answer.
            cache: replies of this and earlier processes.
            prompt: the sentence before the captions.
            attempts: how often a set of captions is asked about in all while the answers cannot be used.
            done: called with the number of replies that came, from any thread, for a progress bar.
        """
        self.chat, self.fallback, self.cache = chat, fallback, cache
        self.prompt, self.attempts, self._done = prompt, attempts, done
        self.totals = NamingTotals(0, 0, 0, 0, 0)

    def name_many(self, sets: Sequence[Sequence[int]]) -> list[Name]:
        """Name of each set of captions (indices, in rank order); equal sets of captions are asked about once.

        A set of one caption shares nothing and is not asked about.

        Raises:
            NamingError: as `ContrastiveNamer.name_many`. ChatError: the model cannot be asked; what came is kept.
        """
        plain = self.fallback.name_many(sets)
        wanted = dict.fromkeys(name.captions for name in plain if len(name.captions) > 1)
        exchanges = {
            captions: _Exchange([{"role": "user", "content": question(captions, self.prompt)}]) for captions in wanted
        }
        for _ in range(self.attempts):
            self._ask([e for e in exchanges.values() if not e.status])
        for exchange in exchanges.values():
            exchange.status = exchange.status or MALFORMED
        self.totals = self.totals._replace(questions=self.totals.questions + len(exchanges))
        return [self._named(name, exchanges.get(name.captions)) for name in plain]

    def _ask(self, open_: list[_Exchange]) -> None:
        """One more reply for each exchange, from the cache where it is there."""
        keys = [exchange.key(self.chat) for exchange in open_]
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
            exchange.take(reply)
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

    def _named(self, plain: Name, exchange: _Exchange | None) -> Name:
        if exchange is None:
            return plain
        asked = _asked(self.chat, exchange)
        who = f"{asked.model}@{asked.revision}" if asked.revision else asked.model
        if exchange.answer is None:
            return plain._replace(
                namer=f"{plain.namer} (in place of {who}: {asked.status}, {asked.reason})", asked=asked
            )
        answer = exchange.answer
        return Name(answer.name, answer.description, plain.captions, None, who, asked)


def _asked(chat: ChatModel, exchange: _Exchange) -> Asked:
    replies = exchange.replies
    last = replies[-1] if replies else None
    return Asked(
        model=last.model if last else chat.name,
        revision=last.revision if last else "",
        prompt=exchange.messages[0]["content"],
        answers=tuple(reply.text for reply in replies),
        status=exchange.status,
        reason=exchange.reason,
        prompt_tokens=_sum([reply.prompt_tokens for reply in replies]),
        completion_tokens=_sum([reply.completion_tokens for reply in replies]),
    )


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
