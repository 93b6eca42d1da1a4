"""The same recording in training and in a test set, told by its sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from precompute.datasets.overlap import Sketch, by_sound, sketch


def clips(folder: Path, **sounds: tuple[str, np.ndarray]) -> tuple[list[dict[str, Any]], dict[str, Sketch]]:
    """Rows of table `clips` with their copies; a name gives (split, samples)."""
    rows, sketches = [], {}
    for name, (split, x) in sounds.items():
        sf.write(folder / f"{name}.flac", x, 16000, subtype="PCM_16")
        rows.append({"clip_id": name, "split": split, "audio": f"{name}.flac", "status": "ok"})
        sketches[f"{name}.flac"] = sketch(x)
    return rows, sketches


def test_the_same_sound_is_found_through_a_copy_made_of_floats(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(-32000, 32000, (2, 8000)) / 32768
    quiet = np.zeros(8000)
    quiet[3] = 0.5
    other = quiet.copy()
    other[5] = 0.5
    rows, sketches = clips(
        tmp_path,
        same=("train", x),
        different=("train", y),
        shorter=("train", x[:-1]),
        nearly=("train", other),
        held=("test", x * 32768 / 32767),
        silent=("test", quiet),
    )
    assert by_sound(rows, sketches, tmp_path) == {"same": "held"}


def test_clips_within_training_or_left_out_are_not_compared(tmp_path: Path) -> None:
    x = np.random.default_rng(1).integers(-9000, 9000, 4000) / 32768
    rows, sketches = clips(tmp_path, one=("train", x), two=("train", x), held=("test", x))
    assert by_sound(rows, sketches, tmp_path) == {"one": "held", "two": "held"}
    rows[2]["status"] = "too short"
    assert by_sound(rows, sketches, tmp_path) == {}


def test_a_clip_of_one_sample_has_a_sketch() -> None:
    assert sketch(np.array([0.5])).samples == 1
