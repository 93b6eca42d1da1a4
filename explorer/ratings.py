"""The answers of the listening study: `RUN/ratings.duckdb`, written by the app alone, one commit an answer.

Answers are only ever added, never changed: an answer given twice keeps its first value. After each one
`tables/ratings.parquet` is replaced atomically; everything else reads that file. DuckDB flushes its log to disk before
a commit returns, so what was acknowledged survives a killed process; `Ratings(run)` publishes it when next opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb

from ard import tables
from ard.store import Run
from explorer.queries_ratings import NEXT, PACE, PUBLISHED, SCHEMA
from explorer.study import Item, Study, StudyClip, order

MAX_DESCRIPTION = 300  # characters
MAX_SECONDS = 86_400.0  # a longer time on one step is no time on a step
RATINGS = range(6)


class RatingsError(ValueError):
    """An answer that cannot be taken, or ratings that cannot be opened or saved; in one sentence."""


class Trial(NamedTuple):
    """Where a rater stands: the first item without a rating. `unheard` clips keep the description closed."""

    position: int
    total: int
    item: Item
    heard: frozenset[int]
    failed: frozenset[int]
    description: str | None
    pace: float | None
    """Median seconds of this rater's finished items; None before the third."""

    @property
    def unheard(self) -> int:
        """Clips still to be played to their end; a clip that cannot be played is not waited for."""
        return len(self.item.clips) - len(self.heard | self.failed)


class Standing(NamedTuple):
    """A rater's progress: `trial` is None when all `total` items are rated."""

    rater: str
    total: int
    trial: Trial | None


def rater_id(study_id: str, token: str) -> str:
    """Anonymous id of a rater. The token of the link opens the session; its hash alone is stored and published."""
    return hashlib.sha256(f"{study_id}|{token}".encode()).hexdigest()[:12]


