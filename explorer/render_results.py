"""The results page as HTML text: tables with intervals, and one sentence each on how to read them."""

from __future__ import annotations

from pathlib import Path

from explorer.queries_results import RESULTS as TABLES
from explorer.render import count, figure, share
from explorer.render_ablation import ablation
from explorer.render_human import human
from explorer.render_provenance import provenance
from explorer.render_results_checks import checks
from explorer.render_steering_results import steering
from explorer.render_tables import Cell, Row, absence, method, sae, section, table, with_spread

__all__ = ["TABLES", "page"]

_INTERVAL = "Brackets: 95 % bootstrap interval."


def page(tables: dict[str, list[Row]], manifest: Row, run: Path) -> str:
    """Every section, present or saying what makes it."""
    return (
        '<div class="results ard">'
        + checks(tables["controls"], tables["comparisons"])
        + interpretability(tables["interpretability"], run)
        + labels(tables["labels"], run)
        + detected(tables["detection"], run)
        + human(tables, run)
        + steering(tables, run)
        + ablation(tables["ablation"], run)
        + saes(tables["saes"], run)
        + provenance(manifest)
        + "</div>"
    )


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
        return section("Interpretability", words, absence("evaluate", run), "interpretability")
    sections = []
    for reading, (title, words) in _READINGS.items():
        mine = [r for r in rows if r["reading"] == reading]
        main, more = [r for r in mine if r["n"] is None], [r for r in mine if r["n"] is not None]
        gamma = f" γ = {figure(mine[0]['gamma'])}." if mine else ""
        body = table(_interpretability_columns(with_n=False), main or mine)
        if main and more:
            body += (
                "<details><summary>With a fixed number of predictions a clip</summary>"
                f"{table(_interpretability_columns(with_n=True), more)}</details>"
            )
        sections.append(section(title, f"{words}{gamma} {_INTERVAL}", body, f"interpretability-{reading}"))
    return "".join(sections)


def _interpretability_columns(*, with_n: bool) -> list[tuple[str, str, Cell]]:
    n: list[tuple[str, str, Cell]] = [("n", "n", lambda r: count(r["n"]))] if with_n else []
    return [
        ("method", "", method),
        ("SAE", "", sae),
        *n,
        ("highest m", "n", with_spread("ms_max")),
        ("precision", "n", with_spread("precision")),
        ("recall", "n", with_spread("recall")),
        ("F1", "n", with_spread("f1")),
        ("mAP", "n", with_spread("map")),
        ("clips", "n", lambda r: count(r["clips"]) if r["clips"] else "–"),
    ]


def detected(rows: list[Row], run: Path) -> str:
    """Detection of each SAE and method."""
    words = (
        "How well a named latent's score finds held-out clips of its class: area under the ROC curve, .5 is chance. "
        "“Above chance”: share of latents whose interval lies above .5."
    )
    if not rows:
        return section("Detection", words, absence("evaluate", run), "detection")
    columns: list[tuple[str, str, Cell]] = [
        ("method", "", method),
        ("SAE", "", sae),
        ("latents", "n", lambda r: count(r["latents"])),
        ("median AUROC", "n", lambda r: figure(r["auroc_median"])),
        ("above chance", "n", lambda r: share(r["above_chance"])),
        ("held-out clips", "n", lambda r: count(r["clips"])),
    ]
    return section("Detection", words, table(columns, rows), "detection")


def labels(rows: list[Row], run: Path) -> str:
    """Whether single latents find the true labels, beside the controls."""
    words = (
        "Labels found: true labels that one latent, chosen on the probing clips, finds on held-out clips with an AUROC "
        "of at least .9. IoU in time: how far that latent fires just while the label sounds, over the tokens of those "
        "clips. Pure: of the latents with the highest m, the share whose most representative clips share a label. The "
        "controls say what chance and an untrained SAE reach."
    )
    if not rows:
        return section("Labels", words, absence("evaluate", run), "labels")
    columns: list[tuple[str, str, Cell]] = [
        ("method", "", method),
        ("SAE", "", sae),
        ("labels found", "n", lambda r: "–" if r["labels"] is None else f"{count(r['found'])} of {count(r['labels'])}"),
        ("mean AUROC", "n", lambda r: figure(r["auroc"])),
        ("IoU in time", "n", lambda r: figure(r["iou"])),
        ("pure", "n", lambda r: share(r["pure"])),
        ("latents", "n", lambda r: count(r["latents"])),
    ]
    return section("Labels", words, table(columns, rows), "labels")


def saes(rows: list[Row], run: Path) -> str:
    """How good the SAEs are."""
    words = (
        "FVU: share of the variance of x that x̂ misses, on held-out clips; 0 is perfect. Loss recovered: how much of "
        "the model's own next-token loss survives when x̂ replaces x; 100 % is all."
    )
    if not rows:
        return section("SAEs", words, absence("sae", run), "saes")
    columns: list[tuple[str, str, Cell]] = [
        ("SAE", "", sae),
        ("d_in → d_sae", "n", lambda r: f"{count(r['d_in'])} → {count(r['d_sae'])}"),
        ("FVU", "n", lambda r: share(r["fvu"])),
        ("L0", "n", lambda r: f"{r['l0']:.1f}"),
        ("dead", "n", lambda r: share(r["dead_fraction"])),
        ("loss recovered", "n", lambda r: share(r["loss_recovered"])),
        ("training tokens", "n", lambda r: count(r["tokens"])),
    ]
    return section("SAEs", words, table(columns, rows), "saes")
