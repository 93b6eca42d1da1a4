"""Table `clip_latents` beyond memory: clips come one after the other, latents go out one after the other, and back.

Rows arrive clip by clip and are wanted latent by latent. They are kept in runs of `RUN_ROWS`, each sorted by latent and
put aside on disk; latents are then taken from all runs together, some at a time. Memory: one run, or `BLOCK_ROWS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ard.clip_stats import ClipEntries
from ard.ranking_kernels import by_latent
from ard.store import Run

RUN_ROWS, BLOCK_ROWS = 16_000_000, 2_000_000
COLUMNS = ("mean_activation", "coverage", "representativeness", "max_activation")


class LatentBlock(NamedTuple):
    """All rows of consecutive latents, highest r first: latent `first + i` has `indptr[i]` to `indptr[i + 1]`."""

    first: int
    indptr: np.ndarray
    clips: np.ndarray
    """Index of the clip of each row."""
    columns: dict[str, np.ndarray]
    """Eq. 2 and the largest z, float32."""

    @property
    def latent_id(self) -> np.ndarray:
        """Latent of each row."""
        return np.repeat(np.arange(self.first, self.first + len(self.indptr) - 1, dtype=np.int32), np.diff(self.indptr))

    @property
    def scores(self) -> np.ndarray:
        """r, μ and c [3, rows], the scores of the methods `ard`, `mean` and `coverage`."""
        return np.stack([self.columns[name] for name in ("representativeness", "mean_activation", "coverage")])


class _Rows(NamedTuple):
    """Rows sorted by latent, within one by clip."""

    indptr: np.ndarray
    clips: np.ndarray
    columns: np.ndarray
    """float32 [4, rows], in the order of `COLUMNS`."""


def descending(indptr: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Order of the rows within each segment by falling r, equal ones as they come.

    A positive float's bits order as the number does, so r and the place pack into one whole number to sort.
    """
    keys = (~np.ascontiguousarray(r, np.float32).view(np.uint32)).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(r), dtype=np.uint64)
    for begin, end in zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True):
        keys[begin:end].sort()
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


class LatentSort:
    """Turns rows that come clip by clip into rows latent by latent."""

    def __init__(self, d_sae: int, scratch: Path, run_rows: int = RUN_ROWS):
        self.d_sae, self.scratch, self.run_rows = d_sae, scratch, run_rows
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._runs: list[_Rows] = []
        self._clips = 0

    def add(self, found: ClipEntries) -> None:
        """Take in the next clips; they are numbered as they come."""
        lengths = np.diff(found.offsets)
        clips = np.repeat(np.arange(self._clips, self._clips + len(lengths), dtype=np.int32), lengths)
        self._clips += len(lengths)
        self._waiting.append((found.latent_id, clips, np.stack([getattr(found, name) for name in COLUMNS])))
        if sum(len(w[0]) for w in self._waiting) >= self.run_rows:
            self._runs.append(self._aside(self._sorted()))

    def _sorted(self) -> _Rows:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return _Rows(np.zeros(self.d_sae + 1, np.int64), np.empty(0, np.int32), np.empty((4, 0), np.float32))
        order, indptr = by_latent(np.concatenate([w[0] for w in waiting]), self.d_sae)
        clips = np.concatenate([w[1] for w in waiting])[order]
        return _Rows(indptr, clips, np.concatenate([w[2] for w in waiting], axis=1)[:, order])

    def _aside(self, rows: _Rows) -> _Rows:
        """The same rows, on disk and mapped."""
        names = [self.scratch / f"{len(self._runs):05d}.{name}.npy" for name in ("clips", "columns")]
        np.save(names[0], rows.clips)
        np.save(names[1], rows.columns)
        return _Rows(rows.indptr, np.load(names[0], mmap_mode="r"), np.load(names[1], mmap_mode="r"))

    def blocks(self, block_rows: int = BLOCK_ROWS) -> Iterator[LatentBlock]:
        """Every latent once, in order; a block has about `block_rows` rows, and at least one latent."""
        runs = [*self._runs, self._sorted()]
        ends = np.sum([run.indptr for run in runs], axis=0)
        first = 0
        while first < self.d_sae:
            stop = max(first + 1, int(np.searchsorted(ends, ends[first] + block_rows, side="right")) - 1)
            yield _block(runs, first, min(stop, self.d_sae))
            first = min(stop, self.d_sae)


