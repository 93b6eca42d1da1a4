"""Try many clamps on the same clips: the audio is encoded once, every row of a batch has its own clamp.

Ours: the paper does not say how a latent is chosen. What a latent responds to is not what it causes, so candidates come
from both sides: how well they find the target, and the slope of the target's answer along their decoder row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ard.clamp_rows import AnyClamp, EachRow
from ard.clamps import Clamp, Positions
from ard.degenerate import fault
from ard.embedded import embedded, joined, rows_of
from ard.hooks import replace as replace_hook
from ard.models.audio_lm import AudioLM
from ard.models.inputs import Inputs
from ard.sae import TopKSAE
from ard.shared_prefill import last_mlp_once, prefilled, prefix
from ard.steering import Steering
from ard.steering_task import Outcome, Verdict, outcome


class Asked(NamedTuple):
    """Clips of one task with their question, encoded once, and what the untouched model answers."""

    inputs: Inputs
    answers: list[str]
    before: list[Verdict]

    @property
    def samples(self) -> list[int]:
        """Clips whose untouched answer is the source."""
        return [i for i, verdict in enumerate(self.before) if verdict == "source"]


class Tried(NamedTuple):
    """What one clamp did to some clips."""

    outcome: Outcome
    clips: list[int]
    """Rows of `Asked`."""
    answers: list[str]
    """The steered answer of each of them."""


class Bench:
    """One AudioLLM, one hookpoint and (for `Clamp`) one SAE, on which clamps are tried."""

    def __init__(
        self,
        lm: AudioLM,
        sae: TopKSAE,
        *,
        batch_size: int = 32,
        max_new_tokens: int = 24,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        sae.check_fits(lm.d_model)
        self.lm, self.sae, self.hookpoint = lm, sae, sae.cfg.hookpoint
        self._batch, self._tokens, self._progress = batch_size, max_new_tokens, progress

    def ask(self, audios: Sequence[np.ndarray], prompt: str, judge: Callable[[str], Verdict]) -> Asked:
        """Encode the clips with the question, and answer untouched.

        Raises:
            AudioError, InputError: as `AudioLM.prepare`.
        """
        parts = [audios[i : i + self._batch] for i in range(0, len(audios), self._batch)]
        inputs = joined([embedded(self.lm, self.lm.prepare(part, [prompt] * len(part))) for part in parts])
        answers: list[str] = []
        for i in range(0, inputs.batch, self._batch):
            some = rows_of(inputs, range(i, min(i + self._batch, inputs.batch)))
            answers += self.lm.generate(some, self._tokens)
            self._progress(some.batch)
        return Asked(inputs, answers, [judge(answer) for answer in answers])

    def answers(self, asked: Asked, jobs: Sequence[tuple[int, AnyClamp]]) -> list[str]:
        """The steered answer of each job (clip, clamp), in their order.

        Raises:
            SteeringError: a clamp that fits neither the SAE nor the model, or clamps of different kinds.
        """
        order = sorted(range(len(jobs)), key=lambda i: jobs[i][0])  # rows about one clip share a part of their prefill
        texts = [""] * len(jobs)
        for i in range(0, len(order), self._batch):
            places = order[i : i + self._batch]
            for place, text in zip(places, self._batch_answers(asked, [jobs[j] for j in places]), strict=True):
                texts[place] = text
        return texts

    def _batch_answers(self, asked: Asked, jobs: Sequence[tuple[int, AnyClamp]]) -> list[str]:
        """One batch; each clip's layers up to the hookpoint are computed once."""
        clips = [clip for clip, _ in jobs]
        some, once = rows_of(asked.inputs, clips), list(dict.fromkeys(clips))
        change = EachRow(tuple(clamp for _, clamp in jobs))
        sae = self.sae if isinstance(jobs[0][1], Clamp) else None
        layer = self.lm.layer_of(self.hookpoint)
        with ExitStack() as stack:
            if layer < self.lm.n_layers - 1:
                stack.enter_context(last_mlp_once(self.lm))
            if len(once) < len(clips):
                known = prefix(self.lm, layer, rows_of(asked.inputs, once))
                stack.enter_context(prefilled(self.lm, layer, known, [once.index(clip) for clip in clips]))
            stack.enter_context(Steering(self.lm, sae, change, some, hookpoint=self.hookpoint))
            texts = self.lm.generate(some, self._tokens)
        self._progress(some.batch)
        return texts

    def outcomes(
        self,
        asked: Asked,
        clamps: Sequence[AnyClamp],
        judge: Callable[[str], Verdict],
        clips: Sequence[int] | None = None,
    ) -> list[Outcome]:
        """The counts of `tried`."""
        return [one.outcome for one in self.tried(asked, clamps, judge, clips)]

    def tried(
        self,
        asked: Asked,
        clamps: Sequence[AnyClamp],
        judge: Callable[[str], Verdict],
        clips: Sequence[int] | None = None,
    ) -> list[Tried]:
        """What each clamp does to these clips (all of them by default), with every answer."""
        rows = list(range(asked.inputs.batch) if clips is None else clips)
        texts = self.answers(asked, [(row, clamp) for clamp in clamps for row in rows])
        before = [asked.before[row] for row in rows]
        found = []
        for i in range(len(clamps)):
            mine = texts[i * len(rows) : (i + 1) * len(rows)]
            after = [judge(text) for text in mine]
            faults = [fault(text, verdict) for text, verdict in zip(mine, after, strict=True)]
            found.append(Tried(outcome(before, after, faults), rows, mine))
        return found

    def answer_slope(
        self, asked: Asked, source_answer: str, target_answer: str, positions: Positions, clips: Sequence[int]
    ) -> Float[np.ndarray, " d_in"]:
        """Gradient of log p(target answer) − log p(source answer) by x, summed over the positions a clamp acts on.

        To first order, adding δ·v to x at these positions changes the difference by δ times the slope along v.
        """
        tokenizer = self.lm.processor.tokenizer
        chosen = rows_of(asked.inputs, clips)
        mask = {"audio": chosen.audio, "prompt": chosen.prompt, "all": chosen.audio | chosen.prompt}[positions]
        total = torch.zeros(self.lm.d_model, dtype=torch.float64)
        for answer, sign in ((target_answer, 1.0), (source_answer, -1.0)):
            ids = torch.tensor(tokenizer(answer, add_special_tokens=False)["input_ids"], device=mask.device)
            grad = _answer_gradient(self.lm, self.lm.layer_of(self.hookpoint), chosen, ids)
            total += sign * grad[:, : chosen.length][mask].double().sum(0).cpu()
        return total.float().numpy()


