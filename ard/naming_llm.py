"""Names and descriptions by a chat model (AR&D, arXiv 2602.22253, stage 3), every exchange kept.

Ours: an answer that cannot be used is asked for again with the reason, a bounded number of times. Then, and where no
answer came, the contrastive namer names the latent, and the name says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ard.answer_cache import AnswerCache
from ard.exchanges import ANSWERED, Asker, Exchange, Totals
from ard.models.llm import ChatModel
from ard.naming import Asked, ContrastiveNamer, Name
from ard.naming_answer import NAMED, NO_COMMON, PROMPT, ConceptAnswer, question, read_answer


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
        self.chat, self.fallback, self.prompt = chat, fallback, prompt
        self._asker: Asker[ConceptAnswer] = Asker(
            chat, cache, lambda reply: read_answer(reply.text, cut=reply.cut), attempts=attempts, done=done
        )

    @property
    def totals(self) -> Totals:
        """What the asking cost so far; its questions are different sets of captions."""
        return self._asker.totals

    def name_many(self, sets: Sequence[Sequence[int]]) -> list[Name]:
        """Name of each set of captions (indices, in rank order); equal sets of captions are asked about once.

        A set of one caption shares nothing and is not asked about.

        Raises:
            NamingError: as `ContrastiveNamer.name_many`. ChatError: the model cannot be asked; what came is kept.
        """
        plain = self.fallback.name_many(sets)
        wanted = dict.fromkeys(name.captions for name in plain if len(name.captions) > 1)
        exchanges: dict[tuple[str, ...], Exchange[ConceptAnswer]] = {
            captions: Exchange.about(question(captions, self.prompt)) for captions in wanted
        }
        self._asker.settle(list(exchanges.values()))
        return [self._named(name, exchanges.get(name.captions)) for name in plain]

    def _named(self, plain: Name, exchange: Exchange[ConceptAnswer] | None) -> Name:
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


def _asked(chat: ChatModel, exchange: Exchange[ConceptAnswer]) -> Asked:
    model, revision = exchange.who(chat)
    prompt_tokens, completion_tokens = exchange.tokens
    status = exchange.status
    if status == ANSWERED and exchange.answer is not None:
        status = NAMED if exchange.answer.shared else NO_COMMON
    return Asked(
        model=model,
        revision=revision,
        prompt=exchange.messages[0]["content"],
        answers=tuple(reply.text for reply in exchange.replies),
        status=status,
        reason=exchange.reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )
