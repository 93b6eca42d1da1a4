"""Stage `map`: the clips on a plane by their embedding, and the concepts of each SAE by the mean embedding of their H.

The second is the paper's "monosemanticity map". Two concepts lie near each other when the clips that fire them sound
alike to CLAP, whatever their names.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ard import tables
from ard.layout import FEWEST, layout
from precompute.config import Config
from precompute.stages.base import Context


def run(ctx: Context) -> None:
    """Write tables `clip_map` and `concept_map`."""
    embeddings = ctx.run.read("embeddings").sort_by("clip_id")
    clip_ids = embeddings["clip_id"].to_pylist()
    vectors = np.array(embeddings["vector"].to_pylist(), dtype=np.float32)
    places = _place(ctx.config, vectors)
    ctx.out.write("clip_map", _table("clip_map", {"clip_id": pa.array(clip_ids, pa.string())}, places))
    means = _means(ctx, dict(zip(clip_ids, vectors, strict=True)))
    parts = [tables.empty("concept_map")]
    for sae_id in ctx.progress(sorted(means), unit="map"):
        ids = sorted(means[sae_id])
        places = _place(ctx.config, np.stack([means[sae_id][k] for k in ids]))
        keys = {"sae_id": pa.repeat(sae_id, len(ids)), "latent_id": pa.array(ids, pa.int32())}
        parts.append(_table("concept_map", keys, places))
        if len(ids) < FEWEST:
            ctx.say(f"{sae_id}: {len(ids)} concepts are too few for UMAP; they lie by principal components")
    ctx.out.write("concept_map", pa.concat_tables(parts))


def _place(config: Config, vectors: np.ndarray) -> np.ndarray:
    return layout(vectors, **asdict(config.map), seed=config.seed)


def _means(ctx: Context, vectors: dict[str, np.ndarray]) -> dict[str, dict[int, np.ndarray]]:
    """Mean embedding of H for every named concept, by SAE and latent; of method `ard`, or the first there is."""
    methods = ctx.config.rank.methods
    method = "ard" if "ard" in methods else methods[0]
    concepts = ctx.run.read("concepts", ["sae_id", "method", "latent_id"]).filter(pc.field("method") == method)
    named = {(c["sae_id"], c["latent_id"]) for c in concepts.to_pylist()}
    most = ctx.run.read("representatives").filter((pc.field("method") == method) & (pc.field("side") == "most"))
    heard: dict[tuple[str, int], list[np.ndarray]] = {}
    for row in most.select(["sae_id", "latent_id", "clip_id"]).to_pylist():
        key = (row["sae_id"], row["latent_id"])
        if key in named and row["clip_id"] in vectors:
            heard.setdefault(key, []).append(vectors[row["clip_id"]])
    found: dict[str, dict[int, np.ndarray]] = {}
    for (sae_id, latent_id), sounds in heard.items():
        found.setdefault(sae_id, {})[latent_id] = np.mean(sounds, axis=0)
    return found


def _table(name: str, keys: dict[str, Any], places: np.ndarray) -> pa.Table:
    return tables.check(name, pa.table({**keys, "x": places[:, 0], "y": places[:, 1]}))
