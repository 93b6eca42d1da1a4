"""Stage `names`: the C latents of highest m get a name from the captions of their H; the evidence stays with it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ard import tables
from ard.naming import ContrastiveNamer
from precompute.config import Config
from precompute.stages.base import Context, Stage


def run(ctx: Context) -> None:
    """Write table `concepts` for every SAE and method."""
    captions = ctx.run.read("captions")
    place = {clip_id: i for i, clip_id in enumerate(captions["clip_id"].to_pylist())}
    texts = captions["caption"].to_pylist()
    scores = ctx.run.read("monosemanticity")
    scores = scores.filter(pc.field("rank") <= ctx.config.names.top)
    most = _most(ctx.run.read("representatives"))
    rows: list[dict[str, Any]] = []
    namer = ContrastiveNamer(texts) if scores.num_rows else None
    for score in ctx.progress(scores.to_pylist(), unit="name"):
        clips = most[score["sae_id"], score["method"], score["latent_id"]]
        evidence = [place[c] for c in clips if c in place]
        if namer is not None and evidence:
            rows.append(_row(score, namer, evidence))
    ctx.out.write("concepts", tables.from_rows("concepts", rows))
    ctx.say(f"{len(rows):,} concepts" if rows else "no concept: no latent has a full set of clips; give more clips")


def _most(representatives: pa.Table) -> dict[tuple[str, str, int], list[str]]:
    """H of every SAE, method and latent, in rank order."""
    found: dict[tuple[str, str, int], list[str]] = {}
    keep = representatives.filter(pc.field("side") == "most").sort_by("rank")
    for row in keep.select(["sae_id", "method", "latent_id", "clip_id"]).to_pylist():
        found.setdefault((row["sae_id"], row["method"], row["latent_id"]), []).append(row["clip_id"])
    return found


def _row(score: dict[str, Any], namer: ContrastiveNamer, evidence: list[int]) -> dict[str, Any]:
    named = namer.name(evidence)
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
        "prompt": None,
        "support": named.support / len(named.captions),
    }


def _uses(config: Config) -> Any:
    return {"names": {"top": config.names.top}}


STAGE = Stage(
    "names",
    run,
    version=1,
    needs=("representatives", "monosemanticity", "captions"),
    uses=_uses,
    tables=("concepts",),
)
