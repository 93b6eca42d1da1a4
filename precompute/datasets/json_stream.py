"""The members of a long JSON list one by one, without the whole file in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from precompute.datasets import DatasetError

CHUNK = 1 << 20
"""Characters read at a time."""
AFTER_NUMBER = tuple(",]} \t\r\n")


def members(path: Path, key: str = "data") -> Iterator[Any]:
    """Members of the list that the file is, or that its object has under `key`.

    Raises:
        DatasetError: not there, not UTF-8, no JSON, or without such a list.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _Reader(path, file).members(key)
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist; it lists the clips.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as UTF-8: {error}.") from None


class _Reader:
    """A window on the file: `text[at:]` is read and not yet used."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._decode = json.JSONDecoder().raw_decode
        self._text, self._at, self._before, self._ended = "", 0, 0, False

    def members(self, key: str) -> Iterator[Any]:
        first = self._next()
        if first == "{":
            self._find(key)
            first = self._next()
        if first != "[":
            raise DatasetError(f"{self._path} holds no list {key!r}; it starts with {first or 'nothing'!r}.")
        yield from self._list()

    def _find(self, key: str) -> None:
        """Go on to the value that the object has under `key`."""
        while True:
            if self._peek() == "}":
                raise DatasetError(f"{self._path} has no key {key!r}; the clips are expected in a list under it.")
            name = self._value()
            self._expect(":")
            if name == key:
                return
            self._value()
            if self._peek() != "}":
                self._expect(",")

    def _list(self) -> Iterator[Any]:
        if self._peek() == "]":
            return
        while True:
            yield self._value()
            after = self._next()
            if after == "]":
                return
            if after != ",":
                raise self._wrong(
                    f"{after!r} where a comma or the list's end belongs" if after else "it ends too early"
                )

    def _value(self) -> Any:
        """The next JSON value; more is read until it is whole."""
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self._wrong(error.msg) from None
                continue
            # A number may go on in the part that is not read yet: `1` of `1.5`.
            whole = not isinstance(value, int | float) or self._text[end : end + 1] in AFTER_NUMBER
            if not whole and not self._ended and self._more():
                continue
            self._at = end
            return value

    def _peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _next(self) -> str:
        found = self._peek()
        self._at += len(found)
        return found

    def _expect(self, wanted: str) -> None:
        found = self._next()
        if found != wanted:
            raise self._wrong(f"{found or 'nothing'!r} where {wanted!r} belongs")

    def _more(self) -> bool:
        """Read on; twice as much each time for a value that does not fit, so that no length is decoded often."""
        part = self._file.read(max(CHUNK, len(self._text) - self._at))
        self._ended = not part
        if part:
            self._before += self._at
            self._text, self._at = self._text[self._at :] + part, 0
        return bool(part)

    def _wrong(self, what: str) -> DatasetError:
        place = self._before + self._at
        return DatasetError(f"{self._path} is no JSON after character {place:,} ({what}); fetch the file again.")
