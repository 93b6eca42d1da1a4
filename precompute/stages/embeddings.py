"""Stage `embeddings`: the CLAP embedding e of every usable clip (Eq. 3).

A clip that this run has embedded before, by the hash of its recording, its start and end and the model's revision, is
taken from `RUN/.cache/embeddings`.
"""

from __future__ import annotations

from typing import Any

from ard import tables
from ard.answer_cache import answer_key
from ard.vector_cache import VectorCache
from precompute.stages.base import Context, batched

BATCH = 48
"""Clips at once; measured on two cores: 24 ms a clip at 16, 18 at 48, 19 at 96."""


def run(ctx: Context) -> None:
    """Write table `embeddings`."""
    clap, rate = ctx.models.clap, ctx.models.audio_lm.sampling_rate
    clips = ctx.ok_clips().select(["clip_id", "audio", "sha256", "start_s", "end_s"]).to_pylist()
    model = f"{clap.name}@{clap.revision}"
    kept = VectorCache(ctx.run.path / ".cache" / "embeddings", f"{model} {rate} Hz")
    # What is heard is a part of a file, whatever its clip_id: windows of one file share the hash.
    keys = [answer_key(clip["sha256"], clip["start_s"], clip["end_s"]) for clip in clips]
    missing = [(key, clip) for key, clip in dict(zip(keys, clips, strict=True)).items() if key not in kept]
    if len(kept) and len(missing) < len(clips):
        ctx.say(f"{len(clips) - len(missing):,} of {len(clips):,} clips were embedded before")
    bar = iter(ctx.progress(range(len(missing))))
    for batch in batched(missing, BATCH):
        sounds = ctx.load_audio(clip["audio"] for _, clip in batch)
        kept.add([key for key, _ in batch], clap.embed_audio(sounds, rate, batch_size=BATCH).numpy())
        for _ in batch:
            next(bar, None)
    next(bar, None)  # ends the bar
    kept.flush()
    rows: list[dict[str, Any]] = [
        {"clip_id": clip["clip_id"], "model": model, "vector": kept[key]} for key, clip in zip(keys, clips, strict=True)
    ]
    ctx.out.write("embeddings", tables.from_rows("embeddings", rows))
