"""The part of the configuration that makes concepts: data, models, activations, SAEs, ranking, names."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from precompute.config_evaluation import FORBID, NotNegative, Positive, Share
from precompute.config_names import NamerConfig

Seconds = Annotated[float, Field(gt=0)]

# One question a clip, in turn: activations then cover the audio, what can be asked, and what the model answers.
QUESTIONS = (
    "What can be heard in this clip?",
    "Describe the audio.",
    "Which sounds occur, and in which order?",
    "Is somebody speaking in this recording?",
    "How does the speaker feel?",
    "Is the speaker female or male?",
    "Where might this have been recorded?",
    "What is the loudest sound in this clip?",
)


CorpusName = Literal["wavcaps", "iemocap", "fsd50k", "voxceleb1", "audiobench", "esc50", "audiocaps", "clotho", "hf"]


@dataclasses.dataclass(frozen=True)
class CorpusEntry:
    """One corpus of a run: `[[data.corpus]]` in a TOML file."""

    __pydantic_config__ = FORBID

    name: CorpusName
    """Which corpus; `python -m precompute datasets` tells what each needs."""
    root: str = ""
    """Its folder, below `data.root` unless it is absolute; empty: its usual name."""
    part: str = ""
    """A part of it, for instance `AudioSet_SL` of WavCaps or `eval` of FSD50K; empty: all."""
    split: str = ""
    """Split of all its clips; empty: the corpus's own."""
    limit: NotNegative = 0
    """At most so many clips, always the same ones; 0: all."""
    options: dict[str, bool | int | str | list[int] | list[str]] = dataclasses.field(default_factory=dict)
    """What its adapter offers besides, for instance `merge_excited`."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the clips come from and how recordings become clips."""

    __pydantic_config__ = FORBID

    source: Literal["soundscape", "audio", "corpora", CorpusName] = "soundscape"
    """`soundscape`: generated clips with known content; `audio`: the user's own files; a corpus by its name, at `root`;
    `corpora`: all those of `corpus`."""
    root: str = ""
    """For a corpus: its folder. For `corpora`: the folder in which theirs lie."""
    corpus: tuple[CorpusEntry, ...] = ()
    """For `corpora`: which ones, joined in one run."""
    overlap: Literal["leave_out", "keep"] = "leave_out"
    """Training clips that a held-out set of another corpus holds too: left out of training, or kept; both are said."""
    audio: str = ""
    """For `audio`: a folder of audio files, or a CSV, JSONL or Parquet manifest."""
    dataset: str = ""
    """Name written to the column `dataset`; empty: the folder's or manifest's name."""
    label_from: Literal["auto", "folder", "prefix", "none"] = "auto"
    """Labels of a folder's files: the sub-folders' names, the file name before its first `_`, or none.
    `auto`: sub-folders where there are any, otherwise the prefix. A manifest brings its own labels."""
    clips: dict[str, NotNegative] = dataclasses.field(default_factory=lambda: {"train": 400, "validation": 60})
    """For `soundscape`: number of clips of each split; 0 leaves a split out."""
    held_out: Share = 0.1
    """Share of the recordings kept out of SAE training and probing where the data has no splits of its own."""
    window_s: Seconds | None = None
    """Length of a clip; longer recordings become several. Empty: the AudioLLM's own window."""
    long: Literal["windows", "first"] = "windows"
    """A recording longer than a window: all its windows, or the first alone (as the paper does)."""
    min_s: Seconds = 0.2
    """Shorter clips, and shorter remainders of long recordings, are left out."""
    silence_db: Annotated[float, Field(le=0)] = -70.0
    """A clip whose peak stays below this level (dB relative to full scale) is left out as silent."""
    workers: Positive = 2
    """Threads that read files, and processes that generate clips."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Which models, where they run."""

    __pydantic_config__ = FORBID

    audio_lm: str = "data/demo/audio_lm"
    """AudioLLM: a folder or a hub id."""
    clap: str = "data/demo/clap"
    """CLAP: a folder or a hub id; `laion-clap:FILE.pt` or `msclap:FILE.pth` for a checkpoint of those packages."""
    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the AudioLLMs; `auto`: float32 on a CPU, bfloat16 on a GPU."""
    quantisation: Literal["none", "int8", "int4"] = "none"
    """Weights of the AudioLLMs' linear layers in 8 or 4 bits; needs bitsandbytes and accelerate."""
    device_map: Literal["", "auto", "balanced", "sequential"] = ""
    """Spread the AudioLLMs over all devices; needs accelerate. Empty: the one of `device`."""


