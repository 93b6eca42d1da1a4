"""Stage `activations`: x over audio tokens, a question, and the AudioLLM's own greedy answer (Eq. 1's input).

Clips that are asked the same question stand together, by length: a batch is done when its longest answer is. In that
order they go into files of `shard_clips`. A file appears when it is complete, with its rows of table `answers` beside
it; a process that takes up an interrupted run begins with the first file that is not there, and ends with the same
bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from ard import tables
from ard.activations.estimate import Estimate, require_room, text_bound
from ard.activations.extract import TokenRows, read_tokens
from ard.activations.shard import ShardWriter, open_shard, read_header, shard_path
from ard.activations.summary import in_words, summarise
from ard.embedded import embedded, with_answers
from ard.models.inputs import Features
from ard.prefetch import Behind, ahead
from ard.resumable import read_part, write_part
from ard.store import RunError
from precompute.stages.base import Context, StageError, batched

Clip = dict[str, Any]


class Extracted(NamedTuple):
    """One batch: its rows of `answers` without their place, and its tokens."""

    rows: list[dict[str, Any]]
    tokens: TokenRows


def run(ctx: Context) -> None:
    """Answer one question a clip, read x at the asked layers, write shards and tables `answers` and `hookpoints`."""
    lm, config, out = ctx.models.audio_lm, ctx.config, ctx.out
    too_deep = [layer for layer in config.layers if layer >= lm.n_layers]
    if too_deep:
        raise StageError(f"Layer {too_deep[0]} does not exist; {lm.name} has layers 0 to {lm.n_layers - 1}.")
    folder = out.make_folder("activations")
    clips = ctx.ok_clips().select(["clip_id", "audio", "duration_s"]).to_pylist()
    for i, clip in enumerate(clips):
        clip["question"] = config.activations.questions[i % len(config.activations.questions)]
    clips.sort(key=lambda c: (c["question"], c["duration_s"], c["clip_id"]))
    shards = list(batched(clips, config.activations.shard_clips))
    done = {n: rows for n in range(len(shards)) if (rows := _finished(ctx, folder, n)) is not None}
    if done:
        ctx.say(f"{len(done)} of {len(shards)} files are there from an earlier run, going on from there")
    _require_room(ctx, folder, clips)
    bar = iter(ctx.progress(range(len(clips) - sum(rows.num_rows for rows in done.values()))))
    for number, part in enumerate(shards):
        if number not in done:
            done[number] = _shard(ctx, folder, number, part, bar)
    next(bar, None)  # ends the bar
    out.write("answers", pa.concat_tables([done[n] for n in range(len(shards))]))
    _summarise(ctx, folder, len(shards))


def _finished(ctx: Context, folder: Path, number: int) -> pa.Table | None:
    """The rows of a file that an earlier process finished at every layer, or None."""
    rows = read_part(folder, "answers", number)
    if rows is None:
        return None
    for layer in ctx.config.layers:
        try:
            read_header(shard_path(folder / ctx.models.audio_lm.hookpoint(layer), number))
        except RunError as damage:
            ctx.say(f"{damage} It is written again.")
            return None
    return rows


def _require_room(ctx: Context, folder: Path, clips: list[Clip]) -> None:
    lm, part = ctx.models.audio_lm, ctx.config.activations
    audio = sum(lm.audio_token_count(round(c["duration_s"] * lm.sampling_rate)) for c in clips)
    text = text_bound([lm.prompt_tokens(question) for question in part.questions], part.max_new_tokens)
    written = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    require_room(
        folder,
        Estimate(audio + text * len(clips), lm.d_model, len(ctx.config.layers), part.dtype, part.store == "disk"),
        written,
    )


def _shard(ctx: Context, folder: Path, number: int, clips: list[Clip], bar: Iterator[int]) -> pa.Table:
    """Read one file's clips, write it at every layer, keep and return its rows of `answers`."""
    lm, part = ctx.models.audio_lm, ctx.config.activations
    rows: list[dict[str, Any]] = []
    at = 0
    queue = 2 if part.workers else 0
    says: dict[str, Any] = {"model": f"{lm.name}@{lm.revision}", "d_in": lm.d_model, "format": part.dtype}
    says |= {"sinks": part.sinks, "sink_factor": part.sink_factor, "stored": part.store == "disk"}
    with ExitStack() as stack:
        writers: dict[int, tuple[Behind, ShardWriter]] = {}
        for layer in ctx.config.layers:
            hookpoint = lm.hookpoint(layer)
            path = shard_path(folder / hookpoint, number)
            writer = stack.enter_context(ShardWriter(path, hookpoint=hookpoint, **says))
            writers[layer] = stack.enter_context(Behind(queue)), writer
        for found in _extracted(ctx, clips):
            for row in found.rows:
                rows.append(row | {"shard": number, "row": at})
                at += row["audio_tokens"] + row["text_tokens"]
                next(bar, None)
            for layer, (behind, writer) in writers.items():
                behind.put(writer.append, found.tokens.x[layer], found.tokens.outliers[layer])
    table = tables.from_rows("answers", rows)
    write_part(folder, "answers", number, table)  # last: it says that the files are complete
    return table


def _extracted(ctx: Context, clips: list[Clip]) -> Iterator[Extracted]:
    """Batch after batch; while the model works on one, threads decode the next and compute its features."""
    lm, part = ctx.models.audio_lm, ctx.config.activations

    def heard(batch: list[Clip]) -> tuple[list[Clip], Features]:
        return batch, lm.hear(ctx.load_audio(c["audio"] for c in batch))

    batches = batched(clips, part.batch)
    for batch, features in ahead(batches, heard, depth=part.workers, workers=max(1, part.workers)):
        yield _batch(ctx, batch, features)


def _batch(ctx: Context, clips: list[Clip], features: Features) -> Extracted:
    """Answer the clips' questions, then read x over audio, question and answer."""
    lm, part = ctx.models.audio_lm, ctx.config.activations
    questions = [c["question"] for c in clips]
    asked = embedded(lm, lm.prepare(features, questions))
    answers = lm.generate(asked, max_new_tokens=part.max_new_tokens)
    tokens = read_tokens(lm, with_answers(lm, asked, answers), ctx.config.layers, part.sink_factor)
    rows = [
        {
            "clip_id": clip["clip_id"],
            "question": clip["question"],
            "answer": answers[i],
            "audio_tokens": tokens.audio_tokens[i],
            "text_tokens": tokens.text_tokens[i],
        }
        for i, clip in enumerate(clips)
    ]
    return Extracted(rows, tokens)


def _summarise(ctx: Context, folder: Path, shards: int) -> None:
    rows = []
    for layer in ctx.config.layers:
        files = [shard_path(folder / ctx.models.audio_lm.hookpoint(layer), n) for n in range(shards)]
        rows.append(summarise([open_shard(path) for path in files]))
        for line in in_words(rows[-1]):
            ctx.say(line)
    ctx.out.write("hookpoints", tables.from_rows("hookpoints", rows))
