"""Every table, in one place: columns stand in `table_specs_clips.py`, `_names.py`, `_results.py`, `_evaluation.py`."""

from __future__ import annotations

from ard.table_columns import CONTROLS, METHODS, Column, TableSpec
from ard.table_specs_clips import CLIPS, SAES
from ard.table_specs_evaluation import EVALUATION
from ard.table_specs_names import NAMES
from ard.table_specs_results import CONCEPTS, RESULTS

__all__ = ["CONTROLS", "METHODS", "SPECS", "Column", "TableSpec"]

SPECS: tuple[TableSpec, ...] = CLIPS + SAES + CONCEPTS + NAMES + RESULTS + EVALUATION
