"""The most and the least representative clips of each latent (AR&D, arXiv 2602.22253, section 2, after Eq. 2).

Paper: H = the p clips with the highest r, L = the p with the lowest; p = 4.

Ours:
- Almost all clips have r = 0 for most latents, so "lowest p" is a tie. Equal scores are ordered by
  hash(seed, hookpoint, latent_id, clip_id): the same for any order of the clips, and different from latent to latent.
  `draw` gives further orders, to measure how much a score depends on the draw of L.
- H takes clips with r > 0 only. A latent that fires in fewer than p clips keeps what it has; the rest is −1.
  A dead latent (r > 0 nowhere) has neither H nor L.
- At most one window of a recording is in H, and at most one in L; no clip is in both.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

_CHUNK_VALUES = 1 << 22


class RankError(ValueError):
    """Scores or ids from which no clips can be chosen; the message says how to mend it."""


class Representatives(NamedTuple):
    """H and L of every latent: indices into the caller's clips, best first; −1 where there is no clip."""

    most: Int[np.ndarray, "latents p"]
    """H: highest score first."""
    least: Int[np.ndarray, "latents p"]
    """L: lowest score first."""
    most_score: Float[np.ndarray, "latents p"]
    """Scores of H; NaN where there is no clip."""
    least_score: Float[np.ndarray, "latents p"]
    """Scores of L; NaN where there is no clip."""
    n_active: Int[np.ndarray, " latents"]
    """Clips with a score above 0."""
    dead: Bool[np.ndarray, " latents"]
    """No clip has a score above 0."""
    complete: Bool[np.ndarray, " latents"]
    """H and L both hold p clips: only then is the latent scored."""


def clip_keys(clip_ids: Sequence[str]) -> UInt64[np.ndarray, " clips"]:
    """First 64 bits of blake2b(clip_id)."""
    return np.array([_blake64(clip_id) for clip_id in clip_ids], dtype=np.uint64)


def latent_keys(seed: int, hookpoint: str, latent_ids: Sequence[int], draw: int = 0) -> UInt64[np.ndarray, " latents"]:
    """First 64 bits of blake2b(seed, hookpoint, latent_id), and of the draw where it is not 0."""
    suffix = f"\0draw {draw}" if draw else ""
    return np.array([_blake64(f"{seed}\0{hookpoint}\0{int(i)}{suffix}") for i in latent_ids], dtype=np.uint64)


