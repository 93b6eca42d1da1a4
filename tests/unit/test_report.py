"""The report: figures in their places, the paper's apart, missing tables named, hostile texts harmless."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ard import tables
from ard.store import Run
from precompute.report.blocks import Grid, Plot, Section, number, over_seeds, percent, with_interval
from precompute.report.labels import labels
from precompute.report.plots import Line, lines, ticks
from precompute.report.render import cell, render
from precompute.report.table_1 import interpretability
from precompute.report.table_2 import human
from precompute.report.table_3 import steering
from precompute.report.table_4 import ablation
from precompute.stages.report import PARTS
from tests.fixtures import run_results as fixtures
from tests.fixtures.run import SAE_ID, make_run

RAW = "layers.1/raw"
RESULTS = (
    *("controls", "comparisons", "stability", "interpretability_curve", "interpretability"),
    *("detection", "recovery", "purity", "steering", "human", "ablation"),
    *("steering_comparators", "steering_judged", "judge_agreement", "human_catches", "human_correlation"),
)
HOSTILE = '<script>alert(1)</script> | `x` "quoted"'


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run up to its names: no results yet."""
    made = make_run(tmp_path / "run", concepts=6)
    for name in RESULTS:
        made.table_path(name).unlink(missing_ok=True)
    return made


def write(run: Run, name: str, *rows: dict[str, Any]) -> None:
    run.write(name, tables.from_rows(name, rows))


def figures(**more: Any) -> dict[str, Any]:
    row = {
        **{"reading": "clip", "method": "ard", "sae_id": SAE_ID, "seed": 0, "control": "none", "n": None},
        **{"ms_max": 9.876, "precision": 0.5, "recall": 0.25, "f1": 1 / 3, "map": 0.4, "clips": 60, "gamma": 0.7},
        **{"precision_low": 0.41, "precision_high": 0.59, "tau": 1.5},
    }
    return row | more


def steered(**more: Any) -> dict[str, Any]:
    row = {
        **{"task": "emotion", "source": "sad", "target": "happy", "method": "ard", "sae_id": SAE_ID, "latent_id": 7},
        **{"value": 12.5, "chosen": True, "control": "none", "samples": 40, "sensitivity": 0.625},
        **{"sensitivity_low": 0.47, "sensitivity_high": 0.76, "how_chosen": "effect", "degenerate": 0.05},
    }
    return row | more


def grids(section: Section, source: str = "run") -> list[Grid]:
    return [b for b in section.blocks if isinstance(b, Grid) and b.source == source]


# -- numbers and drawings -----------------------------------------------------------------------------------------


