"""Every table of a run: columns, types, units and meaning, checked when written and when opened.

A run's tables are Parquet files. Their key columns are fixed; further columns may be added freely and are kept. The
meaning and the unit of every column travel in its Parquet field metadata (`doc`, `unit`) and in the generated data
dictionary `data/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ard.table_specs import SPECS, Column, TableSpec

__all__ = ["TABLES", "Column", "TableError", "TableSpec", "check", "data_dictionary", "empty", "from_rows", "spec"]

TABLES: dict[str, TableSpec] = {s.name: s for s in SPECS}


class TableError(ValueError):
    """A table does not have the columns, types or values that its name promises."""


def spec(name: str) -> TableSpec:
    """The specification of one table.

    Raises:
        TableError: there is no table of that name.
    """
    if name not in TABLES:
        raise TableError(f"There is no table {name!r}; the tables are {', '.join(TABLES)}.")
    return TABLES[name]


def empty(name: str) -> pa.Table:
    """A table of no rows with every column of its specification."""
    return spec(name).schema.empty_table()


def from_rows(name: str, rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Checked table `name` from one dictionary a row; keys the specification does not know become further columns.

    Raises:
        TableError: as `check`, or a value that does not fit its column's type.
    """
    rows = list(rows)
    if not rows:
        return empty(name)
    columns = {c.name: c for c in spec(name).columns}
    arrays: dict[str, pa.Array] = {}
    for key in dict.fromkeys(k for row in rows for k in row):
        values = [row.get(key) for row in rows]
        kind = columns[key].type if key in columns else None
        try:
            arrays[key] = pa.array(values, type=kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise TableError(f"Table {name}, column {key}: {error}; expected {kind or 'one type'}.") from None
    return check(name, pa.table(arrays))


def check(name: str, table: pa.Table, *, unique: bool = True) -> pa.Table:
    """The table with its columns in order, cast to their types, its metadata in place; further columns follow, kept.

    Args:
        name: which table it is.
        table: any Arrow table that has at least the required columns.
        unique: also check that no two rows share the table's key.

    Raises:
        TableError: a missing column, a value that its type cannot hold exactly, a null, NaN or infinity where none may
            be, a value out of range or not among the allowed words, or two rows with the same key.
    """
    s = spec(name)
    missing = [c.name for c in s.columns if c.name not in table.column_names and not c.nullable]
    if missing:
        raise TableError(f"Table {name} lacks the column(s) {', '.join(missing)}; it needs {', '.join(s.required)}.")
    arrays = [_column(name, c, table) for c in s.columns]
    fields = [c.field for c in s.columns]
    known = set(s.names)
    for field in table.schema:
        if field.name not in known:
            arrays.append(table.column(field.name))
            fields.append(field)
    checked = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"doc": s.doc, "table": s.name}))
    if unique:
        _unique(s, checked)
    return checked


def _column(name: str, c: Column, table: pa.Table) -> pa.ChunkedArray:
    if c.name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, c.type)])
    values = table.column(c.name)
    where = f"Table {name}, column {c.name}"
    if values.type != c.type:
        try:
            values = values.cast(c.type, safe=not pa.types.is_floating(c.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise TableError(f"{where}: {values.type} does not fit {c.type} ({error}).") from None
    if not c.nullable and values.null_count:
        raise TableError(f"{where} has {values.null_count} empty value(s); every row needs one ({c.doc}).")
    flat = pc.list_flatten(values) if pa.types.is_list(c.type) else values
    if pa.types.is_floating(flat.type) and not pc.all(pc.is_finite(flat), min_count=0).as_py():
        raise TableError(f"{where} has NaN or infinity; give a finite number{' or null' if c.nullable else ''}.")
    _range(where, c, flat)
    return values


def _range(where: str, c: Column, values: pa.ChunkedArray) -> None:
    if c.choices:
        wrong = [v for v in pc.unique(values).to_pylist() if v is not None and v not in c.choices]
        if wrong:
            raise TableError(f"{where} has {wrong[0]!r}; allowed: {', '.join(c.choices)}.")
    if c.low is None and c.high is None:
        return
    bounds = pc.min_max(values).as_py()
    for value, limit, bad, word in (
        (bounds["min"], c.low, lambda v, x: v < x, "at least"),
        (bounds["max"], c.high, lambda v, x: v > x, "at most"),
    ):
        if value is not None and limit is not None and bad(value, limit):
            raise TableError(f"{where} has {value}; it must be {word} {limit:g}.")


def _unique(s: TableSpec, table: pa.Table) -> None:
    if not s.key or table.num_rows < 2:
        return
    counts = table.select(list(s.key)).group_by(list(s.key)).aggregate([([], "count_all")])
    if counts.num_rows < table.num_rows:
        row = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).to_pylist()[0]
        what = ", ".join(f"{k} = {row[k]!r}" for k in s.key)
        raise TableError(f"Table {s.name} has {row['count_all']} rows with {what}; its key must be unique.")


def data_dictionary(specs: Sequence[TableSpec] = SPECS) -> str:
    """Markdown text of `data/README.md`: every table and column with its type, unit and meaning."""
    lines = [
        "# Data dictionary",
        "",
        "Generated by `python -m precompute dictionary` from `ard/table_specs.py`; change it there.",
        "",
        "Every table of a run lies in `RUN/tables/NAME.parquet` (or a folder `NAME/` of parts). Times are in seconds,",
        "sample rates in Hz, activations in the units of the AudioLLM's residual stream as the SAE saw it (after its",
        "`scale`). A column marked *may be empty* can be null. Further columns may be present.",
        "",
        "Tables: " + ", ".join(f"[{s.name}](#{s.name})" for s in specs) + ".",
    ]
    for s in specs:
        lines += ["", f"## {s.name}", "", s.doc, ""]
        if s.key:
            lines += ["Key: " + ", ".join(f"`{k}`" for k in s.key) + ".", ""]
        lines += ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        lines += [f"| {c.name} | {_type_name(c.type)} | {c.unit} | {c.text} |" for c in s.columns]
    return "\n".join(lines) + "\n"


def _type_name(kind: pa.DataType) -> str:
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)
