"""Vectors of a slow model by what they were made of, kept on disk: a clip that is embedded once is not embedded again.

One folder for each model revision, in it Parquet files of columns `key` and `vector`. A file appears when it is whole,
so a killed process leaves what it finished.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from ard.files import fsync_dir


class VectorCache:
    """Kept vectors of one model by key. One process writes at a time."""

    def __init__(self, folder: str | Path, model: str, each: int = 1024) -> None:
        """Read what is kept for `model` (its name with its revision); a file that cannot be read counts as not there.

        Args:
            folder: of all models' vectors.
            model: whose vectors.
            each: vectors a file.
        """
        self.folder = Path(folder) / hashlib.sha256(model.encode()).hexdigest()[:16]
        self._each, self._kept, self._new = each, {}, {}  # type: int, dict[str, np.ndarray], dict[str, np.ndarray]
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                table = pq.read_table(path, columns=["key", "vector"])
            except (OSError, pa.ArrowException):
                continue
            vectors = table["vector"].to_pylist()
            rows = zip(table["key"].to_pylist(), vectors, strict=True)
            self._kept |= {key: np.asarray(vector, dtype=np.float32) for key, vector in rows}

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, key: str) -> Float[np.ndarray, " d"]:
        return self._kept[key]

    def add(self, keys: Sequence[str], vectors: Float[np.ndarray, "N d"]) -> None:
        """Keep vectors; they are on disk once `each` are together, or after `flush`."""
        for key, vector in zip(keys, vectors, strict=True):
            self._kept[key] = self._new[key] = np.asarray(vector, dtype=np.float32)
        if len(self._new) >= self._each:
            self.flush()

    def flush(self) -> None:
        """Write what is not on disk yet."""
        if not self._new:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        hidden = self.folder / f".{name}.tmp"
        table = pa.table({"key": list(self._new), "vector": [one.tolist() for one in self._new.values()]})
        schema = pa.schema([("key", pa.string()), ("vector", pa.list_(pa.float32()))])
        pq.write_table(table.cast(schema), hidden)
        with hidden.open("rb") as file:
            os.fsync(file.fileno())
        hidden.rename(self.folder / f"{name}.parquet")
        fsync_dir(self.folder)
        self._new = {}
