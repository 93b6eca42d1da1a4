"""The columns of every table, in one place: name, type, meaning, unit, what may be empty, allowed values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

STR, BOOL, I32, I64, F32, F64 = pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64()
STRS, F32S, I64S = pa.list_(STR), pa.list_(F32), pa.list_(I64)

METHODS = ("ard", "mean", "coverage", "random", "poly")
CONTROLS = ("none", "reconstruct_only", "random_latent", "untrained_sae", "shuffled_labels", "shuffled_names")


@dataclass(frozen=True)
class Column:
    """One column. `low`/`high` are inclusive limits, `choices` the only allowed words."""

    name: str
    type: pa.DataType
    doc: str
    unit: str = ""
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Meaning with what is allowed, for the data dictionary."""
        allowed = f" One of {', '.join(f'`{c}`' for c in self.choices)}." if self.choices else ""
        return self.doc + "." + allowed + (" *May be empty.*" if self.nullable else "")

    @property
    def field(self) -> pa.Field:
        """Arrow field with `doc` and `unit` in its metadata."""
        return pa.field(self.name, self.type, metadata={"doc": self.text, "unit": self.unit})


@dataclass(frozen=True)
class TableSpec:
    """One table: columns, the key that no two rows share, and the order of its rows on disk."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    sort: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> list[str]:
        """Every column."""
        return [c.name for c in self.columns]

    @property
    def required(self) -> list[str]:
        """Columns that a table must bring; the others are filled with nulls when absent."""
        return [c.name for c in self.columns if not c.nullable]

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema with the meanings in its metadata."""
        return pa.schema([c.field for c in self.columns], metadata={"doc": self.doc, "table": self.name})


def _c(name: str, kind: pa.DataType, doc: str, unit: str = "", **more: Any) -> Column:
    return Column(name, kind, doc, unit, **more)


def _null(name: str, kind: pa.DataType, doc: str, unit: str = "", **more: Any) -> Column:
    return Column(name, kind, doc, unit, nullable=True, **more)


def _t(name: str, doc: str, *columns: Column, key: str = "", sort: str = "") -> TableSpec:
    """`key` and `sort` are blank-separated names; a minus before a name sorts it downwards."""
    order = tuple((s.lstrip("-"), "descending" if s[0] == "-" else "ascending") for s in sort.split())
    return TableSpec(name, doc, columns, tuple(key.split()), order)


def _share(name: str, doc: str, nullable: bool = False) -> Column:
    return Column(name, F32, doc, "0–1", nullable=nullable, low=0.0, high=1.0)


def _count(name: str, doc: str, unit: str = "", nullable: bool = False, kind: pa.DataType = I32) -> Column:
    return Column(name, kind, doc, unit, nullable=nullable, low=0)


def _interval(name: str, doc: str, nullable: bool = False, unit: str = "0–1") -> tuple[Column, ...]:
    """A figure and its 95 % bootstrap interval."""
    return (
        Column(name, F32, doc, unit, nullable=nullable),
        _null(f"{name}_low", F32, f"Lower end of the 95 % bootstrap interval of `{name}`", unit),
        _null(f"{name}_high", F32, f"Upper end of the 95 % bootstrap interval of `{name}`", unit),
    )


SAE_ID = _c("sae_id", STR, "SAE, written `<hookpoint>/e<expansion>/k<k>/<recipe>`; `<hookpoint>/raw` for method `poly`")
LATENT = _c("latent_id", I32, "Coordinate of the SAE's latent vector z, from 0; for `poly` a raw dimension of x", low=0)
CLIP = _c("clip_id", STR, "Clip: one recording, or one window of a long recording")
METHOD = _c(
    "method", STR, "How clips are ranked: r = mean x coverage, one factor alone, random, or raw x", choices=METHODS
)
HOOKPOINT = _c("hookpoint", STR, "Where x is read: `layers.<l>`, the output of the 0-based decoder layer l")
CONTROL = _c("control", STR, "`none` for the method itself, otherwise which control this row is", choices=CONTROLS)
SEED = _c("seed", I32, "Seed of the draw")


