from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ard.scores import batch_clip_scores, clip_scores, monosemanticity, monosemanticity_many

seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 12), st.integers(1, 6), st.integers(0, 5))
def test_padding_and_token_order_change_no_clip_score(seed: int, tokens: int, latents: int, pad: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.relu(torch.randn(tokens, latents, generator=generator))
    noise = 100 * torch.rand(pad, latents, generator=generator)
    order = torch.randperm(tokens + pad, generator=generator)
    real = torch.cat([torch.ones(tokens, dtype=torch.bool), torch.zeros(pad, dtype=torch.bool)])
    padded = batch_clip_scores(torch.cat([z, noise])[order][None], real[order][None])
    for whole, part in zip(clip_scores(z), padded, strict=True):
        assert torch.allclose(whole, part[0], rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 8), st.integers(1, 4))
def test_clip_scores_stay_in_range(seed: int, tokens: int, latents: int) -> None:
    z = torch.relu(torch.randn(tokens, latents, generator=torch.Generator().manual_seed(seed)))
    scores = clip_scores(z)
    assert bool(((scores.coverage >= 0) & (scores.coverage <= 1)).all())
    assert bool((scores.representativeness <= scores.mean_activation).all())
    assert bool((scores.mean_activation <= scores.max_activation * (1 + 1e-6)).all())
    assert bool(((scores.coverage > 0) == (scores.max_activation > 0)).all())


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(2, 5), st.integers(2, 6), st.floats(0.01, 100))
def test_monosemanticity_ignores_order_and_length_of_embeddings(seed: int, p: int, d: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    most, least = rng.normal(size=(p, d)), rng.normal(size=(p, d))
    base = monosemanticity(most, least, eps=0.1)
    moved = monosemanticity(rng.permutation(most) * size, rng.permutation(least), eps=0.1)
    assert moved == pytest.approx(base, rel=1e-9, abs=1e-9)
    assert monosemanticity(least, most, eps=0.1).score == pytest.approx(-base.score, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(2, 5), st.integers(1, 8))
def test_many_equal_one_by_one(seed: int, p: int, latents: int) -> None:
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(12, 5))
    most, least = (rng.permuted(np.tile(np.arange(12), (latents, 1)), axis=1)[:, :p] for _ in range(2))
    table = monosemanticity_many(embeddings, most, least, eps=0.1)
    for i in range(latents):
        single = monosemanticity(embeddings[most[i]], embeddings[least[i]], eps=0.1)
        assert [float(column[i]) for column in table] == pytest.approx(single, rel=1e-9, abs=1e-12)
