"""Tables that say how far Table 1 can be trusted: curves, comparisons, controls, stability."""

from __future__ import annotations

from ard.table_columns import (
    BOOL,
    CONTROL,
    CONTROLS,
    F32,
    F64,
    I32,
    METHOD,
    METHODS,
    SAE_ID,
    SEED,
    STR,
    TableSpec,
    column,
    count,
    interval,
    optional,
    table,
)

_READING = column("reading", STR, "As in `interpretability`", choices=("vocabulary", "clip"))
_N = optional("n", I32, "Predictions per clip; empty where the threshold τ decides, and for `vocabulary`", low=1)
_FIGURE = column("figure", STR, "Which figure", choices=("precision", "recall", "f1", "map"))

EVALUATION: tuple[TableSpec, ...] = (
    table(
        "interpretability_curve",
        "Precision, recall and F1 of `interpretability` over γ. The predictions are the same for every γ: τ stays the "
        "one chosen at `evaluate.gamma`.",
        _READING,
        METHOD,
        SAE_ID,
        SEED,
        CONTROL,
        _N,
        column("gamma", F32, "Similarity above which a matched pair counts"),
        column("precision", F32, "Matched pairs / predictions", "0–1"),
        column("recall", F32, "Matched pairs / references", "0–1"),
        column("f1", F32, "Harmonic mean of precision and recall", "0–1"),
        column("matched", F64, "Matched pairs above γ, summed; for a shuffled control the mean over shuffles", low=0),
        optional("tau", F32, "Threshold of a scaled clip score", low=0),
        column("draws", I32, "Shuffles behind the row (at most 10); 1 where nothing is shuffled", low=1),
        key="reading method sae_id seed control n gamma",
        sort="reading method sae_id seed control n gamma",
    ),
    table(
        "comparisons",
        "Method `ard` less another one, on the same resamples: `better` only where the 95 % interval lies above 0.",
        _READING,
        SAE_ID,
        METHOD,
        column("other_sae_id", STR, "SAE of the other method; `<hookpoint>/raw` for `poly`"),
        column("other_method", STR, "The other method; `random` as the mean of its seeds", choices=METHODS),
        column("other_control", STR, "`none`, or `untrained_sae` for the SAE before training", choices=CONTROLS),
        _N,
        _FIGURE,
        column("value", F32, "Figure of `method`", "0–1"),
        column("other", F32, "Figure of the other method", "0–1"),
        *interval("difference", "Their difference, in resamples that both share", unit=""),
        column("better", BOOL, "The interval lies above 0"),
        column("worse", BOOL, "The interval lies below 0"),
        column(
            "paired",
            STR,
            "What is drawn anew for both at once: the clips under test (whole recordings), or for `vocabulary` the "
            "names of all methods together: one that both methods give counts as often in both",
            choices=("clips", "names"),
        ),
        count("draws", "Resamples"),
        count("other_seeds", "Seeds behind the other figure"),
        key="reading sae_id other_sae_id other_method other_control n figure",
        sort="reading sae_id other_sae_id other_method other_control n figure",
    ),
    table(
        "controls",
        "Checks of every evaluation, for method `ard` in the reading `clip` with τ: its names must find more than "
        "shuffled labels and names do, and the trained SAE more than the untrained one.",
        SAE_ID,
        CONTROL,
        _READING,
        _FIGURE,
        column(
            "passed",
            BOOL,
            "Shuffles: the figure lies above their 97.5th percentile and, for `map`, `expected` lies within their "
            "middle 95 %; `untrained_sae`: the interval of the paired difference lies above 0",
        ),
        column("value", F32, "The figure", "0–1"),
        column("chance", F32, "Mean of the shuffles, or the untrained SAE's figure", "0–1"),
        optional("low", F32, "Shuffles: their 2.5th percentile; `untrained_sae`: lower end of the paired difference"),
        optional("high", F32, "Shuffles: their 97.5th percentile; `untrained_sae`: upper end of that difference"),
        optional("expected", F32, "mAP that independence predicts for the shuffles (ard/chance.py)", "0–1"),
        count("draws", "Shuffles, or resamples"),
        column("sentence", STR, "The same in words"),
        key="sae_id control reading figure",
        sort="sae_id control figure",
    ),
    table(
        "stability",
        "How many concepts of the default SAE return when it is trained with another seed, by decoder cosine. Empty "
        "with `evaluate.stability_seeds = 0`.",
        SAE_ID,
        column("seed", I32, "Seed of the other SAE"),
        CONTROL,
        count("concepts", "Concepts of method `ard` that are looked for", "latents"),
        count("latents", "Live latents of the other SAE, among which they are looked for", "latents"),
        *interval("share", "Share of the concepts whose nearest latent there has a cosine of at least `threshold`"),
        column("median", F32, "Median cosine with the nearest latent"),
        optional("share_one_to_one", F32, "As `share`, with each latent given to one concept at most", "0–1"),
        optional("median_one_to_one", F32, "Median cosine of these pairs; empty above 8,192 latents, as the share"),
        column("threshold", F32, "Cosine from which a concept counts as found again"),
        optional("fvu", F32, "FVU of the other SAE on held-out clips; empty for the untrained one"),
        key="sae_id seed control",
        sort="sae_id seed control",
    ),
)
