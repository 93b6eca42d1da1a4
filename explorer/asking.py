"""A question to the model that can be stopped: it runs in a thread, and whoever waits may walk away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
EVERY = 0.25  # seconds between two looks at the thread


class Waiting(NamedTuple):
    """Not done yet."""

    seconds: float


class Done(NamedTuple, Generic[T]):
    """The answer."""

    value: T


def ask(call: Callable[[Callable[[], bool]], T], every: float = EVERY) -> Iterator[Waiting | Done[T]]:
    """Run `call(should_stop)` in a thread; yields `Waiting` now and then, last `Done`.

    Closing the generator (a cancelled event, a visitor who left) makes `should_stop()` true, so that the model stops
    at its next token instead of answering nobody.

    Raises:
        Exception: whatever the call raised.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ask")
    future = pool.submit(call, stop.is_set)
    started = time.monotonic()
    try:
        while not wait([future], timeout=every).done:
            yield Waiting(time.monotonic() - started)
        yield Done(future.result())
    finally:
        stop.set()
        pool.shutdown(wait=False)