def _rank(doc: str, nullable: bool = False, low: int = 0) -> Column:
    return Column("rank", I32, doc, nullable=nullable, low=low)


_CLIPS = (
    _t(
        "clips",
        "Every clip that was offered, with the reason if it was left out.",
        CLIP,
        _c("path", STR, "Source file, as given (relative to the folder or manifest where possible)"),
        _c("dataset", STR, "Name of the data set the clip came with"),
        _c("split", STR, "`train` (SAE training and probing set) or a held-out split"),
        _null("duration_s", F32, "Length of the clip as the model hears it; empty if unreadable", "s", low=0),
        _null("sample_rate", I32, "Sample rate of the source file; empty if unreadable", "Hz", low=1),
        _null("caption", STR, "Caption that came with the corpus"),
        _c("labels", STRS, "Labels that came with the corpus, or the names of the sub-folders; may be an empty list"),
        _null("start_s", F64, "Start of the clip in its source file", "s", low=0),
        _null("end_s", F64, "End of the clip in its source file", "s", low=0),
        _null("sha256", STR, "SHA-256 of the source file's bytes; empty if the file could not be read"),
        _c("status", STR, "`ok`, or in a few words why the clip was left out"),
        _c("recording_id", STR, "Shared by all windows (and byte-identical copies) of one recording"),
        _null("audio", STR, "Opaque file name of the clip's mono copy under `RUN/audio`; empty if left out"),
        _null("truth", STR, "JSON: what a synthetic clip really contains (event times); never given to a model"),
        key="clip_id",
        sort="clip_id",
    ),
    _t(
        "answers",
        "What the AudioLLM itself answered to one question about each clip; where the activations of both lie.",
        CLIP,
        _c("question", STR, "Question put to the model after the audio"),
        _c("answer", STR, "The model's greedy answer"),
        _count("audio_tokens", "Real (unpadded) audio tokens of the clip, T of Eq. 2", "tokens"),
        _count("text_tokens", "Tokens after the audio: question, turn marks and answer", "tokens"),
        _count("shard", "Number of the activation shard"),
        _count("row", "First row of the clip in that shard: audio tokens, then text tokens", kind=I64),
        key="clip_id",
        sort="clip_id",
    ),
    _t(
        "captions",
        "Captions of clips, each with who wrote it.",
        CLIP,
        _c("caption", STR, "Caption"),
        _c("model", STR, "Model and revision that wrote it, or `corpus` if it came with the data"),
        _c("prompt", STR, "Prompt given to the model; an empty string for `corpus`"),
        key="clip_id model prompt",
        sort="clip_id",
    ),
    _t(
        "embeddings",
        "CLAP embedding of each clip, unit length.",
        CLIP,
        _c("model", STR, "Embedding model and revision"),
        _c("vector", F32S, "Embedding e of Eq. 3, unit length"),
        key="clip_id model",
        sort="clip_id",
    ),
    _t(
        "clip_map",
        "Clips on a plane, by their CLAP embedding.",
        CLIP,
        _c("x", F32, "Horizontal place; only nearness has meaning"),
        _c("y", F32, "Vertical place; only nearness has meaning"),
        key="clip_id",
    ),
)

