"""Answers of a slow or paid model, kept on disk as they come: a killed stage asks for none of them again.

One append-only file of JSON lines. A line holds one batch, `{key: answer, …}`, is written by one call and flushed to
disk before the batch counts as kept, so after a crash a batch is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import KeysView, Mapping
from pathlib import Path
from typing import Any

from ard.files import fsync_dir


class AnswerCacheError(ValueError):
    """A file of kept answers that cannot be read; the message says how to mend it."""


def answer_key(*parts: Any) -> str:
    """SHA-256 over everything an answer depends on: JSON values, in this order."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class AnswerCache:
    """Kept answers by key. One process writes to a file at a time; its threads may share the object.

    A line without its end (the process died while writing) is dropped when the file is opened. The file appears with
    the first answer.
    """

    def __init__(self, path: str | Path) -> None:
        """Read what is kept in `path`, if anything.

        Raises:
            AnswerCacheError: a whole line is no JSON object.
        """
        self.path = Path(path)
        self._lock = threading.Lock()
        self._kept: dict[str, Any] = {}
        if self.path.is_file():
            self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, key: str) -> Any:
        return self._kept[key]

    def keys(self) -> KeysView[str]:
        """Keys of all kept answers."""
        return self._kept.keys()

    def keep(self, batch: Mapping[str, Any]) -> None:
        """Keep a batch of answers (JSON values); it is on the disk when this returns."""
        if not batch:
            return
        line = json.dumps(dict(batch), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._lock:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                rest = memoryview(line)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            if new:
                fsync_dir(self.path.parent)
            self._kept.update(batch)

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                batch = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError):
                batch = None
            if not isinstance(batch, dict):
                raise AnswerCacheError(
                    f"Line {number} of {self.path} is damaged; delete that line, its answers are asked for again."
                )
            self._kept.update(batch)
