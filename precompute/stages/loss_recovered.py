"""How much of the AudioLLM's own next-token loss an SAE's reconstruction keeps, on held-out clips."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ard.hooks import replace as replace_hook
from ard.sae import TopKSAE
from ard.sinks import find_sinks
from precompute.stages.base import Context, batched


class Losses(NamedTuple):
    """Mean next-token loss (nats) of the AudioLLM on its own answers, per clip averaged over clips."""

    clean: float
    """x untouched."""
    spliced: float
    """x̂ in place of x."""
    mean: float
    """The mean of x in place of x."""

    @property
    def recovered(self) -> float | None:
        """(L(mean) − L(x̂)) / (L(mean) − L(x)); None where replacing x by its mean does no harm."""
        harm = self.mean - self.clean
        return (self.mean - self.spliced) / harm if harm > 0 else None


@torch.no_grad()
def losses(ctx: Context, sae: TopKSAE, layer: int, mean: Tensor) -> Losses:
    """Losses on held-out clips (training clips where there are none) with x, x̂, x̄ at every position but the
    constant prefix, padding and attention sinks.
    """
    lm, part = ctx.models.audio_lm, ctx.config.activations
    table = ctx.held_out_clips()
    clips = (table if table.num_rows else ctx.ok_clips()).slice(0, ctx.config.train.loss_clips)
    answers = {r["clip_id"]: r for r in ctx.run.read("answers").to_pylist()}
    sae, mean = sae.to(lm.device), mean.to(lm.device)
    sums = dict.fromkeys(Losses._fields, 0.0)
    for batch in batched(clips.to_pylist(), part.batch):
        rows = [answers[c["clip_id"]] for c in batch]
        audios = ctx.load_audio(c["audio"] for c in batch)
        inputs = lm.prepare(audios, [r["question"] for r in rows], [r["answer"] for r in rows])
        free = ~(inputs.prefix | inputs.padding)

        def put(new: Any, free: Tensor = free) -> Any:
            def fn(x: Tensor, _context: Any) -> Tensor:
                kept = find_sinks(x, free, factor=part.sink_factor) if part.sinks == "mask" else ~free
                where = (free & ~kept).unsqueeze(-1)
                return torch.where(where, new(x).to(x.dtype), x)

            return fn

        sums["clean"] += float(lm.next_token_loss(inputs).sum())
        with replace_hook(lm, layer, put(lambda x: sae(x).x_hat)):
            sums["spliced"] += float(lm.next_token_loss(inputs).sum())
        with replace_hook(lm, layer, put(lambda x: mean.expand_as(x))):
            sums["mean"] += float(lm.next_token_loss(inputs).sum())
    sae.cpu()
    return Losses(**{k: v / clips.num_rows for k, v in sums.items()})
