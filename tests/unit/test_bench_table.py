from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import record, table


def test_a_record_gets_its_ratio_machine_and_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    path = record.write("speed", [{"peer": "them", "ours": 2.0, "theirs": 5.0, "unit": "s"}])
    (row,) = json.loads(path.read_text())
    assert row["ratio"] == 2.5
    assert set(record.KEYS) <= row.keys()
    with pytest.raises(ValueError, match="lacks unit"):
        record.write("speed", [{"peer": "them", "ours": 2.0, "theirs": 5.0}])


def test_the_table_has_a_row_for_each_record(tmp_path: Path) -> None:
    rows = [
        {"claim": "speed", "peer": "a | b", "ours": 0.01234, "theirs": 4321.0, "ratio": None, "unit": "s", "d_in": 8,
         "machine": "m", "commit": "c"},
        {"claim": "speed", "peer": "c", "ours": 1, "theirs": 2, "ratio": 2, "unit": "s", "machine": "m", "commit": "c"},
    ]  # fmt: skip
    (tmp_path / "speed.json").write_text(json.dumps(rows))
    found = table.rows(tmp_path)
    assert found[0][:6] == ("speed", "d_in 8", "a / b", "0.0123", "4,321", "–")
    assert found[1][1] == ""
    assert table.markdown(found).count("\n| speed ") == 2
