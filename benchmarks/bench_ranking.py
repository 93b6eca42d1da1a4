"""Claim 3: the most and the least representative clips of every latent at the paper's size, on two cores.

118,356 clips × 32,768 latents, k = 250, about 250 tokens a clip, by `ard`, `mean` and `coverage` together, with five
draws of L, ten seeds of `random`, examples, histograms and token totals, in one pass. By default an eighth of the
clips; `--full` for all of them, `--quick` for a smoke test. The peer is the dense ranking of `ard/rank.py` on as many
clips as fit comfortably, with the same results.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from ard import compile_kernels
from ard.clip_stats import ClipStats
from ard.rank import Representatives, least_draws, random_representatives, representatives
from ard.ranking import Block, Ranker
from ard.scores import clip_scores
from benchmarks.record import write
from benchmarks.synthetic_latents import PAPER_CLIPS, PAPER_D_SAE, PAPER_K, Batch, Corpus

METHODS = ("ard", "mean", "coverage")
HOOKPOINT, DRAWS, SEEDS, EXAMPLES = "layers.26", range(5), range(10), 64


class Clock:
    """Seconds spent in each part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, part: str, started: float) -> float:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - started
        return now


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def stream(corpus: Corpus) -> tuple[Ranker, dict[str, Any]]:
    """One pass; the ranker with everything in it, and what it took."""
    clock, entries, rows = Clock(), 0, 0
    ranker = Ranker(corpus.d_sae, HOOKPOINT, draws=DRAWS, random_seeds=SEEDS, examples=EXAMPLES)
    stats = ClipStats(corpus.d_sae)
    started, last = time.perf_counter(), 0
    for batch in corpus.batches():
        now = clock("generator", started)
        found = stats.add(batch.z)
        now = clock("clip statistics", now)
        ranker.add(Block(batch.clip_ids, batch.recording_ids, found.offsets, found.latent_id, found.scores))
        started = clock("ranking", now)
        entries, rows = entries + len(batch.z.values), rows + len(found.latent_id)
        if len(ranker.clip_ids) >= last + 20_000:
            last = len(ranker.clip_ids)
            print(f"  {last:,} clips, {clock.seconds}, peak {peak_gib():.2f} GiB", flush=True)
    totals = stats.totals()
    base = ranker.representatives("ard")
    for method in METHODS[1:]:
        ranker.representatives(method)
    for method in METHODS:
        ranker.least_draws(method, ranker.representatives(method).most)
    for seed in SEEDS:
        ranker.random(base, seed)
    ranker.examples()
    clock("results", started)
    spent = clock.seconds
    return ranker, {
        "seconds": sum(spent.values()) - spent["generator"],
        "parts": {k: round(v, 2) for k, v in spent.items()},
        "peak_gib": round(peak_gib(), 2),
        "values": entries,
        "rows": rows,
        "live": int((totals.active > 0).sum()),
        "scored": int(base.complete.sum()),
    }


def dense(batches: list[Batch], d_sae: int) -> tuple[dict[str, Representatives], list[np.ndarray], float]:
    """The same from dense latents: matrices of clips by latents, then a ranking of each."""
    started, rows = time.perf_counter(), []
    for batch in batches:
        z = batch.z
        for i, tokens in enumerate(z.tokens):
            span = slice(z.offsets[i], z.offsets[i + 1])
            full = torch.zeros(int(tokens), d_sae)
            token = np.repeat(np.arange(tokens), (span.stop - span.start) // tokens)
            full[token, z.latents[span]] = torch.from_numpy(z.values[span])
            rows.append(clip_scores(full))
    scores = {
        "ard": torch.stack([r.representativeness for r in rows]).numpy(),
        "mean": torch.stack([r.mean_activation for r in rows]).numpy(),
        "coverage": torch.stack([r.coverage for r in rows]).numpy(),
    }
    ids = [i for b in batches for i in b.clip_ids]
    where: dict[str, Any] = {"recording_ids": [r for b in batches for r in b.recording_ids], "hookpoint": HOOKPOINT}
    found = {m: representatives(s, ids, **where) for m, s in scores.items()}
    draws = [least_draws(found[m].most, s, ids, draws=DRAWS, **where) for m, s in scores.items()]
    drawn = [random_representatives(found["ard"], scores["ard"], ids, seed=seed, **where).most for seed in SEEDS]
    return found, [*draws, *drawn], time.perf_counter() - started


def same(ranker: Ranker, found: dict[str, Representatives], others: list[np.ndarray]) -> None:
    """Every clip of every list is the same; raises where one is not."""
    base = ranker.representatives("ard")
    mine = [ranker.least_draws(m, ranker.representatives(m).most) for m in METHODS]
    mine += [ranker.random(base, seed).most for seed in SEEDS]
    for method in METHODS:
        one = ranker.representatives(method)
        for a, b in zip(one, found[method], strict=True):
            if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                raise SystemExit(f"{method}: the streamed ranking differs from the dense one.")
    for a, b in zip(mine, others, strict=True):
        if not np.array_equal(a, b):
            raise SystemExit("A draw of L or of random clips differs from the dense one.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=PAPER_CLIPS // 8, help="clips (default: an eighth of the paper's)")
    parser.add_argument("--full", action="store_true", help="all clips of the paper")
    parser.add_argument("--quick", action="store_true", help="a small corpus")
    options = parser.parse_args()
    compile_kernels.run()
    d_sae, k, peer_clips = (2048, 32, 64) if options.quick else (PAPER_D_SAE, PAPER_K, 128)
    clips = 1024 if options.quick else PAPER_CLIPS if options.full else options.clips
    corpus, small = Corpus(clips, d_sae, k), Corpus(peer_clips, d_sae, k)
    list(small.batches())  # compiled before the clock runs
    ranker, whole = stream(corpus)
    print(f"{clips:,} clips × {d_sae:,} latents: {whole}", flush=True)
    ranker, ours = stream(small)
    found, others, theirs = dense(list(small.batches()), d_sae)
    same(ranker, found, others)
    size = {"d_sae": d_sae, "k": k, "methods": METHODS, "draws": len(DRAWS), "random_seeds": len(SEEDS)}
    first = {"clips": clips, "of_clips": PAPER_CLIPS, "threads": ranker.threads}
    second = {"clips": peer_clips, "threads": ranker.threads, "peak_gib_dense": round(peak_gib(), 2)}
    aim = "none; aim for all clips: 15 min, 8 GiB"
    rows = [
        {"peer": aim, "ours": whole["seconds"] / 60, "theirs": None, "unit": "min", **whole, **size, **first},
        {"peer": "dense, ard.rank", "ours": ours["seconds"], "theirs": theirs, "unit": "s", **ours, **size, **second},
    ]
    print(write("ranking_full" if options.full else "ranking", rows).read_text())


if __name__ == "__main__":
    main()
