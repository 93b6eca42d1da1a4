"""Claim 4: what the app asks of a run of the paper's size, through the functions that its endpoints call.

32,768 latents, 118,356 clips, 5,000 concepts a method, `clip_latents` of about 12 M rows (`--full`: about 100 M). The
peers are the same questions over the same rows in no order (`/concept`, one clip), and a pandas filter of the joined
tables in memory (a page, text search). `--quick` builds a small run; `--keep DIR` keeps the run and takes it up again.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from ard.store import Run
from benchmarks.record import write
from benchmarks.synthetic_latents import PAPER_CLIPS, PAPER_D_SAE
from benchmarks.synthetic_run import COMMON, SAE_ID, build
from explorer.queries import Queries
from explorer.views import PAGE_SIZE, SORTS, ViewState

SHUFFLED = ("clip_latents", "latents_by_clip", "representatives", "traces")
Ask = Callable[[np.random.Generator], Any]


def asked(queries: Queries, clips: int) -> dict[str, Ask]:
    """Every question, about something else each time."""
    ranked = [r["latent_id"] for r in queries._rows("SELECT latent_id FROM concepts WHERE method = 'ard'", [])]

    def concept(rng: np.random.Generator) -> None:
        latent = int(rng.choice(ranked))
        assert queries.concept(SAE_ID, latent) is not None
        assert len(queries.both_sides(SAE_ID, latent)["most"]) == 4

    def page(rng: np.random.Generator) -> None:
        state = ViewState(page=int(rng.integers(1, 101)), sort=SORTS[rng.integers(0, len(SORTS))])
        assert len(queries.concepts(state).rows) == PAGE_SIZE

    def search(rng: np.random.Generator) -> None:
        queries.concepts(ViewState(query=" ".join(rng.choice(COMMON, 2, replace=False))))

    def clip(rng: np.random.Generator) -> None:
        clip_id = f"clip_{rng.integers(0, clips):06d}"
        assert queries.clip(clip_id) is not None
        assert queries.firing(SAE_ID, clip_id)

    return {"/concept": concept, "one page of the table": page, "text search": search, "one clip": clip}


def times(ask: Ask, repeats: int) -> np.ndarray:
    """Milliseconds of each call, the first ones (connection, files' ends) left out and kept apart by the caller."""
    rng, found = np.random.default_rng(1), []
    for _ in range(repeats):
        started = time.perf_counter()
        ask(rng)
        found.append((time.perf_counter() - started) * 1e3)
    return np.array(found)


def unsorted(run: Run, path: Path) -> Run:
    """The same run with the rows of its large tables in no order."""
    if path.is_dir():
        return Run.open(path)
    shutil.copytree(
        run.path, path, ignore=lambda _, names: [f"{n}.parquet" for n in SHUFFLED if f"{n}.parquet" in names]
    )
    rng = np.random.default_rng(0)
    for name in SHUFFLED:
        table = pq.read_table(run.files(name)[0])
        shuffled = table.take(pa.array(rng.permutation(table.num_rows)))
        pq.write_table(shuffled, path / "tables" / f"{name}.parquet", compression="zstd", row_group_size=100_000)
    return Run.open(path)


def in_pandas(run: Run) -> dict[str, Ask]:
    """A page and a search by filter and sort of the joined tables in memory."""
    tables = {n: run.read(n).to_pandas() for n in ("concepts", "latents", "detection")}
    joined = tables["concepts"].merge(tables["latents"], on=["sae_id", "latent_id"], how="left")
    joined = joined.merge(tables["detection"], on=["sae_id", "method", "latent_id"], how="left")
    columns = dict(zip(SORTS, ("rank", "name", "density", "clips_active", "auroc"), strict=True))

    def page(rng: np.random.Generator) -> None:
        number, sort = int(rng.integers(1, 101)), SORTS[rng.integers(0, len(SORTS))]
        found = joined[(joined["sae_id"] == SAE_ID) & (joined["method"] == "ard")]
        column = columns[sort]
        found = found.assign(by=found[column].str.lower()) if sort == "name" else found.assign(by=found[column])
        rows = found.sort_values("by").iloc[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        assert len(rows.to_dict("records")) == PAGE_SIZE

    def search(rng: np.random.Generator) -> None:
        found = joined[(joined["sae_id"] == SAE_ID) & (joined["method"] == "ard")]
        text = (found["name"] + " " + found["description"] + " " + found["captions"].str.join(" ")).str.lower()
        keep = np.logical_and.reduce([text.str.contains(w, regex=False) for w in rng.choice(COMMON, 2, replace=False)])
        found[keep].sort_values("rank").iloc[:PAGE_SIZE].to_dict("records")

    return {"one page of the table": page, "text search": search}


def quantiles(ms: np.ndarray) -> dict[str, float]:
    return {"p50_ms": round(float(np.median(ms)), 2), "p95_ms": round(float(np.percentile(ms, 95)), 2)}


def measure(run: Run, shuffled: Run | None, clips: int, repeats: int) -> list[dict[str, Any]]:
    ours = asked(Queries(run), clips)
    peers = in_pandas(run) | ({} if shuffled is None else asked_unsorted(shuffled, clips))
    rows = []
    for name, ask in ours.items():
        first = times(ask, 1)[0]
        mine = times(ask, repeats)
        row = {"question": name, **quantiles(mine), "first_ms": round(first, 1), "repeats": repeats}
        peer = "pandas in memory" if name in in_memory(peers, shuffled) else "unsorted rows"
        theirs = None
        if name in peers:
            times(peers[name], 1)
            found = times(peers[name], max(5, repeats // 10))
            theirs = float(np.percentile(found, 95))
            row |= {"peer_p50_ms": quantiles(found)["p50_ms"]}
        rows.append({**row, "peer": peer, "ours": float(np.percentile(mine, 95)), "theirs": theirs, "unit": "ms (p95)"})
        print(rows[-1], flush=True)
    return rows


def in_memory(peers: dict[str, Ask], shuffled: Run | None) -> set[str]:
    return set(peers) - ({"/concept", "one clip"} if shuffled is not None else set())


class Scanned(Queries):
    """The same SQL, put to the whole tables, each question shared out among all cores."""

    THREADS = os.cpu_count() or 1

    def _part(self, name: str, **values: str | int) -> dict[str, pa.Table]:
        return {}


def asked_unsorted(run: Run, clips: int) -> dict[str, Ask]:
    found = asked(Scanned(run), clips)
    return {name: found[name] for name in ("/concept", "one clip")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="about 100 M rows")
    parser.add_argument("--quick", action="store_true", help="a small run")
    parser.add_argument("--keep", type=Path, help="folder for the run; used again if it is there")
    options = parser.parse_args()
    clips, d_sae, tokens, k = PAPER_CLIPS, PAPER_D_SAE, 1, 100
    if options.full:
        tokens, k = 12, 250
    if options.quick:
        clips, d_sae, k = 2000, 8192, 100
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        path, built = folder / "sorted", None
        if not (path / "manifest.json").is_file():
            built = build(path, clips, tokens, k, d_sae)
            print(f"{built.rows:,} rows written: {built.seconds}", flush=True)
        run = Run.open(path)
        rows = pq.read_metadata(run.files("clip_latents")[0]).num_rows
        shuffled = unsorted(run, folder / "unsorted") if rows < 30_000_000 else None
        found = measure(run, shuffled, clips, 100 if not options.quick else 20)
        size = {"clips": clips, "d_sae": d_sae, "rows": rows, "bytes": run.files("clip_latents")[0].stat().st_size}
    more = {"written_s": built.seconds if built else None, "peak_gib": peak_gib()}
    print(write("queries_full" if options.full else "queries", [{**r, **size, **more} for r in found]))


def peak_gib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
