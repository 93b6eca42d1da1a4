"""Stage `sae`: fit the TopK SAEs (Eq. 1) and measure them on held-out clips."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from ard import tables
from ard.metrics import density_histogram
from ard.sae import SAEConfig, TopKSAE
from ard.token_source import TensorSource
from ard.train import FitResult, TrainConfig, evaluate, fit_many
from precompute.config import SAEEntry
from precompute.shards import Shards
from precompute.sources import in_memory, open_set, open_source
from precompute.stages.base import Context
from precompute.stages.loss_recovered import losses

WORK = ".work/sae"
"""Where checkpoints lie in the run folder: hidden, kept when a run is killed, removed when the stage is done."""


class Trained(NamedTuple):
    """One SAE with its row of `saes` and its rows of `curves` and `density`."""

    sae: TopKSAE
    row: dict[str, Any]
    curves: list[dict[str, Any]]
    density: list[dict[str, Any]]
    measured_ms: dict[str, float] | None
    """What the choice of the kernels measured; None where none was made."""


def run(ctx: Context) -> None:
    """Train every configured SAE, those of one layer together; write their tables and the weights."""
    folder = ctx.out.make_folder("sae")
    trained: dict[SAEEntry, Trained] = {}
    for layer in dict.fromkeys(entry.layer for entry in ctx.config.sae):
        group = [entry for entry in ctx.config.sae if entry.layer == layer]
        trained |= zip(group, train_group(ctx, group), strict=True)
    saes = [trained[entry] for entry in ctx.config.sae]
    for one in saes:
        row = one.row
        one.sae.save(folder.joinpath(*row["sae_id"].split("/")))
        ctx.say(
            f"{row['sae_id']}: FVU {row['fvu']:.4f}, L0 {row['l0']:.1f}, dead {row['dead_fraction']:.1%}, "
            f"{row['kernels']} kernels"
        )
    ctx.out.write("saes", tables.from_rows("saes", [one.row for one in saes]))
    ctx.out.write("curves", tables.from_rows("curves", [row for one in saes for row in one.curves]))
    ctx.out.write("density", tables.from_rows("density", [row for one in saes for row in one.density]))
    ctx.notes["default_sae"] = saes[0].row["sae_id"]
    ctx.notes["step_ms"] = {one.row["sae_id"]: one.measured_ms for one in saes if one.measured_ms} or None
    forget_checkpoints(ctx)


def forget_checkpoints(ctx: Context) -> None:
    """Remove the checkpoints of a stage whose results are written."""
    shutil.rmtree(ctx.run.path / WORK, ignore_errors=True)


def train_one(ctx: Context, entry: SAEEntry) -> Trained:
    """One SAE on its own."""
    return train_group(ctx, [entry])[0]


def train_group(ctx: Context, entries: Sequence[SAEEntry]) -> list[Trained]:
    """SAEs of one layer, trained in one pass over its activations; goes on from a checkpoint of the same settings."""
    lm, section = ctx.models.audio_lm, ctx.config.train
    hookpoint = lm.hookpoint(entries[0].layer)
    source = open_source(ctx, entries[0])
    x = in_memory(source, ctx.config.seed)
    held_ids = ctx.held_out_clips()["clip_id"].to_pylist()
    held = in_memory(open_set(ctx, Shards(ctx.run, hookpoint), held_ids), ctx.config.seed) if held_ids else None
    cfgs = [_sae_config(ctx, entry, source.d_in) for entry in entries]
    label = cfgs[0].sae_id if len(cfgs) == 1 else f"{hookpoint}, {len(cfgs)} SAEs"
    with tqdm(total=section.steps, unit=" step", leave=False, disable=ctx.quiet, desc=label) as bar:
        results = fit_many(
            x if isinstance(source, TensorSource) else source,
            cfgs,
            _train_config(ctx),
            held,
            progress=lambda done, _total: bar.update(done - bar.n) and None,
            on_row=lambda sae_id, row: bar.set_postfix_str(_in_words(sae_id, row), refresh=False),
            checkpoint=_checkpoint(ctx, entries),
            checkpoint_every=section.checkpoint_every,
        )
    mean = x.float().mean(0)
    found = []
    for entry, result in zip(entries, results, strict=True):
        row = _row(ctx, result, len(held_ids)) | {"dead_fraction": evaluate(result.sae, x).dead_fraction}
        if section.loss_clips:
            kept = losses(ctx, result.sae, entry.layer, mean)
            row |= {"loss_recovered": kept.recovered} | {f"loss_{name}": v for name, v in kept._asdict().items()}
        found.append(_trained(result, row))
    return found


def _in_words(sae_id: str, row: dict[str, float]) -> str:
    """The last row of the curves, for the progress bar."""
    return (
        f"{'/'.join(sae_id.split('/')[1:])} loss {row['loss']:.3g}, FVU {row['fvu']:.3f}, L0 {row['l0']:.1f}, "
        f"dead {row['dead_fraction']:.1%}, {row['tokens_per_s']:,.0f} tokens/s"
    )


def _sae_config(ctx: Context, entry: SAEEntry, d_in: int) -> SAEConfig:
    lm, section = ctx.models.audio_lm, ctx.config.train
    return SAEConfig(
        hookpoint=lm.hookpoint(entry.layer),
        d_in=d_in,
        expansion=entry.expansion,
        k=entry.k,
        recipe=entry.recipe,
        seed=ctx.config.seed,
        model=f"{lm.name}@{lm.revision}",
        tokens=section.tokens,
        extra={"text_weight": section.text_weight},
    )


def _checkpoint(ctx: Context, entries: Sequence[SAEEntry]) -> Path:
    """Named after everything that the result depends on, so that other settings start anew."""
    made_from = {
        "saes": [asdict(entry) for entry in entries],
        "train": {**asdict(ctx.config.train), "checkpoint_every": None},
        "seed": ctx.config.seed,
        "activations": ctx.run.manifest.get("stages", {}).get("activations", {}).get("output"),
        "clips": ctx.run.manifest.get("stages", {}).get("clips", {}).get("output"),
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    return ctx.run.path / WORK / f"layers.{entries[0].layer}-{digest}.safetensors"


def _row(ctx: Context, result: FitResult, held_out_clips: int) -> dict[str, Any]:
    """The row of `saes`, without what needs the training tokens or the AudioLLM."""
    cfg, section = result.sae.cfg, ctx.config.train
    names = ("sae_id", "hookpoint", "d_in", "d_sae", "k", "expansion", "recipe")
    return {name: getattr(cfg, name) for name in names} | {
        "steps": section.steps,
        "tokens": section.steps * section.batch,
        "fvu": result.metrics.fvu,
        "l0": result.metrics.l0,
        "held_out_clips": held_out_clips,
        "kernels": result.kernels,
    }


def _trained(result: FitResult, row: dict[str, Any]) -> Trained:
    known, sae_id = {*tables.spec("curves").names, "tokens"}, row["sae_id"]
    curves = [{"sae_id": sae_id, **{k: v for k, v in c.items() if k in known}} for c in result.curves]
    bins = density_histogram(result.per_latent, result.metrics.tokens)
    return Trained(result.sae, row, curves, [{"sae_id": sae_id, **one._asdict()} for one in bins], result.measured_ms)


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
        kernels=section.kernels,
        clip=section.clip,
        device=ctx.models.device,
    )
