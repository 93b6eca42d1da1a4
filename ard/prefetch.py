"""Work ahead in threads: results in the order of the items, and never more than a few of them waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(items: Iterable[T], work: Callable[[T], R], depth: int, workers: int = 1) -> Iterator[R]:
    """`work(item)` for each item, in order, up to `depth` of them begun before they are asked for.

    Threads suit work that waits or runs outside Python's lock: reading files, decoding, torch. An error of `work` comes
    out where its result would have. Leaving early drops what has not begun and waits for what has.

    Args:
        items: taken one by one, as results are asked for.
        work: called in a worker thread.
        depth: results begun or waiting; 0 works without threads, when asked.
        workers: threads.
    """
    if depth < 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
