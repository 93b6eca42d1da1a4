from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ard.clip_stats import EDGES, ClipEntries, ClipStats, SparseLatents
from ard.scores import ScoreError, clip_scores


def latents(seed: int, tokens: int, d_sae: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    z = np.where(rng.random((tokens, d_sae)) < 0.3, 2.0 ** rng.uniform(-12, 12, (tokens, d_sae)), 0)
    return torch.from_numpy(z.astype(np.float32))


def test_by_hand() -> None:
    z = torch.tensor([[0.0, 2.0, 0.0], [0.0, 4.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    stats = ClipStats(3)
    found = stats.add(SparseLatents.of(z))
    assert found.latent_id.tolist() == [1, 2]
    assert found.mean_activation.tolist() == [1.5, 0.25]
    assert found.coverage.tolist() == [0.5, 0.25]
    assert found.representativeness.tolist() == [0.75, 0.0625]
    assert found.max_activation.tolist() == [4.0, 1.0]
    totals = stats.totals()
    assert totals.tokens.tolist() == [4]
    assert totals.active.tolist() == [0, 2, 1]
    assert totals.sums.tolist() == [0.0, 6.0, 1.0]
    assert totals.largest.tolist() == [0.0, 4.0, 1.0]
    assert totals.clips.tolist() == [0, 1, 1]
    places = [(k, EDGES[b]) for k, b in zip(*totals.bins.nonzero(), strict=True)]
    assert places == [(1, 2.0), (1, 4.0), (2, 1.0)]  # an edge belongs to the bin above it


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 4))
def test_equals_the_dense_scores_clip_by_clip(seed: int, clips: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    dense = [latents(seed + i, int(rng.integers(1, 30)), 7) for i in range(clips)]
    found = ClipStats(7, threads).add(SparseLatents.together([SparseLatents.of(z) for z in dense]))
    for i, z in enumerate(dense):
        rows, expected = slice(found.offsets[i], found.offsets[i + 1]), clip_scores(z)
        ids = expected.max_activation.nonzero().squeeze(1)
        assert found.latent_id[rows].tolist() == ids.tolist()
        for name, value in expected._asdict().items():
            assert np.allclose(getattr(found, name)[rows], value[ids].numpy(), rtol=1.2e-7, atol=0), name


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4))
def test_totals_depend_on_no_order_no_batch_and_no_number_of_threads(seed: int, clips: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    dense = [latents(seed + i, int(rng.integers(1, 30)), 5) for i in range(clips)]
    counted = rng.random(clips) < 0.8
    z = torch.cat([torch.zeros(0, 5), *[z for z, c in zip(dense, counted, strict=True) if c]])
    bins = np.searchsorted(EDGES, z.numpy(), side="right") - 1
    expected_bins = [np.bincount(b[f].clip(0, 79), minlength=80) for b, f in zip(bins.T, z.numpy().T > 0, strict=True)]
    means = []
    for _ in range(2):
        stats, order = ClipStats(5, threads), rng.permutation(clips)
        for part in np.array_split(order, rng.integers(1, clips + 1)):
            stats.add(SparseLatents.together([SparseLatents.of(dense[i]) for i in part]), counted[part])
        totals = stats.totals()
        assert totals.tokens.tolist() == [len(z)]
        assert totals.active.tolist() == (z > 0).sum(0).tolist()
        fires = sum((d > 0).any(0).long() for d, c in zip(dense, counted, strict=True) if c)
        assert totals.clips.tolist() == (fires + torch.zeros(5, dtype=torch.long)).tolist()
        assert totals.bins.tolist() == np.array(expected_bins).tolist()
        if len(z):
            assert totals.largest.tolist() == z.amax(0).tolist()
        assert np.allclose(totals.sums, z.double().sum(0).numpy(), rtol=1e-12)
        means.append(totals.sums.astype(np.float32))
    assert np.array_equal(means[0], means[1])


def test_zeros_are_passed_over_and_what_cannot_be_is_refused() -> None:
    def batch(values: list[float], tokens: int = 2) -> SparseLatents:
        ends = np.array([0, len(values)])
        return SparseLatents(np.array([tokens]), ends, np.arange(len(values), dtype=np.int32), np.float32(values))

    found: ClipEntries = ClipStats(4).add(batch([0.0, 1.0, 0.0]))
    assert found.latent_id.tolist() == [1]
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ScoreError, match="Clip 0 of the batch has a latent that is negative or not finite"):
            ClipStats(4).add(batch([1.0, bad]))
    with pytest.raises(ScoreError, match="0 real tokens"):
        ClipStats(4).add(batch([], tokens=0))


def test_a_clip_in_which_nothing_fires_has_no_entry_but_its_tokens_count() -> None:
    stats = ClipStats(3)
    found = stats.add(SparseLatents.of(torch.zeros(5, 3)))
    assert found.offsets.tolist() == [0, 0]
    assert stats.totals().tokens.tolist() == [5]
