"""Questions and answers as an AudioLLM's token ids, and its token ids as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from transformers import GenerationConfig

from ard.models.checkpoint import stop_settings
from ard.models.common import ModelError
from ard.models.families.base import Family, special_tokens
from ard.models.inputs import InputError, refuse_special_tokens


class Dialogue:
    """One checkpoint's way of writing a user's turn and an assistant's.

    Raises:
        ModelError: its template gives a clip no audio token or several, or puts the question before the clip.
    """

    def __init__(self, family: Family, processor: Any, config: GenerationConfig, audio_token_id: int) -> None:
        self._family, self._processor, self._tokenizer = family, processor, processor.tokenizer
        # On the tokenizer only: through from_pretrained it would flip the audio's padding too.
        self._tokenizer.padding_side = "left"
        self.audio_token_id = audio_token_id
        mark = self._tokenizer.convert_ids_to_tokens(audio_token_id)
        self._special = sorted({mark, *special_tokens(self._tokenizer).values()})
        self.end_id = family.end_of_turn(processor)
        stops = stop_settings(config, self._tokenizer, self.end_id)
        self.stop_ids, self.pad_id, self.sampling = stops
        self._ids = lru_cache(maxsize=4096)(self._prompt_ids)
        self._check_template()

    def _check_template(self) -> None:
        """The clip comes first, after a prefix that no question changes: what is read and steered rests on that."""
        prefixes = set()
        for question in ("What is it?", "Who speaks?"):
            ids = self._ids(question)
            if ids.count(self.audio_token_id) != 1:
                raise ModelError(
                    f"The chat template gives {ids.count(self.audio_token_id)} audio tokens for one clip; "
                    "use the processor saved with the model."
                )
            prefixes.add(ids[: ids.index(self.audio_token_id)])
        if len(prefixes) > 1:
            raise ModelError(
                "The chat template puts the question before the clip, so that its audio tokens depend on the question; "
                "use a template that puts the clip first."
            )

    def _prompt_ids(self, prompt: str) -> tuple[int, ...]:
        return tuple(self._family.prompt_ids(self._processor, prompt))

    def prompt_tokens(self, prompt: str) -> int:
        """Tokens of a prompt with its turn marks, the audio counted as one."""
        return len(self._ids(prompt))

    def check(self, prompts: Sequence[str], answers: Sequence[str]) -> None:
        """Keep the checkpoint's control tokens out of what users write.

        Raises:
            InputError: a text is no string or holds a control token.
        """
        refuse_special_tokens("Prompt", prompts, self._special)
        refuse_special_tokens("Answer", answers, self._special)

    def prompt_ids(self, prompts: Sequence[str], audio_tokens: Sequence[int]) -> list[list[int]]:
        """Token ids of each user turn, with so many audio tokens for its clip."""
        rows = []
        for prompt, count in zip(prompts, audio_tokens, strict=True):
            ids = self._ids(prompt)
            at = ids.index(self.audio_token_id)
            rows.append([*ids[:at], *[self.audio_token_id] * count, *ids[at + 1 :]])
        return rows

    def answer_ids(self, answers: Sequence[str], end_answer: bool = True) -> list[list[int]]:
        """Token ids of each answer, with the end-of-turn token unless `end_answer` is False.

        Raises:
            InputError: an answer is no string, holds a control token, or has no token.
        """
        self.check([], answers)
        rows = []
        for answer in answers:
            ids = list(self._tokenizer(answer, add_special_tokens=False)["input_ids"]) if answer else []
            if not ids and not end_answer:
                raise InputError("An answer is empty; give a text, or end it with the end-of-turn token.")
            rows.append([*ids, self.end_id] if end_answer else ids)
        return rows

    def text(self, ids: Sequence[int]) -> str:
        """New tokens as text, up to the end of the turn."""
        end = next((i for i, token in enumerate(ids) if token in self.stop_ids), len(ids))
        return self._tokenizer.decode(list(ids[:end]), skip_special_tokens=True).strip()
