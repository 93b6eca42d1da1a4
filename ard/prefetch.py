"""Work ahead of and behind a main loop in threads: in order, and never more than a few pieces waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

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


class Behind:
    """Calls made in order in one thread, behind the caller; `with` waits for the last one.

    An error of a call comes out of the next `put`, or at the end of the block.

    Args:
        depth: calls that may wait; `put` waits when there are as many. 0 calls at once, in the caller's thread.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="behind") if depth > 0 else None

    def __enter__(self) -> Self:
        return self

    def put(self, work: Callable[..., None], *args: object) -> None:
        """Call `work(*args)` after all calls before it."""
        if self._pool is None:
            work(*args)
            return
        while self._waiting and (len(self._waiting) >= self._depth or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(work, *args))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=kind is not None)
        while kind is None and self._waiting:
            self._waiting.popleft().result()
