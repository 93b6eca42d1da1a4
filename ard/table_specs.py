"""Every table, in one place: its columns stand in the files `table_specs_*.py` beside this one."""

from __future__ import annotations

from ard.table_columns import CONTROLS, METHODS, Column, TableSpec
from ard.table_specs_clips import CLIPS, SAES
from ard.table_specs_evaluation import EVALUATION
from ard.table_specs_human import HUMAN
from ard.table_specs_names import NAMES
from ard.table_specs_results import CONCEPTS, RESULTS
from ard.table_specs_steering import STEERING

__all__ = ["CONTROLS", "METHODS", "SPECS", "Column", "TableSpec"]

SPECS: tuple[TableSpec, ...] = CLIPS + SAES + CONCEPTS + NAMES + RESULTS + EVALUATION + STEERING + HUMAN
