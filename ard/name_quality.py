"""How well a name fits its latent, judged by sound alone: CLAP cosines of the name with held-out clips.

Ours; it needs neither labels nor people. s_i is the CLAP cosine of the name and held-out clip i, r_i the latent's score
on that clip (Eq. 2 of AR&D, arXiv 2602.22253). The clips F with r_i > 0 are those on which the latent fires.

    auroc    = P(s_i > s_j), i in F, j a held-out clip on which it does not fire; ties count one half
    clap_top = mean of s over the p clips of F with the highest r, one a recording; clap_rest over all other clips

A name that says nothing of what the latent hears gives AUROC 1/2 and equal means, however good the CLAP.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ard.resampling import Estimate, interval

STRONG = 0.5
"""A clip counts as strong above this share of the latent's 99th percentile."""


class NameQualityError(ValueError):
    """Arrays that do not fit together; the message says how to mend it."""


class NameQuality(NamedTuple):
    """Fit of one name; a figure is None where it is not defined."""

    auroc: Estimate | None
    """None if the latent fires on no held-out clip, or on all."""
    auroc_strong: float | None
    """The same for the clips of F with r above half of the 99th percentile, the weaker ones left aside."""
    top: float | None
    """None if the latent fires on no held-out clip."""
    rest: float | None
    firing: int
    """Clips in F."""


class SoundOfName:
    """One name against all held-out clips, ready for the latents that carry it.

    The clips are sorted by s once; a latent then costs its own firing clips times the resamples, not all pairs.
    """

    def __init__(self, similarity: Float[np.ndarray, " clips"], weights: Float[np.ndarray, "draws clips"]) -> None:
        """Sort the clips by their cosine with the name.

        Args:
            similarity: s of every held-out clip.
            weights: how often each clip occurs in each resample (`ard.resampling.bootstrap_weights`).

        Raises:
            NameQualityError: lengths differ, or a cosine is not finite.
        """
        self.similarity = np.asarray(similarity, dtype=np.float64)
        if self.similarity.ndim != 1 or weights.ndim != 2 or weights.shape[1] != len(self.similarity):
            raise NameQualityError(
                f"similarity has shape {self.similarity.shape} and weights {weights.shape}; give [clips] and "
                "[draws, clips]."
            )
        if not np.isfinite(self.similarity).all():
            raise NameQualityError("Some cosines are not finite; embed those clips again or leave them out.")
        self._level = np.unique(self.similarity, return_inverse=True)[1]
        # Row 0 is the sample itself, the others its resamples.
        rows = np.vstack([np.ones(len(self.similarity)), weights])
        order = np.argsort(self._level, kind="stable")
        self._weights = np.ascontiguousarray(rows.T)
        running = np.vstack([np.zeros(len(rows)), np.cumsum(self._weights[order], axis=0)])
        sizes = np.bincount(self._level)
        ends = np.cumsum(sizes)
        # Weight of all clips below each level of s, plus half of those on it.
        self._below = 0.5 * (running[ends - sizes] + running[ends])
        self._total = running[-1]

    def auroc(
        self, positive: Int[np.ndarray, " positives"], ignored: Int[np.ndarray, " ignored"] | None = None
    ) -> Float[np.ndarray, " draws_and_one"]:
        """AUROC of s for some clips against all others but the ignored: the sample's own, then that of each resample.

        NaN where a side is missing.
        """
        ignored = np.zeros(0, dtype=np.int64) if ignored is None else ignored
        level, w = self._level[positive], self._weights[positive]
        out = np.concatenate([positive, ignored])
        wins = (w * (self._below[level] - self._won(out, level))).sum(0)
        up, down = w.sum(0), self._total - self._weights[out].sum(0)
        return np.divide(wins, up * down, out=np.full(len(up), np.nan), where=up * down > 0)

    def _won(self, clips: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """For each level the weight of `clips` below it, plus half of that on it."""
        order = np.argsort(self._level[clips], kind="stable")
        ordered = self._level[clips][order]
        running = np.vstack([np.zeros(self._weights.shape[1]), np.cumsum(self._weights[clips][order], axis=0)])
        left, right = (np.searchsorted(ordered, levels, side=side) for side in ("left", "right"))
        return 0.5 * (running[left] + running[right])

    def quality(
        self,
        scores: Float[np.ndarray, " clips"],
        recordings: Int[np.ndarray, " clips"],
        *,
        p: int,
        strong_above: float,
    ) -> NameQuality:
        """Fit of the name to one latent.

        Args:
            scores: r of every held-out clip.
            recordings: number of the recording of each clip.
            p: clips behind `top`.
            strong_above: r from which a clip is strong: half of the latent's 99th percentile on the probing clips.

        Raises:
            NameQualityError: lengths differ.
        """
        if not len(scores) == len(recordings) == len(self.similarity):
            raise NameQualityError(
                f"There are {len(self.similarity)} cosines, {len(scores)} scores and {len(recordings)} recordings; "
                "give one of each a clip."
            )
        fires = (scores > 0).nonzero()[0]
        strong = fires[scores[fires] > strong_above]
        area = self.auroc(fires)
        value = interval(float(area[0]), area[1:]) if np.isfinite(area[0]) else None
        hard = float(self.auroc(strong, np.setdiff1d(fires, strong))[0])
        top = _top(scores, recordings, fires, p)
        rest = np.setdiff1d(np.arange(len(scores)), top)
        means = [float(self.similarity[one].mean()) if len(one) and len(top) else None for one in (top, rest)]
        return NameQuality(value, hard if np.isfinite(hard) else None, means[0], means[1], len(fires))


def _top(scores: np.ndarray, recordings: np.ndarray, fires: np.ndarray, p: int) -> np.ndarray:
    """The p firing clips of the highest score, the best of each recording; equal scores in the order of the clips."""
    order = fires[np.argsort(-scores[fires], kind="stable")]
    _, first = np.unique(recordings[order], return_index=True)
    return order[np.sort(first)][:p]
