"""The part of the configuration that measures a run: maps, interpretability, steering, ablation."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from precompute.config_names import FORBID, JudgeConfig, NotNegative, Positive

__all__ = ["FORBID", "NotNegative", "Positive"]

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclasses.dataclass(frozen=True)
class MapConfig:
    """The two maps: UMAP of the clips' embeddings, and of the concepts."""

    __pydantic_config__ = FORBID

    neighbours: Annotated[int, Field(ge=2)] = 15
    """Neighbours that UMAP looks at; fewer where there are fewer points."""
    min_distance: Share = 0.1
    """How close UMAP lets points come."""
    epochs: Positive = 200
    """Passes of UMAP over its neighbour graph."""


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Interpretability (Table 1) and detection."""

    __pydantic_config__ = FORBID

    gamma: Annotated[float, Field(gt=-1, lt=1)] = 0.7
    """Similarity above which a matched pair counts (paper: 0.7)."""
    gammas: Annotated[tuple[Annotated[float, Field(gt=-1, lt=1)], ...], Field(min_length=1)] = (
        *(0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65),
        *(0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    )
    """Values of γ of the curve; τ stays the one chosen at `gamma`."""
    text: Literal["name", "description"] = "name"
    """What of a concept is matched with the classes and heard in the clips: its short name, or its description."""
    predictions: tuple[Positive, ...] = (1, 3, 5, 10)
    """Fixed numbers of predictions a clip, beside the threshold τ."""
    taus: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    """Thresholds tried on the choosing split."""
    choose_on: str = "selection"
    """Split that chooses τ; where a run has no such split, half of the held-out recordings."""
    test_on: str = "evaluation"
    """Split that is measured; where a run has no such split, the other half."""
    bootstrap: Annotated[int, Field(ge=2)] = 1000
    """Resamples behind the 95 % intervals."""
    shuffles: Positive = 100
    """Shuffles of labels and of names behind the checks (reading `clip` with τ); all other chance rows take at
    most 10."""
    untrained: bool = True
    """Control: the default SAE as it was before its first training step."""
    stability_seeds: NotNegative = 0
    """Further seeds with which the default SAE is trained again, to see which of its concepts return; 0: none."""


Text = Annotated[str, Field(min_length=1)]


@dataclasses.dataclass(frozen=True)
class SteeringTaskEntry:
    """A steering task on the user's own clips: `[[steering.task]]` in a TOML file."""

    __pydantic_config__ = FORBID

    source: Text
    """Answer before: one of `answers`."""
    target: Text
    """Answer wanted: one of `answers`."""
    prompt: Text
    """The question put to the model."""
    answers: Annotated[tuple[Text, ...], Field(min_length=2)]
    """Every value an answer can name; an answer counts only if it holds exactly one of them, as whole words."""
    kind: Text = "label"
    """What is changed, for instance `gender`: the column `task`."""
    source_label: str = ""
    """Label of the clips that are asked about; empty: `source`."""
    target_label: str = ""
    """Label by which latents for the target are looked for; empty: `target`."""


@dataclasses.dataclass(frozen=True)
class SteeringConfig:
    """Steering (Table 3): how latents and values are chosen and tested."""

    __pydantic_config__ = FORBID

    choose_on: str = ""
    """Split whose clips choose latent and value; empty: `evaluate.choose_on`."""
    test_on: str = ""
    """Split that is measured; empty: `evaluate.test_on`."""
    selection: Positive = 16
    """Selection clips a task; they choose latent and value."""
    test: Positive = 40
    """Evaluation clips a task; they are only measured."""
    candidates: Positive = 6
    """Latents tried for a task."""
    values: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1, 2, 4, 8)
    """Values tried, in multiples of the latent's largest activation."""
    random: NotNegative = 20
    """Random latents of matched density at the same raw value: the control."""
    random_clips: NotNegative = 0
    """Samples on which each random latent is measured; 0: all of them."""
    poly: bool = True
    """Method `poly`: clamp raw dimensions of x, no SAE."""
    direction: tuple[Annotated[float, Field(gt=0)], ...] = (1, 2, 4, 8)
    """Difference of means, the comparator that needs no SAE: the factors α that are tried; none: left out."""
    examples: NotNegative = 3
    """Clips of the run itself, a task, on which the chosen latent turns the answer: for table `steering_examples`."""
    tasks: NotNegative = 0
    """Only the first N event swaps of the demo; 0: all."""
    task: tuple[SteeringTaskEntry, ...] = ()
    """Tasks on the user's own clips."""
    batch: Positive = 32
    """Answers generated at once."""
    sae: str = ""
    """SAE that steers; empty: the run's default."""
    when: Literal["before_topk", "after_topk"] = "before_topk"
    """Clamp before TopK (paper) or after it."""
    positions: Literal["audio", "prompt", "all"] = "all"
    """Prefill positions that are clamped (paper: all)."""
    decoding: Literal["replace", "clamp", "off"] = "replace"
    """While decoding: x̂ replaces x unclamped (paper), clamped too, or nothing happens."""
    error_term: bool = False
    """Add x − x̂ back (paper: no)."""
    max_new_tokens: Positive = 24
    """Longest answer."""
    repeats: Literal["degenerate", "named"] = "degenerate"
    """An answer that says the same again and again is no answer, or counts by what it names."""
    judge: JudgeConfig = JudgeConfig()
    """Who reads the answers about the test clips beside the rules of the task."""


@dataclasses.dataclass(frozen=True)
class AblationConfig:
    """Ablation (Table 4): SAEs over layers and expansions, each trained as the run's own."""

    __pydantic_config__ = FORBID

    layers: tuple[NotNegative, ...] = ()
    """Decoder layers, whose activations are then read too; empty: those that are read anyway."""
    expansions: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (2, 4, 8)
    """d_sae / d_in."""
    k: Positive = 8
    """Latents kept per token."""
    ks: tuple[Positive, ...] = ()
    """Several of them, each with every layer and expansion; empty: `k` alone."""
    recipe: Literal["paper", "recommended", "batchtopk", "matryoshka"] = "recommended"
    """As in `sae`."""
    steps: NotNegative = 500
    """Training steps of each; 0: those of `train`. The run's own SAE is taken where all of these agree with it."""
    top: Positive = 100
    """Latents of the highest m over which `ms_top` averages."""


@dataclasses.dataclass(frozen=True)
class HumanConfig:
    """Listening study (Table 2)."""

    __pydantic_config__ = FORBID

    bertscore: str = ""
    """Language model of BERTScore: a folder or a hub id; empty: the small sentence encoder of the extra `demo`."""
    bertscore_layer: NotNegative = 0
    """Layer whose states stand for the tokens, from 1; 0: the last."""
