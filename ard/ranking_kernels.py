"""Compiled loops behind `ard/ranking.py`: short sorted lists of clips, one a latent, filled from blocks of clips.

A list holds clips in ascending order of (score, hash), or of the hash alone. It keeps at most `limit` recordings and
at most `per_recording` windows of each; what falls out can never come back (the argument stands in `ard/ranking.py`).
All loops release the interpreter's lock and touch the latents `start` to `stop` only, so threads share the work by
latents and nothing depends on their number.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

_SCAN = 256
"""Hashes compared between two looks at the result: the inner loop then has no branch and runs on vectors."""
_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)


class Lists(NamedTuple):
    """Lists of several families (a method, a draw) and all latents, each of at most `width` − 1 clips."""

    score: np.ndarray
    """float32 [families, latents, width]."""
    hash: np.ndarray
    """uint64 [families, latents, width]."""
    clip: np.ndarray
    """int32 [families, latents, width], index of the clip."""
    size: np.ndarray
    """int32 [families, latents], clips in the list."""
    distinct: np.ndarray
    """int32 [families, latents], recordings in the list."""
    bar_score: np.ndarray
    """float32 [families, latents]: with `bar_hash` what a clip must stay below to get in."""
    bar_hash: np.ndarray
    """uint64 [families, latents]."""
    limit: int
    per_recording: int
    by_hash: bool
    """Order by the hash alone; the score is then only carried along."""

    @classmethod
    def empty(cls, families: int, latents: int, limit: int, per_recording: int = 1, by_hash: bool = False) -> Lists:
        """Lists without clips; memory is touched only where a clip comes in."""
        shape = (families, latents, limit * per_recording + 1)
        return cls(
            np.zeros(shape, np.float32),
            np.zeros(shape, np.uint64),
            np.zeros(shape, np.int32),
            np.zeros(shape[:2], np.int32),
            np.zeros(shape[:2], np.int32),
            np.full(shape[:2], np.inf, np.float32),
            np.full(shape[:2], _LAST, np.uint64),
            limit,
            per_recording,
            by_hash,
        )


@numba.njit(cache=True, nogil=True, inline="always")
def mix(x):
    """splitmix64's finaliser; the same as `ard.rank.tie_order` after the XOR of its two keys."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


@numba.njit(cache=True, nogil=True)
def _offer(lists, family, latent, score, order, clip, recordings):
    """Put one clip into its place of one list, if it has one there."""
    if not lists.by_hash and score > lists.bar_score[family, latent]:
        return
    if order >= lists.bar_hash[family, latent] and (lists.by_hash or score == lists.bar_score[family, latent]):
        return
    scores, hashes = lists.score[family, latent], lists.hash[family, latent]
    clips, n = lists.clip[family, latent], lists.size[family, latent]
    place, same, worst = 0, 0, -1
    for i in range(n):
        tied = lists.by_hash or scores[i] == score
        if (tied and hashes[i] < order) or (not tied and scores[i] < score):
            place = i + 1
        if recordings[clips[i]] == recordings[clip]:
            same, worst = same + 1, i
    end = n
    if same == lists.per_recording:
        if place > worst:
            return
        end = worst
    else:
        n += 1
    for i in range(end, place, -1):
        scores[i], hashes[i], clips[i] = scores[i - 1], hashes[i - 1], clips[i - 1]
    scores[place], hashes[place], clips[place] = score, order, clip
    distinct = lists.distinct[family, latent] + (same == 0)
    while distinct > lists.limit:
        n -= 1
        distinct -= _alone(clips, n, recordings)
    lists.size[family, latent], lists.distinct[family, latent] = n, distinct
    if distinct == lists.limit:
        lists.bar_score[family, latent], lists.bar_hash[family, latent] = scores[n - 1], hashes[n - 1]


@numba.njit(cache=True, nogil=True, inline="always")
def _alone(clips, n, recordings):
    """1 if none of the first n clips belongs to the recording of the one after them, else 0."""
    for i in range(n):
        if recordings[clips[i]] == recordings[clips[n]]:
            return 0
    return 1


