"""The report's Table 3: steering with its controls and comparator, and the paper's figures beside it."""

from __future__ import annotations

from typing import Any

from ard.store import Run
from precompute.report import paper
from precompute.report.blocks import NOTHING, Grid, Plot, Section, number, percent, whole, with_interval
from precompute.report.multiples import Panel, Point, multiples
from precompute.report.reading import METHODS, rows_of, section

Row = dict[str, Any]
HEADER = (
    *("task", "change", "method", "what", "value", "samples", "sensitivity"),
    *("of all", "off target", "no answer", "empty / repeated / off the set"),
)
JUDGE = HEADER.index("of all")
"""Where the column of the chat model's figure goes."""
DEGENERATE = 0.5
"""Share of answers that are no answer from which a point of the dose–response is drawn as a cross."""
JUDGED = ("task", "source", "target", "method", "comparator", "sae_id", "control", "latent_id", "value")


def steering(run: Run) -> Section:
    """Table 3: the chosen latents on clips that did not choose them, beside the controls."""
    rows, judged = rows_of(run, "steering"), _judged(run)
    found = sorted(
        rows or [], key=lambda r: (r["task"], r["source"], r["target"], METHODS.index(r["method"]), r["sae_id"])
    )
    compared = [_as_steered(r) for r in rows_of(run, "steering_comparators") or []]
    chosen = [r for r in found if r["chosen"] and r["control"] == "none"]
    best = [r for r in compared if r["chosen"]]
    others = [r for r in found if not r["chosen"] and r["control"] == "none" and r["how_chosen"] != "effect"]
    controls = [r for r in found if r["control"] != "none"]
    header = (*HEADER[:JUDGE], *(("by the judge",) if judged else ()), *HEADER[JUDGE:])
    where = ", ".join(dict.fromkeys(r["sae_id"] for r in found if r["method"] == "ard"))

    def grid(title: str, some: list[Row], folded: bool = False) -> Grid:
        return Grid(title, header, [_steered(r, judged) for r in some], words=4, folded=folded)

    blocks: list[Grid | Plot] = [
        _means(found, best),
        grid(f"Latent and value chosen on other clips, by their effect: {where}", chosen),
        grid("Controls", controls),
        grid("No SAE: difference of means, α chosen on other clips", best),
        grid("Chosen otherwise", [r for r in others if r["how_chosen"] is not None], folded=True),
        *_curves(found, compared),
        *_agreement(run),
    ]
    return section(
        "table-3",
        "Table 3: steering",
        "of the samples whose label and unsteered answer are the source, the share whose steered answer is the target, "
        "with the 95 % Wilson interval; “of all” counts every sample with that label. An answer that is empty, says "
        "the same again and again or names nothing of the answer set is no answer, and never counts as turned.",
        "that the latent's own concept does it: hold it against random latents at the same value, against "
        "reconstruction alone and against the difference of means, which needs no SAE, and watch how many answers are "
        "no answer. Intervals cover the clips, not another choice of latent or another wording of the question.",
        [b for b in blocks if isinstance(b, Plot) or b.rows],
        [paper.TABLE_3],
        there=rows is not None,
        command=f"python -m precompute steering --run {run.path}",
        empty="The run has no task that could be steered: too few clips with the labels of a task.",
    )


