"""The results page as HTML text: tables with intervals, and one sentence each on how to read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from explorer.queries_results import RESULTS as TABLES
from explorer.render import METHOD_NAMES, absent, count, figure, sae_name, share
from explorer.render_provenance import provenance
from explorer.render_results_checks import checks

__all__ = ["TABLES", "page"]

Row = dict[str, Any]
Cell = Callable[[Row], str]
CONTROLS = {
    "none": "",
    "reconstruct_only": "control: reconstruct only",
    "random_latent": "control: random latents",
    "untrained_sae": "control: untrained SAE",
    "shuffled_labels": "control: shuffled labels",
    "shuffled_names": "control: shuffled names",
}
_INTERVAL = "Brackets: 95 % bootstrap interval."


def page(tables: dict[str, list[Row]], manifest: Row, run: Path) -> str:
    """Every section, present or saying what makes it."""
    return (
        '<div class="results ard">'
        + checks(tables["controls"], tables["comparisons"])
        + interpretability(tables["interpretability"], run)
        + labels(tables["labels"], run)
        + detected(tables["detection"], run)
        + human(tables["human"], run)
        + steering(tables["steering"], run)
        + ablation(tables["ablation"], run)
        + saes(tables["saes"], run)
        + provenance(manifest)
        + "</div>"
    )


def _section(title: str, words: str, body: str, ident: str) -> str:
    return f'<section id="{ident}"><h2>{escape(title)}</h2><p class="lead">{escape(words)}</p>{body}</section>'


def _table(columns: Sequence[tuple[str, str, Cell]], rows: Sequence[Row]) -> str:
    """`columns`: (head, class, cell as HTML)."""
    heads = "".join(f'<th class="{kind}">{head}</th>' for head, kind, _ in columns)
    lines = "".join(
        f"<tr{' class=control' if r.get('control', 'none') != 'none' else ''}>"
        + "".join(f'<td class="{kind}">{cell(r)}</td>' for _, kind, cell in columns)
        + "</tr>"
        for r in rows
    )
    return f'<div class="wide"><table class="plain"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def _interval(name: str) -> Cell:
    return lambda r: figure(r[name], r.get(f"{name}_low"), r.get(f"{name}_high"))


def _with_spread(name: str) -> Cell:
    """Mean ± standard deviation over seeds, or the figure with its interval where there is one seed."""

    def cell(r: Row) -> str:
        if r.get("seeds", 1) > 1 and r[name] is not None:
            return f"{figure(r[name])} <small>± {figure(r[f'{name}_std'])}</small>"
        return _interval(name)(r)

    return cell


def _method(r: Row) -> str:
    control = CONTROLS[r.get("control") or "none"]
    return escape(METHOD_NAMES.get(r["method"]) or r["method"]) + (
        f"<br><small>{escape(control)}</small>" if control else ""
    )


def _sae(r: Row) -> str:
    return f"<small>{escape(sae_name(r['sae_id']))}</small>"


_READINGS = {
    "vocabulary": (
        "Interpretability, reading “vocabulary”",
        "The distinct names of the concepts against the class names, matched one to one by CLAP similarity; more names "
        "than classes lower precision. Shuffled names are chance.",
    ),
    "clip": (
        "Interpretability, reading “clip”",
        "For each held-out clip, the concepts that fire against the classes it carries; a match counts above γ. "
        "Shuffled labels are chance.",
    ),
}


def interpretability(rows: list[Row], run: Path) -> str:
    """Table 1 of the paper, in both of our readings."""
    if not rows:
        words = "How well the named concepts cover the classes of held-out clips, for every method (Table 1)."
        return _section("Interpretability", words, _absent("evaluate", run), "interpretability")
    sections = []
    for reading, (title, words) in _READINGS.items():
        mine = [r for r in rows if r["reading"] == reading]
        main, more = [r for r in mine if r["n"] is None], [r for r in mine if r["n"] is not None]
        gamma = f" γ = {figure(mine[0]['gamma'])}." if mine else ""
        body = _table(_interpretability_columns(with_n=False), main or mine)
        if main and more:
            body += (
                "<details><summary>With a fixed number of predictions a clip</summary>"
                f"{_table(_interpretability_columns(with_n=True), more)}</details>"
            )
        sections.append(_section(title, f"{words}{gamma} {_INTERVAL}", body, f"interpretability-{reading}"))
    return "".join(sections)


def _interpretability_columns(*, with_n: bool) -> list[tuple[str, str, Cell]]:
    n: list[tuple[str, str, Cell]] = [("n", "n", lambda r: count(r["n"]))] if with_n else []
    return [
        ("method", "", _method),
        ("SAE", "", _sae),
        *n,
        ("highest m", "n", _with_spread("ms_max")),
        ("precision", "n", _with_spread("precision")),
        ("recall", "n", _with_spread("recall")),
        ("F1", "n", _with_spread("f1")),
        ("mAP", "n", _with_spread("map")),
        ("clips", "n", lambda r: count(r["clips"]) if r["clips"] else "–"),
    ]


def detected(rows: list[Row], run: Path) -> str:
    """Detection of each SAE and method."""
    words = (
        "How well a named latent's score finds held-out clips of its class: area under the ROC curve, .5 is chance. "
        "“Above chance”: share of latents whose interval lies above .5."
    )
    if not rows:
        return _section("Detection", words, _absent("evaluate", run), "detection")
    columns: list[tuple[str, str, Cell]] = [
        ("method", "", _method),
        ("SAE", "", _sae),
        ("latents", "n", lambda r: count(r["latents"])),
        ("median AUROC", "n", lambda r: figure(r["auroc_median"])),
        ("above chance", "n", lambda r: share(r["above_chance"])),
        ("held-out clips", "n", lambda r: count(r["clips"])),
    ]
    return _section("Detection", words, _table(columns, rows), "detection")


def labels(rows: list[Row], run: Path) -> str:
    """Whether single latents find the true labels, beside the controls."""
    words = (
        "Labels found: true labels that one latent, chosen on the probing clips, finds on held-out clips with an AUROC "
        "of at least .9. IoU in time: how far that latent fires just while the label sounds, over the tokens of those "
        "clips. Pure: of the latents with the highest m, the share whose most representative clips share a label. The "
        "controls say what chance and an untrained SAE reach."
    )
    if not rows:
        return _section("Labels", words, _absent("evaluate", run), "labels")
    columns: list[tuple[str, str, Cell]] = [
        ("method", "", _method),
        ("SAE", "", _sae),
        ("labels found", "n", lambda r: "–" if r["labels"] is None else f"{count(r['found'])} of {count(r['labels'])}"),
        ("mean AUROC", "n", lambda r: figure(r["auroc"])),
        ("IoU in time", "n", lambda r: figure(r["iou"])),
        ("pure", "n", lambda r: share(r["pure"])),
        ("latents", "n", lambda r: count(r["latents"])),
    ]
    return _section("Labels", words, _table(columns, rows), "labels")


def human(rows: list[Row], run: Path) -> str:
    """Table 2 of the paper: the listening study."""
    words = (
        "People heard a concept's clips, described them, then rated its name from 0 (wrong) to 5 (fits). Cosine and "
        "BERTScore compare the name with their own words; α is their agreement, 0 is chance, 1 is complete."
    )
    if not rows:
        body = absent("Nobody has rated yet, on the page Rate, or the ratings are not summed up.", "human", run)
        return _section("Listening study", words, body, "human")

    def spread(name: str) -> Cell:
        return lambda r: f"{figure(r[f'{name}_mean'])} <small>± {figure(r[f'{name}_std'])}</small>"

    columns: list[tuple[str, str, Cell]] = [
        ("method", "", _method),
        ("raters", "n", lambda r: count(r["raters"])),
        ("items", "n", lambda r: count(r["items"])),
        ("rating 0–5", "n", spread("rating")),
        ("CLAP cosine", "n", spread("clap_cosine")),
        ("BERTScore", "n", spread("bertscore")),
        ("α", "n", _interval("alpha")),
    ]
    return _section("Listening study", words, _table(columns, rows), "human")


def steering(rows: list[Row], run: Path) -> str:
    """Table 3 of the paper: the figure of each task with its controls; the other values and choices folded away."""
    words = (
        "Sensitivity: of the samples whose label and unsteered answer are the source, the share whose steered answer "
        "is the target. Latent and value were chosen on other clips. Reconstruct only and random latents are the "
        "controls: a latent steers only as far as it beats them. Brackets: 95 % interval."
    )
    if not rows:
        return _section("Steering", words, _absent("steering", run), "steering")
    main = [r for r in rows if r["chosen"] or r["control"] != "none"]
    more = [r for r in rows if not (r["chosen"] or r["control"] != "none")]
    body = _table(_STEERING, main) if main else ""
    if more:
        body += f"<details><summary>Other values, other ways to choose</summary>{_table(_STEERING, more)}</details>"
    return _section("Steering", words, body, "steering")


_STEERING: list[tuple[str, str, Cell]] = [
    ("task", "", lambda r: f"{escape(r['task'])}<br><small>{escape(r['source'])} → {escape(r['target'])}</small>"),
    ("method", "", _method),
    ("latent", "n", lambda r: "–" if r["latent_id"] is None else str(r["latent_id"])),
    ("chosen by", "", lambda r: escape(r.get("how_chosen") or "–")),
    ("value", "n", lambda r: "–" if r["value"] is None else f"{r['value']:.3g}"),
    ("samples", "n", lambda r: count(r["samples"])),
    ("sensitivity", "n", _interval("sensitivity")),
    ("of all labelled", "n", lambda r: figure(r["sensitivity_all"])),
    ("no answer", "n", lambda r: share(r["degenerate"])),
]


def ablation(rows: list[Row], run: Path) -> str:
    """Table 4 of the paper."""
    words = "Highest monosemanticity m over layers and expansions, beside the raw dimensions (poly) of the same layer."
    if not rows:
        return _section("Ablation", words, _absent("ablation", run), "ablation")
    columns: list[tuple[str, str, Cell]] = [
        ("hookpoint", "", lambda r: f"<small>{escape(r['hookpoint'])}</small>"),
        ("method", "", _method),
        ("expansion", "n", lambda r: "–" if r["expansion"] is None else f"{r['expansion']:g}"),
        ("highest m", "n", lambda r: figure(r["ms_max"])),
        ("FVU", "n", lambda r: share(r["fvu"])),
        ("dead", "n", lambda r: share(r["dead_fraction"])),
    ]
    return _section("Ablation", words, _table(columns, rows), "ablation")


def saes(rows: list[Row], run: Path) -> str:
    """How good the SAEs are."""
    words = (
        "FVU: share of the variance of x that x̂ misses, on held-out clips; 0 is perfect. Loss recovered: how much of "
        "the model's own next-token loss survives when x̂ replaces x; 100 % is all."
    )
    if not rows:
        return _section("SAEs", words, _absent("sae", run), "saes")
    columns: list[tuple[str, str, Cell]] = [
        ("SAE", "", _sae),
        ("d_in → d_sae", "n", lambda r: f"{count(r['d_in'])} → {count(r['d_sae'])}"),
        ("FVU", "n", lambda r: share(r["fvu"])),
        ("L0", "n", lambda r: f"{r['l0']:.1f}"),
        ("dead", "n", lambda r: share(r["dead_fraction"])),
        ("loss recovered", "n", lambda r: share(r["loss_recovered"])),
        ("training tokens", "n", lambda r: count(r["tokens"])),
    ]
    return _section("SAEs", words, _table(columns, rows), "saes")


def _absent(stage: str, run: Path) -> str:
    return absent("Not measured in this run yet.", stage, run)