def _answer_gradient(lm: AudioLM, layer: int, inputs: Inputs, ids: Int[Tensor, " A"]) -> Float[Tensor, "B L+A d"]:
    """Gradient of Σ log p(answer) by the output of `layer`, for an answer appended to each row's prompt."""
    kept: list[Tensor] = []

    def watch(x: Tensor, _context: Any) -> Tensor:
        kept.append(x.detach().requires_grad_(True))
        return kept[0]

    embeds = inputs.tensors["inputs_embeds"]
    added = lm.model.get_input_embeddings()(ids).detach().expand(inputs.batch, -1, -1).to(embeds.dtype)
    mask = F.pad(inputs.tensors["attention_mask"], (0, len(ids)), value=1)
    with torch.enable_grad(), replace_hook(lm, layer, watch):
        out = lm.model.get_decoder()(
            inputs_embeds=torch.cat([embeds, added], 1),
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            use_cache=False,
        )
        states = out.last_hidden_state[:, -len(ids) - 1 : -1]
        log_probs = lm.model.get_output_embeddings()(states).float().log_softmax(-1)
        total = log_probs.gather(-1, ids.expand(inputs.batch, -1)[..., None]).sum()
    return torch.autograd.grad(total, kept[0])[0]


def matched_latents(density: Float[np.ndarray, " d_sae"], latent: int, count: int, seed: int = 0) -> list[int]:
    """`count` live latents drawn from the 4·count whose density is nearest to the given one's; never that one."""
    live = np.flatnonzero((density > 0) & (np.arange(len(density)) != latent))
    near = live[np.argsort(np.abs(density[live] - density[latent]), kind="stable")][: 4 * count]
    drawn = np.random.default_rng([seed, latent]).choice(near, min(count, len(near)), replace=False)
    return [int(i) for i in drawn]


def interleaved(orders: Iterable[Sequence[int]], count: int) -> list[int]:
    """The first `count` different ids, taken in turn from the heads of several rankings."""
    lists = [list(order) for order in orders]
    turn = (one[i] for i in range(max(map(len, lists), default=0)) for one in lists if i < len(one))
    return list(dict.fromkeys(int(i) for i in turn))[:count]
