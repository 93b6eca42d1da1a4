"""The report's first sections: where the run comes from, its clips, its SAEs, its scores."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ard.store import Run
from precompute.report.blocks import Grid, Plot, Section, number, percent, whole
from precompute.report.plots import Line, lines
from precompute.report.reading import METHODS, ordered, rows_of, section

BINS = 24


def provenance(run: Run) -> Section:
    """Manifest: command, models with revisions, commit, versions, seconds a stage, configuration."""
    m = run.manifest
    facts = [
        ("command", m.get("command", "not recorded")),
        ("preset", str(m.get("preset", ""))),
        ("seed", str(m.get("seed", ""))),
        ("project commit", m.get("git_commit", "not a git checkout")),
        ("device", str(m.get("device", ""))),
        ("default SAE", str(m.get("default_sae", ""))),
    ]
    models = m.get("config", {}).get("model", {})
    facts += [(f"model {name}", f"{models.get(name, '?')} @ {rev}") for name, rev in m.get("models", {}).items()]
    facts += [("versions", ", ".join(f"{k} {v}" for k, v in m.get("versions", {}).items()))]
    stages = [
        (name, whole(sum(r["rows"].values())), number(r["seconds"], 1), number(r["bytes"] / 1e6, 1), r["finished"])
        for name, r in m.get("stages", {}).items()
    ]
    total = sum(r["seconds"] for r in m.get("stages", {}).values())
    config = json.dumps(m.get("config", {}), indent=1, ensure_ascii=False).splitlines()
    blocks: list[Grid | Plot] = [
        Grid("What made this run", ("", ""), facts, words=2),
        Grid(
            f"Stages: {number(total / 60, 1)} minutes in all, this report not counted",
            ("stage", "rows", "seconds", "MB", "finished (UTC)"),
            stages,
        ),
        Grid("Configuration", ("key and value",), [(line,) for line in config], folded=True),
    ]
    return Section("provenance", "Where this run comes from", blocks=blocks)


def clips(run: Run) -> Section:
    """Clips by data set and split, and why some were left out."""
    rows = rows_of(run, "clips") or []
    used = [r for r in rows if r["status"] == "ok"]
    groups = Counter((r["dataset"], r["split"]) for r in used)
    hours = Counter[tuple[str, str]]()
    for r in used:
        hours[r["dataset"], r["split"]] += r["duration_s"] or 0.0  # type: ignore[assignment]  # sums of seconds
    table = [(d, s, whole(n), number(hours[d, s] / 60, 1)) for (d, s), n in sorted(groups.items())]
    reasons = Counter(r["status"].split(":")[0] for r in rows if r["status"] != "ok")
    blocks: list[Grid | Plot] = [Grid("Clips used", ("data set", "split", "clips", "minutes"), table, words=2)]
    if reasons:
        blocks.append(Grid("Left out", ("reason", "clips"), [(w, whole(n)) for w, n in reasons.most_common()]))
    return Section("clips", "Clips", "what the SAEs were trained on (split train) and what was held out.", "", blocks)


def saes(run: Run) -> Section:
    """Size, reconstruction and liveness of every SAE, with its training curve."""
    rows = sorted(
        rows_of(run, "saes") or [], key=lambda r: (r["sae_id"] != run.manifest.get("default_sae"), r["sae_id"])
    )
    header = (
        "SAE",
        "d_in",
        "d_sae",
        "k",
        "recipe",
        "steps",
        "tokens",
        "FVU",
        "L0",
        "dead",
        "loss recovered",
        "held out",
    )
    table = [
        (
            *(r["sae_id"], whole(r["d_in"]), whole(r["d_sae"]), whole(r["k"]), r["recipe"], whole(r["steps"])),
            *(whole(r["tokens"]), number(r["fvu"], 4), number(r["l0"], 1), percent(r["dead_fraction"])),
            *(percent(r["loss_recovered"]), whole(r["held_out_clips"])),
        )
        for r in rows
    ]
    curves: dict[str, list[dict[str, Any]]] = {}
    for r in rows_of(run, "curves") or []:
        if r["fvu"] is not None:
            curves.setdefault(r["sae_id"], []).append(r)
    drawn = [Line(_short(i), [r["step"] for r in c], [r["fvu"] for r in c]) for i, c in sorted(curves.items())]
    blocks: list[Grid | Plot] = [Grid("Quality on held-out clips", header, table)]
    if drawn:
        svg = lines(drawn, "training step", "FVU", "Fraction of variance unexplained while training")
        blocks.append(Plot("FVU of each training window; lower is better, 0 is perfect.", svg))
    return section(
        "saes",
        "Sparse autoencoders (Eq. 1)",
        "how much of x the SAE keeps (FVU: 0 is all, 1 is nothing) and how much of the model's own next-token loss "
        "survives when x̂ replaces x (100 % is all).",
        "whether single latents mean anything: that is what the sections below ask.",
        blocks,
        there=run.has("saes"),
        command=f"python -m precompute sae --run {run.path}",
    )


def scores(run: Run) -> Section:
    """Distribution of m for every method of the default SAE's hookpoint, and the highest and median m of all."""
    table = run.read("monosemanticity") if run.has("monosemanticity") else None
    found: dict[tuple[str, str], np.ndarray] = {}
    if table is not None:
        keys = table.select(["sae_id", "method"]).group_by(["sae_id", "method"]).aggregate([]).to_pylist()
        for k in keys:
            keep = (pc.field("sae_id") == k["sae_id"]) & (pc.field("method") == k["method"])
            found[k["sae_id"], k["method"]] = table.filter(keep)["score"].to_numpy()
    order = [(r["sae_id"], r["method"]) for r in ordered([{"sae_id": s, "method": m} for s, m in found], run)]
    rows = [
        (
            s,
            m,
            whole(len(found[s, m])),
            *(number(float(np.quantile(found[s, m], q))) for q in (0.25, 0.5, 0.75, 0.95, 1.0)),
        )
        for s, m in order
    ]
    header = ("SAE", "method", "scores", "lower quartile", "median", "upper quartile", "95 %", "highest")
    blocks: list[Grid | Plot] = [Grid("Monosemanticity m (Eq. 4)", header, rows, words=2)]
    default = str(run.manifest.get("default_sae", ""))
    here = [(m, found[s, m]) for s, m in order if s in (default, f"{default.split('/')[0]}/raw")]
    if here:
        blocks.append(
            Plot(f"Share of scores in each bin of m, {default} and the raw dimensions beside it.", _histogram(here))
        )
    return section(
        "scores",
        "Monosemanticity (Eq. 3–4)",
        "how much more alike, to CLAP, the clips that fire a latent most are than those that fire it least; "
        "0 is chance, and each random seed counts as a score of its own.",
        "that a latent stands for one nameable thing: few clips a side make m noisy, and CLAP decides what is alike.",
        blocks,
        there=table is not None,
        command=f"python -m precompute monosemanticity --run {run.path}",
        empty="No latent fires in enough clips to be scored; give more clips.",
    )


def _histogram(values: list[tuple[str, np.ndarray]]) -> str:
    everything = np.concatenate([v for _, v in values])
    low, high = (float(q) for q in np.quantile(everything, [0.001, 0.999]))
    edges = np.linspace(low, max(high, low + 1e-6), BINS + 1)
    drawn = []
    for method, m in sorted(values, key=lambda v: METHODS.index(v[0])):
        share = np.histogram(np.clip(m, edges[0], edges[-1]), edges)[0] / len(m)
        drawn.append(Line(method, ((edges[:-1] + edges[1:]) / 2).tolist(), share.tolist()))
    return lines(drawn, "m", "share of scores", "Distribution of monosemanticity by method")


def _short(sae_id: str) -> str:
    hookpoint, expansion, k, _recipe = sae_id.split("/")
    return f"{hookpoint} {expansion} {k}"
