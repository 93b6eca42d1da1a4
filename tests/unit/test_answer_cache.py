"""Kept answers survive whatever ends the process, a batch as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ard.answer_cache import AnswerCache, AnswerCacheError, answer_key


def test_what_is_kept_is_there_again(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "deep" / "c.jsonl")
    assert not cache.path.exists()
    cache.keep({})
    assert not cache.path.exists()
    cache.keep({"a": "eins\n2", "b": {"text": "ü", "n": None}})
    cache.keep({"c": 3})
    again = AnswerCache(cache.path)
    assert len(again) == 3
    assert (again["a"], again["b"], again["c"]) == ("eins\n2", {"text": "ü", "n": None}, 3)
    assert "d" not in again


@pytest.mark.parametrize("lost", range(1, 20))
def test_a_batch_torn_anywhere_is_dropped_and_the_file_goes_on(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "c.jsonl"
    AnswerCache(path).keep({"a": 1})
    AnswerCache(path).keep({"b": 2, "c": "ü"})
    path.write_bytes(path.read_bytes()[:-lost])
    again = AnswerCache(path)
    assert "a" in again
    assert "b" not in again
    assert "c" not in again
    again.keep({"b": 4})
    assert AnswerCache(path)["b"] == 4


@pytest.mark.parametrize("line", [b"{]", b"[1]", b"\xff\xfe"])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(AnswerCacheError, match="Line 2 of"):
        AnswerCache(path)


def test_a_key_depends_on_every_part_and_its_place() -> None:
    parts = [("m", {"x": 1, "y": 2}, [1]), ("m", {"x": 1, "y": 3}, [1]), ("m", [1], {"x": 1, "y": 2}), ("m\0", [])]
    assert len({answer_key(*p) for p in parts}) == len(parts)
    assert answer_key("m", {"x": 1, "y": 2}) == answer_key("m", {"y": 2, "x": 1})
