"""Tables of how names came about and how well they fit."""

from __future__ import annotations

from ard.table_columns import (
    F32,
    F64,
    I32,
    I64,
    LATENT,
    METHOD,
    SAE_ID,
    STR,
    STRS,
    TableSpec,
    column,
    count,
    interval,
    optional,
    table,
)

NAMES: tuple[TableSpec, ...] = (
    table(
        "namings",
        "What a chat model was asked about each concept and what it said; empty where no chat model names.",
        SAE_ID,
        METHOD,
        LATENT,
        column("model", STR, "Chat model that was asked, by the name that answered"),
        column("revision", STR, "Its fingerprint or revision, as it tells it; an empty string if it tells none"),
        column("prompt", STR, "The first message, captions included"),
        column(
            "answers",
            STRS,
            "Every answer as it came, in order; after an unusable one the model was told why and asked again",
        ),
        column(
            "status",
            STR,
            "`named`; `no_common`: the captions share nothing; `malformed`: no usable answer; `unanswered`: no answer. "
            "For the last two `concepts.name` is contrastive, and `concepts.namer` says so",
            choices=("named", "no_common", "malformed", "unanswered"),
        ),
        optional("reason", STR, "Why there is no usable answer"),
        optional(
            "prompt_tokens",
            I64,
            "Tokens of all messages sent; concepts with the same captions share one exchange and each row has it whole",
            "tokens",
            low=0,
        ),
        optional("completion_tokens", I64, "Tokens of all answers, likewise", "tokens", low=0),
        optional("cost", F64, "Cost of the exchange by the prices in the configuration, in their currency", low=0),
        key="sae_id method latent_id",
        sort="sae_id method latent_id",
    ),
    table(
        "detection",
        "How well a named latent's clip score r finds the held-out clips of its class and those that its name names, "
        "and how well its name alone finds, by CLAP, the held-out clips on which the latent fires.",
        SAE_ID,
        METHOD,
        LATENT,
        *interval(
            "auroc", "Area under the ROC curve of r for the clips that carry `label`, on held-out clips", nullable=True
        ),
        count("clips", "Held-out clips with a class, behind it; 0 where it is empty", "clips"),
        optional("label", STR, "The latent's class: the label with the best AUROC on the probing clips"),
        optional(
            "auroc_probing", F32, "AUROC of r for that label on the probing clips, where the label was chosen", "0–1"
        ),
        optional("name_label", STR, "The class that the name means: the label whose text is nearest to it by CLAP"),
        optional("name_similarity", F32, "CLAP cosine of the name and that label's text"),
        optional("auroc_name", F32, "AUROC of r for the clips that carry `name_label`, on held-out clips", "0–1"),
        optional("positives", I32, "Held-out clips that carry `label`", "clips", low=0),
        *interval(
            "auroc_clap",
            "Name alone: AUROC of the CLAP cosine of name and clip for the held-out clips on which the latent fires",
            nullable=True,
        ),
        optional(
            "auroc_clap_strong",
            F32,
            "The same for those of them with r above half of the latent's 99th percentile on the probing clips, the "
            "weaker ones left aside",
            "0–1",
        ),
        optional("clap_top", F32, "Mean CLAP cosine of the name with the held-out clips of the p highest r"),
        optional("clap_rest", F32, "The same with all other held-out clips: what random clips give"),
        optional("firing", I32, "Held-out clips on which the latent fires (r > 0)", "clips", low=0),
        optional("heard", I32, "Held-out clips behind the CLAP figures", "clips", low=0),
        key="sae_id method latent_id",
    ),
)