class Ratings:
    """The store. Safe to share between threads; one process at a time (DuckDB's own lock).

    Raises:
        RatingsError: the file is in use by another process, or damaged.
    """

    def __init__(self, run: Run):
        self.run = run
        self.path = run.path / "ratings.duckdb"
        self._lock = threading.RLock()
        try:
            self._connection = duckdb.connect(str(self.path))
            self._connection.execute(SCHEMA)
        except duckdb.Error as error:
            raise RatingsError(
                f"{self.path} cannot be opened ({_first_line(error)}); close the other program that has it open, "
                "or move it aside: what was published stays in tables/ratings.parquet."
            ) from None
        with self._answering():
            self._publish()  # what a killed process committed but did not publish

    def close(self) -> None:
        """Publish once more and close the file."""
        with self._answering():
            self._publish()
            self._connection.close()

    # -- studies -------------------------------------------------------------------------------------------------

    def add_study(self, study: Study) -> None:
        """Keep a study; one that is there already stays as it is."""
        with self._answering() as run:
            if run("SELECT 1 FROM studies WHERE study_id = ?", study.study_id).fetchone():
                return
            run("BEGIN")
            run("INSERT INTO studies VALUES (?, ?, ?, ?, ?)", *study[:4], _now())
            for place, i in enumerate(study.items):
                audio, durations = [c.audio for c in i.clips], [c.duration_s for c in i.clips]
                run(
                    "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    *(study.study_id, place, *i[:6], audio, durations),
                )
            run("COMMIT")

    def study(self, study_id: str) -> Study | None:
        """A study that was kept, or None."""
        with self._answering() as run:
            head = run("SELECT seed, repeats, note FROM studies WHERE study_id = ?", study_id).fetchone()
            rows = run(
                "SELECT item_id, method, sae_id, latent_id, name, catch, audio, durations FROM items "
                "WHERE study_id = ? ORDER BY place",
                study_id,
            ).fetchall()
        if head is None:
            return None
        seed, repeats, note = head
        return Study(study_id, seed, repeats, note, tuple(_item(row) for row in rows))

    def begin(self, study: Study, token: str) -> None:
        """Fix the rater's order; beginning again changes nothing."""
        rater = rater_id(study.study_id, token)
        showings = order(study, rater)
        if not showings:
            return
        items, repeats = map(list, zip(*showings, strict=True))
        places = list(range(1, len(showings) + 1))
        sql = "INSERT INTO showings SELECT ?, ?, unnest(?), unnest(?), unnest(?) ON CONFLICT DO NOTHING"
        with self._answering() as run:
            run(sql, study.study_id, rater, places, items, repeats)

    def standing(self, study_id: str, token: str) -> Standing | None:
        """Where a rater stands, or None for one who has not begun."""
        rater = rater_id(study_id, token)
        with self._answering() as run:
            key = [study_id, rater]
            total = run("SELECT count(*) FROM showings WHERE study_id = ? AND rater = ?", *key).fetchall()[0][0]
            if not total:
                return None
            row = run(NEXT, *(key + key)).fetchone()
            if row is None:
                return Standing(rater, total, None)
            answers = run(
                'SELECT kind, part, "text" FROM answers WHERE study_id = ? AND rater = ? AND position = ?',
                *(*key, row[0]),
            ).fetchall()
            pace = self._pace(run, key)
        heard, failed = (frozenset(p for kind, p, _ in answers if kind == want) for want in ("heard", "failed"))
        description = next((text for kind, _, text in answers if kind == "description"), None)
        return Standing(rater, total, Trial(row[0], total, _item(row[1:]), heard, failed, description, pace))

    @staticmethod
    def _pace(run: Any, key: list[str]) -> float | None:
        median, count = run(PACE, *key).fetchall()[0]
        return median if count >= 3 else None

    # -- answers: each is on disk when the method returns ------------------------------------------------------------

    def hear(
        self, study_id: str, token: str, position: int, clip: int, *, ok: bool, seconds: float | None = None
    ) -> None:
        """Clip number `clip` was played to its end, as the browser states it, or (not `ok`) cannot be played.

        Raises:
            RatingsError: the item has no such clip, or it could not be saved.
        """
        with self._answering() as run:
            trial = self._trial(study_id, token, position)
            if trial is None:
                return
            if not 0 <= clip < len(trial.item.clips):
                raise RatingsError(f"clip is {clip}; the item has clips 0 to {len(trial.item.clips) - 1}.")
            self._answer(run, study_id, token, position, "heard" if ok else "failed", clip, seconds=seconds)

    def describe(self, study_id: str, token: str, position: int, text: str, seconds: float | None = None) -> None:
        """Keep the rater's own description; only then may the name be shown.

        Raises:
            RatingsError: nothing was written, too much, a clip was not heard yet, or it could not be saved.
        """
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        if not text:
            raise RatingsError("The description is empty; write in a few words what the clips have in common.")
        if len(text) > MAX_DESCRIPTION:
            raise RatingsError(f"The description has {len(text)} characters; write at most {MAX_DESCRIPTION}.")
        with self._answering() as run:
            trial = self._trial(study_id, token, position)
            if trial and trial.unheard:
                raise RatingsError(f"{trial.unheard} of the clips are not played to their end; hear them first.")
            if trial and trial.description is None:
                self._answer(run, study_id, token, position, "description", 0, text=text, seconds=seconds)
            self._publish()

    def rate(self, study_id: str, token: str, position: int, rating: int, seconds: float | None = None) -> None:
        """Keep the rating of the name, 0 to 5.

        Raises:
            RatingsError: not 0 to 5, the description is not saved yet, or it could not be saved.
        """
        if rating not in RATINGS:
            raise RatingsError(f"The rating is {rating}; allowed are whole numbers from 0 to 5.")
        with self._answering() as run:
            trial = self._trial(study_id, token, position)
            if trial and trial.description is None:
                raise RatingsError("The description is not saved yet; write it first, then rate the name.")
            if trial:
                self._answer(run, study_id, token, position, "rating", 0, rating=rating, seconds=seconds)
            self._publish()

    def _trial(self, study_id: str, token: str, position: int) -> Trial | None:
        """The rater's item if it is the one at `position`; None for an answer that comes twice or from an old page."""
        standing = self.standing(study_id, token)
        trial = standing.trial if standing else None
        return trial if trial and trial.position == position else None

    def _answer(
        self,
        run: Any,
        study_id: str,
        token: str,
        position: int,
        kind: str,
        part: int,
        *,
        text: str | None = None,
        rating: int | None = None,
        seconds: float | None = None,
    ) -> None:
        spent = seconds if seconds is not None and math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS else None
        sql = "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        run(sql, study_id, rater_id(study_id, token), position, kind, part, text, rating, spent, _now())

    # -- publishing ----------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Replace `tables/ratings.parquet` by what is stored; a run that nobody rated keeps no such table."""
        rows = self._connection.sql(PUBLISHED).to_arrow_table()
        if rows.num_rows or self.run.has("ratings"):
            try:
                self.run.write("ratings", tables.check("ratings", rows))
            except FileNotFoundError:  # a pipeline that starts just now removes unfinished files
                self.run.write("ratings", tables.check("ratings", rows))

    @contextlib.contextmanager
    def _answering(self) -> Iterator[Any]:
        """One at a time; an error rolls back, and is said in one sentence."""
        with self._lock:
            try:
                yield lambda sql, *values: self._connection.execute(sql, list(values))
            except (duckdb.Error, OSError) as error:
                with contextlib.suppress(duckdb.Error):
                    self._connection.execute("ROLLBACK")
                raise RatingsError(
                    f"{self.path} could not be read or written ({_first_line(error)}); "
                    "earlier answers are safe, mend this and try again."
                ) from error


def _item(row: tuple[Any, ...]) -> Item:
    item_id, method, sae_id, latent_id, name, catch, audio, durations = row
    clips = tuple(StudyClip(a, d) for a, d in zip(audio, durations, strict=True))
    return Item(item_id, method, sae_id, latent_id, name, catch, clips)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
