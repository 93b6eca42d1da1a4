"""Where each clip's tokens lie (table `answers`), and which tokens of the shards a training set holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

Tokens = Literal["all", "audio"]
COLUMNS = ("clip_id", "shard", "row", "audio_tokens", "text_tokens")
MOST_WEIGHT = np.iinfo(np.uint8).max


class Place(NamedTuple):
    """The rows of one clip in its shard: its audio tokens in order, then its text tokens (question and answer)."""

    shard: int
    row: int
    audio_tokens: int
    text_tokens: int

    @property
    def text(self) -> int:
        """First row of the text."""
        return self.row + self.audio_tokens

    @property
    def end(self) -> int:
        """The row after the last one."""
        return self.text + self.text_tokens


class ClipIndex:
    """Clip → rows, from table `answers`."""

    def __init__(self, answers: pa.Table):
        columns = [answers[name].to_pylist() for name in COLUMNS]
        self._places = {clip: Place(*where) for clip, *where in zip(*columns, strict=True)}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._places

    def __getitem__(self, clip_id: str) -> Place:
        return self._places[clip_id]

    @property
    def shards(self) -> list[int]:
        """Numbers of the shards that hold clips."""
        return sorted({place.shard for place in self._places.values()})

    def clips(self) -> dict[int, list[str]]:
        """Per shard, its clips in the order they lie."""
        found: dict[int, list[str]] = {number: [] for number in self.shards}
        for clip_id, place in sorted(self._places.items(), key=lambda item: item[1]):
            found[place.shard].append(clip_id)
        return found

    def weights(self, clip_ids: Iterable[str], tokens: Tokens, text_weight: int = 1) -> dict[int, np.ndarray]:
        """Per shard, how often each of its rows counts in a training set: uint8, one byte a token, 0 for left out.

        Raises:
            ValueError: text_weight out of range.
        """
        check_text_weight(text_weight)
        rows: dict[int, int] = {}
        for place in self._places.values():
            rows[place.shard] = max(rows.get(place.shard, 0), place.end)
        found = {n: np.zeros(rows[n], np.uint8) for n in sorted(rows)}
        for clip_id in clip_ids:
            place = self._places[clip_id]
            found[place.shard][place.row : place.text] = 1
            if tokens == "all":
                found[place.shard][place.text : place.end] = text_weight
        return found


def check_text_weight(text_weight: int) -> None:
    """Refuse a weight that a byte cannot hold.

    Raises:
        ValueError: not from 1 to 255.
    """
    if not 1 <= text_weight <= MOST_WEIGHT:
        raise ValueError(f"text_weight is {text_weight}; choose a whole number from 1 to {MOST_WEIGHT}.")


def pieces(place: Place, tokens: Tokens, text_weight: int) -> Sequence[tuple[int, int]]:
    """Row ranges of one clip in the order they are gathered: audio, then the text as often as it counts."""
    text = [(place.text, place.end)] * text_weight if tokens == "all" else []
    return [(place.row, place.text), *text]
