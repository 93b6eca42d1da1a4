"""Stage `activations`: x over audio tokens, a question, and the AudioLLM's own greedy answer (Eq. 1's input)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ard import tables
from ard.embedded import embedded, with_answers
from ard.sinks import find_sinks
from precompute.shards import write_shard
from precompute.stages.base import Context, StageError, batched


def run(ctx: Context) -> None:
    """Answer one question a clip, read x at the asked layers, write shards and table `answers`."""
    lm, config = ctx.models.audio_lm, ctx.config
    too_deep = [layer for layer in config.layers if layer >= lm.n_layers]
    if too_deep:
        raise StageError(f"Layer {too_deep[0]} does not exist; {lm.name} has layers 0 to {lm.n_layers - 1}.")
    folder = ctx.out.make_folder("activations")
    clips = ctx.ok_clips().select(["clip_id", "audio", "duration_s"]).to_pylist()
    for i, clip in enumerate(clips):
        clip["question"] = config.activations.questions[i % len(config.activations.questions)]
    rows: list[dict[str, Any]] = []
    bar = iter(ctx.progress(range(len(clips))))
    for shard, part in enumerate(batched(clips, config.activations.shard_clips)):
        rows += _shard(ctx, folder, shard, part, bar)
    ctx.out.write("answers", tables.from_rows("answers", rows))
    tokens = sum(r["audio_tokens"] + r["text_tokens"] for r in rows)
    ctx.say(f"{tokens:,} tokens of {len(rows):,} clips at layers {', '.join(map(str, config.layers))}")


def _shard(ctx: Context, folder: Path, shard: int, clips: list[dict[str, Any]], bar: Any) -> list[dict[str, Any]]:
    """Read one shard's clips, write its files, and return its rows of `answers`.

    Clips that are asked the same question stand together, by length: a batch is done when its longest answer is.
    """
    clips = sorted(clips, key=lambda c: (c["question"], c["duration_s"], c["clip_id"]))
    layers = ctx.config.layers
    collected: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    sinks: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    rows: list[dict[str, Any]] = []
    at = 0
    for batch in batched(clips, ctx.config.activations.batch):
        for row, x, is_sink in _batch(ctx, batch):
            row |= {"shard": shard, "row": at}
            at += row["audio_tokens"] + row["text_tokens"]
            rows.append(row)
            for layer in layers:
                collected[layer].append(x[layer])
                sinks[layer].append(is_sink[layer])
            next(bar, None)
    for layer in layers:
        x_all, sinks_all = np.concatenate(collected[layer]), np.concatenate(sinks[layer])
        write_shard(folder / ctx.models.audio_lm.hookpoint(layer), shard, x_all, sinks_all)
    return rows


def _batch(ctx: Context, clips: list[dict[str, Any]]) -> Any:
    """For each clip: its row, and per layer x of audio tokens then text tokens, and which of them are sinks."""
    lm, part = ctx.models.audio_lm, ctx.config.activations
    audios = ctx.load_audio(c["audio"] for c in clips)
    questions = [c["question"] for c in clips]
    asked = embedded(lm, lm.prepare(audios, questions))
    answers = lm.generate(asked, max_new_tokens=part.max_new_tokens)
    inputs = with_answers(lm, asked, answers)
    x = {layer: value.cpu() for layer, value in lm.activations(inputs, ctx.config.layers).items()}
    audio, text = inputs.audio.cpu(), inputs.text.cpu()
    sinks = {layer: find_sinks(value, audio | text) for layer, value in x.items()}
    for i, clip in enumerate(clips):
        at = torch.cat([audio[i].nonzero().squeeze(1), text[i].nonzero().squeeze(1)])
        row = {
            "clip_id": clip["clip_id"],
            "question": clip["question"],
            "answer": answers[i],
            "audio_tokens": int(audio[i].sum()),
            "text_tokens": int(text[i].sum()),
        }
        yield (
            row,
            {k: v[i, at].float().numpy().astype(part.dtype) for k, v in x.items()},
            {k: v[i, at].numpy() for k, v in sinks.items()},
        )
