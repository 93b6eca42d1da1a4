"""Generators of the demo world's sound events, one module a group of families."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module


@cache
def load_all() -> None:
    """Import every module of generators, which fills `registry.EVENTS`."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            import_module(f"{__name__}.{module.name}")
