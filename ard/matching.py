"""One-to-one matching of each clip's predictions with its classes, for very many small clips.

The matching of a clip has the largest total similarity (scipy's linear_sum_assignment). It does not depend on γ, so it
is made once and every γ counts its pairs above γ. Most clips need no search: with one prediction or one class the best
pair is the matching; and where the best predictions of a clip's classes are all different, they are the matching,
since no other can reach that total. Only clips with a best pair above the lowest γ asked for are looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from ard.predictions import Said


class Pairs(NamedTuple):
    """Every class of every clip with every prediction of that clip; the pairs of one class of one clip lie together."""

    clip: Int[np.ndarray, " references"]
    """Clip of each reference: one class that one clip carries."""
    label: Int[np.ndarray, " references"]
    first: Int[np.ndarray, " references"]
    """Where the pairs of each reference begin."""
    count: Int[np.ndarray, " references"]
    """How many there are: the predictions of its clip."""
    name: Int[np.ndarray, " pairs"]
    """Name of each pair."""

    @property
    def labels(self) -> Int[np.ndarray, " pairs"]:
        """Class of each pair."""
        return np.repeat(self.label, self.count)

    @property
    def clips(self) -> Int[np.ndarray, " pairs"]:
        """Clip of each pair."""
        return np.repeat(self.clip, self.count)


class Assigned(NamedTuple):
    """Matched pairs above a floor: their clips and similarities."""

    clip: Int[np.ndarray, " matched"]
    value: Float[np.ndarray, " matched"]

    def per_clip(self, gamma: float, clips: int) -> Float[np.ndarray, " clips"]:
        """Matched pairs above γ of each clip; γ is not below the floor."""
        return np.bincount(self.clip[self.value > gamma], minlength=clips).astype(np.float64)


def pairs(said: Said, carried: Bool[np.ndarray, "clips classes"]) -> Pairs:
    """Pairs of what is said of each clip with what it carries."""
    clip, label = carried.nonzero()
    per_clip = said.per_clip
    begin, count = (np.cumsum(per_clip) - per_clip)[clip], per_clip[clip]
    first = np.cumsum(count) - count
    within = np.arange(count.sum()) - np.repeat(first, count)
    return Pairs(clip, label, first, count, said.name[np.repeat(begin, count) + within])


def assign(found: Pairs, values: Float[np.ndarray, "names classes"], floor: float) -> Assigned:
    """Matched pairs with a similarity above `floor`."""
    some = found.count > 0
    clip, label, first, count = (part[some] for part in found[:4])
    if not len(clip):
        return Assigned(np.empty(0, np.int64), np.empty(0))
    similar = values[found.name, found.labels]
    best = np.maximum.reduceat(similar, first)
    # References of one clip lie together: `start` is the first of each clip, `owner` the clip of each.
    start = np.append(0, (np.diff(clip) != 0).nonzero()[0] + 1)
    wanted = np.diff(np.append(start, len(clip)))
    owner = np.repeat(np.arange(len(start)), wanted)
    worth = np.maximum.reduceat(best, start) > floor
    single = worth & (count[start] == 1)
    apart = worth & ~single & _apart(found.name, similar, best, first, count, owner, len(start))
    taken = apart[owner] & (best > floor)
    clips = [clip[start[single]], clip[taken]]
    matched = [np.maximum.reduceat(best, start)[single], best[taken]]
    for i in (worth & ~single & ~apart).nonzero()[0].tolist():
        low = start[i]
        names = found.name[first[low] : first[low] + count[low]]
        block = values[names[:, None], label[low : low + wanted[i]]]
        rows, columns = linear_sum_assignment(block, maximize=True)
        value = block[rows, columns]
        value = value[value > floor]
        clips.append(np.full(len(value), clip[low]))
        matched.append(value)
    return Assigned(np.concatenate(clips), np.concatenate(matched))


def _apart(
    name: np.ndarray,
    similar: np.ndarray,
    best: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
    owner: np.ndarray,
    owners: int,
) -> np.ndarray:
    """Whether the classes of each clip have different best predictions; of equally good ones the first is looked at."""
    at = (similar == np.repeat(best, count)).nonzero()[0]
    reference = np.repeat(np.arange(len(first)), count)[at]
    at = at[np.append(True, np.diff(reference) != 0)]
    key = np.sort(owner * (int(name.max()) + 1) + name[at])
    again = key[1:][np.diff(key) == 0] // (int(name.max()) + 1)
    found = np.ones(owners, dtype=bool)
    found[again] = False
    return found