def _block(runs: Sequence[_Rows], first: int, stop: int) -> LatentBlock:
    """Latents `first` to `stop` of all runs: the runs follow each other in clips, so one stable sort is enough."""
    spans = [slice(int(run.indptr[first]), int(run.indptr[stop])) for run in runs]
    counts = [np.diff(run.indptr[first : stop + 1]) for run in runs]
    latents = np.concatenate([np.repeat(np.arange(stop - first, dtype=np.int32), c) for c in counts])
    order, indptr = by_latent(latents, stop - first)
    clips = np.concatenate([run.clips[span] for run, span in zip(runs, spans, strict=True)])[order]
    columns = np.concatenate([run.columns[:, span] for run, span in zip(runs, spans, strict=True)], axis=1)[:, order]
    falling = descending(indptr, columns[COLUMNS.index("representativeness")])
    return LatentBlock(
        first, indptr, clips[falling], dict(zip(COLUMNS, np.ascontiguousarray(columns[:, falling]), strict=True))
    )


def by_latent_table(sae_id: str, block: LatentBlock, clip_ids: pa.Array) -> pa.Table:
    """A block as rows of `clip_latents`."""
    return pa.table(
        {
            "sae_id": pa.repeat(sae_id, len(block.clips)),
            "clip_id": clip_ids.take(pa.array(block.clips)),
            "latent_id": block.latent_id,
            **block.columns,
        }
    )


def by_clip_table(sae_id: str, found: ClipEntries, clip_ids: Sequence[str]) -> pa.Table:
    """Some clips as rows of `latents_by_clip`."""
    order = descending(found.offsets, found.representativeness)
    return pa.table(
        {
            "sae_id": pa.repeat(sae_id, len(order)),
            "clip_id": pa.array(clip_ids, pa.string()).take(
                pa.array(np.repeat(np.arange(len(clip_ids)), np.diff(found.offsets)))
            ),
            "latent_id": found.latent_id[order],
            "representativeness": found.representativeness[order],
            "max_activation": found.max_activation[order],
        }
    )


def latent_blocks(
    run: Run, sae_id: str, clip_ids: Sequence[str], block_rows: int = BLOCK_ROWS
) -> Iterator[LatentBlock]:
    """The rows of `clip_latents` of one SAE and of these clips, latent by latent, as the table has them on disk.

    Latents without a row are left out between blocks; within a block they have none.
    """
    place, kept = pa.array(clip_ids, pa.string()), list[pa.Table]()
    for piece in _pieces(run, sae_id):
        kept.append(piece)
        if sum(p.num_rows for p in kept) < block_rows:
            continue
        together = pa.concat_tables(kept)
        last = together["latent_id"][-1].as_py()
        whole = int(np.searchsorted(together["latent_id"].to_numpy(), last))  # the last latent may go on
        kept = [together.slice(whole)]
        if whole:
            yield _read_block(together.slice(0, whole), place)
    if kept:
        yield _read_block(pa.concat_tables(kept), place)


def _pieces(run: Run, sae_id: str) -> Iterator[pa.Table]:
    """Row groups of `clip_latents` that hold rows of the SAE, in order, with these rows alone."""
    names = ["sae_id", "clip_id", "latent_id", *COLUMNS]
    for path in run.files("clip_latents"):
        with pq.ParquetFile(path, read_dictionary=["clip_id"]) as file:
            at = file.schema_arrow.get_field_index("sae_id")
            for group in range(file.num_row_groups):
                known = file.metadata.row_group(group).column(at).statistics
                if known is not None and known.has_min_max and not known.min <= sae_id <= known.max:
                    continue
                rows = file.read_row_group(group, columns=names).filter(pc.field("sae_id") == sae_id)
                if rows.num_rows:
                    yield rows.drop_columns("sae_id").unify_dictionaries()


def _read_block(rows: pa.Table, place: pa.Array) -> LatentBlock:
    """Rows sorted by latent as a block, those of other clips left out."""
    found = [_place(chunk, place) for chunk in rows["clip_id"].chunks]
    clips = np.concatenate(found)
    keep = clips >= 0
    latents = rows["latent_id"].to_numpy()[keep]
    first = int(latents[0]) if len(latents) else 0
    last = int(latents[-1]) if len(latents) else -1
    indptr = np.searchsorted(latents, np.arange(first, last + 2))
    return LatentBlock(first, indptr, clips[keep], {name: rows[name].to_numpy()[keep] for name in COLUMNS})


def _place(clip_ids: pa.DictionaryArray, place: pa.Array) -> np.ndarray:
    """Index of each clip among `place`, −1 where it is not there."""
    of = pc.fill_null(pc.index_in(clip_ids.dictionary, value_set=place), -1).to_numpy(zero_copy_only=False)
    return of[clip_ids.indices.to_numpy()].astype(np.int32)
