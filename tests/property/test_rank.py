from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ard.labels import auroc
from ard.rank import Representatives, random_representatives, representatives, tie_order

seeds = st.integers(0, 2**32 - 1)


def by_sorting(scores: np.ndarray, ids: list[str], recordings: list[str], p: int, seed: int) -> list[tuple]:
    """H and L as clip ids, by one sort and one walk a latent: slow and plain, the reference."""
    order, found = tie_order(seed, "layers.0", range(scores.shape[1]), ids), []
    for latent in range(scores.shape[1]):

        def walk(clips: list[int]) -> list[str]:
            chosen: list[int] = []
            for clip in clips:
                if len(chosen) < p and recordings[clip] not in {recordings[c] for c in chosen}:
                    chosen.append(clip)
            return [ids[c] for c in chosen]

        r, key = scores[:, latent], order[latent]
        most = walk(sorted((c for c in range(len(ids)) if r[c] > 0), key=lambda c: (-r[c], key[c])))
        rest = [c for c in range(len(ids)) if ids[c] not in most] if (r > 0).any() else []
        found.append((most, walk(sorted(rest, key=lambda c: (r[c], key[c])))))
    return found


def as_ids(found: Representatives, ids: list[str]) -> list[tuple]:
    return [
        tuple([ids[c] for c in row if c >= 0] for row in pair) for pair in zip(found.most, found.least, strict=True)
    ]


@settings(deadline=None, max_examples=80)
@given(seeds, st.integers(1, 20), st.integers(1, 5), st.integers(1, 5), st.integers(1, 20))
def test_equals_the_plain_reference_for_any_order(seed: int, clips: int, latents: int, p: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-1, 4, (clips, latents)).astype(np.float32)  # many ties, some negative
    ids = [f"clip{i}" for i in range(clips)]
    recordings = [f"rec{i}" for i in rng.integers(0, spread, clips)]
    expected = by_sorting(scores, ids, recordings, p, seed)
    order = rng.permutation(clips)
    shuffled = [ids[i] for i in order]
    found = representatives(
        scores[order], shuffled, recording_ids=[recordings[i] for i in order], hookpoint="layers.0", p=p, seed=seed
    )
    assert as_ids(found, shuffled) == expected


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(9, 30), st.integers(1, 5))
def test_random_clips_do_not_depend_on_the_order(seed: int, clips: int, latents: int) -> None:
    rng = np.random.default_rng(seed)
    scores, ids, order = rng.integers(0, 3, (clips, latents)).astype(float), [f"c{i}" for i in range(clips)], None
    order = rng.permutation(clips)
    shuffled = [ids[i] for i in order]
    results = []
    for values, names in ((scores, ids), (scores[order], shuffled)):
        base = representatives(values, names, hookpoint="layers.0", seed=1)
        results.append(as_ids(random_representatives(base, values, names, hookpoint="layers.0", seed=seed), names))
    assert results[0] == results[1]


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(2, 30))
def test_auroc_turns_round_with_the_sign_and_ignores_monotone_maps(seed: int, clips: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 5, (clips, 3)).astype(float), rng.random((clips, 2)) < 0.5
    base = auroc(scores, labels)
    assert np.allclose(auroc(-scores, labels), 1 - base, equal_nan=True)
    assert np.array_equal(auroc(np.exp(scores), labels), base, equal_nan=True)
