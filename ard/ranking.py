"""`ard/rank.py` for corpora that do not fit in memory: one pass over the clips, O(latents · p) values kept.

Same clips as the dense `representatives`, `least_draws` and `random_representatives`, whatever the order of the clips,
the size of the batches and the number of rankers whose results are merged. Write s for a score, h for the hash of the
latent and the clip, and let clips stand in ascending order of (s, h). For each latent these short lists suffice:

    top      the p recordings with the highest best window                       H, by definition
    absent   the p recordings with the lowest h among clips without an entry     s = 0, never in H
    low      the 2p recordings with the lowest windows, two windows of each      L, once H is known

Why `low` holds L: H has at most one window of a recording, so after H is taken out at most one of the two lowest
windows of a recording is gone, and at most p recordings lose theirs. A clip that fell out of `low` had 2p other
recordings before it, of which p stay. And once `absent` is full, no clip with s > 0 can be in L at all: most latents
never fill `low`. The method `random` excludes L instead of H and keeps its lists in the same way, by h alone.

Examples are drawn in the same pass: of the clips with s > 0 the `examples` ones with the lowest hash, one of a
recording. That is a uniform sample without replacement which depends on no order, and its quantiles estimate those of
all active clips (ours).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ard import ranking_kernels as kernels
from ard.rank import RankError, Representatives, clip_keys, latent_keys

_BLOCK_ENTRIES, _BLOCK_CLIPS = 4_000_000, 2048


class Block(NamedTuple):
    """Scores of some clips, clip after clip: entries `offsets[i]` to `offsets[i + 1]` belong to clip i."""

    clip_ids: Sequence[str]
    recording_ids: Sequence[str]
    offsets: Int[np.ndarray, " clips_plus_1"]
    latents: Int[np.ndarray, " entries"]
    """Column of each entry; ascending within a clip, none twice."""
    scores: Float[np.ndarray, "methods entries"]


class Examples(NamedTuple):
    """A uniform sample of each latent's active clips; −1 and NaN where there are fewer."""

    clip: Int[np.ndarray, "latents n"]
    """Indices into the ranker's clips, in random order (that of a hash)."""
    score: Float[np.ndarray, "latents n"]
    """Score of the first method."""


