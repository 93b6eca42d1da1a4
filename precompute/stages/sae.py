"""Stage `sae`: fit the TopK SAEs (Eq. 1) and measure them on held-out clips."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ard import tables
from ard.hooks import replace as replace_hook
from ard.sae import SAEConfig, TopKSAE
from ard.sinks import find_sinks
from ard.token_source import TensorSource
from ard.train import TrainConfig, evaluate, fit
from precompute.config import SAEEntry
from precompute.shards import Shards
from precompute.sources import in_memory, open_set, open_source
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


def run(ctx: Context) -> None:
    """Train every configured SAE; write tables `saes` and `curves` and the weights."""
    folder = ctx.out.make_folder("sae")
    saes, curves = [], []
    for entry in ctx.config.sae:
        row, log, sae = train_one(ctx, entry)
        sae.save(folder.joinpath(*sae.cfg.sae_id.split("/")))
        saes.append(row)
        curves += log
        ctx.say(f"{row['sae_id']}: FVU {row['fvu']:.4f}, L0 {row['l0']:.1f}, dead {row['dead_fraction']:.1%}")
    ctx.out.write("saes", tables.from_rows("saes", saes))
    ctx.out.write("curves", tables.from_rows("curves", curves))
    ctx.notes["default_sae"] = saes[0]["sae_id"]


def train_one(ctx: Context, entry: SAEEntry) -> tuple[dict[str, Any], list[dict[str, Any]], TopKSAE]:
    """One SAE: its row of `saes`, its rows of `curves`, and itself."""
    lm, section = ctx.models.audio_lm, ctx.config.train
    hookpoint = lm.hookpoint(entry.layer)
    source: Any = open_source(ctx, entry)
    x = in_memory(source, ctx.config.seed)
    if isinstance(source, TensorSource):
        source = x
    held_ids = ctx.held_out_clips()["clip_id"].to_pylist()
    held = in_memory(open_set(ctx, Shards(ctx.run, hookpoint), held_ids), ctx.config.seed) if held_ids else None
    cfg = SAEConfig(
        hookpoint=hookpoint,
        d_in=x.shape[1],
        expansion=entry.expansion,
        k=entry.k,
        recipe=entry.recipe,
        seed=ctx.config.seed,
        model=f"{lm.name}@{lm.revision}",
        tokens=section.tokens,
        extra={"text_weight": section.text_weight},
    )
    with tqdm(total=section.steps, unit=" step", leave=False, disable=ctx.quiet, desc=cfg.sae_id) as bar:
        result = fit(
            source, cfg, _train_config(ctx), held, progress=lambda done, _total: bar.update(done - bar.n) and None
        )
    held_metrics, train_metrics = result.metrics, evaluate(result.sae, x)
    losses = _losses(ctx, result.sae, entry.layer, x.float().mean(0)) if section.loss_clips else None
    sae_id = result.sae.cfg.sae_id
    row = {
        "sae_id": sae_id,
        "hookpoint": hookpoint,
        "d_in": cfg.d_in,
        "d_sae": cfg.d_sae,
        "k": cfg.k,
        "expansion": cfg.expansion,
        "recipe": cfg.recipe,
        "steps": section.steps,
        "tokens": section.steps * section.batch,
        "fvu": held_metrics.fvu,
        "l0": held_metrics.l0,
        "dead_fraction": train_metrics.dead_fraction,
        "held_out_clips": len(held_ids),
        "loss_recovered": losses and losses.recovered,
        "loss_clean": losses and losses.clean,
        "loss_spliced": losses and losses.spliced,
        "loss_mean": losses and losses.mean,
    }
    known = set(tables.spec("curves").names) | {"tokens"}
    return row, [{"sae_id": sae_id, **{k: v for k, v in c.items() if k in known}} for c in result.curves], result.sae


def _train_config(ctx: Context) -> TrainConfig:
    section = ctx.config.train
    return TrainConfig(
        steps=section.steps,
        batch=section.batch,
        lr=section.lr,
        warmup=section.warmup,
        auxk_coef=section.auxk_coef,
        seed=ctx.config.seed,
        log_every=min(section.log_every, section.steps),
        compute=section.compute,
        device=ctx.models.device,
    )


@torch.no_grad()
def _losses(ctx: Context, sae: TopKSAE, layer: int, mean: Tensor) -> Losses:
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
