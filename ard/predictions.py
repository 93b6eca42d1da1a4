"""What the concepts of a method say of each clip: distinct names, strongest first.

Ours: a clip's predictions are the distinct names of the concepts that fire on it. Every set of them, all whose scaled
score exceeds τ or the n strongest, is the beginning of one list, so a clip's concepts are sorted once; dealing out the
names anew (the control `shuffled_names`) then costs one walk along the lists.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Bool, Float, Int


class Firing(NamedTuple):
    """Concepts that fire, clip after clip, within a clip the strongest first."""

    clip: Int[np.ndarray, " entries"]
    latent: Int[np.ndarray, " entries"]
    """Index of the concept among those of its method."""
    score: Float[np.ndarray, " entries"]
    """Scaled clip score, above 0."""
    clips: int

    @classmethod
    def of(cls, scaled: Float[np.ndarray, "clips latents"], group: Int[np.ndarray, " latents"]) -> Firing:
        """Entries above 0, of concepts with a name or without; equal scores in the order of the names."""
        clip, latent = (scaled > 0).nonzero()
        score = scaled[clip, latent]
        order = np.lexsort((group[latent], -score, clip))
        return cls(clip[order], latent[order], score[order].astype(np.float64), len(scaled))


class Said(NamedTuple):
    """Predictions, clip after clip, within a clip the strongest first; no name twice in a clip."""

    clip: Int[np.ndarray, " said"]
    name: Int[np.ndarray, " said"]
    score: Float[np.ndarray, " said"]
    place: Int[np.ndarray, " said"]
    """0 for the strongest of its clip."""
    clips: int

    def first(self, n: int) -> Said:
        """The n strongest of each clip."""
        return self._only(self.place < n)

    def above(self, tau: float) -> Said:
        """Those with a score above τ."""
        return self._only(self.score > tau)

    def _only(self, keep: np.ndarray) -> Said:
        return Said(self.clip[keep], self.name[keep], self.score[keep], self.place[keep], self.clips)

    @property
    def per_clip(self) -> Int[np.ndarray, " clips"]:
        """Number of predictions of each clip."""
        return np.bincount(self.clip, minlength=self.clips)

    @classmethod
    def listed(cls, predicted: Bool[np.ndarray, "clips names"]) -> Said:
        """Predictions without an order of their own: those of a clip in the order of the names."""
        clip, name = np.asarray(predicted).nonzero()
        count = np.bincount(clip, minlength=len(predicted))
        place = np.arange(len(clip)) - np.repeat(np.cumsum(count) - count, count)
        return cls(clip, name, np.ones(len(clip)), place, len(predicted))


def said(firing: Firing, group: Int[np.ndarray, " latents"], names: int) -> Said:
    """The distinct names of what fires: a name counts with the strongest of its concepts; group −1 has no name.

    Args:
        firing: concepts by clip.
        group: index of the name of each concept.
        names: number of names.
    """
    name = group[firing.latent]
    keep, place = np.zeros(len(name), np.bool_), np.zeros(len(name), np.int64)
    _distinct(firing.clip, name, np.full(names, -1, np.int64), keep, place)
    return Said(firing.clip[keep], name[keep], firing.score[keep], place[keep], firing.clips)


@numba.njit(cache=True, nogil=True)
def _distinct(clip, name, seen, keep, place):
    """Marks the first entry of each name in each clip, and numbers these; `seen` holds the clip that a name was in."""
    last, at = -1, 0
    for i in range(len(clip)):
        if clip[i] != last:
            last, at = clip[i], 0
        k = name[i]
        if k >= 0 and seen[k] != last:
            seen[k] = last
            keep[i] = True
            place[i] = at
            at += 1
