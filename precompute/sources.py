"""What a training stage reads its tokens from: memory where they fit, otherwise disk, or the model itself."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ard.activations.formats import TORCH
from ard.token_source import TensorSource, TokenSource
from precompute.config import SAEEntry
from precompute.shards import Shards
from precompute.stages.base import TRAIN, Context

SAMPLE = 1 << 18
"""Tokens that a set too large for memory is measured on."""


def open_source(ctx: Context, entry: SAEEntry) -> TokenSource:
    """The training clips' tokens at the layer of an SAE, as `train` and `activations` set them.

    A set of at most `activations.buffer_mb` is held in memory; a larger one is read in random order through a buffer
    of half that size.

    Raises:
        RunError: there are no activations of that layer. ReaderError: no token is left.
    """
    section = ctx.config.train
    shards = Shards(ctx.run, f"layers.{entry.layer}")
    return open_set(ctx, shards, ctx.ok_clips(TRAIN)["clip_id"].to_pylist(), section.text_weight)


def open_set(ctx: Context, shards: Shards, clip_ids: Sequence[str], text_weight: int = 1) -> TokenSource:
    """The tokens of some clips; see `open_source`."""
    memory = ctx.config.activations.buffer_mb * 1_000_000
    reader = shards.reader(clip_ids, ctx.config.train.tokens, text_weight, buffer_bytes=memory // 2)
    size = 4 if ctx.config.activations.dtype == "int8" else TORCH[ctx.config.activations.dtype].itemsize
    if reader.tokens * reader.d_in * size > memory:
        ctx.say(f"{reader.tokens:,} tokens exceed activations.buffer_mb; read from {_where(shards)} in random order")
        return reader
    return TensorSource(shards.gather(clip_ids, ctx.config.train.tokens, text_weight))


def in_memory(source: TokenSource, seed: int) -> Tensor:
    """All tokens of a set that is in memory, at most `SAMPLE` drawn by `seed` of one that is not: for its metrics."""
    return source.x if isinstance(source, TensorSource) else source.sample(SAMPLE, seed)


def _where(shards: Shards) -> str:
    return "disk" if shards.stored else "the model"
