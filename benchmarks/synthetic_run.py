"""A run folder of the paper's size without models: one SAE of 32,768 latents, 118,356 clips, its tables by the writers
of the pipeline. Scores are those of `synthetic_latents`, H and L are ranked from them; words are drawn from a list."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ard import tables
from ard.clip_stats import ClipEntries, ClipStats, Totals
from ard.ranking import Ranker
from ard.staging import Staging
from ard.store import Run
from benchmarks.synthetic_latents import PAPER_D_SAE, Corpus
from precompute.stages.clip_latents_io import LatentSort, by_clip_table, by_latent_table
from precompute.stages.scores_io import RANKED

SAE_ID, P, TOP, SECONDS = "layers.26/e8/k250/recommended", 4, 5000, 0.04
METHODS = (*RANKED, "random", "poly")
WORDS = [
    start + end
    for start in ("ba", "be", "bi", "bo", "da", "de", "di", "do", "ga", "ge", "ka", "le", "ma")
    for end in ("rking", "ll", "n", "st")
]


COMMON = ["dog", "cat", "rain", "engine", "voice", "speech", "bell", "music", "wind", "water", "door", "bird", "train"]


class Built(NamedTuple):
    run: Run
    rows: int
    """Rows of `clip_latents`."""
    seconds: dict[str, float]


def build(path: Path, clips: int, tokens: int, k: int, d_sae: int = PAPER_D_SAE) -> Built:
    """Write the run; `tokens` a clip and `k` set how many latents fire in a clip."""
    run, corpus, seconds = Run.create(path), Corpus(clips, d_sae, k, tokens=tokens), {}
    rng = np.random.default_rng(0)
    with run.staging("latents") as out:
        clip_ids, totals, sort = _by_clip(out, corpus, seconds)
        ranker = _by_latent(out, clip_ids, sort, d_sae, seconds)
        started = time.perf_counter()
        out.write("clips", _clips(clip_ids, rng))
        out.write("latents", _latents(totals, d_sae))
        _ranked(out, ranker, rng)
        _concepts(out, ranker, rng)
        seconds["other tables"] = time.perf_counter() - started
        rows = out.rows["clip_latents"]
        out.publish()
    run.update_manifest(preset="synthetic", default_sae=SAE_ID, config={"seed": 0}, stages={})
    return Built(Run.open(path), rows, {name: round(s, 1) for name, s in seconds.items()})


def _by_clip(out: Staging, corpus: Corpus, seconds: dict[str, float]) -> tuple[list[str], Totals, LatentSort]:
    """The first pass of stage `latents`."""
    stats, sort, clip_ids = ClipStats(corpus.d_sae), LatentSort(corpus.d_sae, out.scratch("rows")), list[str]()
    parts = {"generator": 0.0, "clip statistics": 0.0, "latents_by_clip": 0.0, "runs": 0.0}
    with out.writer("latents_by_clip") as write:
        started = time.perf_counter()
        for batch in corpus.batches(512):
            marks = [started, time.perf_counter()]
            found: ClipEntries = stats.add(batch.z)
            marks.append(time.perf_counter())
            write(by_clip_table(SAE_ID, found, batch.clip_ids))
            marks.append(time.perf_counter())
            sort.add(found)
            clip_ids += batch.clip_ids
            started = time.perf_counter()
            marks.append(started)
            for name, spent in zip(parts, np.diff(marks), strict=True):
                parts[name] += spent
    seconds |= parts
    return clip_ids, stats.totals(), sort


def _by_latent(out: Staging, clip_ids: list[str], sort: LatentSort, d_sae: int, seconds: dict[str, float]) -> Ranker:
    """The second pass, and the ranking that stage `representatives` makes from what it wrote."""
    ids, ranker = pa.array(clip_ids, pa.string()), Ranker(d_sae, "layers.26", p=P)
    ranker.add_clips(clip_ids, clip_ids)
    spent = {"clip_latents": 0.0, "ranking from clip_latents": 0.0}
    with out.writer("clip_latents") as write:
        started = time.perf_counter()
        for block in sort.blocks():
            write(by_latent_table(SAE_ID, block, ids))
            middle = time.perf_counter()
            ranker.add_latents(block.first, block.indptr, block.clips, block.scores)
            spent["clip_latents"] += middle - started
            started = time.perf_counter()
            spent["ranking from clip_latents"] += started - middle
    seconds |= spent
    return ranker


def _words(rng: np.random.Generator, n: int, length: int) -> list[str]:
    pool = np.array(WORDS + COMMON * 2)
    return [" ".join(row) for row in pool[rng.integers(0, len(pool), (n, length))]]


def _clips(clip_ids: list[str], rng: np.random.Generator) -> pa.Table:
    n = len(clip_ids)
    return pa.table(
        {
            "clip_id": clip_ids,
            "path": [f"audio/{c}.flac" for c in clip_ids],
            "dataset": pa.repeat("synthetic", n),
            "split": pa.repeat("train", n),
            "duration_s": np.full(n, 10, np.float32),
            "sample_rate": np.full(n, 16000, np.int32),
            "caption": _words(rng, n, 12),
            "labels": [[w] for w in np.array(COMMON)[rng.integers(0, len(COMMON), n)].tolist()],
            "status": pa.repeat("ok", n),
            "recording_id": clip_ids,
            "audio": [f"{i:06x}.flac" for i in range(n)],
        }
    )


def _latents(totals: Totals, d_sae: int) -> pa.Table:
    active = totals.active
    return pa.table(
        {
            "sae_id": pa.repeat(SAE_ID, d_sae),
            "latent_id": np.arange(d_sae, dtype=np.int32),
            "density": active / totals.tokens[0],
            "mean_active": np.divide(totals.sums, active, out=np.zeros(d_sae), where=active > 0),
            "max_activation": totals.largest,
            "clips_active": totals.clips,
            "dead": active == 0,
            "status": np.where(active == 0, "dead", "ok"),
        }
    )


def _ranked(out: Staging, ranker: Ranker, rng: np.random.Generator) -> None:
    """Tables `representatives` (the ten seeds of `random` are random clips) and `traces` of the clips of H by `ard`."""
    ids, parts = np.array(ranker.clip_ids, dtype=object), []
    for method in RANKED:
        found = ranker.representatives(method)
        for side, index, score in (("most", found.most, found.most_score), ("least", found.least, found.least_score)):
            latent, rank = (index >= 0).nonzero()
            parts.append(_sides(method, 0, latent, side, rank, ids[index[latent, rank]], score[latent, rank]))
    latent, rank = np.repeat(np.arange(ranker.latents), P), np.tile(np.arange(P), ranker.latents)
    for seed in range(10):
        for side in ("most", "least"):
            chosen = ids[rng.integers(0, len(ids), len(latent))]
            parts.append(_sides("random", seed, latent, side, rank, chosen, np.zeros(len(latent), np.float32)))
    out.write("representatives", pa.concat_tables(parts))
    most = ranker.representatives("ard").most
    latent, rank = (most >= 0).nonzero()
    values = pa.array(rng.random(250 * len(latent), np.float32))
    lists = pa.ListArray.from_arrays(np.arange(0, len(values) + 1, 250, dtype=np.int32), values)
    out.write("traces", pa.table({
        "sae_id": pa.repeat(SAE_ID, len(latent)), "latent_id": latent, "clip_id": pa.array(ids[most[latent, rank]]),
        "values": lists, "seconds_per_token": np.full(len(latent), SECONDS, np.float32),
    }))  # fmt: skip


def _sides(
    method: str, seed: int, latent: np.ndarray, side: str, rank: np.ndarray, clip_id: np.ndarray, score: np.ndarray
) -> pa.Table:
    n = len(latent)
    columns = {"sae_id": pa.repeat(SAE_ID, n), "method": pa.repeat(method, n), "seed": np.full(n, seed, np.int32)}
    more = {
        "latent_id": latent,
        "side": pa.repeat(side, n),
        "rank": rank + 1,
        "clip_id": pa.array(clip_id, pa.string()),
    }
    return tables.check("representatives", pa.table({**columns, **more, "score": score}), unique=False)


def _concepts(out: Staging, ranker: Ranker, rng: np.random.Generator) -> None:
    """Tables `concepts`, `monosemanticity` and `detection`: the first 5,000 scored latents in a random order."""
    scored = ranker.representatives("ard").complete.nonzero()[0]
    parts: dict[str, list[dict[str, Any]]] = {"concepts": [], "monosemanticity": [], "detection": []}
    for method in METHODS:
        latents, m = rng.permutation(scored), np.sort(rng.normal(2, 1, len(scored)))[::-1]
        key = {"sae_id": SAE_ID, "method": method}
        for i, latent in enumerate(latents.tolist()):
            score = {"score": m[i], "coherence_most": 0.5, "coherence_least": 0.1, "std_pooled": 0.1, "rank": i + 1}
            parts["monosemanticity"].append({**key, "latent_id": latent, **score, "seed": 0})
        names, descriptions = _words(rng, TOP, 4), _words(rng, TOP, 12)
        captions = _words(rng, TOP * P, 12)
        for i, latent in enumerate(latents[:TOP].tolist()):
            named = {"name": names[i], "description": descriptions[i], "captions": captions[P * i : P * (i + 1)]}
            row = {**key, "latent_id": latent, **named, "namer": "synthetic", "monosemanticity": m[i], "rank": i + 1}
            parts["concepts"].append(row)
            parts["detection"].append({**key, "latent_id": latent, "auroc": rng.random(), "clips": 1000})
    for name, rows in parts.items():
        out.write(name, tables.from_rows(name, rows))
