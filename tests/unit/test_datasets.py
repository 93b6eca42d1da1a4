"""Folders and manifests become entries; unusable rows are named."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from precompute.datasets import DatasetError, Entry, open_dataset


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def by_id(entries: list[Entry]) -> dict[str, Entry]:
    return {e.clip_id: e for e in entries}


def test_sub_folders_become_labels(tmp_path: Path) -> None:
    found = by_id(open_dataset(touch(tmp_path, "animals/dog/a_1.WAV", "rain/b.mp3", "c.flac", "notes.txt", ".x/d.wav")))
    assert list(found) == ["animals/dog/a_1.WAV", "c.flac", "rain/b.mp3"]
    assert found["animals/dog/a_1.WAV"].labels == ("animals", "dog")
    assert found["rain/b.mp3"].labels == ("rain",)
    assert found["c.flac"].labels == ()


def test_the_prefix_of_a_flat_folder_becomes_the_label(tmp_path: Path) -> None:
    found = by_id(open_dataset(touch(tmp_path, "dog_1.wav", "dog_2.wav", "rain.wav", "_x.wav")))
    assert [e.labels for e in found.values()] == [(), ("dog",), ("dog",), ()]


@pytest.mark.parametrize(
    ("label_from", "labels"), [("auto", ("pets",)), ("folder", ("pets",)), ("prefix", ("dog",)), ("none", ())]
)
def test_label_from(tmp_path: Path, label_from: str, labels: tuple[str, ...]) -> None:
    [entry] = open_dataset(touch(tmp_path, "pets/dog_1.wav"), label_from)
    assert entry.labels == labels


def test_a_first_folder_named_like_a_split_is_one(tmp_path: Path) -> None:
    found = by_id(open_dataset(touch(tmp_path, "Train/dog/a.wav", "test/dog/b.wav", "dog/test/c.wav")))
    assert [(e.split, e.labels) for e in found.values()] == [
        ("train", ("dog",)),
        ("", ("dog", "test")),
        ("test", ("dog",)),
    ]


def test_an_empty_folder_and_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no audio file"):
        open_dataset(touch(tmp_path, "notes.txt"))
    with pytest.raises(DatasetError, match="does not exist"):
        open_dataset(tmp_path / "nope")
    with pytest.raises(DatasetError, match="neither a folder nor a manifest"):
        open_dataset(tmp_path / "notes.txt")


ROWS = [
    {"path": "a.wav", "clip_id": "one", "caption": "A dog, barking.", "labels": ["dog", "bark"], "split": "train"},
    {"path": "sub/b.wav", "start_s": 1.5, "end_s": 3.0, "speaker": "f1"},
]


def write(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"m.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    elif kind == "csv":
        path.write_text(
            "path,clip_id,caption,labels,split,start_s,end_s,speaker\n"
            'a.wav,one,"A dog, barking.",dog; bark,train,,,\n'
            "sub/b.wav,,,,,1.5,3.0,f1\n"
        )
    else:
        keys = list(dict.fromkeys(k for row in ROWS for k in row))
        pq.write_table(pa.table({k: [row.get(k) for row in ROWS] for k in keys}), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_three_kinds_of_manifest_say_the_same(tmp_path: Path, kind: str) -> None:
    found = open_dataset(write(tmp_path, kind))
    assert found == [
        Entry("one", tmp_path / "a.wav", "a.wav", "A dog, barking.", ("dog", "bark"), "train"),
        Entry(
            "sub/b.wav@1.5s",
            tmp_path / "sub/b.wav",
            "sub/b.wav",
            start_s=1.5,
            end_s=3.0,
            attributes={"speaker": "f1"},
        ),
    ]


def test_nested_attributes_become_json(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"path": "a.wav", "truth": {"b": 1, "a": [2]}, "status": "ok", "audio": "x"}))
    [entry] = open_dataset(path)
    assert entry.attributes == {"truth": '{"a": [2], "b": 1}'}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"path": ""}', "row 1 has no path"),
        ('{"file": "a.wav"}', "row 1 has no path"),
        ("[1]", "row 1 is list"),
        ("{", "cannot be read as jsonl"),
        ('{"path": "a", "start_s": "soon"}', "start_s is 'soon'"),
        ('{"path": "a", "start_s": -1}', "start_s is '-1'"),
        ('{"path": "a", "end_s": 1e999}', "end_s is 'inf'"),
        ('{"path": "a", "start_s": 2, "end_s": 2}', "end_s 2 is not after start_s 2"),
        ('{"path": "a"}\n{"path": "a"}', "row 2: clip_id 'a' was used by row 1"),
        ('{"path": "a", "labels": "[dog"}', "labels '\\[dog' is no JSON list"),
        ("", "has no rows"),
    ],
)
def test_unusable_rows_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    with pytest.raises(DatasetError, match=words):
        open_dataset(path)


def test_a_csv_row_with_too_many_fields(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path,caption\na.wav,one, two\n")
    with pytest.raises(DatasetError, match="more fields than the header"):
        open_dataset(path)
