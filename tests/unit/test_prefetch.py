"""Work ahead: the order of the items, a bounded number in the air, errors in their place, an early end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ard.prefetch import Behind, ahead


@pytest.mark.parametrize(("depth", "workers"), [(0, 1), (1, 1), (3, 2), (20, 8)])
def test_results_come_in_order(depth: int, workers: int) -> None:
    def slow_when_even(i: int) -> int:
        time.sleep(0.003 if i % 2 == 0 else 0)
        return i * i

    assert list(ahead(range(15), slow_when_even, depth, workers)) == [i * i for i in range(15)]


def test_no_more_than_depth_are_begun_ahead() -> None:
    begun: list[int] = []
    results = ahead(range(100), lambda i: begun.append(i) or i, depth=3)
    assert next(results) == 0
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3]
    assert next(results) == 1
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3, 4]


def test_without_depth_nothing_is_begun_ahead_and_no_thread_used() -> None:
    where: list[str] = []
    results = ahead(range(3), lambda i: where.append(threading.current_thread().name) or i, depth=0)
    assert next(results) == 0
    assert where == [threading.current_thread().name]


def test_an_error_comes_where_its_result_would_have() -> None:
    def work(i: int) -> int:
        if i == 2:
            raise ZeroDivisionError("two")
        return i

    results = ahead(range(5), work, depth=4, workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError, match="two"):
        next(results)


def test_an_error_of_the_items_comes_out_and_threads_end() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("items")

    with pytest.raises(KeyError):
        list(ahead(items(), lambda i: i, depth=2))
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]


def test_leaving_early_drops_what_has_not_begun() -> None:
    begun: list[int] = []
    results = ahead(range(100), lambda i: time.sleep(0.01) or begun.append(i), depth=50)
    next(results)
    results.close()
    assert len(begun) < 10
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_calls_behind_come_in_order_and_all(depth: int) -> None:
    done: list[int] = []
    with Behind(depth) as behind:
        for i in range(20):
            behind.put(done.append, i)
    assert done == list(range(20))


def test_no_more_calls_wait_than_asked_for() -> None:
    gate, done = threading.Event(), []
    with Behind(2) as behind:
        behind.put(gate.wait)
        behind.put(done.append, 1)
        late = threading.Timer(0.05, gate.set)
        late.start()
        behind.put(done.append, 2)  # waits until the first one is done
        assert gate.is_set()
    assert done == [1, 2]


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_an_error_behind_comes_out(depth: int) -> None:
    def fail() -> None:
        raise ZeroDivisionError("behind")

    def work() -> None:
        with Behind(depth) as behind:
            behind.put(fail)

    with pytest.raises(ZeroDivisionError, match="behind"):
        work()
    assert not [t for t in threading.enumerate() if t.name.startswith("behind")]


def test_an_error_in_the_block_drops_what_waits() -> None:
    done: list[int] = []

    def work() -> None:
        with Behind(100) as behind:
            for i in range(100):
                behind.put(lambda i=i: time.sleep(0.01) or done.append(i))
            raise KeyError("block")

    with pytest.raises(KeyError, match="block"):
        work()
    assert len(done) < 50