@numba.njit(cache=True, nogil=True)
def _scan(lists, family, latent, key, keys, first, recordings, place, values, begin, only_absent):
    """Offer every clip of a block by its hash; `place` is 1 + the clip's entry of this latent, 0 where it has none."""
    n = place.shape[0]
    for low in range(0, n, _SCAN):
        high = min(low + _SCAN, n)
        least = _LAST
        for i in range(low, high):
            least = min(least, mix(key ^ keys[first + i]))
        if least >= lists.bar_hash[family, latent]:
            continue
        for i in range(low, high):
            order = mix(key ^ keys[first + i])
            if order < lists.bar_hash[family, latent] and not (only_absent and place[i] > 0):
                value = values[begin + place[i] - 1] if place[i] > 0 else np.float32(0)
                _offer(lists, family, latent, value, order, np.int32(first + i), recordings)


@numba.njit(cache=True, nogil=True)
def rank_block(
    start, stop, shift, indptr, clips, scores, first, count, keys, recordings, latent_keys, sparse, lists, active
):
    """Rank the clips `first` to `first + count` for the latents `start` to `stop` (`indptr` starts at latent `shift`).

    `indptr`, `clips`, `scores` [methods, entries]: entries by latent. `latent_keys`: uint64 [draws, latents], [seeds,
    latents] and [1, latents]. With `sparse`, a clip without an entry has the score 0, and no score is below 0.
    """
    draw_keys, random_keys, sample_keys = latent_keys
    top, absent, low, random, sample = lists
    methods, draws, sampled = scores.shape[0], draw_keys.shape[0], sample.limit > 0
    place = np.zeros(count, np.int32)
    for k in range(start, stop):
        begin, end = indptr[k - shift], indptr[k - shift + 1]
        for e in range(begin, end):
            place[clips[e] - first] = e - begin + 1
        if sparse:
            for d in range(draws):
                _scan(absent, d, k, draw_keys[d, k], keys, first, recordings, place, scores[0], begin, True)
        for s in range(random_keys.shape[0]):
            _scan(random, s, k, random_keys[s, k], keys, first, recordings, place, scores[0], begin, False)
        # p recordings with a score of 0 stand in L before every clip above 0.
        settled = sparse and absent.size[0, k] == absent.limit
        for e in range(begin, end):
            clip = clips[e]
            place[clip - first] = 0
            order = mix(draw_keys[0, k] ^ keys[clip])
            for m in range(methods):
                value = scores[m, e]
                if value > 0:
                    active[m, k] += 1
                    if -value <= top.bar_score[m, k]:
                        _offer(top, m, k, -value, order, clip, recordings)
                if not settled or value <= 0:
                    for d in range(draws):
                        f = m * draws + d
                        if value <= low.bar_score[f, k]:
                            _offer(low, f, k, value, mix(draw_keys[d, k] ^ keys[clip]), clip, recordings)
            if sampled and scores[0, e] > 0:
                order = mix(sample_keys[0, k] ^ keys[clip])
                if order < sample.bar_hash[0, k]:
                    _offer(sample, 0, k, scores[0, e], order, clip, recordings)


@numba.njit(cache=True, nogil=True)
def pour(source, family, target, target_family, left_out, rename, recordings):
    """Offer the clips of a family of lists to another one, under their new indices, but for those `left_out`."""
    for k in range(source.size.shape[1]):
        for i in range(source.size[family, k]):
            clip = rename[source.clip[family, k, i]]
            free = True
            for j in range(left_out.shape[1]):
                free = free and left_out[k, j] != clip
            if free:
                score, order = source.score[family, k, i], source.hash[family, k, i]
                _offer(target, target_family, k, score, order, clip, recordings)


@numba.njit(cache=True, nogil=True)
def by_latent(latents, latents_of_all):
    """Order of the entries by latent, equal ones as they come, and where each latent begins: a counting sort."""
    indptr = np.zeros(latents_of_all + 1, np.int64)
    for latent in latents:
        indptr[latent + 1] += 1
    for k in range(latents_of_all):
        indptr[k + 1] += indptr[k]
    order, at = np.empty(latents.shape[0], np.int64), indptr[:-1].copy()
    for i in range(latents.shape[0]):
        order[at[latents[i]]] = i
        at[latents[i]] += 1
    return order, indptr
