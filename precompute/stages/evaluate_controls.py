"""Comparisons of methods on the same resamples, and the checks that every evaluation must pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ard.chance import Difference, chance, paired
from ard.interpretability import FIGURES
from precompute.stages.evaluate_names import Result
from precompute.stages.scores_io import RANDOM, raw_id

Row = dict[str, Any]
CHECKED = ("f1", "map")
"""Figures that the checks look at: precision and recall can be traded for one another, these cannot."""
UNTRAINED = "untrained_sae"
UNIT = {"clip": "clips", "vocabulary": "names"}
"""What is drawn anew in both methods at once."""
WORDS = {"f1": "F1", "map": "mAP"}


class _Figures(NamedTuple):
    """Figures of one method, of several seeds their mean, with their resamples [figures, draws]."""

    values: np.ndarray
    resampled: np.ndarray
    seeds: int


def comparison_rows(results: Sequence[Result]) -> list[Row]:
    """`ard` less every other method of its SAE, less `poly` of its layer, and less its untrained SAE."""
    groups: dict[tuple[str, str, str, str, int | None], list[Result]] = {}
    for r in results:
        of = r.concepts
        groups.setdefault((of.sae_id, of.method, of.control, r.reading, r.n), []).append(r)
    rows: list[Row] = []
    for (sae_id, method, control, reading, n), mine in groups.items():
        if method != "ard" or control != "none":
            continue
        others = [(sae_id, other, "none") for other in ("coverage", "mean", RANDOM)]
        others += [(raw_id(sae_id.split("/")[0]), "poly", "none"), (sae_id, "ard", UNTRAINED)]
        for other in others:
            theirs = groups.get((*other, reading, n))
            if theirs:
                key = {"reading": reading, "sae_id": sae_id, "method": "ard", "n": n, "paired": UNIT[reading]}
                key |= dict(zip(("other_sae_id", "other_method", "other_control"), other, strict=True))
                rows += _compared(key, _figures(mine), _figures(theirs))
    return rows


def _figures(results: Sequence[Result]) -> _Figures:
    values = np.mean([[getattr(r.found, name).value for name in FIGURES] for r in results], 0)
    return _Figures(values, np.mean([r.found.resampled for r in results], 0), len(results))


def _compared(key: Row, ours: _Figures, theirs: _Figures) -> Iterator[Row]:
    for i, name in enumerate(FIGURES):
        found: Difference = paired(ours.values[i], theirs.values[i], ours.resampled[i], theirs.resampled[i])
        yield key | {
            "figure": name,
            "value": ours.values[i],
            "other": theirs.values[i],
            "difference": found.value.value,
            "difference_low": found.value.low,
            "difference_high": found.value.high,
            "better": found.better,
            "worse": found.worse,
            "draws": ours.resampled.shape[1],
            "other_seeds": theirs.seeds,
        }


def control_rows(results: Sequence[Result], comparisons: Sequence[Row]) -> list[Row]:
    """The checks of method `ard`, reading `clip` with τ: above its shuffles, and above its untrained SAE."""
    rows: list[Row] = []
    for r in results:
        of = r.concepts
        if of.method == "ard" and of.control == "none" and r.reading == "clip" and r.n is None:
            rows += _above_shuffles(r)
            rows += _above_untrained(of.sae_id, comparisons)
    return rows


def _above_shuffles(r: Result) -> Iterator[Row]:
    for control, readings in r.shuffled.items():
        what = control.removeprefix("shuffled_")
        for name in CHECKED:
            value = getattr(r.found, name).value
            expected = r.expected[control] if name == "map" else None
            found = chance([getattr(reading, name).value for reading in readings], expected)
            above, sound = value > found.high, found.sound()
            words = (
                f"{WORDS[name]} {value:.3f} is {'above' if above else 'not above'} all but the highest 2.5 % of "
                f"{found.draws} shuffles of the {what} (mean {found.mean:.3f}, 95 % of them {found.low:.3f} to "
                f"{found.high:.3f})"
            )
            if expected is not None:
                words += (
                    f"; the shuffles {'are' if sound else 'are not'} at chance: independence predicts {expected:.3f}"
                )
            yield {
                **{"control": control, "sae_id": r.concepts.sae_id, "reading": r.reading, "figure": name},
                **{"passed": found.below(value), "value": value, "chance": found.mean, "low": found.low},
                **{"high": found.high, "expected": expected, "draws": found.draws, "sentence": words + "."},
            }


def _above_untrained(sae_id: str, comparisons: Sequence[Row]) -> Iterator[Row]:
    for row in comparisons:
        wanted = (sae_id, "clip", None, UNTRAINED)
        if (row["sae_id"], row["reading"], row["n"], row["other_control"]) != wanted or row["figure"] not in CHECKED:
            continue
        low, high = row["difference_low"], row["difference_high"]
        words = (
            f"{WORDS[row['figure']]} {row['value']:.3f} is {'above' if row['better'] else 'not clearly above'} the "
            f"{row['other']:.3f} of the same SAE before training (difference {row['difference']:.3f}"
        )
        words += f", 95 % {low:.3f} to {high:.3f}, same resamples of the clips)." if low is not None else ")."
        yield {
            **{"control": UNTRAINED, "sae_id": sae_id, "reading": "clip", "figure": row["figure"]},
            **{"passed": row["better"], "value": row["value"], "chance": row["other"], "low": low, "high": high},
            **{"expected": None, "draws": row["draws"], "sentence": words},
        }
