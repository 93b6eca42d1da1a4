from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ard.rank import RankError, Representatives, least_draws, random_representatives, representatives
from ard.ranking import Block, Ranker

METHODS = ("ard", "mean", "coverage")
seeds = st.integers(0, 2**32 - 1)


class World:
    """Random scores of three methods with many ties; latents from dead ones to ones that fire everywhere."""

    def __init__(self, seed: int, clips: int, latents: int, recordings: int):
        self.rng = rng = np.random.default_rng(seed)
        share = rng.choice([0.0, 0.05, 0.5, 0.9, 0.97, 1.0], latents)
        fires = rng.random((clips, latents)) < share
        self.scores = {m: np.where(fires, rng.integers(1, 4, fires.shape), 0).astype(np.float32) for m in METHODS}
        self.ids = [f"clip{i}" for i in rng.permutation(clips)]
        self.recordings = [f"rec{i}" for i in rng.integers(0, recordings, clips)]

    def block(self, rows: np.ndarray) -> Block:
        fires = self.scores["ard"][rows] > 0
        clip, latent = fires.nonzero()
        offsets = np.concatenate([[0], fires.sum(1).cumsum()])
        values = np.stack([self.scores[m][rows][clip, latent] for m in METHODS])
        return Block([self.ids[i] for i in rows], [self.recordings[i] for i in rows], offsets, latent, values)

    def split(self, rows: np.ndarray, most: int) -> list[np.ndarray]:
        cuts = np.sort(self.rng.integers(0, len(rows) + 1, self.rng.integers(0, most)))
        return np.split(rows, cuts)


def as_ids(found: np.ndarray, ids: list[str]) -> list:
    return [[ids[c] if c >= 0 else None for c in row] for row in found]


def same(found: Representatives, ids: list[str], expected: Representatives, expected_ids: list[str]) -> None:
    for side in ("most", "least"):
        assert as_ids(getattr(found, side), ids) == as_ids(getattr(expected, side), expected_ids), side
    for name in ("most_score", "least_score", "n_active", "dead", "complete"):
        assert np.array_equal(getattr(found, name), getattr(expected, name), equal_nan=True), name


@settings(deadline=None, max_examples=120)
@given(seeds, st.integers(1, 40), st.integers(1, 6), st.integers(1, 4), st.integers(1, 40), st.integers(1, 3))
@example(0, 40, 6, 4, 3, 2)  # fewer recordings than p
def test_any_order_batches_and_workers_give_what_the_dense_ranking_gives(
    seed: int, clips: int, latents: int, p: int, recordings: int, workers: int
) -> None:
    world = World(seed, clips, latents, recordings)
    draws, random_seeds = (0, 1, 2), (5, 6)
    rankers = []
    for rows in np.array_split(world.rng.permutation(clips), workers):
        ranker = Ranker(latents, "layers.0", p=p, seed=seed, draws=draws, random_seeds=random_seeds, threads=1)
        for part in world.split(rows, 6):
            ranker.add(world.block(part))
            if world.rng.random() < 0.5:
                ranker._flush()
        rankers.append(ranker)
    world.rng.shuffle(rankers)
    whole = rankers[0]
    for other in rankers[1:]:
        whole.merge(other)
    where = {"recording_ids": world.recordings, "hookpoint": "layers.0"}
    for method in METHODS:
        scores = world.scores[method]
        expected = representatives(scores, world.ids, p=p, seed=seed, **where)
        found = whole.representatives(method)
        same(found, whole.clip_ids, expected, world.ids)
        dense = least_draws(expected.most, scores, world.ids, seed=seed, draws=draws, **where)
        for a, b in zip(whole.least_draws(method, found.most), dense, strict=True):
            assert as_ids(a, whole.clip_ids) == as_ids(b, world.ids)
    base, scores = representatives(world.scores["ard"], world.ids, p=p, seed=seed, **where), world.scores["ard"]
    for number in random_seeds:
        expected = random_representatives(base, scores, world.ids, seed=number, **where)
        same(whole.random(whole.representatives("ard"), number), whole.clip_ids, expected, world.ids)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 30), st.integers(1, 5), st.integers(1, 4), st.integers(1, 20))
def test_dense_scores_of_either_sign_as_poly_has_them(
    seed: int, clips: int, latents: int, p: int, recordings: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, (clips, latents)).astype(np.float32)
    ids, names = [f"c{i}" for i in range(clips)], [f"r{i}" for i in rng.integers(0, recordings, clips)]
    where = {"hookpoint": "layers.1", "p": p, "seed": seed}
    expected = representatives(scores, ids, recording_ids=names, **where)
    parts = []
    for rows in np.array_split(rng.permutation(clips), 3):
        ranker = Ranker(latents, methods=("poly",), sparse=False, **where)
        ranker.add_dense([ids[i] for i in rows], [names[i] for i in rows], scores[rows])
        parts.append(ranker)
    parts[2].merge(parts[0])
    parts[2].merge(parts[1])
    same(parts[2].representatives("poly"), parts[2].clip_ids, expected, ids)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 40), st.integers(1, 12), st.integers(1, 40))
