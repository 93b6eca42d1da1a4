"""Every table: the columns that stay, what is refused, and the data dictionary."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ard import tables
from ard.tables import TableError

STAY = {
    "clips": "clip_id path dataset split duration_s sample_rate caption labels start_s end_s sha256 status",
    "saes": "sae_id hookpoint d_in d_sae k expansion recipe steps tokens fvu l0 dead_fraction loss_recovered",
    "latents": "sae_id latent_id density mean_active max_activation clips_active dead",
    "clip_latents": "sae_id clip_id latent_id mean_activation coverage representativeness max_activation",
    "representatives": "sae_id method seed latent_id side rank clip_id score",
    "monosemanticity": "sae_id method latent_id score coherence_most coherence_least std_pooled rank",
    "captions": "clip_id caption model prompt",
    "concepts": "sae_id method latent_id name description captions namer monosemanticity rank",
    "clip_map": "clip_id x y",
    "concept_map": "sae_id latent_id x y",
    "interpretability": "reading method sae_id seed control n ms_max ms_max_low ms_max_high precision precision_low "
    "precision_high recall recall_low recall_high f1 f1_low f1_high map map_low map_high clips gamma",
    "steering": "task source target method sae_id latent_id value chosen control samples sensitivity sensitivity_low "
    "sensitivity_high sensitivity_all degenerate",
    "ablation": "hookpoint expansion method ms_max fvu dead_fraction",
    "traces": "sae_id latent_id clip_id values seconds_per_token",
    "histograms": "sae_id latent_id edges counts",
    "output_tokens": "sae_id latent_id side rank token logit",
    "neighbours": "sae_id latent_id rank neighbour_sae_id neighbour_id cosine coactivation",
    "embeddings": "clip_id model vector",
    "detection": "sae_id method latent_id auroc auroc_low auroc_high clips",
    "ratings": "study_id item_id rater method sae_id latent_id description rating catch repeat heard seconds saved_at",
    "human": "method raters items rating_mean rating_std clap_cosine_mean clap_cosine_std bertscore_mean "
    "bertscore_std alpha",
}
NARROW = (pa.float16(), pa.int8(), pa.int16(), pa.uint8(), pa.uint16())


def latent_row(**changes: object) -> dict[str, object]:
    row = {
        "sae_id": "layers.1/e8/k16/recommended",
        "clip_id": "a.wav",
        "latent_id": 3,
        "mean_activation": 0.5,
        "coverage": 0.25,
        "representativeness": 0.125,
        "max_activation": 2.0,
    }
    return row | changes


@pytest.mark.parametrize("name", sorted(STAY))
def test_the_columns_that_others_depend_on_are_there(name: str) -> None:
    assert set(STAY[name].split()) <= set(tables.spec(name).names)


@pytest.mark.parametrize("spec", tables.TABLES.values(), ids=lambda s: s.name)
def test_every_column_has_a_meaning_and_a_wide_enough_type(spec: tables.TableSpec) -> None:
    assert len(spec.names) == len(set(spec.names))
    assert set(spec.key) | {c for c, _ in spec.sort} <= set(spec.names)
    for column in spec.columns:
        inner = column.type.value_type if pa.types.is_list(column.type) else column.type
        assert len(column.doc) > 3
        assert inner not in NARROW
        assert not column.name.endswith("_s") or pa.types.is_floating(inner)
        assert column.field.metadata[b"doc"].decode().startswith(column.doc)


def test_meaning_and_unit_survive_the_file(tmp_path: Path) -> None:
    pq.write_table(tables.empty("clips"), tmp_path / "clips.parquet")
    field = pq.read_schema(tmp_path / "clips.parquet").field("duration_s")
    assert field.metadata[b"unit"] == b"s"
    assert b"Length of the clip" in field.metadata[b"doc"]


def test_data_dictionary_is_the_generated_one() -> None:
    found = (Path(__file__).parents[2] / "data" / "README.md").read_text(encoding="utf-8")
    assert found == tables.data_dictionary(), "run `python -m precompute dictionary`"


def test_data_dictionary_names_every_column() -> None:
    text = tables.data_dictionary()
    for spec in tables.TABLES.values():
        section = text.split(f"\n## {spec.name}\n")[1].split("\n## ")[0]
        assert all(f"| {name} | " in section for name in spec.names)


def test_rows_become_a_table_of_the_right_types() -> None:
    table = tables.from_rows("clip_latents", [latent_row()])
    assert table.schema.field("latent_id").type == pa.int32()
    assert table.schema.field("coverage").type == pa.float32()
    assert table.to_pylist() == [latent_row()]


def test_further_columns_are_kept_after_the_known_ones() -> None:
    table = tables.from_rows("clip_latents", [latent_row(mine="x")])
    assert table.column_names[-1] == "mine"
    assert table.column_names[:-1] == tables.spec("clip_latents").names


def test_absent_nullable_columns_are_filled_with_nulls() -> None:
    table = tables.from_rows("curves", [{"sae_id": "s", "step": 1}])
    assert table["loss"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"coverage": 1.5}, "at most 1"),
        ({"mean_activation": -0.1}, "at least 0"),
        ({"max_activation": float("nan")}, "NaN or infinity"),
        ({"max_activation": float("inf")}, "NaN or infinity"),
        ({"clip_id": None}, "empty value"),
        ({"latent_id": "three"}, "latent_id"),
        ({"latent_id": 2**40}, "latent_id"),
        ({"latent_id": -1}, "at least 0"),
    ],
)
def test_wrong_values_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(TableError, match=word):
        tables.from_rows("clip_latents", [latent_row(**changes)])


def test_a_fraction_does_not_pass_for_an_id() -> None:
    table = pa.table({k: [v] for k, v in latent_row(latent_id=1.5).items()})
    with pytest.raises(TableError, match="latent_id"):
        tables.check("clip_latents", table)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(TableError, match=r"lacks the column.*coverage"):
        tables.check("clip_latents", pa.table({k: [v] for k, v in latent_row().items()}).drop(["coverage"]))


def test_two_rows_with_one_key_are_refused() -> None:
    with pytest.raises(TableError, match=r"2 rows with sae_id = .* clip_id = 'a.wav'"):
        tables.from_rows("clip_latents", [latent_row(), latent_row(coverage=0.5)])


def test_words_outside_the_allowed_ones_are_refused() -> None:
    row = {"sae_id": "s", "method": "best", "seed": 0, "latent_id": 0, "side": "most", "rank": 1, "clip_id": "a"}
    with pytest.raises(TableError, match="'best'; allowed: ard"):
        tables.from_rows("representatives", [row | {"score": 1.0}])


def test_unknown_table() -> None:
    with pytest.raises(TableError, match="no table 'clipz'"):
        tables.empty("clipz")