def test_numbers() -> None:
    assert (number(None), number(1234.567), number(0.5, 1)) == ("–", "1,234.57", "0.5")
    assert (percent(0.0456), percent(None)) == ("4.6 %", "–")
    assert with_interval({"f1": 0.5, "f1_low": 0.4, "f1_high": 0.6}, "f1") == "0.50 [0.40–0.60]"
    assert with_interval({"f1": 0.5, "f1_low": None, "f1_high": None}, "f1") == "0.50"
    assert with_interval({"f1": None}, "f1") == "–"
    assert over_seeds([1.0, 3.0]) == "2.00 ± 1.41"
    assert over_seeds([2.0]) == "2.00"
    assert over_seeds([None]) == "–"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.03, 0.61, [0, 0.2, 0.4, 0.6, 0.8]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks_are_round_and_cover(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


@pytest.mark.parametrize(("low", "high"), [(0, 0), (5, 5), (-2, -2), (1e-9, 1e9), (0, 7e-5)])
def test_ticks_always_span_something(low: float, high: float) -> None:
    found = ticks(low, high)
    assert len(found) >= 2
    assert found[0] <= low < found[-1]
    assert found[-1] >= high


def test_a_drawing_puts_points_where_they_belong() -> None:
    svg = lines([Line("a <b>", [0, 10], [0, 1])], "x & y", "y", "t")
    (points,) = re.findall(r'<polyline class="s0"[^>]* points="([^"]+)"', svg)
    (x0, y0), (x1, y1) = (tuple(map(float, p.split(","))) for p in points.split())
    assert (x0, y0) == (52, 224)  # the left edge, the bottom
    assert (x1, y1) == (490, 12)  # the right edge, the top
    assert "a &lt;b&gt;" in svg
    assert "x &amp; y" in svg
    assert lines([], "x", "y", "t") == ""


# -- sections -----------------------------------------------------------------------------------------------------


def test_table_1_has_both_readings_with_intervals_and_the_papers_apart(run: Run) -> None:
    write(
        run,
        "interpretability",
        figures(reading="vocabulary", clips=0, tau=None),
        figures(),
        figures(n=3, precision=0.75),
        figures(method="random", precision=0.1, precision_low=None, precision_high=None),
        figures(method="random", seed=1, precision=0.3),
        figures(control="shuffled_labels", precision=0.05),
        figures(sae_id=RAW, method="poly", precision=0.2),
    )
    found = interpretability(run)
    assert found.missing == ""
    vocabulary, clip, three, controls = grids(found)
    assert vocabulary.rows[0][:5] == (SAE_ID, "ard", "9.88", "0.50 [0.41–0.59]", "0.25")
    assert [r[1] for r in clip.rows] == ["poly", "random", "ard"]
    assert clip.rows[1][3] == "0.20 ± 0.14"
    assert clip.rows[2][-1] == "1.50"
    assert "60 clips, γ = 0.70" in clip.caption
    assert three.folded
    assert three.rows[0][3].startswith("0.75")
    assert controls.rows[0][2] == "shuffled_labels (clip)"
    (paper,) = grids(found, "paper")
    assert paper.rows[-1] == ("ard, layer 26", "9.33", "0.55", "0.65", "0.60", "0.58")
    assert not any("9.33" in c for g in grids(found) for r in g.rows for c in r)


def test_table_1_has_what_it_can_be_held_against(run: Run) -> None:
    write(run, "interpretability", figures())
    others = [fixtures.difference("coverage", better=False), fixtures.difference("poly", better=True)]
    fixed = fixtures.difference("coverage", better=True) | {"n": 3, "figure": "map", "difference": -0.25}
    write(run, "comparisons", *(r | {"figure": f} for r in others for f in ("f1", "map")), fixed)
    good, bad = fixtures.check("shuffled_labels", passed=True), fixtures.check("untrained_sae", passed=False)
    write(run, "controls", good, bad)
    key = {"sae_id": SAE_ID, "seed": 1, "concepts": 40, "latents": 90, "threshold": 0.7, "median": 0.81}
    one = {"share": 0.65, "share_low": 0.5, "share_high": 0.8, "share_one_to_one": 0.6, "median_one_to_one": 0.8}
    write(run, "stability", key | one | {"control": "none", "fvu": 0.1234})
    curve = {
        "reading": "clip",
        "method": "ard",
        "sae_id": SAE_ID,
        "seed": 0,
        "n": None,
        "precision": 0.5,
        "recall": 0.5,
    }
    for_gamma = ((0.5, "none"), (0.7, "none"), (0.5, "shuffled_labels"), (0.7, "shuffled_labels"))
    points = [
        curve | {"gamma": g, "control": c, "f1": 0.5, "recall": 0.5, "matched": 1.0, "draws": 1} for g, c in for_gamma
    ]
    write(run, "interpretability_curve", *points)
    found = interpretability(run)
    made = {g.caption.split(":")[0].split(",")[0]: g for g in grids(found)}
    differences = made["Is ard better? Paired differences"]
    assert differences.rows[0][1:4] == ("coverage", "clip", "not told apart")
    assert differences.rows[1][1:5] == ("poly", "clip", "better", "+0.050 [+0.010 to +0.090]")
    assert made["With fixed numbers of predictions"].rows[0][2:4] == ("clip, n = 3", "–")
    assert made["With fixed numbers of predictions"].rows[0][-1].startswith("-0.250")
    verdicts = [r[3] for r in made["Negative controls of method ard"].rows]
    assert verdicts == ["passed", "FAILED"]
    assert made["Stability"].rows[0][4:7] == ("0.65 [0.50–0.80]", "0.81", "60.0 %")
    (drawn,) = [b for b in found.blocks if isinstance(b, Plot)]
    assert len(re.findall("<polyline", drawn.svg)) == 2
    assert drawn.svg.count("5 3") == 2  # chance is dashed, in the plot and in its legend
    assert found.warnings == [f"{SAE_ID}: F1 0.550 against untrained_sae."]
    html, text = pages(run)
    assert '<p class="alarm" role="alert">WARNING: ' in html
    assert re.search(r"\*\*WARNING: .*untrained\\_sae\.\*\*", text)
    assert ' bad">FAILED' in html


def test_without_a_failed_check_there_is_no_warning(run: Run) -> None:
    write(run, "interpretability", figures())
    write(run, "controls", fixtures.check("shuffled_labels", passed=True))
    assert interpretability(run).warnings == []
    assert "WARNING" not in "".join(pages(run))


def test_table_3_keeps_chosen_controls_and_comparisons_apart(run: Run) -> None:
    write(
        run,
        "steering",
        steered(),
        steered(latent_id=9, chosen=False, how_chosen="auroc", sensitivity=0.1),
        steered(value=99.0, chosen=False, sensitivity=0.9),  # another value of the chosen latent: not a result
        steered(
            latent_id=None, chosen=False, control="random_latent", how_chosen=None, latents=20, sensitivity_std=0.03
        ),
        steered(
            latent_id=None, value=None, chosen=False, control="reconstruct_only", how_chosen=None, sensitivity=None
        ),
    )
    found = steering(run)
    means, chosen, controls, others = grids(found)
    assert ("ard", "chosen by effect", "1", "0.62", "0.05") in means.rows
    assert [r[3] for r in chosen.rows] == ["latent 7"]
    assert chosen.caption.endswith(SAE_ID)
    assert chosen.rows[0][1] == "sad → happy"
    assert "0.62 [0.47–0.76]" in chosen.rows[0]
    assert {r[3] for r in controls.rows} == {"random latent, 20 latents ± 0.03", "reconstruct only"}
    assert others.folded
    assert others.rows[0][3].endswith("latent 9, by auroc")
    assert not any("0.90" in c for g in grids(found) for r in g.rows for c in r)


def test_table_3_beside_what_needs_no_sae_and_another_judge(run: Run) -> None:
    task = {"task": "emotion", "source": "sad", "target": "happy"}
    write(run, "steering", steered(), steered(value=25.0, chosen=False, sensitivity=0.25, degenerate=0.75))
    compared = {**task, "comparator": "diff_means", "hookpoint": "layers.1", "samples": 40, "degenerate": 0.0}
    write(
        run,
        "steering_comparators",
        compared | {"value": 2.0, "chosen": True, "sensitivity": 0.9, "sensitivity_low": 0.8, "sensitivity_high": 0.95},
    )
    judged = {**task, "control": "none", "judge": "reader", "samples": 39}
    write(
        run,
        "steering_judged",
        judged | {"method": "ard", "sae_id": SAE_ID, "latent_id": 7, "value": 12.5, "sensitivity": 0.5},
        judged | {"comparator": "diff_means", "sae_id": "layers.1/raw", "value": 2.0, "sensitivity": 0.875},
    )
    agreed = {"judge": "reader", "answers": 80, "distinct": 9, "unjudged": 1, "agreement": 0.9, "kappa": 0.75}
    write(run, "judge_agreement", {"task": "all", "source": None, "target": None, **agreed})
    found = steering(run)
    means, chosen, best, judges = grids(found)
    assert ("diff_means", "no SAE", "1", "0.90", "0.00") in means.rows
    judge = chosen.header.index("by the judge")
    assert chosen.rows[0][judge] == "0.50"
    assert (best.rows[0][3], best.rows[0][judge]) == ("x + α·v", "0.88")
    assert judges.rows == [("all", "", "reader", "80", "9", "1", "90.0 %", "0.75")]
    latent, direction = [b.svg for b in found.blocks if isinstance(b, Plot)]
    assert latent.count("<circle") == 1  # the chosen value
    assert latent.count('class="cross s0"') == 1  # three quarters of the answers are none
    assert direction.count("<circle") == 1


def test_table_2_and_4(run: Run) -> None:
    spread = {
        f"{n}_{s}": v for n, v in (("rating", 4.25), ("clap_cosine", 0.8)) for s, v in (("mean", v), ("std", 0.5))
    }
    empty = {"bertscore_mean": None, "bertscore_std": None}
    scale = {"alpha": 0.61, "alpha_low": 0.4, "alpha_high": 0.7}
    write(run, "human", {"method": "ard", "raters": 3, "items": 20, **spread, **empty, **scale})
    everyone, passed = grids(human(run))
    assert everyone.rows == [
        ("ard", "3", "20", "–", "4.25 ± 0.50", "0.80 ± 0.50", "–", "0.61 [0.40–0.70]"),
    ]
    assert passed.rows == [("ard", "–", "–", "–", "–", "–", "–")]
    rows = [
        {"hookpoint": "layers.1", "method": "ard", "expansion": 4.0, "ms_max": 5.5, "sae_id": SAE_ID, "k": 8},
        {"hookpoint": "layers.1", "method": "poly", "expansion": None, "ms_max": 1.25, "sae_id": RAW},
    ]
    write(run, "ablation", *rows)
    (grid,) = grids(ablation(run))
    assert any(isinstance(block, Plot) for block in ablation(run).blocks)
    assert [r[:5] for r in grid.rows] == [
        ("layers.1", "poly", "–", "–", "1.25"),
        ("layers.1", "ard", "4", "8", "5.50"),
    ]


def test_labels_count_what_is_found_and_a_control_counts_one_shuffle(run: Run) -> None:
    base = {"sae_id": SAE_ID, "method": "ard", "latent_id": 1, "auroc_probing": 1.0, "positives": 4, "clips": 20}
    aurocs = [("none", 0, 1.0), ("none", 0, 0.9375), ("none", 0, 0.5)]
    aurocs += [("shuffled_labels", draw, a) for draw, found in enumerate([(1.0, 0.5, 0.5), (0.5,) * 3]) for a in found]
    rows = [
        base | {"control": control, "draw": draw, "label": f"l{i % 3}", "auroc_held_out": a}
        for i, (control, draw, a) in enumerate(aurocs)
    ]
    write(run, "recovery", *rows)
    (grid,) = grids(labels(run))
    assert grid.rows == [
        (SAE_ID, "ard", "none", "3", "0.94", "2"),
        (SAE_ID, "ard", "shuffled_labels", "3", "0.50", "0.5"),
    ]


@pytest.mark.parametrize(
    ("part", "stage"),
    [
        (interpretability, "evaluate"),
        (steering, "steering"),
        (human, "human"),
        (ablation, "ablation"),
        (labels, "evaluate"),
    ],
)
def test_a_missing_table_names_its_command_and_still_shows_the_papers_figures(run: Run, part: Any, stage: str) -> None:
    found = part(run)
    assert found.missing
    assert f"python -m precompute {stage} --run {run.path}" in found.command
    assert not grids(found)
    assert bool(grids(found, "paper")) == (part is not labels)


def test_an_empty_table_says_why(run: Run) -> None:
    write(run, "interpretability")
    assert "no labels" in interpretability(run).missing
    write(run, "human")
    assert "Nobody has rated" in human(run).missing


# -- pages --------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects elements and attributes that could load or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "img", "object", "embed", "base", "form"):
            self.found.append(tag)
        self.found += [
            k for k, v in attrs if k.startswith("on") or (k in ("src", "href") and not (v or "").startswith("#"))
        ]


def pages(run: Run) -> tuple[str, str]:
    sections = [part(run) for part in PARTS]
    return tuple(render(name, "Run <x>", "now", sections) for name in ("report.html", "report.md"))  # type: ignore[return-value]


def test_the_page_loads_and_runs_nothing_even_with_hostile_texts(run: Run) -> None:
    write(run, "steering", steered(task=HOSTILE, source=HOSTILE, target="</table><img src=x onerror=alert(1)>"))
    html, _ = pages(run)
    assert Page(html).found == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "Run &lt;x&gt;" in html
    assert not re.search(r"url\(|@import|https?://", html)
    assert "prefers-color-scheme: dark" in html


def test_markdown_keeps_its_columns(run: Run) -> None:
    write(run, "steering", steered(task=HOSTILE, source="a\nb"))
    _, text = pages(run)
    assert "<script>" not in text
    assert "Run &lt;x&gt;" in text
    (row,) = [line for line in text.splitlines() if "latent 7" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 12  # eleven cells
    for header in re.findall(r"(?m)^(\|.*)\n\| ---", text):
        assert header.endswith("| ")
    assert "\n\n\n" not in text


def test_cell_is_one_line_without_markup() -> None:
    assert cell("a|b\nc <d> *e* [f](g)") == r"a\|b c &lt;d&gt; \*e\* \[f\](g)"


def test_the_page_of_a_bare_run_says_what_is_missing(run: Run) -> None:
    html, text = pages(run)
    for stage in ("evaluate", "steering", "human", "ablation"):
        assert f"python -m precompute {stage} --run" in html
        assert f"python -m precompute {stage} --run" in text
    assert html.count('class="paper"') == 4
