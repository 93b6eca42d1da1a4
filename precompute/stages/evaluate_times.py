"""Rows of `localisation`: whether the latent that finds a label also fires while it sounds (demo world only)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ard.localisation import Overlap, iou_resampled, overlap, sounding
from ard.resampling import bootstrap_weights, interval
from ard.sae import TopKSAE
from precompute.shards import Shards
from precompute.stages.base import Context

Row = dict[str, Any]
SHUFFLES = 20
"""Times that the true times are dealt out anew among the clips of a label, for chance."""


class Heard(NamedTuple):
    """The held-out clips in which one label sounds: their tokens where it does, and their recordings."""

    clip_ids: list[str]
    there: list[np.ndarray]
    recordings: list[str]


def localisation_rows(ctx: Context, recovery: Sequence[Row]) -> list[Row]:
    """IoU of every label's latent (of `recovery`) with the label's true times, over the held-out clips that carry it.

    A latent fires on a token where z > 0, as in coverage (Eq. 2). `shuffled_labels`: the same latent and clips with the
    true times of other clips of that label. Raw dimensions have no z > 0, so `poly` has no row; where the clips come
    without true times there is none at all.
    """
    heard = _heard(ctx)
    found = [r for r in recovery if r["control"] == "none" and r["label"] in heard]
    wanted = [r for r in found if not r["sae_id"].endswith("/raw")]
    rows: list[Row] = []
    for sae_id in dict.fromkeys(r["sae_id"] for r in wanted):
        mine = [r for r in wanted if r["sae_id"] == sae_id]
        needed = sorted({clip for r in mine for clip in heard[r["label"]].clip_ids})
        fires = _fires(ctx, sae_id, needed, sorted({r["latent_id"] for r in mine}))
        for row in mine:
            rows += _rows(ctx, row, heard[row["label"]], fires)
    return rows


def _rows(ctx: Context, row: Row, heard: Heard, fires: dict[tuple[str, int], np.ndarray]) -> Iterator[Row]:
    latent = [fires[clip, row["latent_id"]] for clip in heard.clip_ids]
    key = {name: row[name] for name in ("sae_id", "method", "label", "latent_id")} | {"clips": len(latent)}
    found = overlap(latent, heard.there)
    weights = bootstrap_weights(heard.recordings, ctx.config.evaluate.bootstrap, ctx.config.seed)
    yield key | {"control": "none"} | _estimate(found, weights)
    if len(latent) < 2:
        return
    rng = np.random.default_rng([ctx.config.seed, 5])
    parts = [overlap(latent, _dealt(heard.there, rng)) for _ in range(SHUFFLES)]
    chance = Overlap(sum(p.both for p in parts), sum(p.either for p in parts))
    yield key | {"control": "shuffled_labels"} | _estimate(chance, weights)


def _dealt(there: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Each clip with the times of another one: a random cyclic order, so that none keeps its own."""
    order = rng.permutation(len(there))
    source = np.empty_like(order)
    source[order] = np.roll(order, 1)
    return [np.resize(there[j], len(mine)) for j, mine in zip(source, there, strict=True)]


def _estimate(found: Overlap, weights: np.ndarray) -> Row:
    if found.iou is None:
        return {"iou": None, "iou_low": None, "iou_high": None}
    value = interval(found.iou, iou_resampled(found, weights))
    return {"iou": value.value, "iou_low": value.low, "iou_high": value.high}


def _heard(ctx: Context) -> dict[str, Heard]:
    """By label; empty where the clips come without true times."""
    clips = ctx.held_out_clips()
    if ctx.config.data.source != "soundscape" or "truth" not in clips.column_names:
        return {}
    from precompute.soundscape.world import truth_from_dict

    tokens = {r["clip_id"]: r["audio_tokens"] for r in ctx.run.read("answers").to_pylist()}
    out: dict[str, Heard] = {}
    for clip in clips.to_pylist():
        times: dict[str, list[tuple[float, float]]] = {}
        for event in truth_from_dict(json.loads(clip["truth"])).events:
            for label in event.labels():
                times.setdefault(label, []).extend(event.segments)
        for label, segments in times.items():
            heard = out.setdefault(label, Heard([], [], []))
            heard.clip_ids.append(clip["clip_id"])
            heard.there.append(sounding(segments, tokens[clip["clip_id"]], clip["duration_s"]))
            heard.recordings.append(clip["recording_id"])
    return out


@torch.no_grad()
def _fires(
    ctx: Context, sae_id: str, clip_ids: Sequence[str], latents: Sequence[int]
) -> dict[tuple[str, int], np.ndarray]:
    """Tokens [T] where each latent has z > 0, by clip and latent."""
    sae = TopKSAE.load(ctx.run.sae_dir(sae_id))
    shards = Shards(ctx.run, sae.cfg.hookpoint)
    out: dict[tuple[str, int], np.ndarray] = {}
    for clip in clip_ids:
        z = sae.encode(shards.audio(clip))[:, list(latents)] > 0
        out |= {(clip, latent): z[:, i].numpy() for i, latent in enumerate(latents)}
    return out
