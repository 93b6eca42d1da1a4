"""What Table 1 can be held against: differences with intervals, curves over γ, checks, and another seed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from ard.store import Run
from precompute.report.blocks import NOTHING, Grid, Plot, number, percent, whole, with_interval
from precompute.report.plots import Line, lines
from precompute.report.reading import METHODS, ordered, rows_of

Row = dict[str, Any]
NAMES = {"precision": "precision", "recall": "recall", "f1": "F1", "map": "mAP"}
CHECKS = {
    "shuffled_labels": "above shuffled labels",
    "shuffled_names": "above shuffled names",
    "untrained_sae": "above the untrained SAE",
}
CONTROL_LINES = {"shuffled_labels": "shuffled labels", "shuffled_names": "shuffled names", "untrained_sae": "untrained"}
FAILED = "FAILED"


def warnings(run: Run) -> list[str]:
    """One sentence a check that did not pass."""
    return [f"{r['sae_id']}: {r['sentence']}" for r in _of(run, "controls") if not r["passed"]]


def checks(run: Run) -> list[Grid]:
    """Every check with its verdict."""
    rows = [
        (r["sae_id"], CHECKS[r["control"]], NAMES[r["figure"]], "passed" if r["passed"] else FAILED, *_check(r))
        for r in ordered([{**r, "method": "ard"} for r in _of(run, "controls")], run)
    ]
    note = (
        "A figure passes against the shuffles if it lies above their 97.5th percentile and, for mAP, if they lie where "
        "independence predicts; against the untrained SAE if the interval of the difference, over the same resamples "
        "of the clips, lies above 0. Passing shows that names follow the sounds; it does not show how well."
    )
    header = ("SAE", "check", "figure", "verdict", "ours", "control", "interval", "independence", "draws")
    return _grid("Negative controls of method ard, reading “clip” with τ", header, rows, 4, note)


def _check(r: Row) -> tuple[str, ...]:
    """Our figure, the control's, and the interval that decides: of the shuffles, or of the difference."""
    what = "difference " if r["control"] == "untrained_sae" else "shuffles "
    interval = NOTHING if r["low"] is None else f"{what}{number(r['low'], 3)} to {number(r['high'], 3)}"
    figures = (number(r[name], 3) for name in ("value", "chance"))
    return (*figures, interval, number(r["expected"], 3), whole(r["draws"]))


def comparisons(run: Run) -> list[Grid]:
    """`ard` less every other method, F1 and mAP at sight, the rest folded away."""
    groups: dict[tuple[Any, ...], dict[str, Row]] = {}
    for r in sorted(ordered(_of(run, "comparisons"), run), key=lambda r: r["reading"] == "vocabulary"):
        key = (r["sae_id"], r["reading"], r["n"], r["other_control"], r["other_method"])
        groups.setdefault(key, {})[r["figure"]] = r
    note = (
        "Differences over the same resamples: of the clips in “clip”, of the names of all methods in “vocabulary”. "
        "“Better” or “worse” is said only where the 95 % interval leaves out 0. Nothing is corrected for the number of "
        "comparisons, and a difference on these clips and classes is not one on others."
    )
    main, fixed = ({k: v for k, v in groups.items() if (k[2] is None) == mine} for mine in (True, False))
    grids = []
    for title, some, figures, folded in (
        ("Is ard better? Paired differences", main, ("f1", "map"), False),
        ("The same for precision and recall", main, ("precision", "recall"), True),
        ("With fixed numbers of predictions", fixed, ("f1", "map"), True),
    ):
        of_figures = (x for f in figures for x in (NAMES[f], "difference"))
        header = ("SAE", "ard less", "reading", *of_figures)
        rows = [(*_words(key), *(x for f in figures for x in _compared(found.get(f)))) for key, found in some.items()]
        grids += _grid(title, header, rows, 3, "" if folded else note, folded=folded)
    return grids


def _words(key: tuple[Any, ...]) -> tuple[str, str, str]:
    sae_id, reading, n, control, method = key
    other = "its untrained SAE" if control == "untrained_sae" else method
    return sae_id, other, reading if n is None else f"{reading}, n = {n}"