_SAES = (
    _t(
        "saes",
        "Every trained SAE with its size and quality.",
        SAE_ID,
        HOOKPOINT,
        _c("d_in", I32, "Width of the residual stream", low=1),
        _c("d_sae", I32, "Number of latents", low=1),
        _c("k", I32, "Latents kept per token by TopK", low=1),
        _c("expansion", F32, "d_sae / d_in"),
        _c("recipe", STR, "`paper` or `recommended`"),
        _count("steps", "Training steps", kind=I64),
        _count("tokens", "Tokens seen in training, repeats counted", "tokens", kind=I64),
        _c("fvu", F32, "Fraction of variance unexplained on held-out clips: sum ‖x−x̂‖² / sum ‖x−x̄‖²", low=0),
        _c("l0", F32, "Mean number of latents above 0 per token, on held-out clips", low=0),
        _share(
            "dead_fraction", "Share of latents that fire on no token of the training clips (the window of the name)"
        ),
        _null("loss_recovered", F32, "(L(mean) − L(x̂)) / (L(mean) − L(x)) on held-out clips, L = the AudioLLM's loss"),
        _null("loss_clean", F32, "Next-token loss of the AudioLLM on its own answers, untouched", "nats"),
        _null("loss_spliced", F32, "The same with x̂ in place of x", "nats"),
        _null("loss_mean", F32, "The same with the mean of x in place of x", "nats"),
        _null("held_out_clips", I32, "Clips behind fvu, l0 and the losses; 0 = training clips had to be used", "clips"),
        key="sae_id",
    ),
    _t(
        "curves",
        "Training curves of the SAEs.",
        SAE_ID,
        _count("step", "Training step", kind=I64),
        _null("loss", F32, "Training loss of that step"),
        _null("fvu", F32, "FVU over the window since the last entry"),
        _null("l0", F32, "Mean number of latents above 0 per token"),
        _null("dead_fraction", F32, "Share of latents that did not fire in the training window", "0–1"),
        _null("lr", F32, "Learning rate"),
        _null("tokens_per_s", F32, "Training speed", "tokens/s"),
        key="sae_id step",
        sort="sae_id step",
    ),
    _t(
        "latents",
        "How often and how strongly each latent fires, over the audio tokens of the probing set.",
        SAE_ID,
        LATENT,
        _share("density", "Share of audio tokens with z > 0"),
        _c("mean_active", F32, "Mean of z over the tokens where z > 0; 0 if dead", low=0),
        _c("max_activation", F32, "Largest z"),
        _count("clips_active", "Clips with at least one token z > 0", "clips"),
        _c("dead", BOOL, "Fires on no audio token of the probing set"),
        _c(
            "status",
            STR,
            "`ok`, `few_clips` (fires in fewer than p recordings: no H set) or `dead`",
            choices=("ok", "few_clips", "dead"),
        ),
        _null("mean_all", F32, "Mean of z over all audio tokens, zeros included"),
        _null("p99", F32, "99th percentile of the method `ard` clip score r over the probing set, zeros included"),
        key="sae_id latent_id",
        sort="sae_id latent_id",
    ),
    _t(
        "clip_latents",
        "Eq. 2 for every clip and latent that fires in it; a pair that is absent has all four values 0.",
        SAE_ID,
        CLIP,
        LATENT,
        _c("mean_activation", F32, "μ = (1/T) sum of z over the clip's T audio tokens", low=0),
        _share("coverage", "c = share of the clip's audio tokens with z > 0"),
        _c("representativeness", F32, "r = μ·c (Eq. 2)", low=0),
        _c("max_activation", F32, "Largest z in the clip", low=0),
        key="sae_id latent_id clip_id",
        sort="sae_id latent_id -representativeness clip_id",
    ),
    _t(
        "traces",
        "z at every audio token, for the clips that stand for a latent.",
        SAE_ID,
        LATENT,
        CLIP,
        _c("values", F32S, "z at each audio token in order"),
        _c("seconds_per_token", F32, "Time between two audio tokens", "s", low=0),
        key="sae_id latent_id clip_id",
        sort="sae_id latent_id clip_id",
    ),
    _t(
        "histograms",
        "Distribution of the activations above 0 of each latent.",
        SAE_ID,
        LATENT,
        _c("edges", F32S, "Edges of the bins, one more than counts"),
        _c("counts", I64S, "Audio tokens in each bin"),
        key="sae_id latent_id",
        sort="sae_id latent_id",
    ),
    _t(
        "output_tokens",
        "Output tokens that a latent's decoder row promotes or suppresses most.",
        SAE_ID,
        LATENT,
        _c("side", STR, "Which end of the list", choices=("promoted", "suppressed")),
        _rank("1 = strongest", low=1),
        _c("token", STR, "Token text"),
        _c("logit", F32, "Decoder row times the output matrix"),
        key="sae_id latent_id side rank",
        sort="sae_id latent_id side rank",
    ),
    _t(
        "neighbours",
        "Similar latents of the same or another SAE.",
        SAE_ID,
        LATENT,
        _rank("1 = nearest", low=1),
        _c("neighbour_sae_id", STR, "SAE of the neighbour"),
        _c("neighbour_id", I32, "Latent of the neighbour", low=0),
        _null("cosine", F32, "Cosine of the decoder rows; empty where the hookpoints differ"),
        _null("coactivation", F32, "Correlation of the two latents' clip scores r"),
        key="sae_id latent_id neighbour_sae_id rank",
        sort="sae_id latent_id",
    ),
)

