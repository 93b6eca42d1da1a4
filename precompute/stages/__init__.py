"""The stages in their order, and those that are still to come."""

from __future__ import annotations

from precompute.stages import (
    activations,
    captions,
    clips,
    embeddings,
    latents,
    monosemanticity,
    names,
    representatives,
    sae,
)
from precompute.stages.base import Stage

STAGES: dict[str, Stage] = {
    module.STAGE.name: module.STAGE
    for module in (
        clips,
        activations,
        sae,
        latents,
        representatives,
        embeddings,
        monosemanticity,
        captions,
        names,
    )
}
LATER = ("map", "evaluate", "steering", "ablation", "report")
"""Stages that this version does not have yet."""
