from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ard.clip_stats import ClipEntries
from ard.store import Run
from precompute.stages import latents as stage
from precompute.stages.clip_latents_io import (
    COLUMNS,
    LatentSort,
    by_clip_table,
    by_latent_table,
    descending,
    latent_blocks,
)

SAE = "layers.0/e4/k8/recommended"


def entries(rng: np.random.Generator, clips: int, d_sae: int) -> ClipEntries:
    """Few distinct scores, so that ties are everywhere."""
    fires = rng.random((clips, d_sae)) < 0.3
    latent = fires.nonzero()[1].astype(np.int32)
    values = [rng.integers(1, 4, len(latent)).astype(np.float32) / 4 for _ in COLUMNS]
    return ClipEntries(np.concatenate([[0], fires.sum(1).cumsum()]), latent, *values)


def rows_of(found: list[ClipEntries]) -> list[tuple]:
    """(latent, −r, clip, other columns) of every entry, in that order: what the table must hold."""
    rows, clip = [], 0
    for part in found:
        for i in range(len(part.offsets) - 1):
            for e in range(part.offsets[i], part.offsets[i + 1]):
                others = [float(getattr(part, name)[e]) for name in COLUMNS]
                rows.append((int(part.latent_id[e]), -float(part.representativeness[e]), clip, *others))
            clip += 1
    return sorted(rows)


def test_falling_scores_within_each_segment() -> None:
    r = np.float32([0.0, 2.0, 1e-30, 2.0, 5.0, 3.0, 0.5])
    assert descending(np.array([0, 4, 4, 6, 7]), r).tolist() == [1, 3, 2, 0, 4, 5, 6]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 60), st.integers(1, 50))
def test_clips_in_latents_out_for_any_run_and_block_size(
    tmp_path_factory: pytest.TempPathFactory, seed: int, parts: int, run_rows: int, block_rows: int
) -> None:
    rng = np.random.default_rng(seed)
    sort, found = LatentSort(9, tmp_path_factory.mktemp("runs"), run_rows), []
    for _ in range(parts):
        found.append(entries(rng, int(rng.integers(1, 9)), 9))
        sort.add(found[-1])
    rows, next_latent = [], 0
    for block in sort.blocks(block_rows):
        assert block.first == next_latent
        next_latent += len(block.indptr) - 1
        columns = [block.columns[name] for name in COLUMNS]
        r = block.columns["representativeness"]
        rows += list(zip(block.latent_id, -r, block.clips, *columns, strict=True))
        assert np.array_equal(block.scores, [columns[2], columns[0], columns[1]])
    assert next_latent == 9
    assert [tuple(float(v) for v in row) for row in rows] == [tuple(map(float, row)) for row in rows_of(found)]


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    assert sum(len(block.clips) for block in LatentSort(3, tmp_path).blocks()) == 0


@pytest.fixture
def written(tmp_path: Path) -> tuple[Run, ClipEntries, list[str]]:
    """A run whose `clip_latents` holds two SAEs, in row groups of 100."""
    rng, run = np.random.default_rng(0), Run.create(tmp_path / "run")
    clip_ids, found = [f"c{i:02d}" for i in range(40)], entries(rng, 40, 30)
    with pytest.MonkeyPatch.context() as patch, run.staging("latents") as out:
        patch.setattr("ard.staging.SEARCHED_ROWS", 100)
        with out.writer("clip_latents") as by_latent, out.writer("latents_by_clip") as by_clip:
            for sae_id in (SAE, "layers.1/e4/k8/recommended"):
                sort = LatentSort(30, tmp_path)
                sort.add(found)
                by_clip(by_clip_table(sae_id, found, clip_ids))
                for block in sort.blocks(70):
                    by_latent(by_latent_table(sae_id, block, pa.array(clip_ids)))
        assert out.rows == {"clip_latents": 2 * len(found.latent_id), "latents_by_clip": 2 * len(found.latent_id)}
        out.publish()
    return run, found, clip_ids


def test_both_tables_hold_the_same_rows_in_the_order_of_their_specification(written: tuple) -> None:
    run, found, _ = written
    for name in ("clip_latents", "latents_by_clip"):
        table = run.read(name)
        assert table.num_rows == 2 * len(found.latent_id)
        order = [(c, d) for c, d in run_sort(name)]
        assert table.equals(table.sort_by(order))
    names = ["sae_id", "clip_id", "latent_id", "representativeness", "max_activation"]
    one, two = (run.read(n).select(names).sort_by([(c, "ascending") for c in names[:3]]) for n in TABLES)
    assert one.equals(two)


TABLES = ("clip_latents", "latents_by_clip")


def run_sort(name: str) -> tuple[tuple[str, str], ...]:
    from ard import tables

    return tables.spec(name).sort


@pytest.mark.parametrize("block_rows", [1, 64, 10**6])
def test_latents_are_read_back_block_by_block_for_some_clips(written: tuple, block_rows: int) -> None:
    run, found, clip_ids = written
    some = clip_ids[30:4:-2]
    expected = {(k, clip_ids[c]): others for k, _, c, *others in rows_of([found]) if clip_ids[c] in some}
    read, latents = {}, []
    for block in latent_blocks(run, SAE, some, block_rows):
        latents += sorted(set(block.latent_id.tolist()))
        for i, (latent, clip) in enumerate(zip(block.latent_id.tolist(), block.clips.tolist(), strict=True)):
            read[latent, some[clip]] = [float(block.columns[name][i]) for name in COLUMNS]
    assert read == expected
    assert latents == sorted(set(latents)), "a latent must not be split between blocks"


def test_percentile_is_numpys_with_the_zeros_left_out() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 100, 101, 2000):
        for active in {0, 1, n // 100, n // 50 + 1, n}:
            r = rng.random(n).astype(np.float32)
            r[active:] = 0
            falling = np.sort(r[:active])[::-1]
            assert stage._percentile(falling, n) == pytest.approx(np.percentile(r.astype(float), 99), rel=1e-9)


def test_a_latents_recordings_are_counted_up_to_p() -> None:
    latent = np.repeat([0, 1, 2], [10, 20, 10]).astype(np.int32)  # one clip each
    found = ClipEntries(np.arange(41), latent, *[np.full(40, 0.5, np.float32)] * 4)
    recordings = np.concatenate([np.zeros(10, int), np.zeros(19, int), [1], np.arange(10)])
    clips = stage.Clips([f"c{i:02d}" for i in range(40)], np.ones(40, bool), recordings)
    sort = LatentSort(4, Path())
    sort.add(found)
    counted = stage.sort_rows(SAE, sort, clips, 2, lambda _: None).recordings
    assert counted[:2].tolist() == [1, 2]  # one recording of ten clips; the second recording comes last of twenty
    assert counted[2] >= 2
    assert counted[3] == 0
