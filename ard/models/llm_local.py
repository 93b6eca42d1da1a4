"""A chat model of the transformers library on this machine: any causal language model with a chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from ard.models.common import ModelError, compute_dtype, find_model, load_part, load_weights, revision_of
from ard.models.llm import ChatError, Conversation, Keep, Reply


class LocalChat:
    """A loaded chat model, asked greedily, several conversations at once.

    Attributes:
        model, tokenizer: the transformers objects.
        name: folder name or hub id.
    """

    def __init__(
        self, model: Any, tokenizer: Any, source: Path | str = "in-memory", *, batch: int = 8, max_tokens: int = 512
    ) -> None:
        """Take a loaded model.

        Raises:
            ModelError: the tokenizer has no chat template, or no token that ends an answer.
        """
        if not getattr(tokenizer, "chat_template", None) or tokenizer.eos_token_id is None:
            raise ModelError(
                f"The tokenizer of {source} has no chat template or no token that ends an answer; give an "
                "instruction-tuned model."
            )
        self.model, self.tokenizer, self._source = model.eval(), tokenizer, source
        self.name = source.name if isinstance(source, Path) else source
        self.batch, self.max_tokens = batch, max_tokens
        tokenizer.padding_side = "left"
        ends = model.generation_config.eos_token_id
        ends = [tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])]
        self._ends = sorted({int(one) for one in ends if one is not None})
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        # Greedy and nothing else: the checkpoint's own sampling and penalties would change what it says.
        model.generation_config = GenerationConfig(eos_token_id=self._ends, pad_token_id=tokenizer.pad_token_id)
        special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        special = sorted({*special, *tokenizer.all_special_tokens}, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special)) or r"(?!)")

    @classmethod
    def load(cls, path_or_id: str | Path, device: str = "cpu", **options: Any) -> LocalChat:
        """Load from a folder or a hub id; float32 on CPU, bfloat16 on accelerators.

        Raises:
            ModelError: not found, not a causal language model, or without a chat template.
        """
        source = find_model(path_or_id)
        if isinstance(source, Path):
            source = source.resolve()
        tokenizer = load_part("tokenizer", AutoTokenizer.from_pretrained, source)
        dtype = compute_dtype(device, None)
        model = load_weights(AutoModelForCausalLM.from_pretrained, source, dtype=dtype)
        return cls(model.to(device), tokenizer, source, **options)

    @cached_property
    def revision(self) -> str:
        """Hash of the weights for a folder, commit hash for a hub id."""
        return revision_of(self._source, self.model.config)

    @property
    def settings(self) -> dict[str, Any]:
        """What an answer depends on besides the name: weights and length."""
        return {"revision": self.revision, "max_tokens": self.max_tokens, "do_sample": False}

    def ask(self, conversations: Sequence[Conversation], keep: Keep) -> dict[int, str]:
        """Answer all conversations, shortest first; each batch is kept when it is done. None fails.

        Raises:
            ChatError: the chat template refuses a conversation.
        """
        texts = [self._render(conversation) for conversation in conversations]
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        for start in range(0, len(order), self.batch):
            numbers = order[start : start + self.batch]
            keep(dict(zip(numbers, self._answers([texts[i] for i in numbers]), strict=True)))
        return {}

    def _render(self, conversation: Conversation) -> str:
        """The model's own turn marks around the messages; a mark inside a message is taken out of it."""
        turns = [{**message, "content": self._special.sub(" ", message["content"])} for message in conversation]
        try:
            return self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            raise ChatError(f"The chat template of {self.name} refuses the conversation: {error}.") from None

    @torch.no_grad()
    def _answers(self, texts: list[str]) -> list[Reply]:
        # The template has written the marks already; adding them again would put two at the start.
        inputs = self.tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
        inputs = {name: inputs[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        out = self.model.generate(**inputs, max_new_tokens=self.max_tokens, do_sample=False)
        made = out[:, inputs["input_ids"].shape[1] :].tolist()
        asked = inputs["attention_mask"].sum(-1).tolist()
        return [self._reply(row, n) for row, n in zip(made, asked, strict=True)]

    def _reply(self, row: list[int], asked: int) -> Reply:
        end = next((i for i, token in enumerate(row) if token in self._ends), None)
        ids = row if end is None else row[:end]
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return Reply(text, self.name, self.revision, int(asked), len(ids), cut=end is None)
