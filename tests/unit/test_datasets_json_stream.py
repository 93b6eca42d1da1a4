"""A long JSON list, a member at a time."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precompute.datasets import DatasetError, json_stream
from precompute.datasets.json_stream import members


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "list.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", []),
        (' [1, "a", {"b": [2]}] ', [1, "a", {"b": [2]}]),
        ('{"data": [1.5e3, -2]}', [1500.0, -2]),
        ('{"n": {"data": [0]}, "m": [[]], "data": [3], "after": 1}', [3]),
        ("\ufeff[7]", [7]),
    ],
)
def test_lists_and_lists_inside_an_object(tmp_path: Path, text: str, found: list[Any]) -> None:
    assert list(members(write(tmp_path, text))) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no list 'data'; it starts with 'nothing'"),
        ("3", "holds no list"),
        ('{"data": 3}', "holds no list 'data'; it starts with '3'"),
        ("{}", "has no key 'data'"),
        ('{"n": 1}', "has no key 'data'"),
        ("[1, 2", "after character 5 .it ends too early"),
        ("[1 2]", "after character 4 .'2' where a comma"),
        ('[{"a": 1}, {"a": ]', "after character 11"),
        ('{"data" [1]}', "where ':' belongs"),
    ],
)
def test_what_is_no_list_says_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        list(members(write(tmp_path, text)))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        list(members(tmp_path / "none.json"))
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(DatasetError, match="cannot be read as UTF-8"):
        list(members(tmp_path / "latin.json"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON, max_size=6), st.integers(1, 40), st.booleans())
def test_any_list_cut_anywhere_is_the_same_list(
    tmp_path_factory: pytest.TempPathFactory, found: list[Any], chunk: int, nested: bool
) -> None:
    text = json.dumps({"n": 1, "data": found} if nested else found, ensure_ascii=chunk % 2 == 0)
    path = write(tmp_path_factory.mktemp("json"), text)
    before, json_stream.CHUNK = json_stream.CHUNK, chunk
    try:
        assert list(members(path)) == found
    finally:
        json_stream.CHUNK = before


def test_memory_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    with path.open("w") as out:
        out.write('{"data": [')
        out.write(",".join(json.dumps({"id": f"Y{i:011d}.wav", "caption": "A dog barks. " * 8}) for i in range(80_000)))
        out.write("]}")
    assert path.stat().st_size > 10e6
    tracemalloc.start()
    assert sum(1 for _ in members(path)) == 80_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 2