class Ranker:
    """H, L, their draws, random clips and examples of every latent, from clips in any order.

    Args:
        latents: number of latents, or their ids.
        hookpoint: part of the tie hash.
        methods: names of the rows of `Block.scores`; `random` and the examples carry the score of the first.
        p: clips in H and in L.
        seed: part of the tie hash.
        draws: orders of L among its ties; the first one also orders H.
        random_seeds: seeds of the method `random`.
        examples: clips in the sample of each latent; 0 for none.
        sparse: clips without an entry have the score 0 and no score is negative; otherwise every clip has all entries.
        threads: how many share the work; by default one for each processor this process may use.
    """

    def __init__(
        self,
        latents: int | Sequence[int],
        hookpoint: str,
        *,
        methods: Sequence[str] = ("ard", "mean", "coverage"),
        p: int = 4,
        seed: int = 0,
        draws: Sequence[int] = (0,),
        random_seeds: Sequence[int] = (),
        examples: int = 0,
        sparse: bool = True,
        threads: int | None = None,
    ):
        if p < 1:
            raise RankError(f"p is {p}; it must be 1 or more.")
        ids = range(latents) if isinstance(latents, int) else latents
        self.methods, self.draws, self.random_seeds = tuple(methods), tuple(draws), tuple(random_seeds)
        self.p, self.sparse, self.threads = p, sparse, threads or len(os.sched_getaffinity(0))
        self.clip_ids: list[str] = []
        """Clips so far, in the order in which they came; what the results index."""
        n = len(ids)
        self._keys = (
            _stack([latent_keys(seed, hookpoint, ids, draw) for draw in self.draws], n),
            _stack([latent_keys(s, f"random\0{hookpoint}", ids) for s in self.random_seeds], n),
            _stack([latent_keys(seed, f"examples\0{hookpoint}", ids)] if examples else [], n),
        )
        self._lists = (
            kernels.Lists.empty(len(self.methods), n, p),
            kernels.Lists.empty(len(self.draws), n, p, by_hash=True),
            kernels.Lists.empty(len(self.methods) * len(self.draws), n, 2 * p, 2),
            kernels.Lists.empty(len(self.random_seeds), n, 2 * p, 2, by_hash=True),
            kernels.Lists.empty(1, n if examples else 0, examples, by_hash=True),
        )
        self._active = np.zeros((len(self.methods), n), np.int64)
        self._recording_of: dict[str, int] = {}
        self._clip_keys, self._recordings = np.empty(0, np.uint64), np.empty(0, np.int32)
        self._known = 0
        self._waiting: list[Block] = []

    @property
    def latents(self) -> int:
        """Number of latents."""
        return self._active.shape[1]

    # -- taking clips in -----------------------------------------------------------------------------------------

    def add(self, block: Block) -> None:
        """Take in some clips; each clip of the corpus comes once.

        Raises:
            RankError: sizes do not fit, a score is not finite, or one is negative where clips may lack entries.
        """
        self._check(block)
        self._waiting.append(block)
        entries = sum(b.scores.shape[1] for b in self._waiting)
        if entries >= _BLOCK_ENTRIES or sum(len(b.clip_ids) for b in self._waiting) >= _BLOCK_CLIPS:
            self._flush()

    def add_dense(
        self, clip_ids: Sequence[str], recording_ids: Sequence[str], scores: Float[np.ndarray, "clips latents"]
    ) -> None:
        """Take in clips with a score for every latent, for a ranker of one method that is not sparse (`poly`)."""
        clips, latents = scores.shape
        offsets = np.arange(clips + 1, dtype=np.int64) * latents
        self.add(
            Block(
                clip_ids,
                recording_ids,
                offsets,
                np.tile(np.arange(latents, dtype=np.int32), clips),
                scores.reshape(1, -1),
            )
        )

    def add_clips(self, clip_ids: Sequence[str], recording_ids: Sequence[str]) -> None:
        """Make clips known before their scores come latent by latent, through `add_latents`."""
        self._flush()
        self._register(clip_ids, recording_ids)

    def add_latents(
        self,
        first: int,
        indptr: Int[np.ndarray, " latents_plus_1"],
        clips: Int[np.ndarray, " entries"],
        scores: Float[np.ndarray, "methods entries"],
    ) -> None:
        """All scores of consecutive latents from `first` on, over all known clips; each latent comes once.

        A latent of which nothing is said has no score above 0 and counts as dead.
        """
        values = np.ascontiguousarray(scores, dtype=np.float32)
        self._check_scores(values)
        self._rank(first, indptr, clips.astype(np.int32), values, 0, len(self.clip_ids))

    def _check(self, block: Block) -> None:
        clips, (methods, entries) = len(block.clip_ids), block.scores.shape
        if methods != len(self.methods) or len(block.recording_ids) != clips or len(block.offsets) != clips + 1:
            raise RankError(
                f"The block has {clips} clips, {len(block.recording_ids)} recordings, {len(block.offsets)} offsets and "
                f"{methods} methods; give one recording a clip, one offset more, and {len(self.methods)} methods."
            )
        if block.offsets[-1] != entries or len(block.latents) != entries:
            raise RankError(f"The block has {entries} scores for {len(block.latents)} latents; give one for each.")
        if entries and not 0 <= block.latents.min() <= block.latents.max() < self.latents:
            raise RankError(f"A latent of the block is not among the {self.latents} of the ranker; allowed are these.")
        if not self.sparse and entries != clips * self.latents:
            raise RankError(f"The block has {entries} scores; give all {clips} × {self.latents}.")
        self._check_scores(block.scores)

    def _check_scores(self, scores: np.ndarray) -> None:
        if not np.isfinite(scores).all():
            raise RankError("A score is not finite; mend the latents or leave the clip out.")
        if self.sparse and scores.min(initial=0) < 0:
            raise RankError(f"A score is {scores.min()}; where a missing entry means 0, none may be below 0.")

    def _register(self, clip_ids: Sequence[str], recording_ids: Sequence[str]) -> int:
        """Give clips their indices; returns the first."""
        first = len(self.clip_ids)
        self.clip_ids.extend(clip_ids)
        of = self._recording_of
        numbers = [of.setdefault(r, len(of)) for r in recording_ids]
        self._clip_keys = np.concatenate([self._clip_keys, clip_keys(clip_ids)])
        self._recordings = np.concatenate([self._recordings, np.array(numbers, np.int32)])
        return first

    def _flush(self) -> None:
        """Rank the blocks that wait, as one."""
        if not self._waiting:
            return
        blocks, self._waiting = self._waiting, []
        first = len(self.clip_ids)
        for block in blocks:
            self._register(block.clip_ids, block.recording_ids)
        lengths = np.concatenate([np.diff(block.offsets) for block in blocks])
        order, indptr = kernels.by_latent(np.concatenate([b.latents for b in blocks]).astype(np.int32), self.latents)
        clips = np.repeat(np.arange(first, first + len(lengths), dtype=np.int32), lengths)[order]
        scores = np.concatenate([b.scores for b in blocks], axis=1)[:, order].astype(np.float32, order="C")
        self._rank(0, indptr, clips, scores, first, len(lengths))

    def _rank(
        self, shift: int, indptr: np.ndarray, clips: np.ndarray, scores: np.ndarray, first: int, count: int
    ) -> None:
        def work(part: np.ndarray) -> None:
            kernels.rank_block(
                part[0], part[-1] + 1, shift, indptr, clips, scores, first, count,
                self._clip_keys, self._recordings, self._keys, self.sparse, self._lists, self._active,
            )  # fmt: skip

        parts = [p for p in np.array_split(np.arange(shift, shift + len(indptr) - 1), 8 * self.threads) if len(p)]
        if self.threads == 1:
            list(map(work, parts))
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(work, parts))

    def merge(self, other: Ranker) -> None:
        """Take in what another ranker of the same settings found on other clips.

        Raises:
            RankError: the other one has other settings.
        """
        if not self._agrees(other):
            raise RankError("The rankers have other settings; give both the same latents, hookpoint, seeds and p.")
        self._flush()
        other._flush()
        names = list(other._recording_of)
        first = self._register(other.clip_ids, [names[i] for i in other._recordings])
        rename = np.arange(first, len(self.clip_ids), dtype=np.int32)
        for mine, theirs in zip(self._lists, other._lists, strict=True):
            for family in range(len(theirs.size)):
                nothing = np.empty((self.latents, 0), np.int32)
                kernels.pour(theirs, family, mine, family, nothing, rename, self._recordings)
        self._active += other._active

    def _agrees(self, other: Ranker) -> bool:
        mine = (self.methods, self.draws, self.random_seeds, self.p, self.sparse)
        theirs = (other.methods, other.draws, other.random_seeds, other.p, other.sparse)
        same = all(np.array_equal(a, b) for a, b in zip(self._keys, other._keys, strict=True))
        return mine == theirs and same and self._lists[4].limit == other._lists[4].limit

    # -- what came out -------------------------------------------------------------------------------------------

    def representatives(self, method: str, draw: int | None = None) -> Representatives:
        """H and L by one method, as indices into `clip_ids`; L by the first draw unless another one is named.

        Raises:
            RankError: a clip id came twice.
        """
        self._finish()
        m = self.methods.index(method)
        most, negative = self._read(self._lists[0], m)
        least, lowest = self._least(m, self.draws[0] if draw is None else draw, most)
        return self._result(most, -negative, least, lowest, self._active[m])

    def least_draws(self, method: str, most: np.ndarray) -> Int[np.ndarray, "draws latents p"]:
        """L by each draw, with H = `most` held fixed: no clip of it is in any L."""
        self._finish()
        return np.stack([self._least(self.methods.index(method), draw, most)[0] for draw in self.draws])

    def random(self, base: Representatives, seed: int) -> Representatives:
        """The method `random`: p random clips in place of H, none of them in the L of `base`."""
        self._finish()
        target = kernels.Lists.empty(1, self.latents, self.p, by_hash=True)
        self._pour(self._lists[3], self.random_seeds.index(seed), target, np.where(base.dead[:, None], -1, base.least))
        most, score = self._read(target, 0)
        most, score = np.where(base.dead[:, None], -1, most), np.where(base.dead[:, None], np.nan, score)
        return self._result(most, score, base.least, base.least_score, base.n_active)

    def examples(self) -> Examples:
        """The sample of active clips, in the order of the hash."""
        self._finish()
        return Examples(*self._read(self._lists[4], 0))

    def _finish(self) -> None:
        self._flush()
        if self._known == len(self.clip_ids):
            return
        found, counts = np.unique(self._clip_keys, return_counts=True)
        if len(found) < len(self.clip_ids):
            twice = int((self._clip_keys == found[counts.argmax()]).argmax())
            raise RankError(f"Clip id {self.clip_ids[twice]!r} came more than once; each clip is added once.")
        self._known = len(self.clip_ids)

    def _least(self, method: int, draw: int, most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = self.draws.index(draw)
        target = kernels.Lists.empty(1, self.latents, self.p)
        self._pour(self._lists[2], method * len(self.draws) + d, target, most)
        if self.sparse:
            self._pour(self._lists[1], d, target, most)
        least, score = self._read(target, 0)
        dead = self._active[method][:, None] == 0
        return np.where(dead, -1, least), np.where(dead, np.nan, score)

    def _pour(self, source: kernels.Lists, family: int, target: kernels.Lists, left_out: np.ndarray) -> None:
        same = np.arange(len(self.clip_ids), dtype=np.int32)
        kernels.pour(source, family, target, 0, left_out.astype(np.int32), same, self._recordings)

    def _read(self, lists: kernels.Lists, family: int) -> tuple[np.ndarray, np.ndarray]:
        """Clips and scores [latents, limit] of one family, −1 and NaN beyond the end."""
        there = np.arange(lists.limit) < lists.size[family][:, None]
        clip = np.where(there, lists.clip[family, :, : lists.limit], -1).astype(np.int64)
        return clip, np.where(there, lists.score[family, :, : lists.limit], np.float32(np.nan))

    def _result(
        self, most: np.ndarray, high: np.ndarray, least: np.ndarray, lowest: np.ndarray, active: np.ndarray
    ) -> Representatives:
        complete = np.asarray((np.minimum(most, least) >= 0).all(1))
        return Representatives(most, least, high, lowest, active.copy(), active == 0, complete)


def _stack(keys: list[np.ndarray], latents: int) -> np.ndarray:
    return np.stack(keys) if keys else np.empty((0, latents), np.uint64)
