"""Will the activations fit on the disk? Asked before the first clip is read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ard.activations.formats import token_bytes
from ard.store import RunError

SPARE = 64 << 20
"""Bytes that must stay free beside the activations, for the tables."""


class Estimate(NamedTuple):
    """Size of an extraction: tokens × bytes of a token × layers."""

    tokens: int
    d_in: int
    layers: int
    format: str
    stored: bool = True

    @property
    def bytes(self) -> int:
        """Of all files."""
        return self.tokens * token_bytes(self.d_in, self.format, self.stored) * self.layers


def require_room(folder: Path, estimate: Estimate, written: int = 0) -> None:
    """Refuse to start what will not fit.

    Args:
        folder: where it will be written.
        estimate: size of the whole.
        written: bytes of it that are there already, from an earlier process.

    Raises:
        RunError: too little room; says what is needed, what is free, and what to change.
    """
    free = shutil.disk_usage(folder).free
    needed = max(0, estimate.bytes - written)
    if needed + SPARE <= free:
        return
    raise RunError(
        f"The activations need {_gb(needed)} more and {folder} has {_gb(free)} free "
        f"({estimate.tokens:,} tokens × {estimate.d_in} × {estimate.layers} layer(s) as {estimate.format}): free some "
        f"space, choose another --run, read fewer layers, or {_smaller(estimate)}."
    )


def _smaller(estimate: Estimate) -> str:
    if not estimate.stored:
        return "use fewer clips"
    none = f"--set activations.store=none ({_gb(estimate._replace(stored=False).bytes)}, computed again for each use)"
    if estimate.format == "int8":
        return none
    return f"--set activations.dtype=int8 ({_gb(estimate._replace(format='int8').bytes)} in all) or {none}"


def text_bound(prompts: Sequence[int], max_new_tokens: int) -> int:
    """At most as many text tokens follow the audio: the longest question, the answer, and the end of its turn."""
    return max(prompts) + max_new_tokens + 1


def _gb(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"
