"""What a table and a column are, and the columns that many tables share."""

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


def column(name: str, kind: pa.DataType, doc: str, unit: str = "", **more: Any) -> Column:
    """A column that every row fills."""
    return Column(name, kind, doc, unit, **more)


def optional(name: str, kind: pa.DataType, doc: str, unit: str = "", **more: Any) -> Column:
    """A column that may be empty."""
    return Column(name, kind, doc, unit, nullable=True, **more)


def table(name: str, doc: str, *columns: Column, key: str = "", sort: str = "") -> TableSpec:
    """A table; `key` and `sort` are blank-separated names; a minus before a name sorts it downwards."""
    order = tuple((s.lstrip("-"), "descending" if s[0] == "-" else "ascending") for s in sort.split())
    return TableSpec(name, doc, columns, tuple(key.split()), order)


def share(name: str, doc: str, nullable: bool = False) -> Column:
    """A share, from 0 to 1."""
    return Column(name, F32, doc, "0–1", nullable=nullable, low=0.0, high=1.0)


def count(name: str, doc: str, unit: str = "", nullable: bool = False, kind: pa.DataType = I32) -> Column:
    """A number of things, from 0."""
    return Column(name, kind, doc, unit, nullable=nullable, low=0)


def interval(name: str, doc: str, nullable: bool = False, unit: str = "0–1") -> tuple[Column, ...]:
    """A figure and its 95 % bootstrap interval."""
    return (
        Column(name, F32, doc, unit, nullable=nullable),
        optional(f"{name}_low", F32, f"Lower end of the 95 % bootstrap interval of `{name}`", unit),
        optional(f"{name}_high", F32, f"Upper end of the 95 % bootstrap interval of `{name}`", unit),
    )


SAE_ID = column(
    "sae_id", STR, "SAE, written `<hookpoint>/e<expansion>/k<k>/<recipe>`; `<hookpoint>/raw` for method `poly`"
)
LATENT = column(
    "latent_id", I32, "Coordinate of the SAE's latent vector z, from 0; for `poly` a raw dimension of x", low=0
)
CLIP = column("clip_id", STR, "Clip: one recording, or one window of a long recording")
METHOD = column(
    "method", STR, "How clips are ranked: r = mean x coverage, one factor alone, random, or raw x", choices=METHODS
)
HOOKPOINT = column("hookpoint", STR, "Where x is read: `layers.<l>`, the output of the 0-based decoder layer l")
CONTROL = column("control", STR, "`none` for the method itself, otherwise which control this row is", choices=CONTROLS)
SEED = column("seed", I32, "Seed of the draw")


def rank(doc: str, nullable: bool = False, low: int = 0) -> Column:
    """A place in an order."""
    return Column("rank", I32, doc, nullable=nullable, low=low)
