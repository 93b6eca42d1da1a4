from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ard import tables
from ard.store import Run
from explorer.queries import Queries
from explorer.queries_base import Tables
from explorer.queries_parts import RowGroups

SAES = ("layers.0/e4/k8/recommended", "layers.1/e4/k8/recommended")


def rows(latents: int = 50, clips: int = 9) -> pa.Table:
    rng = np.random.default_rng(0)
    found = [
        {"sae_id": sae, "clip_id": f"c{c}", "latent_id": k, "representativeness": rng.random(), "max_activation": 1.0}
        for sae in SAES
        for k in range(latents)
        for c in range(clips)
        if rng.random() < 0.6
    ]
    return tables.from_rows("latents_by_clip", found)


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("files", [1, 3])
def test_the_same_rows_as_a_filter_of_the_whole(tmp_path: Path, statistics: bool, files: int) -> None:
    whole = rows()
    paths = [tmp_path / f"{i}.parquet" for i in range(files)]
    step = -(-whole.num_rows // files)
    for i, path in enumerate(paths):
        pq.write_table(whole.slice(i * step, step), path, row_group_size=20, write_statistics=statistics)
    groups = RowGroups(paths, ("sae_id", "latent_id"))
    for sae in (*SAES, "none"):
        for latent in (0, 7, 49, 50):
            expected = whole.filter((pc.field("sae_id") == sae) & (pc.field("latent_id") == latent))
            assert groups.rows(sae_id=sae, latent_id=latent).equals(expected)
    by_clip = RowGroups(paths, ("sae_id", "clip_id"))
    expected = whole.filter((pc.field("sae_id") == SAES[1]) & (pc.field("clip_id") == "c4"))
    assert by_clip.rows(sae_id=SAES[1], clip_id="c4").equals(expected)


def test_only_the_row_groups_that_can_hold_the_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(rows(), tmp_path / "t.parquet", row_group_size=20)
    groups, read = RowGroups([tmp_path / "t.parquet"], ("sae_id", "latent_id")), []
    original = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", lambda f, g, **k: read.extend(g) or original(f, g, **k))
    groups.rows(sae_id=SAES[0], latent_id=25)
    assert 1 <= len(read) <= 2 < pq.read_metadata(tmp_path / "t.parquet").num_row_groups


@pytest.mark.parametrize("limit", [16 << 20, 0])
def test_a_table_that_is_replaced_is_seen_at_the_next_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("explorer.queries_base.IN_MEMORY", limit)
    run = Run.create(tmp_path / "run")
    run.update_manifest(stages={})
    queries = Queries(run)
    assert queries.firing(SAES[0], "c1") == []
    for activation in (2.0, 3.0):
        row = {"sae_id": SAES[0], "clip_id": "c1", "latent_id": 4, "representativeness": 0.5}
        run.write("latents_by_clip", tables.from_rows("latents_by_clip", [{**row, "max_activation": activation}]))
        (found,) = queries.firing(SAES[0], "c1")
        assert (found.latent_id, found.name, found.max_activation) == (4, "latent 4", activation)
        time.sleep(0.01)


def test_small_tables_are_copied_and_large_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path / "run")
    run.update_manifest(stages={})
    run.write("latents_by_clip", rows())
    kind = "SELECT table_type FROM information_schema.tables WHERE table_name = 'latents_by_clip'"
    for limit, expected in ((16 << 20, "BASE TABLE"), (0, "VIEW")):
        monkeypatch.setattr("explorer.queries_base.IN_MEMORY", limit)
        assert Tables(run)._rows(kind, []) == [{"table_type": expected}]