def _means(rows: list[Row], compared: list[Row]) -> Grid:
    """Mean over tasks: what each way of steering reaches."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for r in rows:
        if r["chosen"] or r["control"] != "none":
            what = "chosen by effect" if r["control"] == "none" else r["control"].replace("_", " ")
        elif r["how_chosen"] in ("auroc", "name"):
            what = f"chosen by {r['how_chosen']}"
        else:
            continue
        groups.setdefault((r["method"], what), []).append(r)
    for r in compared:
        groups.setdefault((r["method"], "no SAE"), []).append(r)
    lines = []
    for (method, what), mine in groups.items():
        known = [r for r in mine if r["sensitivity"] is not None]
        if known:
            means = [sum(r[c] or 0.0 for r in known) / len(known) for c in ("sensitivity", "degenerate")]
            lines.append((method, what, whole(len(known)), *(number(m) for m in means)))
    return Grid("Mean over tasks", ("method", "what", "tasks", "sensitivity", "no answer"), lines, words=2)


def _as_steered(r: Row) -> Row:
    """A row of `steering_comparators` in the columns of `steering`."""
    names = {"method": r["comparator"], "sae_id": f"{r['hookpoint']}/raw", "control": "none", "latent_id": None}
    return {**r, **names, "how_chosen": "effect", "latents": None}


def _steered(r: Row, judged: dict[tuple[Any, ...], Row]) -> tuple[str, ...]:
    unit = "dimension" if r["method"] == "poly" else "latent"
    what = f"{unit} {r['latent_id']}" if r["control"] == "none" else r["control"].replace("_", " ")
    if "comparator" in r:
        what = "x + α·v"
    elif r["control"] == "none" and r["how_chosen"] not in (None, "effect"):
        what += f", by {r['how_chosen']}"
    if r["latents"]:
        what += f", {r['latents']} latents ± {number(r['sensitivity_std'])}"
    kinds = [r.get(f"degenerate_{why}") for why in ("empty", "repeated", "off_set")]
    faults = " / ".join(map(number, kinds)) if any(kinds) else NOTHING
    by_judge = (with_interval(judged.get(_place(r), {}), "sensitivity"),) if judged else ()
    return (
        *(r["task"], f"{r['source']} → {r['target']}", r["method"], what, number(r["value"], 1), whole(r["samples"])),
        *(with_interval(r, "sensitivity"), *by_judge, number(r["sensitivity_all"]), number(r["off_target"])),
        *(number(r["degenerate"]), faults),
    )


def _judged(run: Run) -> dict[tuple[Any, ...], Row]:
    """The chat model's figures by what steered."""
    return {tuple(r[name] for name in JUDGED): r for r in rows_of(run, "steering_judged") or []}


def _place(r: Row) -> tuple[Any, ...]:
    compared = "comparator" in r
    known = {**r, "method": None if compared else r["method"], "comparator": r.get("comparator")}
    return tuple(known[name] for name in JUDGED)


def _curves(rows: list[Row], compared: list[Row]) -> list[Plot]:
    """Sensitivity against the steering value: the chosen latent of each task, and the difference of means."""
    latents = [r for r in rows if r["method"] == "ard" and r["control"] == "none" and r["how_chosen"] == "effect"]
    controls = [r for r in rows if r["method"] == "ard" and r["control"] == "random_latent"]
    words = (
        "bars are 95 % intervals, the large dot is the value chosen on other clips, a cross says that at least half "
        "of the answers there are no answer."
    )
    plots = [
        Plot(
            f"Dose–response of the chosen latent: sensitivity against its value. Grey: random latents at the chosen "
            f"value; {words}",
            multiples(_panels(latents, controls), "value"),
        ),
        Plot(
            f"Dose–response of the difference of means: sensitivity against α; {words}",
            multiples(_panels(compared, []), "α"),
        ),
    ]
    return [plot for plot in plots if plot.svg]


def _panels(rows: list[Row], controls: list[Row]) -> list[Panel]:
    tasks: dict[tuple[str, str, str], list[Point]] = {}
    for r in rows:
        if r["sensitivity"] is not None and r["value"] is not None:
            tasks.setdefault((r["task"], r["source"], r["target"]), []).append(_point(r))
    beside: dict[tuple[str, str, str], list[Point]] = {}
    for r in controls:
        if r["sensitivity"] is not None and r["value"] is not None:
            beside.setdefault((r["task"], r["source"], r["target"]), []).append(_point(r))
    return [Panel(f"{key[1]} → {key[2]}", points, beside.get(key, ())) for key, points in tasks.items()]


def _point(r: Row) -> Point:
    low, high = (r[f"sensitivity_{end}"] for end in ("low", "high"))
    y = r["sensitivity"]
    return Point(
        x=r["value"],
        y=y,
        low=y if low is None else low,
        high=y if high is None else high,
        degenerate=(r["degenerate"] or 0.0) >= DEGENERATE,
        chosen=bool(r["chosen"]),
    )


def _agreement(run: Run) -> list[Grid]:
    """The two judges beside one another."""
    rows = rows_of(run, "judge_agreement") or []
    lines = [
        (
            *(r["task"], "" if r["source"] is None else f"{r['source']} → {r['target']}", r["judge"]),
            *(whole(r["answers"]), whole(r["distinct"]), whole(r["unjudged"])),
            *(percent(r["agreement"]), number(r["kappa"])),
        )
        for r in rows
    ]
    header = ("task", "change", "chat model", "answers", "different ones", "no verdict", "same verdict", "Cohen's κ")
    return [Grid("The rules of the tasks and a chat model, reading the same answers", header, lines, words=3)]