def test_latent_by_latent_equals_clip_by_clip(seed: int, clips: int, latents: int, recordings: int) -> None:
    world = World(seed, clips, latents, recordings)
    where = {"p": 3, "seed": seed, "draws": (0, 4), "random_seeds": (1,), "examples": 5}
    by_clip, by_latent = Ranker(latents, "layers.0", **where), Ranker(latents, "layers.0", **where)
    by_clip.add(world.block(np.arange(clips)))
    by_latent.add_clips(world.ids, world.recordings)
    for columns in np.array_split(np.arange(latents), 3):
        if len(columns):
            latent, clip = (world.scores["ard"][:, columns] > 0).T.nonzero()
            indptr = np.concatenate([[0], np.bincount(latent, minlength=len(columns)).cumsum()])
            values = np.stack([world.scores[m][clip, columns[latent]] for m in METHODS])
            by_latent.add_latents(columns[0], indptr, clip, values)
    for method in METHODS:
        found, expected = by_latent.representatives(method), by_clip.representatives(method)
        same(found, by_latent.clip_ids, expected, by_clip.clip_ids)
    base = by_clip.representatives("ard")
    same(by_latent.random(base, 1), by_latent.clip_ids, by_clip.random(base, 1), by_clip.clip_ids)
    for a, b in zip(by_latent.examples(), by_clip.examples(), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 40), st.integers(1, 20))
def test_examples_are_the_same_for_any_order_and_belong_to_other_recordings(
    seed: int, clips: int, recordings: int
) -> None:
    world = World(seed, clips, 4, recordings)
    found = []
    for _ in range(2):
        ranker = Ranker(4, "layers.0", examples=6, seed=seed)
        for part in world.split(world.rng.permutation(clips), 4):
            ranker.add(world.block(part))
        clip, score = ranker.examples()
        found.append((as_ids(clip, ranker.clip_ids), score))
        for latent in range(4):
            rows = [world.ids.index(ranker.clip_ids[c]) for c in clip[latent] if c >= 0]
            active = {world.recordings[i] for i in range(clips) if world.scores["ard"][i, latent] > 0}
            assert {world.recordings[i] for i in rows} <= active
            assert len(rows) == min(6, len(active)) == len({world.recordings[i] for i in rows})
            assert score[latent][: len(rows)].tolist() == [world.scores["ard"][i, latent] for i in rows]
    assert found[0][0] == found[1][0]
    assert np.array_equal(found[0][1], found[1][1], equal_nan=True)


def test_examples_are_a_uniform_sample() -> None:
    """Each of 30 active clips is drawn for about a third of 3,000 latents when 10 are drawn."""
    latents, clips = 3000, 30
    ranker = Ranker(latents, "layers.0", methods=("ard",), examples=10)
    ids = [f"c{i}" for i in range(clips)]
    ranker.add_dense(ids, ids, np.ones((clips, latents), np.float32))
    drawn = np.bincount(ranker.examples().clip.ravel(), minlength=clips)
    assert np.abs(drawn - 1000).max() < 6 * np.sqrt(1000 * 2 / 3)


def test_scores_that_vanish_in_float32_tie_with_clips_that_have_none() -> None:
    """An entry of score 0 is not active, and competes for L with the clips without an entry by the hash alone."""
    rng = np.random.default_rng(3)
    fires = rng.random((30, 40)) < 0.6
    scores = np.where(fires & (rng.random(fires.shape) < 0.5), 1.0, 0.0).astype(np.float32)
    ids = [f"c{i}" for i in range(30)]
    clip, latent = fires.nonzero()
    ranker = Ranker(40, "layers.0", methods=("ard",))
    offsets = np.concatenate([[0], fires.sum(1).cumsum()])
    ranker.add(Block(ids, ids, offsets, latent, scores[clip, latent][None]))
    same(ranker.representatives("ard"), ranker.clip_ids, representatives(scores, ids, hookpoint="layers.0"), ids)


def test_threads_change_nothing() -> None:
    world = World(1, 60, 50, 40)
    found = []
    for threads in (1, 3):
        ranker = Ranker(50, "layers.0", threads=threads)
        ranker.add(world.block(np.arange(60)))
        found.append(ranker.representatives("ard"))
    same(found[0], world.ids, found[1], world.ids)


def test_what_does_not_fit_is_refused() -> None:
    world = World(0, 6, 3, 6)
    block = world.block(np.arange(6))
    ranker = Ranker(3, "layers.0")
    with pytest.raises(RankError, match="p is 0"):
        Ranker(3, "layers.0", p=0)
    with pytest.raises(RankError, match="1 methods"):
        ranker.add(block._replace(scores=block.scores[:1]))
    with pytest.raises(RankError, match="not finite"):
        ranker.add(block._replace(scores=block.scores * np.nan))
    with pytest.raises(RankError, match="none may be below 0"):
        ranker.add(block._replace(scores=-block.scores))
    with pytest.raises(RankError, match="not among the 3"):
        ranker.add(block._replace(latents=block.latents + 3))
    with pytest.raises(RankError, match="other settings"):
        ranker.merge(Ranker(3, "layers.1"))
    with pytest.raises(RankError, match="give all"):
        Ranker(3, "layers.0", sparse=False).add(block)
    ranker.add(block)
    ranker.add(block)
    with pytest.raises(RankError, match="came more than once"):
        ranker.representatives("ard")
