"""The results page's Table 2: the listening study."""

from __future__ import annotations

from pathlib import Path

from explorer.render import absent, count, figure, share
from explorer.render_tables import Cell, Row, interval, method, section, table

_FIGURES = {
    "monosemanticity": "monosemanticity m",
    "auroc": "AUROC for the latent's label",
    "auroc_clap": "AUROC of the name alone, by CLAP",
}


def human(tables: dict[str, list[Row]], run: Path) -> str:
    """Table 2 of the paper: the listening study, with and without the raters who failed a catch trial."""
    words = (
        "People heard a concept's clips, described them, then rated its name from 0 (wrong) to 5 (fits). Cosine and "
        "BERTScore compare the name with their own words; α is their agreement, 0 is chance, 1 is complete. A catch "
        "trial shows the name of something else: who rates it above 2 may not have listened."
    )
    rows = tables["human"]
    if not rows:
        body = absent("Nobody has rated yet, on the page Rate, or the ratings are not summed up.", "human", run)
        return section("Listening study", words, body, "human")
    body = table(_EVERYONE, rows)
    body += '<p class="lead">Without the raters who failed a catch trial:</p>' + table(_PASSED, rows)
    together = [r for r in tables["human_catches"] if r["rater"] is None]
    body += "".join(
        f'<p class="lead">All catch trials: {count(r["passed"])} of {count(r["catches"])} passed, '
        f"{figure(r['pass_rate'], r['pass_low'], r['pass_high'])}.</p>"
        for r in together
    )
    if correlated := [r for r in tables["human_correlation"] if r["concepts"]]:
        body += (
            '<p class="lead">Do people like what the figures like? Spearman\'s ρ of the mean rating of a concept and '
            f"its figure, with a bootstrap interval over concepts.</p>{table(_CORRELATION, correlated)}"
        )
    return section("Listening study", words, body, "human")


def _spread(name: str, after: str = "") -> Cell:
    return lambda r: f"{figure(r[f'{name}_mean{after}'])} <small>± {figure(r[f'{name}_std{after}'])}</small>"


_EVERYONE: list[tuple[str, str, Cell]] = [
    ("method", "", method),
    ("raters", "n", lambda r: count(r["raters"])),
    ("items", "n", lambda r: count(r["items"])),
    ("ratings", "n", lambda r: count(r["ratings"])),
    ("rating 0–5", "n", _spread("rating")),
    ("CLAP cosine", "n", _spread("clap_cosine")),
    ("BERTScore", "n", _spread("bertscore")),
    ("α", "n", interval("alpha")),
    ("catch trials passed", "n", lambda r: f"{share(r['catch_pass_rate'])} <small>of {count(r['catches'])}</small>"),
]
_PASSED: list[tuple[str, str, Cell]] = [
    ("method", "", method),
    ("raters left out", "n", lambda r: count(r["raters_failed"])),
    ("ratings", "n", lambda r: count(r["ratings_passed"])),
    ("rating 0–5", "n", _spread("rating", "_passed")),
    ("α", "n", interval("alpha_passed")),
]
_CORRELATION: list[tuple[str, str, Cell]] = [
    ("figure", "", lambda r: _FIGURES[r["figure"]]),
    ("method", "", method),
    ("raters", "", lambda r: "all" if r["raters"] == "all" else "those who passed"),
    ("concepts", "n", lambda r: count(r["concepts"])),
    ("ρ", "n", interval("spearman")),
]
