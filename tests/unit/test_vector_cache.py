from __future__ import annotations

from pathlib import Path

import numpy as np

from ard.vector_cache import VectorCache


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    first = VectorCache(tmp_path, "clap@1", each=2)
    rows = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    first.add(["a"], rows[:1])
    assert not list(first.folder.glob("*")) if first.folder.exists() else True
    first.add(["b"], rows[1:2])  # two together: written
    first.add(["c"], rows[2:])
    killed = VectorCache(tmp_path, "clap@1")
    assert ("a" in killed, "b" in killed, "c" in killed, len(killed)) == (True, True, False, 2)
    first.flush()
    first.flush()
    again = VectorCache(tmp_path, "clap@1")
    assert len(again) == 3
    for key, row in zip("abc", rows, strict=True):
        assert again[key].dtype == np.float32
        assert np.array_equal(again[key], row)


def test_another_models_vectors_are_not(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, "clap@1")
    cache.add(["a"], np.ones((1, 2)))
    cache.flush()
    assert "a" not in VectorCache(tmp_path, "clap@2")


def test_a_damaged_file_counts_as_not_there(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, "clap@1")
    cache.add(["a"], np.ones((1, 2)))
    cache.flush()
    next(cache.folder.glob("*.parquet")).write_bytes(b"torn")
    assert len(VectorCache(tmp_path, "clap@1")) == 0