def _blake64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(latents: UInt64[np.ndarray, " latents"], clips: UInt64[np.ndarray, " clips"]) -> np.ndarray:
    """splitmix64's finaliser over latent XOR clip, [latents, clips].

    For one latent it is a bijection of the clips' hashes, so two clips tie only if their 64 bits agree. Source:
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    x = latents[:, None] ^ clips[None, :]
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def tie_order(
    seed: int, hookpoint: str, latent_ids: Sequence[int], clip_ids: Sequence[str], draw: int = 0
) -> UInt64[np.ndarray, "latents clips"]:
    """hash(seed, hookpoint, latent_id, clip_id): clips with equal scores are taken in ascending order of it.

    Each value depends on its own ids only, never on their order or number.
    """
    return _mix(latent_keys(seed, hookpoint, latent_ids, draw), clip_keys(clip_ids))


def representatives(
    scores: Float[np.ndarray, "clips latents"],
    clip_ids: Sequence[str],
    *,
    hookpoint: str,
    recording_ids: Sequence[str] | None = None,
    p: int = 4,
    seed: int = 0,
    draw: int = 0,
    latent_ids: Sequence[int] | None = None,
) -> Representatives:
    """H and L of every latent by `scores` (r of Eq. 2 for `ard`, μ for `mean`, c for `coverage`).

    Args:
        scores: one value per clip and latent, finite.
        clip_ids: unique ids, in the order of the rows of `scores`.
        hookpoint: part of the tie hash.
        recording_ids: recording of each clip; by default every clip is its own recording.
        p: clips in H and in L.
        seed: part of the tie hash.
        draw: 0 for the order of hash(seed, hookpoint, latent_id, clip_id); 1, 2, … for further ones.
        latent_ids: ids of the columns; by default 0, 1, ….

    Raises:
        RankError: lengths differ, ids repeat, p < 1, or a score is not finite.
    """
    grid = _Grid.build(scores, clip_ids, recording_ids, latent_ids, p)
    keys = latent_keys(seed, hookpoint, grid.latent_ids, draw)
    most, least = grid.empty(p), grid.empty(p)
    n_active = np.zeros(len(keys), dtype=np.int64)
    for part in grid.parts():
        values, order = grid.scores[part], _mix(keys[part], grid.keys)
        n_active[part] = (values > 0).sum(1)
        most[part] = _pick(-values, order, values > 0, grid.recordings, p)
        free = np.broadcast_to(n_active[part, None] > 0, values.shape).copy()
        _close(free, most[part])
        least[part] = _pick(values, order, free, grid.recordings, p)
    return grid.result(most, least, n_active)


def random_representatives(
    base: Representatives,
    scores: Float[np.ndarray, "clips latents"],
    clip_ids: Sequence[str],
    *,
    hookpoint: str,
    recording_ids: Sequence[str] | None = None,
    seed: int = 0,
    latent_ids: Sequence[int] | None = None,
) -> Representatives:
    """The method `random`: p random clips in place of H, whatever their score; L stays that of `base` (ours).

    The clips are drawn by hash(seed, "random", hookpoint, latent_id, clip_id), at most one window of a recording and
    none that is in L. Dead latents stay without clips.

    Raises:
        RankError: see `representatives`; or `base` was made from another number of latents or clips.
    """
    p = base.most.shape[1]
    grid = _Grid.build(scores, clip_ids, recording_ids, latent_ids, p)
    if len(base.most) != len(grid.latent_ids) or base.least.max(initial=-1) >= len(clip_ids):
        raise RankError(f"base has {len(base.most)} latents, the scores {len(grid.latent_ids)}; give the same scores.")
    keys = latent_keys(seed, f"random\0{hookpoint}", grid.latent_ids)
    most, least = grid.empty(p), grid.to_sorted(base.least)
    for part in grid.parts():
        values = grid.scores[part]
        free = np.broadcast_to(~base.dead[part, None], values.shape).copy()
        _close(free, least[part])
        most[part] = _pick(np.zeros_like(values), _mix(keys[part], grid.keys), free, grid.recordings, p)
    return grid.result(most, least, base.n_active)


def least_draws(
    most: Int[np.ndarray, "latents p"],
    scores: Float[np.ndarray, "clips latents"],
    clip_ids: Sequence[str],
    *,
    hookpoint: str,
    recording_ids: Sequence[str] | None = None,
    seed: int = 0,
    draws: Sequence[int] = (0,),
    latent_ids: Sequence[int] | None = None,
) -> Int[np.ndarray, "draws latents p"]:
    """Only L, once for each draw of the order among its ties, with H = `most` held fixed: no clip of H is in any L.

    Draw 0 gives the L of `representatives` with the same seed. What `scores` has no tie in is the same in every draw.

    Raises:
        RankError: see `representatives`; or `most` has another number of latents or names clips that are not there.
    """
    p = most.shape[1]
    grid = _Grid.build(scores, clip_ids, recording_ids, latent_ids, p)
    if len(most) != len(grid.latent_ids) or most.max(initial=-1) >= len(clip_ids):
        raise RankError(f"most has {len(most)} latents, the scores {len(grid.latent_ids)}; give the same scores.")
    found = np.stack([grid.empty(p) for _ in draws])
    keys = [latent_keys(seed, hookpoint, grid.latent_ids, draw) for draw in draws]
    taken, outward = grid.to_sorted(most), np.append(grid.position, -1)
    for part in grid.parts():
        values = grid.scores[part]
        free = np.broadcast_to((values > 0).any(1)[:, None], values.shape).copy()
        _close(free, taken[part])
        for i, key in enumerate(keys):
            found[i, part] = _pick(values, _mix(key[part], grid.keys), free, grid.recordings, p)
    return outward[found]


class _Grid(NamedTuple):
    """Scores as [latents, clips] with the clips sorted by id, so that nothing depends on the caller's order."""

    scores: np.ndarray
    keys: np.ndarray
    recordings: np.ndarray
    latent_ids: Sequence[int]
    position: np.ndarray
    """Caller's index of each sorted clip."""

    @classmethod
    def build(
        cls,
        scores: np.ndarray,
        clip_ids: Sequence[str],
        recording_ids: Sequence[str] | None,
        latent_ids: Sequence[int] | None,
        p: int,
    ) -> _Grid:
        scores = np.asarray(scores)
        if scores.ndim != 2 or len(scores) != len(clip_ids):
            raise RankError(f"scores has shape {scores.shape}; with {len(clip_ids)} clip ids give [clips, latents].")
        latent_ids = range(scores.shape[1]) if latent_ids is None else latent_ids
        if len(latent_ids) != scores.shape[1]:
            raise RankError(f"There are {len(latent_ids)} latent ids for {scores.shape[1]} columns; give one for each.")
        recording_ids = clip_ids if recording_ids is None else recording_ids
        if len(recording_ids) != len(clip_ids):
            raise RankError(
                f"There are {len(recording_ids)} recording ids for {len(clip_ids)} clips; give one for each."
            )
        if len(set(clip_ids)) != len(clip_ids):
            repeated = Counter(clip_ids).most_common(1)[0][0]
            raise RankError(f"Clip id {repeated!r} occurs more than once; clip ids must be unique.")
        if p < 1:
            raise RankError(f"p is {p}; it must be 1 or more.")
        if not np.isfinite(scores).all():
            clip, latent = np.argwhere(~np.isfinite(scores))[0]
            raise RankError(f"The score of clip {clip_ids[clip]!r}, latent {latent_ids[latent]} is not finite.")
        position = np.array(sorted(range(len(clip_ids)), key=clip_ids.__getitem__), dtype=np.int64)
        recordings = np.unique(np.array(recording_ids, dtype=object)[position].astype(str), return_inverse=True)[1]
        ordered = np.ascontiguousarray(scores[position].T) if len(position) else scores.T
        return cls(ordered, clip_keys(clip_ids)[position], recordings, latent_ids, position)

    def parts(self) -> list[slice]:
        """Runs of latents small enough to keep in memory several times."""
        step = max(1, _CHUNK_VALUES // max(1, len(self.position)))
        return [slice(start, start + step) for start in range(0, len(self.latent_ids), step)]

    def empty(self, p: int) -> np.ndarray:
        return np.full((len(self.latent_ids), p), -1, dtype=np.int64)

    def to_sorted(self, index: np.ndarray) -> np.ndarray:
        """The caller's clip indices as indices into the sorted clips; −1 stays."""
        back = np.empty(len(self.position) + 1, dtype=np.int64)
        back[self.position], back[-1] = np.arange(len(self.position)), -1
        return back[index]

    def result(self, most: np.ndarray, least: np.ndarray, n_active: np.ndarray) -> Representatives:
        outward = np.append(self.position, -1)
        complete = np.asarray((np.minimum(most, least) >= 0).all(1))
        values, lowest = self._scores_of(most), self._scores_of(least)
        return Representatives(outward[most], outward[least], values, lowest, n_active, n_active == 0, complete)

    def _scores_of(self, index: np.ndarray) -> np.ndarray:
        if len(self.position) == 0:
            return np.full(index.shape, np.nan)
        return np.where(index >= 0, np.take_along_axis(self.scores, index.clip(0), 1), np.nan)


def _close(free: np.ndarray, taken: np.ndarray) -> None:
    """Mark the clips `taken` [latents, p] as no longer free, in place."""
    rows, columns = (taken >= 0).nonzero()
    free[rows, taken[rows, columns]] = False


def _pick(values: np.ndarray, order: np.ndarray, free: np.ndarray, recordings: np.ndarray, p: int) -> np.ndarray:
    """The p free clips of lowest value of each row, ties by lowest `order`, one per recording; −1 where none is left.

    p passes over the rows instead of a sort: p is small, and each pass closes the recording it took from.
    """
    free, values = free.copy(), np.asarray(values, dtype=np.float64)
    picked = np.full((len(values), p), -1, dtype=np.int64)
    if values.shape[1] == 0:
        return picked
    alone = len(np.unique(recordings)) == len(recordings)
    last = np.iinfo(np.uint64).max
    for rank in range(p):
        lowest = np.where(free, values, np.inf).min(1, keepdims=True)
        tied = free & (values == lowest)
        # A key of all ones must not be mistaken for a clip that is not tied: the last place is shared by saturation.
        best = np.where(tied, np.minimum(order, last - np.uint64(1)), last).argmin(1)
        found = tied.any(1)
        picked[found, rank] = best[found]
        if alone:
            free[found, best[found]] = False
        else:
            free[found] &= recordings[None, :] != recordings[best[found], None]
    return picked
