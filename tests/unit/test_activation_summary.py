"""The row of table `hookpoints` and its words, on shards whose norms are known by hand; the index and the estimate."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from ard import tables
from ard.activations.estimate import Estimate, text_bound
from ard.activations.index import ClipIndex, Place, pieces
from ard.activations.shard import Shard, ShardWriter, open_shard, shard_path
from ard.activations.summary import in_words, summarise


def shards(folder: Path, norms: list[list[float]], sinks: str = "mask", name: str = "float32") -> list[Shard]:
    """One shard a list; token t is (norm, 0), marked when its norm is 50 or more."""
    for i, values in enumerate(norms):
        x = torch.tensor([[n, 0.0] for n in values])
        says = {"hookpoint": "layers.3", "model": "m", "d_in": 2, "format": name, "sinks": sinks, "sink_factor": 5.0}
        with ShardWriter(shard_path(folder, i), **says) as writer:
            writer.append(x, x[:, 0] >= 50)
    return [open_shard(shard_path(folder, i)) for i in range(len(norms))]


def test_a_summary_by_hand(tmp_path: Path) -> None:
    """Marked: 50 and 90, median 70; others 1, 2, 3 and 6, median 2.5."""
    row = summarise(shards(tmp_path, [[1, 50, 2], [90, 3, 6]]))
    assert (row["hookpoint"], row["tokens"], row["d_in"], row["outliers"]) == ("layers.3", 6, 2, 2)
    assert row["outlier_share"] == pytest.approx(1 / 3)
    assert (row["outlier_norm_median"], row["norm_median"], row["norm_max"]) == (70, 2.5, 90)
    assert (row["outlier_factor"], row["masked"], row["storage_fvu"]) == (5, True, 0)
    tables.check("hookpoints", tables.from_rows("hookpoints", [row]))
    words = " ".join(in_words(row))
    assert "2 tokens (33.33%) stand out of their clip, median norm 70 against 2.5; masked" in words


def test_what_is_kept_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert "kept in training" in in_words(summarise(shards(tmp_path, [[1, 90]], sinks="keep")))[-1]
    quiet = summarise(shards(tmp_path / "quiet", [[1, 2]]))
    assert quiet["outlier_norm_median"] is None
    assert "no token's norm exceeds 5 times its clip's median; none masked" in in_words(quiet)[-1]
    tables.from_rows("hookpoints", [quiet])


def test_a_format_that_costs_too_much_is_advised_against(tmp_path: Path) -> None:
    """One value a thousand times the others takes all of int8's steps."""
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    x[:, 3] = 1000
    with ShardWriter(tmp_path / "a", hookpoint="layers.0", model="m", d_in=64, format="int8") as writer:
        writer.append(x, torch.zeros(500, dtype=torch.bool))
    row = summarise([open_shard(tmp_path / "a")])
    assert row["storage_fvu"] > 0.5
    assert "int8 is too coarse" in " ".join(in_words(row))


def answers() -> pa.Table:
    rows = [("a", 0, 0, 3, 2), ("b", 1, 0, 1, 1), ("c", 0, 5, 2, 0)]
    names = ("clip_id", "shard", "row", "audio_tokens", "text_tokens")
    return pa.table({n: list(column) for n, column in zip(names, zip(*rows, strict=True), strict=True)})


def test_weights_by_hand() -> None:
    index = ClipIndex(answers())
    assert index["c"] == Place(shard=0, row=5, audio_tokens=2, text_tokens=0)
    assert index.clips() == {0: ["a", "c"], 1: ["b"]}
    assert {n: w.tolist() for n, w in index.weights(["a"], "all", 3).items()} == {0: [1, 1, 1, 3, 3, 0, 0], 1: [0, 0]}
    assert index.weights(["b", "c"], "audio")[0].tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert pieces(index["a"], "all", 2) == [(0, 3), (3, 5), (3, 5)]
    for wrong in (0, 256):
        with pytest.raises(ValueError, match=f"text_weight is {wrong}; choose a whole number from 1 to 255"):
            index.weights(["a"], "all", wrong)


def test_the_papers_own_size() -> None:
    """29.5 M tokens × 4096 × 2 bytes a layer ≈ 242 GB, and five bytes a token for norms and marks."""
    estimate = Estimate(29_500_000, 4096, 1, "bfloat16")
    assert estimate.bytes == 29_500_000 * (8192 + 5)
    assert estimate._replace(format="int8").bytes == 29_500_000 * (4096 + 4 + 5)
    assert estimate._replace(stored=False, layers=3).bytes == 3 * 29_500_000 * 5
    assert text_bound([10, 25], 32) == 58
