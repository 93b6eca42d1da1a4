"""The shuffled reader: every token of a pass once, an order of the seed alone, and no more memory than stated."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ard.activations.buffer import ReaderError
from ard.activations.formats import FORMATS, Stored, decode, encode
from ard.activations.shard import ShardWriter, shard_path
from ard.activations.shuffled import ShuffledReader

D = 4


def store(folder: Path, lengths: list[int], name: str = "float32") -> list[Path]:
    """Shards whose token number t (counted through all shards) is (t, -t, t/2, 1): each token says which it is."""
    at, paths = 0, []
    for i, length in enumerate(lengths):
        t = torch.arange(at, at + length, dtype=torch.float32)
        x = torch.stack([t, -t, t / 2, torch.ones(length)], 1)
        with ShardWriter(shard_path(folder, i), hookpoint="layers.0", model="m", d_in=D, format=name) as writer:
            writer.append(x, torch.zeros(length, dtype=torch.bool))
        at += length
        paths.append(shard_path(folder, i))
    return paths


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return store(tmp_path_factory.mktemp("shards"), [57, 1, 130, 64])


def ids(batches: list[torch.Tensor]) -> list[int]:
    x = torch.cat(batches)
    assert (x[:, 0] == -x[:, 1]).all()  # rows are whole
    return x[:, 0].int().tolist()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    keep=st.integers(0, 2**32),
    heaviest=st.integers(1, 4),
    block=st.integers(1, 2000),
    slack=st.integers(0, 9000),
    batch=st.integers(1, 90),
    skip=st.integers(0, 6),
)
def test_each_token_of_a_pass_once_in_an_order_of_the_seed(
    shards: list[Path], seed: int, keep: int, heaviest: int, block: int, slack: int, batch: int, skip: int
) -> None:
    rng = np.random.default_rng(keep)
    lengths = (57, 1, 130, 64)
    weights = {p: rng.integers(0, heaviest + 1, n).astype(np.uint8) for p, n in zip(shards, lengths, strict=True)}
    weights[shards[0]][0] = 1
    expected = Counter(dict(enumerate(int(w) for weight in weights.values() for w in weight)))
    room = (2 * (16 + 8) * heaviest + 4 * 16) * min(max(1, block // 16), 130) + slack
    one = ShuffledReader(weights, room, block, readers=1)
    assert (one.tokens, one.d_in) == (sum(expected.values()), D)
    steps = max(skip, -(-2 * one.tokens // batch))
    whole = list(one.batches(batch, steps, seed))
    assert [len(x) for x in whole] == [batch] * steps
    order = ids(whole)
    for turn in range(2):
        assert Counter(order[turn * one.tokens : (turn + 1) * one.tokens]) == +expected
    again = list(ShuffledReader(weights, room, block, readers=1).batches(batch, steps, seed, skip))
    assert ids(again) == order[skip * batch :] if skip < steps else not again
    assert Counter(ids([one.sample(one.tokens + 5, seed)])) == +expected


def test_threads_do_not_change_the_order(shards: list[Path]) -> None:
    weights = {p: np.ones(n, np.uint8) for p, n in zip(shards, (57, 1, 130, 64), strict=True)}
    orders = [ids(list(ShuffledReader(weights, 4000, 160, readers=r).batches(10, 60, seed=5))) for r in (1, 2, 4)]
    assert orders[0] == orders[1] == orders[2]


def test_seeds_and_passes_have_orders_of_their_own(shards: list[Path]) -> None:
    weights = {p: np.ones(n, np.uint8) for p, n in zip(shards, (57, 1, 130, 64), strict=True)}
    reader = ShuffledReader(weights, 20_000, 64)
    first, other = (ids(list(reader.batches(252, 2, seed))) for seed in (0, 1))
    assert first[:252] != first[252:]
    assert first != other


def test_a_batch_mixes_places(shards: list[Path]) -> None:
    """With all blocks in one buffer the order is as good as random: neighbours in a batch are far apart on disk."""
    weights = {p: np.ones(n, np.uint8) for p, n in zip(shards, (57, 1, 130, 64), strict=True)}
    order = np.array(ids(list(ShuffledReader(weights, 100_000, 64).batches(252, 1, 3))))
    gaps = np.abs(np.diff(order))
    assert gaps.mean() == pytest.approx(252 / 3, rel=0.15)  # E|i − j| of a random order of n is n/3


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_comes_back_decoded(tmp_path: Path, name: str) -> None:
    (path,) = store(tmp_path, [40], name)
    t = torch.arange(40, dtype=torch.float32)
    expected = decode(Stored(*encode(torch.stack([t, -t, t / 2, torch.ones(40)], 1), name)))
    reader = ShuffledReader({path: np.ones(40, np.uint8)}, 10_000, 64)
    (x,) = reader.batches(40, 1, 0)
    assert x.dtype == expected.dtype
    assert x[x[:, 0].argsort()].equal(expected)
    assert reader.sample(40, 1).equal(expected)


def test_the_sample_is_even(shards: list[Path]) -> None:
    """Each token is drawn as often as the others: 4,000 draws of 63 among 252 give each 1,000, ± five deviations."""
    weights = {p: np.ones(n, np.uint8) for p, n in zip(shards, (57, 1, 130, 64), strict=True)}
    reader = ShuffledReader(weights, 20_000, 64)
    drawn = Counter(i for seed in range(4000) for i in ids([reader.sample(63, seed)]))
    assert set(drawn) == set(range(252))
    assert max(abs(n - 1000) for n in drawn.values()) < 5 * np.sqrt(4000 * 0.25 * 0.75)


def test_no_more_memory_than_stated(tmp_path: Path) -> None:
    """12 MB of activations, with text that counts four times, through a buffer of 2 MB."""
    rng = np.random.default_rng(0)
    weights = {}
    for i in range(3):
        with ShardWriter(shard_path(tmp_path, i), hookpoint="l", model="m", d_in=256, format="float16") as writer:
            writer.append(torch.from_numpy(rng.normal(size=(8000, 256)).astype(np.float32)), torch.zeros(8000).bool())
        weights[shard_path(tmp_path, i)] = rng.choice([0, 1, 4], 8000).astype(np.uint8)
    reader = ShuffledReader(weights, buffer_bytes=2 << 20, block_bytes=1 << 14, readers=2)
    assert len(list(reader.batches(8, 1, 1))) == 1  # modules that load with the first use are not what is measured
    tracemalloc.start()
    try:
        for batch in reader.batches(64, 600, 0):
            assert len(batch) == 64
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (2 << 20) + 200_000  # jobs, names, the plan of blocks
    assert peak > 1 << 20  # the buffers are what is being measured


def test_mistakes_get_a_sentence(shards: list[Path], tmp_path: Path) -> None:
    ones = {shards[0]: np.ones(57, np.uint8)}
    with pytest.raises(ReaderError, match="No token is left"):
        ShuffledReader({shards[0]: np.zeros(57, np.uint8)})
    with pytest.raises(ReaderError, match="cannot hold two blocks of 1 tokens; give 112 bytes or more"):
        ShuffledReader(ones, 111, 160)
    assert ShuffledReader(ones, 112, 160).tokens == 57
    with pytest.raises(ReaderError, match="readers is 5; choose 1 to 4"):
        ShuffledReader(ones, readers=5)
    with pytest.raises(ReaderError, match="skip 4 of 3 steps"):
        next(ShuffledReader(ones).batches(1, 3, 0, skip=4))
    (other,) = store(tmp_path, [5], "int8")
    with pytest.raises(ReaderError, match="format int8"):
        ShuffledReader({**ones, other: np.ones(5, np.uint8)})


def test_a_file_that_shrinks_is_an_error_not_other_tokens(tmp_path: Path) -> None:
    (path,) = store(tmp_path, [400])
    reader = ShuffledReader({path: np.ones(400, np.uint8)}, 3000, 160)
    with path.open("r+b") as file:
        file.truncate(6000)
    with pytest.raises(ReaderError, match="ended early"):
        list(reader.batches(100, 4, 0))


def test_leaving_early_ends_the_threads(shards: list[Path]) -> None:
    import threading

    weights = {p: np.ones(n, np.uint8) for p, n in zip(shards, (57, 1, 130, 64), strict=True)}
    batches = ShuffledReader(weights, 20_000, 64).batches(5, 1000, 0)
    assert len(list(islice(batches, 3))) == 3
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("read")]