_CONCEPTS = (
    _t(
        "representatives",
        "The p clips with the highest score (`most`, H) and the p with the lowest (`least`, L) of each latent.",
        SAE_ID,
        METHOD,
        SEED,
        LATENT,
        _c("side", STR, "`most` = H, `least` = L", choices=("most", "least")),
        _rank("1 = highest score for `most`; for `least` the order of the seeded draw", low=1),
        CLIP,
        _c("score", F32, "Score of the method on that clip: r for `ard`, μ for `mean`, c for `coverage`"),
        key="sae_id method seed latent_id side rank",
        sort="sae_id method latent_id seed side rank",
    ),
    _t(
        "monosemanticity",
        "Eq. 3–4 for every scored latent; a latent that is dead or fires in too few clips has no row.",
        SAE_ID,
        METHOD,
        LATENT,
        _c("score", F32, "m = (E_H − E_L) / (σ_pooled + ε) (Eq. 4), with the H and L of `representatives`"),
        _c("coherence_most", F32, "E_H: mean cosine over the pairs in H (Eq. 3)"),
        _c("coherence_least", F32, "E_L: mean cosine over the pairs in L (Eq. 3)"),
        _c("std_pooled", F32, "σ_pooled = sqrt((σ_H² + σ_L²) / 2), population standard deviations"),
        _rank("1 = highest score of this SAE and method", low=1),
        _null("score_mean", F32, "Mean of m over several draws of L among its ties"),
        _null("score_std", F32, "Standard deviation of m over those draws", low=0),
        _null("draws", I32, "Number of draws of L", low=1),
        key="sae_id method latent_id",
        sort="sae_id method rank",
    ),
    _t(
        "concepts",
        "Named latents with the evidence of their name.",
        SAE_ID,
        METHOD,
        LATENT,
        _c("name", STR, "Short name, at most 5 words"),
        _c("description", STR, "Longer description"),
        _c("captions", STRS, "Captions of the H clips, in rank order: the evidence"),
        _c("namer", STR, "What produced the name: model and revision, or the deterministic rule"),
        _c("monosemanticity", F32, "Score m of Eq. 4"),
        _rank("1 = highest m", low=1),
        _null("prompt", STR, "Prompt given to the namer"),
        _null("support", F32, "Share of the H captions that carry the name's phrase", "0–1"),
        key="sae_id method latent_id",
        sort="sae_id method rank",
    ),
    _t(
        "concept_map",
        "Concepts on a plane, by the embeddings of their H clips.",
        SAE_ID,
        LATENT,
        _c("x", F32, "Horizontal place; only nearness has meaning"),
        _c("y", F32, "Vertical place; only nearness has meaning"),
        key="sae_id latent_id",
    ),
    _t(
        "detection",
        "How well a latent's clip score finds the held-out clips that its name fits.",
        SAE_ID,
        METHOD,
        LATENT,
        *_interval("auroc", "Area under the ROC curve"),
        _count("clips", "Held-out clips behind it", "clips"),
        key="sae_id method latent_id",
    ),
)

