"""What the activations of one hookpoint look like: size, cost of their number format, and tokens that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ard.activations.formats import Loss
from ard.activations.shard import Shard

DEAR = 1e-3
"""FVU of storing from which a finer number format is advised. Ours: SAEs are compared at hundredths of FVU."""


def summarise(shards: Sequence[Shard]) -> dict[str, Any]:
    """One row of table `hookpoints` from all files of one hookpoint; sums over all of them, divided once."""
    header = shards[0].header
    norm, out = np.concatenate([s.norm for s in shards]), np.concatenate([s.sink for s in shards])
    loss = Loss(sum(s.header.residual for s in shards), sum(s.header.variance for s in shards))
    return {
        "hookpoint": header.hookpoint,
        "d_in": header.d_in,
        "tokens": len(norm),
        "format": header.format,
        "bytes": sum(s.path.stat().st_size for s in shards),
        "storage_fvu": loss.fvu,
        "outliers": int(out.sum()),
        "outlier_share": float(out.mean()) if len(out) else 0.0,
        "outlier_factor": header.sink_factor,
        "masked": header.sinks == "mask",
        "outlier_norm_median": _median(norm[out]),
        "norm_median": _median(norm[~out]),
        "norm_max": float(norm.max()) if len(norm) else None,
    }


def in_words(row: dict[str, Any]) -> list[str]:
    """The row as lines for the console: what was stored, what it costs, what was masked."""
    where = row["hookpoint"]
    lines = [
        f"{where}: {row['tokens']:,} tokens as {row['format']}, {row['bytes'] / 1e6:,.1f} MB, "
        f"storing costs FVU {row['storage_fvu']:.2g}"
    ]
    if row["storage_fvu"] > DEAR:
        lines.append(f"{where}: {row['format']} is too coarse for these values; use --set activations.dtype=bfloat16")
    if row["outliers"]:
        verb = "masked (left out of training)" if row["masked"] else "kept in training"
        lines.append(
            f"{where}: {row['outliers']:,} tokens ({row['outlier_share']:.2%}) stand out of their clip, median norm "
            f"{row['outlier_norm_median']:.4g} against {row['norm_median'] or 0:.4g}; {verb}"
        )
    else:
        lines.append(f"{where}: no token's norm exceeds {row['outlier_factor']:g} times its clip's median; none masked")
    return lines


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None
