"""Import Gradio without the rewriting of its editor stubs, which takes more than half of the import's time."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any


def import_gradio() -> ModuleType:
    """`import gradio`, without the type stubs (.pyi) that it writes into its own folder for every component class.

    Gradio asks `inspect.getfile` for the source of each class and, where there is none, leaves the stub out. While it
    is being imported, its own classes have none. The stubs help editors only; those that are there stay as they are.
    """
    found = inspect.getfile

    def getfile(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.partition(".")[0] == "gradio":
            raise OSError(f"The source of {thing.__qualname__} is not needed to run it.")
        return found(thing)

    inspect.getfile = getfile
    try:
        return import_module("gradio")
    finally:
        inspect.getfile = found