def _compared(r: Row | None) -> tuple[str, ...]:
    if r is None:
        return NOTHING, NOTHING
    verdict = "better" if r["better"] else "worse" if r["worse"] else "not told apart"
    low, high = r["difference_low"], r["difference_high"]
    interval = "" if low is None or high is None else f" [{low:+.3f} to {high:+.3f}]"
    return verdict, f"{r['difference']:+.3f}{interval}"


def curves(run: Run) -> list[Grid | Plot]:
    """F1 over γ for each reading, of the default SAE and the raw dimensions beside it, with chance."""
    default = str(run.manifest.get("default_sae", ""))
    raw = f"{default.split('/')[0]}/raw"
    mine = [r for r in _of(run, "interpretability_curve") if r["sae_id"] in (default, raw)]
    out: list[Grid | Plot] = []
    for reading, n in _settings(mine):
        same = [r for r in mine if (r["reading"], r["n"]) == (reading, n)]
        title = f"F1 over γ, reading “{reading}”" + ("" if reading == "vocabulary" else _how(n))
        words = (
            f"{title}, {default} and the raw dimensions beside it. Shows how much the order of the methods owes to γ = "
            "0.7; it does not say which γ a listener would draw."
        )
        if reading == "clip":
            words += " The predictions are the same for every γ: τ stays as it was chosen. Shuffles are chance."
        out.append(Plot(words, lines(_drawn(same), "γ", "F1", title)))
    return out


def _settings(rows: list[Row]) -> list[tuple[str, int | None]]:
    """The vocabulary, the clips with τ, and the clips with 3 predictions or the first number there is."""
    numbers = sorted({r["n"] for r in rows if r["n"] is not None})
    wanted = [("vocabulary", None), ("clip", None), *(("clip", n) for n in numbers if n == 3 or 3 not in numbers)][:3]
    there = {(r["reading"], r["n"]) for r in rows}
    return [setting for setting in wanted if setting in there]


def _how(n: int | None) -> str:
    return " with τ" if n is None else f" with {n} predictions a clip"


def _drawn(rows: list[Row]) -> list[Line]:
    """One line a method (the mean of its seeds), then the controls of `ard`."""
    groups: dict[tuple[str, str], dict[float, list[float]]] = {}
    for r in rows:
        if r["control"] == "none" or r["method"] == "ard":
            groups.setdefault((r["control"], r["method"]), {}).setdefault(r["gamma"], []).append(r["f1"])
    order = sorted(groups, key=lambda k: (k[0] != "none", -METHODS.index(k[1]), k[0]))
    drawn = []
    for control, method in order:
        points = sorted(groups[control, method].items())
        label = method if control == "none" else CONTROL_LINES[control]
        drawn.append(Line(label, [g for g, _ in points], [statistics.fmean(v) for _, v in points], control != "none"))
    return drawn


def stability(run: Run) -> list[Grid]:
    """Concepts that return with another seed, beside random directions."""
    rows = [
        (
            *(r["sae_id"], f"seed {r['seed']}" + (", untrained (chance)" if r["control"] != "none" else "")),
            *(whole(r["concepts"]), whole(r["latents"]), with_interval(r, "share"), number(r["median"])),
            *(percent(r["share_one_to_one"]), number(r["median_one_to_one"]), number(r["fvu"], 4)),
        )
        for r in sorted(_of(run, "stability"), key=lambda r: (r["sae_id"], r["seed"], r["control"] != "none"))
    ]
    header = (
        *("SAE", "other SAE", "concepts", "its latents", "share with cosine ≥ 0.7", "median cosine"),
        *("share, one to one", "median, one to one", "FVU"),
    )
    note = (
        "Shows how many concepts have a latent that writes nearly the same direction after training with another seed. "
        "It does not show that names agree, and a concept that is lost may be spread over several latents."
    )
    return _grid("Stability: the default SAE trained again", header, rows, 2, note)


def _grid(
    title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], words: int, note: str, *, folded: bool = False
) -> list[Grid]:
    return [Grid(title, header, rows, words=words, folded=folded, note=note)] if rows else []


def _of(run: Run, name: str) -> list[Row]:
    return rows_of(run, name) or []
