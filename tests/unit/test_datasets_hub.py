"""Sound inside the rows of Parquet and Arrow files: AudioBench, and data sets of the hub as they lie on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from precompute import audio_io
from precompute.audio_io import UnusableAudio
from precompute.config_sections import CorpusEntry
from precompute.datasets import DatasetError, Entry
from precompute.datasets.corpora import entries_of
from precompute.datasets.embedded import GROUPS_KEPT, AudioTable
from precompute.datasets.listing import Notes
from tests.fixtures import corpora
from tests.fixtures.corpora import AUDIO, noise, wav_bytes


def listed(name: str, root: Path, notes: Notes | None = None, **more: Any) -> list[Entry]:
    return list(entries_of(CorpusEntry(name, **more), root, notes or Notes()))


def samples(entry: Entry) -> np.ndarray:
    return audio_io.read(entry.sound(), corpora.RATE)


# --- AudioBench ---


def test_audiobench_labels_come_from_the_answers(tmp_path: Path) -> None:
    notes = Notes()
    found = listed("audiobench", corpora.audiobench(tmp_path), notes)
    assert [(e.clip_id, e.labels, e.split) for e in found] == [
        ("audiobench/iemocap_emotion_recognition/00000", ("neutral",), "test"),
        ("audiobench/iemocap_emotion_recognition/00001", ("excited",), "test"),
        ("audiobench/iemocap_emotion_recognition/00002", ("sad",), "test"),
        ("audiobench/iemocap_emotion_recognition/00003", ("angry",), "test"),
        ("audiobench/iemocap_emotion_recognition/00004", (), "test"),
        ("audiobench/voxceleb_gender_test/00000", ("female",), "test"),
        ("audiobench/voxceleb_gender_test/00001", ("male",), "test"),
        ("audiobench/voxceleb_gender_test/00002", ("female",), "test"),
    ]
    assert [sentence.split(" (")[0] for sentence in notes.sentences()] == [
        "answers that do not name one emotion or gender: 1"
    ]
    assert found[0].attributes["instruction"] == "How does the speaker feel?"
    assert (found[5].attributes["gender"], found[5].attributes["hub_voxceleb1_id"]) == ("female", "id10270")


def test_audiobench_parts_and_options(tmp_path: Path) -> None:
    root = corpora.audiobench(tmp_path)
    assert len(listed("audiobench", root, part="voxceleb_gender_test")) == 3
    assert len(listed("audiobench", root / "voxceleb_gender_test")) == 3
    merged = listed("audiobench", root, part="iemocap_emotion_recognition", options={"merge_excited": True})
    assert merged[1].labels == ("happy",)


def test_audiobench_utterances_are_known_by_name_where_a_row_has_one(tmp_path: Path) -> None:
    found = listed("audiobench", corpora.audiobench(tmp_path))
    assert [e.key for e in found] == ["iemocap:Ses01F_impro01_F000", *[""] * 7]


def test_sound_is_read_out_of_its_row(tmp_path: Path) -> None:
    found = listed("audiobench", corpora.audiobench(tmp_path))
    for entry, name in ((found[0], "Ses01F_impro01_F000"), (found[2], "Ses02F_impro01_M001"), (found[7], "id10270-1")):
        assert np.abs(samples(entry) - noise(name)).max() <= 2 / 32768
    with pytest.raises(UnusableAudio, match="missing file: the row holds no sound"):
        found[3].sound()


# --- Hub data sets ---


def make_hub(folder: Path, rows: int = 5, **columns: list[Any]) -> Path:
    """One Parquet file with row groups of two."""
    cells = [{"bytes": wav_bytes(noise(f"{folder.name}{i}")), "path": f"{i}.wav"} for i in range(rows)]
    table = pa.table({"audio": pa.array(cells, AUDIO), **columns})
    (folder / "data").mkdir(parents=True)
    pq.write_table(table, folder / "data/train-00000-of-00001.parquet", row_group_size=2)
    return folder


def test_columns_of_a_hub_data_set(tmp_path: Path) -> None:
    root = make_hub(
        tmp_path / "birds",
        rows=3,
        label=["Great_tit", None, "nan"],
        caption=["A bird.", " ", None],
        file=["a", "b", "b"],
        weight=[0.5, float("nan"), 2.0],
    )
    found = listed("hf", root, options={"id_column": "file"})
    assert [(e.clip_id, e.labels, e.caption) for e in found] == [
        ("birds/train/a", ("great tit",), "A bird."),
        ("birds/train/b", (), None),
        ("birds/train/b", (), None),
    ]
    assert found[0].attributes == {
        "hub_label": "Great_tit",
        "hub_caption": "A bird.",
        "hub_file": "a",
        "hub_weight": 0.5,
    }
    assert "hub_weight" not in found[1].attributes
    assert [e.clip_id for e in listed("hf", root)] == [f"birds/train/{i:07d}" for i in range(3)]


def test_numbers_of_classes_are_named(tmp_path: Path) -> None:
    cells = [{"bytes": wav_bytes(noise("a")), "path": None}] * 3
    table = pa.table({"audio": pa.array(cells, AUDIO), "label": [1, 0, -1], "labels": [[0, 1], [], None]})
    names = {"names": ["Great_tit", "Wren"], "_type": "ClassLabel"}
    several = {"feature": names, "_type": "List"}
    told = {"info": {"features": {"audio": {"_type": "Audio"}, "label": names, "labels": several}}}
    file = tmp_path / "birds/test/0000.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(told)}), file)
    found = listed("hf", tmp_path / "birds", options={"label_columns": ["label"]})
    assert [e.labels for e in found] == [("wren",), ("great tit",), ()]
    assert [e.labels for e in listed("hf", tmp_path / "birds")] == [("wren", "great tit"), ("great tit",), ()]


def test_only_a_few_row_groups_stay_in_memory(tmp_path: Path) -> None:
    root = make_hub(tmp_path / "many", rows=9)
    found = listed("hf", root)
    for entry, i in zip(found, range(9), strict=True):
        np.testing.assert_allclose(samples(entry), noise(f"many{i}"), atol=1 / 32768)
    table: AudioTable = found[0].source.table  # type: ignore[union-attr]
    assert table._parquet.num_row_groups == 5
    assert len(table._kept) == GROUPS_KEPT


def test_a_row_that_names_a_file_beside_the_table(tmp_path: Path) -> None:
    corpora.sound(tmp_path / "set/data/clips/a.wav")
    cells = [{"bytes": None, "path": "clips/a.wav"}, {"bytes": None, "path": "clips/gone.wav"}, None]
    pq.write_table(pa.table({"audio": pa.array(cells, AUDIO)}), tmp_path / "set/data/test-00000-of-00001.parquet")
    found = listed("hf", tmp_path / "set")
    assert len(samples(found[0])) == len(noise("a"))
    for entry in found[1:]:
        with pytest.raises(UnusableAudio, match="missing file"):
            entry.sound()


def test_saved_arrow_files_are_those_that_the_state_names(tmp_path: Path) -> None:
    cells = [{"bytes": wav_bytes(noise(str(i))), "path": None} for i in range(3)]
    for split, rows in (("train", cells[:2]), ("test", cells[2:])):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        for name in ("data-00000-of-00001.arrow", "cache-1b2c.arrow"):
            table = pa.table({"audio": pa.array(rows, AUDIO), "text": ["x"] * len(rows)})
            with pa.OSFile(str(folder / name), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
                writer.write_table(table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": split}
        (folder / "state.json").write_text(json.dumps(state))
    found = listed("hf", tmp_path / "saved")
    assert [e.clip_id for e in found] == ["saved/test/0000000", "saved/train/0000000", "saved/train/0000001"]
    np.testing.assert_allclose(samples(found[2]), noise("1"), atol=1 / 32768)
    (tmp_path / "saved/train/data-00000-of-00001.arrow").unlink()
    with pytest.raises(DatasetError, match=r"lacks 1 of the files that state\.json names: .*train/data-00000"):
        listed("hf", tmp_path / "saved")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/validation-00000-of-00003.parquet", "validation"),
        ("data/session1-00000-of-00001-e39531a7c694b50d.parquet", "session1"),
        ("default/test/0000.parquet", "test"),
        ("data.parquet", ""),
        ("train/data-00000-of-00002.parquet", "train"),
    ],
)
def test_splits_are_read_off_the_names(tmp_path: Path, name: str, split: str) -> None:
    file = tmp_path / "set" / name
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"audio": pa.array([{"bytes": b"x", "path": None}], AUDIO)}), file)
    [entry] = listed("hf", tmp_path / "set")
    assert entry.split == split


def test_hub_folders_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no folder"):
        listed("hf", tmp_path / "none")
    with pytest.raises(DatasetError, match=r"holds no \.parquet or \.arrow file"):
        listed("hf", tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(DatasetError, match=r"a\.parquet cannot be read .*; fetch it again"):
        listed("hf", tmp_path)
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=r"has no column of sound .*; its columns are text, label"):
        listed("hf", tmp_path)


def test_a_table_that_vanishes_is_an_unusable_clip(tmp_path: Path) -> None:
    found = listed("hf", make_hub(tmp_path / "set"))
    gone = AudioTable(tmp_path / "gone.parquet")
    with pytest.raises(UnusableAudio, match=r"unreadable: gone\.parquet"):
        replace(found[0].source, table=gone).read()  # type: ignore[type-var]


def test_what_the_datasets_library_writes_is_read_without_it(tmp_path: Path) -> None:
    """The real library, where it is installed, writes both forms; we read the same rows back."""
    datasets = pytest.importorskip("datasets", reason="the optional library datasets is not installed")
    for i in range(3):
        sf.write(tmp_path / f"{i}.wav", noise(str(i)), corpora.RATE, subtype="PCM_16")
    cells = [{"bytes": (tmp_path / f"{i}.wav").read_bytes(), "path": f"{i}.wav"} for i in range(3)]
    made = datasets.Dataset.from_dict({"audio": cells, "label": [0, 1, 1], "text": ["a", "b", "c"]})
    made = made.cast_column("audio", datasets.Audio(decode=False))
    made = made.cast_column("label", datasets.ClassLabel(names=["Great_tit", "Wren"]))
    made.to_parquet(tmp_path / "hub/data/train-00000-of-00001.parquet")
    datasets.DatasetDict({"train": made}).save_to_disk(tmp_path / "saved")
    for folder in ("hub", "saved"):
        found = listed("hf", tmp_path / folder)
        assert [(e.labels, e.split) for e in found] == [(("great tit",), "train"), *[(("wren",), "train")] * 2]
        for i, entry in enumerate(found):
            np.testing.assert_array_equal(samples(entry), noise(str(i)).astype(np.float32))
