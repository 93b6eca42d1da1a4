"""Stage `names`: the C latents of highest m get a name from the captions of their H; the evidence stays with it.

`random` covers the top C of `ard` and is named for its first seed alone: the other seeds are further draws of the same
control, which `evaluate` names when it measures them, by the same namer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ard import tables
from ard.naming import Asked, ContrastiveNamer, Name
from precompute.naming import MALFORMED, UNANSWERED, llm_namer
from precompute.stages.base import Context
from precompute.stages.scores_io import RANDOM


def run(ctx: Context) -> None:
    """Write the tables `concepts` and `namings` for every SAE and method."""
    evidence = Evidence.read(ctx)
    scores = top_latents(ctx.run.read("monosemanticity"), ctx.config.names.top, ctx.config.seed)
    most = most_clips(ctx.run.read("representatives").filter(pc.field("seed") == ctx.config.seed))
    wanted = scores.to_pylist()
    named = evidence.names([most[s["sae_id"], s["method"], s["latent_id"]] for s in wanted])
    found = [(score, name) for score, name in zip(wanted, named, strict=True) if name is not None]
    rows = [_row(score, name, ctx.config.names.namer.prompt) for score, name in found]
    exchanges = [_exchange(ctx, score, name.asked) for score, name in found if name.asked is not None]
    ctx.out.write("concepts", tables.from_rows("concepts", rows))
    ctx.out.write("namings", tables.from_rows("namings", exchanges))
    ctx.say(f"{len(rows):,} concepts" if rows else "no concept: no latent has a full set of clips; give more clips")


class Evidence(NamedTuple):
    """Captions by clip, with their phrases counted once."""

    ctx: Context
    place: dict[str, int]
    namer: ContrastiveNamer | None
    """None where there are fewer than two captions."""

    @classmethod
    def read(cls, ctx: Context) -> Evidence:
        """The captions of the run."""
        captions = ctx.run.read("captions")
        texts = captions["caption"].to_pylist()
        place = {clip_id: i for i, clip_id in enumerate(captions["clip_id"].to_pylist())}
        return cls(ctx, place, ContrastiveNamer(texts) if len(texts) > 1 else None)

    def names(self, sets: list[list[str]]) -> list[Name | None]:
        """Name of the captions of each set of clips, in rank order; None where none of them has a caption."""
        rows = [[self.place[c] for c in clips if c in self.place] for clips in sets]
        if self.namer is None:
            return [None] * len(sets)
        full = [r for r in rows if r]
        contrastive = self.ctx.config.names.namer.kind == "contrastive"
        found = iter(self.namer.name_many(full) if contrastive else self._asked(self.namer, full))
        return [next(found) if r else None for r in rows]

    def _asked(self, fallback: ContrastiveNamer, rows: list[list[int]]) -> list[Name]:
        """Names by the configured chat model, and a word on what they cost."""
        ctx = self.ctx
        with ctx.counter("reply") as bar:
            namer = llm_namer(ctx, fallback, bar)
            named = namer.name_many(rows)
        t, price = namer.totals, ctx.config.names.namer
        cost = (t.prompt_tokens * price.price_prompt + t.completion_tokens * price.price_completion) / 1e6
        ctx.say(
            f"{namer.chat.name}: {t.questions:,} sets of captions, {t.replies:,} replies now and {t.kept:,} kept from "
            f"before, {t.prompt_tokens:,} + {t.completion_tokens:,} tokens{f', cost {cost:.2f}' if cost else ''}"
        )
        for status in (MALFORMED, UNANSWERED):
            failed = sum(name.asked is not None and name.asked.status == status for name in named)
            if failed:
                mend = "; `python -m precompute names --force` asks for them again" if status == UNANSWERED else ""
                ctx.say(f"{failed:,} names are contrastive in its place: {status}{mend}")
        return named


def top_latents(scores: pa.Table, top: int, seed: int) -> pa.Table:
    """Rows of `monosemanticity` of the top C of every SAE and method, one seed; `random` has the top C of `ard`."""
    scores = scores.filter(pc.field("seed") == seed)
    drawn = scores.filter(pc.field("method") == RANDOM)
    kept = scores.filter((pc.field("method") != RANDOM) & (pc.field("rank") <= top))
    best = kept.filter(pc.field("method") == "ard").select(["sae_id", "latent_id"])
    if not best.num_rows:
        return pa.concat_tables([kept, drawn.filter(pc.field("rank") <= top)])
    drawn = drawn.join(best, keys=["sae_id", "latent_id"], join_type="inner")
    drawn = drawn.sort_by([("sae_id", "ascending"), ("rank", "ascending")])
    return pa.concat_tables([kept, _ranked_again(drawn).select(kept.column_names).cast(kept.schema)])


def _ranked_again(rows: pa.Table) -> pa.Table:
    """Ranks 1, 2, … within each SAE, in the order of the rows."""
    ranks: list[int] = []
    before = None
    for sae_id in rows["sae_id"].to_pylist():
        ranks.append(ranks[-1] + 1 if sae_id == before else 1)
        before = sae_id
    return rows.set_column(rows.column_names.index("rank"), "rank", pa.array(ranks, pa.int32()))


def most_clips(representatives: pa.Table) -> dict[tuple[str, str, int], list[str]]:
    """H of every SAE, method and latent, in rank order; rows of one seed."""
    found: dict[tuple[str, str, int], list[str]] = {}
    keep = representatives.filter(pc.field("side") == "most").sort_by("rank")
    columns = (keep[name].to_pylist() for name in ("sae_id", "method", "latent_id", "clip_id"))
    for sae_id, method, latent_id, clip_id in zip(*columns, strict=True):
        found.setdefault((sae_id, method, latent_id), []).append(clip_id)
    return found


def _row(score: dict[str, Any], named: Name, prompt: str) -> dict[str, Any]:
    return {
        "sae_id": score["sae_id"],
        "method": score["method"],
        "latent_id": score["latent_id"],
        "name": named.name,
        "description": named.description,
        "captions": list(named.captions),
        "namer": named.namer,
        "monosemanticity": score["score"],
        "rank": score["rank"],
        "prompt": prompt if named.asked is not None else None,
        "support": None if named.support is None else named.support / len(named.captions),
    }


def _exchange(ctx: Context, score: dict[str, Any], asked: Asked) -> dict[str, Any]:
    namer = ctx.config.names.namer
    tokens = (asked.prompt_tokens, asked.completion_tokens)
    row = {name: score[name] for name in ("sae_id", "method", "latent_id")} | asked._asdict()
    priced = (namer.price_prompt or namer.price_completion) and None not in tokens
    cost = (tokens[0] or 0) * namer.price_prompt + (tokens[1] or 0) * namer.price_completion
    return row | {"answers": list(asked.answers), "cost": cost / 1e6 if priced else None}