@dataclasses.dataclass(frozen=True)
class ActivationsConfig:
    """Stage 1, the activations x the SAEs are trained on."""

    __pydantic_config__ = FORBID

    layers: tuple[NotNegative, ...] = ()
    """Decoder layers to read, 0-based. Empty: those that `sae` names."""
    questions: Annotated[tuple[str, ...], Field(min_length=1)] = QUESTIONS
    """Questions put to the model, in turn over the clips; its own greedy answer is read too."""
    max_new_tokens: Positive = 32
    """Longest answer."""
    batch: Positive = 16
    """Clips per forward pass."""
    shard_clips: Positive = 1024
    """Clips per file of activations."""
    dtype: Literal["float16", "float32", "bfloat16", "int8"] = "float16"
    """Number format on disk. float16 ends at 65504, bfloat16 and float32 do not; int8 has a scale for each token and
    takes half the room. What a format costs in FVU is said, and stands in table `hookpoints`."""
    store: Literal["disk", "none"] = "disk"
    """`none`: only norms and marks are written; training reads the model itself, and so does every later stage, clip by
    clip. Hundreds of GB less at the paper's size, several times the computing."""
    sinks: Literal["mask", "keep"] = "mask"
    """Attention sinks (tokens of massive norm): left out of training, or kept in."""
    sink_factor: Annotated[float, Field(gt=1)] = 10.0
    """A token is one when its norm exceeds this many times the median of its clip (Ours)."""
    workers: NotNegative = 2
    """Threads that decode clips and compute their features ahead of the model; 0 does it in between."""
    buffer_mb: Positive = 2048
    """Training sets up to this size (MB) are held in memory; larger ones are read from disk in random order through a
    buffer of half this size."""


@dataclasses.dataclass(frozen=True)
class SAEEntry:
    """One SAE to train."""

    __pydantic_config__ = FORBID

    layer: NotNegative = 0
    """Decoder layer, 0-based."""
    expansion: Annotated[float, Field(gt=0)] = 8.0
    """d_sae / d_in."""
    k: Positive = 16
    """Latents kept per token."""
    recipe: Literal["paper", "recommended", "batchtopk", "matryoshka"] = "recommended"
    """`paper`: exactly as published; `recommended`: decoder bias, unit rows, AuxK, scaled activations; `batchtopk`:
    that with k latents a token on average; `matryoshka`: that with nested dictionaries."""


@dataclasses.dataclass(frozen=True)
class TrainSection:
    """How the SAEs are trained; None leaves the recipe's own value."""

    __pydantic_config__ = FORBID

    tokens: Literal["all", "audio"] = "all"
    """Tokens to train on: audio, question and answer, or audio alone. Never padding or the constant prefix."""
    text_weight: Positive = 1
    """How often a text token counts for each time an audio token does. Text is a small share of the tokens; an SAE that
    replaces x while the model writes its answer must get it right."""
    steps: Positive = 2000
    """Training steps."""
    batch: Positive = 1024
    """Tokens per step."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Learning rate."""
    warmup: NotNegative | None = None
    """Steps of linear warm-up."""
    auxk_coef: Annotated[float, Field(ge=0)] | None = None
    """Weight of the AuxK loss."""
    log_every: Positive = 50
    """Steps between two entries of the curves."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Number format of the matrix products."""
    kernels: Literal["auto", "plain", "dense", "sparse"] = "auto"
    """How a step is computed; `auto` measures and takes the faster of `dense` and `sparse`, which round differently."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; empty: never clipped."""
    checkpoint_every: Positive = 1000
    """Steps between two checkpoints, from which a killed run goes on."""
    loss_clips: NotNegative = 64
    """Held-out clips behind `loss_recovered`; 0 leaves it empty."""


@dataclasses.dataclass(frozen=True)
class RankConfig:
    """Stage 2, representative clips."""

    __pydantic_config__ = FORBID

    p: Annotated[int, Field(ge=2)] = 4
    """Clips in H and in L (paper: 4)."""
    methods: Annotated[tuple[Literal["ard", "mean", "coverage"], ...], Field(min_length=1)] = (
        "ard",
        "mean",
        "coverage",
    )
    """Rankings to keep: r = μ·c, μ alone, c alone."""
    draws: Positive = 5
    """Draws of L among its ties, for the spread of m."""
    random_seeds: NotNegative = 10
    """Draws of method `random` (paper: 10 seeds); 0 leaves the method out."""
    poly: bool = True
    """Method `poly`: raw dimensions of x as the latents, no SAE."""


@dataclasses.dataclass(frozen=True)
class NamesConfig:
    """Stage 3, captions and names."""

    __pydantic_config__ = FORBID

    captions: Literal["model", "corpus"] = "model"
    """Captions by an AudioLLM, or those that came with the data."""
    captioner: str = ""
    """AudioLLM that writes the captions: a folder or a hub id (paper: SeaLLMs-Audio-7B); empty: `model.audio_lm`."""
    caption_prompt: Annotated[str, Field(min_length=1)] = "Generate a detailed caption for the audio clip"
    """Prompt for a caption (the paper's)."""
    max_new_tokens: Positive = 48
    """Longest caption."""
    top: Positive = 5000
    """C: latents with the highest m that get a name (paper: 5000)."""
    namer: NamerConfig = NamerConfig()
    """Who names them."""
