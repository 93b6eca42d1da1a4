"""Stage `captions`: a caption for every clip that stands for a latent, by an AudioLLM or from the corpus.

Captions that a model wrote are kept batch by batch in the run folder, outside the stage's unfinished output: a stage
that was killed goes on with the batch at which it stopped, and ends with the captions it would have had.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile as sf
import soxr

from ard import tables
from ard.answer_cache import AnswerCache, answer_key
from precompute.naming import cache_path
from precompute.stages.base import Context, StageError, batched

CORPUS = "corpus"


def run(ctx: Context) -> None:
    """Write table `captions` for the clips of every H and L."""
    used = pa.array(sorted(set(ctx.run.read("representatives")["clip_id"].to_pylist())), pa.string())
    clips = ctx.ok_clips()
    clips = clips.filter(pc.is_in(clips["clip_id"], value_set=used))
    rows = _from_corpus(clips) if ctx.config.names.captions == CORPUS else _by_model(ctx, clips.to_pylist())
    if clips.num_rows and not rows:
        raise StageError("No clip came with a caption; use --set names.captions=model to let an AudioLLM write them.")
    ctx.out.write("captions", tables.from_rows("captions", rows))
    ctx.say(f"{len(rows):,} captions for {clips.num_rows:,} clips")


def _from_corpus(clips: pa.Table) -> list[dict[str, Any]]:
    return [
        {"clip_id": clip["clip_id"], "caption": clip["caption"], "model": CORPUS, "prompt": ""}
        for clip in clips.to_pylist()
        if clip["caption"]
    ]


def _by_model(ctx: Context, clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lm, names = ctx.models.captioner, ctx.config.names
    model = f"{lm.name}@{lm.revision}"
    cache = AnswerCache(cache_path(ctx.run, "captions"))
    rates = {sf.info(ctx.run.audio_dir / clip["audio"]).samplerate for clip in clips[:1]}
    asked = [lm.revision, names.caption_prompt, names.max_new_tokens, *rates]
    # What is heard is a part of a file, whatever its clip_id: windows of one file share the hash.
    keys = [answer_key(*asked, clip["sha256"], clip["start_s"], clip["end_s"]) for clip in clips]
    missing = [(key, clip) for key, clip in dict(zip(keys, clips, strict=True)).items() if key not in cache]
    if len(cache) and len(missing) < len(clips):
        ctx.say(f"{len(clips) - len(missing):,} of {len(clips):,} captions were written before")
    bar = iter(ctx.progress(range(len(missing))))
    for batch in batched(missing, ctx.config.activations.batch):
        inputs = lm.prepare(_audio(ctx, lm, [clip for _, clip in batch]), [names.caption_prompt] * len(batch))
        texts = lm.generate(inputs, max_new_tokens=names.max_new_tokens)
        cache.keep(dict(zip((key for key, _ in batch), texts, strict=True)))
        for _ in batch:
            next(bar, None)
    ctx.models.release("captioner")
    return [
        {"clip_id": clip["clip_id"], "caption": cache[key], "model": model, "prompt": names.caption_prompt}
        for key, clip in zip(keys, clips, strict=True)
    ]


def _audio(ctx: Context, lm: Any, clips: list[dict[str, Any]]) -> list[np.ndarray]:
    """The clips at the captioner's own rate."""
    return [_heard(ctx.run.audio_dir / clip["audio"], clip["clip_id"], lm) for clip in clips]


def _heard(path: Path, clip_id: str, lm: Any) -> np.ndarray:
    samples, rate = sf.read(path, dtype="float32")
    if rate != lm.sampling_rate:
        samples = np.asarray(soxr.resample(samples, rate, lm.sampling_rate), dtype=np.float32)
    if len(samples) > round(lm.window_s * lm.sampling_rate):
        raise StageError(
            f"Clip {clip_id} lasts {len(samples) / lm.sampling_rate:.2f} s and the captioner {lm.name} hears "
            f"{lm.window_s:g} s at once; use --set data.window_s={lm.window_s:g} or another captioner."
        )
    return samples
