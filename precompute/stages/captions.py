"""Stage `captions`: a caption for every clip that stands for a latent, by the AudioLLM or from the corpus."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ard import tables
from precompute.stages.base import Context, StageError, batched

CORPUS = "corpus"


def run(ctx: Context) -> None:
    """Write table `captions` for the clips of every H and L."""
    used = pa.array(sorted(set(ctx.run.read("representatives")["clip_id"].to_pylist())), pa.string())
    clips = ctx.ok_clips()
    clips = clips.filter(pc.is_in(clips["clip_id"], value_set=used))
    rows = _from_corpus(clips) if ctx.config.names.captions == CORPUS else _by_model(ctx, clips.to_pylist())
    if clips.num_rows and not rows:
        raise StageError("No clip came with a caption; use --set names.captions=model to let the AudioLLM write them.")
    ctx.out.write("captions", tables.from_rows("captions", rows))
    ctx.say(f"{len(rows):,} captions for {clips.num_rows:,} clips")


def _from_corpus(clips: pa.Table) -> list[dict[str, Any]]:
    return [
        {"clip_id": clip["clip_id"], "caption": clip["caption"], "model": CORPUS, "prompt": ""}
        for clip in clips.to_pylist()
        if clip["caption"]
    ]


def _by_model(ctx: Context, clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lm, names = ctx.models.audio_lm, ctx.config.names
    model = f"{lm.name}@{lm.revision}"
    rows: list[dict[str, Any]] = []
    bar = iter(ctx.progress(range(len(clips))))
    for batch in batched(clips, ctx.config.activations.batch):
        inputs = lm.prepare(ctx.load_audio(c["audio"] for c in batch), [names.caption_prompt] * len(batch))
        for clip, text in zip(batch, lm.generate(inputs, max_new_tokens=names.max_new_tokens), strict=True):
            rows.append({"clip_id": clip["clip_id"], "caption": text, "model": model, "prompt": names.caption_prompt})
            next(bar, None)
    return rows
