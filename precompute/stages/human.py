"""Stage `human`: the summary of the listening study (Table 2), from what the app has published."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from ard import human, tables
from ard.bertscore import BertScore
from ard.human_correlation import Concept, correlate
from precompute.stages.base import Context


def run(ctx: Context) -> None:
    """Write `human`, `human_catches` and `human_correlation`; without rows while nobody has rated anything."""
    ratings = ctx.run.read("ratings") if ctx.run.has("ratings") else tables.empty("ratings")
    summary = human.summarise(_named(ctx, ratings), lambda texts: _embed(ctx, texts), _Compare(ctx), ctx.config.seed)
    ctx.out.write("human", summary)
    ctx.out.write("human_catches", human.catch_trials(ratings))
    ctx.out.write("human_correlation", correlate(ratings, _figures(ctx, ratings), ctx.config.seed))
    if not summary.num_rows:
        ctx.say("nobody has rated anything yet; open the app and send people its page /rate")
    for row in summary.to_pylist():
        ctx.say(f"{row['method']}: {row['ratings']} ratings by {row['raters']} people, {_figure(row)}")


def _figures(ctx: Context, ratings: pa.Table) -> dict[str, dict[Concept, float]]:
    """The automatic figures of the rated concepts, as far as the run has them."""
    if not ratings.num_rows:
        return {}
    columns = ("sae_id", "method", "latent_id")
    rated = ratings.select(list(columns)).group_by(list(columns)).aggregate([])
    found: dict[str, dict[Concept, float]] = {}
    for table, figures in (("concepts", ("monosemanticity",)), ("detection", ("auroc", "auroc_clap"))):
        if ctx.run.has(table):
            mine = ctx.run.read(table, [*columns, *figures]).join(rated, list(columns), join_type="inner").to_pylist()
            for figure in figures:
                values = {(r["sae_id"], r["method"], r["latent_id"]): r[figure] for r in mine}
                found[figure] = {concept: value for concept, value in values.items() if value is not None}
    return found


def _embed(ctx: Context, texts: Sequence[str]) -> np.ndarray:
    """CLAP embedding of each text; a text that comes often is embedded once."""
    once = sorted(set(texts))
    place = {text: i for i, text in enumerate(once)}
    return ctx.models.clap.embed_text(once).numpy()[[place[text] for text in texts]]


class _Compare:
    """BERTScore's F1 of names and the descriptions that listeners gave; its model is loaded when first asked."""

    def __init__(self, ctx: Context):
        self._ctx = ctx

    @cached_property
    def _score(self) -> BertScore:
        part = self._ctx.config.human
        score = BertScore(part.bertscore, part.bertscore_layer, self._ctx.models.device)
        self._ctx.say(f"BERTScore by {score.name}")
        return score

    def __call__(self, names: Sequence[str], descriptions: Sequence[str]) -> np.ndarray:
        """The score of each pair; one that comes often is scored once."""
        pairs = list(zip(names, descriptions, strict=True))
        once = {pair: i for i, pair in enumerate(sorted(set(pairs)))}
        scores = self._score.f1([name for name, _ in once], [description for _, description in once])
        return scores[[once[pair] for pair in pairs]]


def _named(ctx: Context, ratings: pa.Table) -> pa.Table:
    """The ratings with the shown name; where it is not stored, with the concept's name of today."""
    if not ratings.num_rows or not ratings["name"].null_count:
        return ratings
    key = ("sae_id", "method", "latent_id")
    concepts = ctx.run.read("concepts", [*key, "name"]).to_pylist()
    names: dict[tuple[Any, ...], str] = {tuple(c[k] for k in key): c["name"] for c in concepts}
    rows = ratings.to_pylist()
    shown = [r["name"] if r["name"] or r["catch"] else names.get(tuple(r[k] for k in key)) for r in rows]
    return ratings.set_column(ratings.column_names.index("name"), "name", pa.array(shown, pa.string()))


def _figure(row: dict[str, Any]) -> str:
    if row["rating_mean"] is None:
        return "none of them a first showing under the true name"
    spread = "" if row["rating_std"] is None else f" ± {row['rating_std']:.2f}"
    alpha = "not defined" if row["alpha"] is None else f"{row['alpha']:.2f}"
    return f"mean {row['rating_mean']:.2f}{spread}, α {alpha}"