_RESULTS = (
    _t(
        "interpretability",
        "Named concepts against reference classes, in two readings of the paper's measure.",
        _c("reading", STR, "Ours: what one prediction is", choices=("vocabulary", "clip")),
        METHOD,
        SAE_ID,
        SEED,
        CONTROL,
        _null("n", I32, "Predictions per clip; empty where the threshold τ decides", low=1),
        *_interval("ms_max", "Highest monosemanticity m", nullable=True, unit=""),
        *_interval("precision", "Matched pairs / predictions, summed, then divided"),
        *_interval("recall", "Matched pairs / references, summed, then divided"),
        *_interval("f1", "Harmonic mean of precision and recall"),
        *_interval("map", "Precision integrated over all pairs ranked by similarity"),
        _count("clips", "Clips (reading `clip`) or 0 (reading `vocabulary`)", "clips"),
        _c("gamma", F32, "Similarity above which a matched pair counts"),
    ),
    _t(
        "steering",
        "Sensitivity of the AudioLLM's answers to a clamped latent.",
        _c("task", STR, "Which attribute is changed, e.g. `gender`"),
        _c("source", STR, "Answer before"),
        _c("target", STR, "Answer wanted"),
        METHOD,
        SAE_ID,
        _null("latent_id", I32, "Clamped latent; empty for a control that clamps none", low=0),
        _null("value", F32, "Value the latent is clamped to; empty for a control that clamps none"),
        _c("chosen", BOOL, "Latent and value were chosen on the selection split"),
        CONTROL,
        _count("samples", "Samples whose label and unsteered answer are the source", "samples"),
        *_interval("sensitivity", "Share of those samples whose steered answer is the target", nullable=True),
        _null("sensitivity_all", F32, "The same over all samples labelled with the source", "0–1"),
        _null("degenerate", F32, "Share of steered answers that are no answer", "0–1"),
    ),
    _t(
        "ablation",
        "Highest monosemanticity over layers, expansions and methods.",
        HOOKPOINT,
        _null("expansion", F32, "d_sae / d_in; empty for `poly`"),
        METHOD,
        _null("ms_max", F32, "Highest m"),
        _null("fvu", F32, "FVU of that SAE; empty for `poly`"),
        _null("dead_fraction", F32, "Share of dead latents; empty for `poly`", "0–1"),
    ),
    _t(
        "ratings",
        "Ratings of the listening study, one row a judgement; published by the app.",
        _c("study_id", STR, "Study"),
        _c("item_id", STR, "Item of the study"),
        _c("rater", STR, "Anonymous rater"),
        METHOD,
        SAE_ID,
        LATENT,
        _null("description", STR, "What the rater wrote before seeing the name"),
        _null("rating", I32, "How well the name fits, 0–5", low=0, high=5),
        _c("catch", BOOL, "The item showed a shuffled name"),
        _c("repeat", BOOL, "The item was shown before"),
        _c("heard", BOOL, "Every clip of the item was played to its end"),
        _null("seconds", F32, "Time spent on the item", "s", low=0),
        _c("saved_at", STR, "When it was saved, ISO 8601, UTC"),
    ),
    _t(
        "human",
        "Summary of the listening study.",
        METHOD,
        _count("raters", "Raters"),
        _count("items", "Items"),
        _null("rating_mean", F32, "Mean rating", "0–5"),
        _null("rating_std", F32, "Standard deviation of the ratings", "0–5"),
        _null("clap_cosine_mean", F32, "Mean CLAP cosine of name and human description"),
        _null("clap_cosine_std", F32, "Its standard deviation"),
        _null("bertscore_mean", F32, "Mean BERTScore of name and human description"),
        _null("bertscore_std", F32, "Its standard deviation"),
        _null("alpha", F32, "Krippendorff's α, ordinal"),
        key="method",
    ),
)

SPECS: tuple[TableSpec, ...] = _CLIPS + _SAES + _CONCEPTS + _RESULTS
