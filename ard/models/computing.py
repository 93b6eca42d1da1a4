"""What an AudioLLM computes from prepared inputs: activations, answers, losses. The same for every family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.generation import StoppingCriteriaList

from ard.hooks import read
from ard.models.checkpoint import StopWhen
from ard.models.dialogue import Dialogue
from ard.models.hookpoints import Hookpoints
from ard.models.inputs import InputError, Inputs


class Computing(Hookpoints):
    """Forward passes and generation; `AudioLM` adds loading and preparing."""

    dialogue: Dialogue

    @property
    def device(self) -> torch.device:
        """Where the model takes its inputs."""
        return self.model.get_input_embeddings().weight.device

    @torch.no_grad()
    def activations(
        self, inputs: Inputs, layers: Sequence[int], *, as_computed: bool = False
    ) -> dict[int, Float[Tensor, "B L d"]]:
        """Activations x of Eq. 1 at the asked layers, float32; one forward pass that ends after the highest of them.

        `as_computed` leaves them in the model's own precision.

        Equals `hidden_states[l + 1]`, for the last layer before the final norm. Padding positions hold no meaning.

        Raises:
            ValueError: no layer asked for, or one the model lacks.
        """
        with read(self, layers, stop=True) as got:
            self._forward(inputs)
        return {layer: got[layer] if as_computed else got[layer].float() for layer in layers}

    @torch.no_grad()
    def generate(
        self,
        inputs: Inputs,
        max_new_tokens: int = 48,
        seed: int | None = None,
        do_sample: bool = False,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[str]:
        """The model's answers: new text only, up to the end of its turn.

        Greedy unless `do_sample`; then with the checkpoint's own temperature, top-p and top-k under `seed`. The
        checkpoint's repetition penalty is not applied: it would favour or punish words of the question.

        Args:
            inputs: prepared without answers.
            max_new_tokens: longest answer, in tokens.
            seed: of the sampling; leaves torch's own random state alone.
            do_sample: draw instead of taking the likeliest token.
            should_stop: asked after every token; True ends the answers there.

        Raises:
            InputError: the inputs already hold an answer, or max_new_tokens is below 1.
        """
        if bool(inputs.answer.any()):
            raise InputError("These inputs already hold answers; prepare them without `answers` to generate.")
        if max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {max_new_tokens}; give at least 1.")
        settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": do_sample, "use_cache": True}
        # Room for all tokens from the start: appending would copy every layer's cache at every token.
        settings |= {"cache_implementation": "static", "disable_compile": True}
        settings |= self.dialogue.sampling if do_sample else {}
        stop = StoppingCriteriaList([StopWhen(should_stop)] if should_stop else [])
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            out = self.model.generate(**inputs.tensors, **settings, stopping_criteria=stop)
        return [self.dialogue.text(row) for row in out[:, inputs.length :].tolist()]

    @torch.no_grad()
    def answer_log_probs(self, inputs: Inputs) -> Float[Tensor, " B"]:
        """Σ log p(token | what comes before) over each clip's answer tokens, float32.

        Raises:
            InputError: a clip has no answer.
        """
        if not bool(inputs.answer.any(-1).all()):
            raise InputError("These inputs hold no answers; prepare them with `answers`.")
        target = inputs.answer[:, 1:]
        states = self._forward(inputs).last_hidden_state[:, :-1][target]
        ids = inputs.tensors["input_ids"][:, 1:][target]
        log_probs = self.model.get_output_embeddings()(states).float().log_softmax(-1)
        picked = log_probs.gather(-1, ids[:, None])[:, 0]
        rows = target.nonzero()[:, 0]
        return torch.zeros(inputs.batch, device=picked.device).index_add_(0, rows, picked)

    def next_token_loss(self, inputs: Inputs) -> Float[Tensor, " B"]:
        """Mean negative log-likelihood in nats over each clip's answer tokens.

        Raises:
            InputError: a clip has no answer.
        """
        return -self.answer_log_probs(inputs) / inputs.answer.sum(-1)

    def _forward(self, inputs: Inputs) -> Any:
        """The model without its LM head, with positions that do not count padding."""
        positions = (inputs.tensors["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        out = self.model.base_model(**inputs.tensors, position_ids=positions, use_cache=False)
        if out.last_hidden_state.shape[1] != inputs.length:
            raise InputError(
                "The model grew the sequence merging the audio; use a processor that expands the audio token."
            )
        return out
