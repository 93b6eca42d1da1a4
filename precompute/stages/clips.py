"""Stage `clips`: recordings become clips of the model's window, with a mono copy and a reason where one is left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from ard import tables
from precompute import audio_io
from precompute.audio_io import UnusableAudio, Window
from precompute.config import Config, ConfigError, DataConfig
from precompute.datasets import Entry, open_dataset
from precompute.datasets.overlap import Sketch, by_sound, problem, sketch
from precompute.stages.base import TRAIN, Context, StageError

HELD_OUT = "held_out"
LISTED = ("dataset", "key", "problem")
"""Fields of an entry that only a listed corpus fills."""


@dataclass(frozen=True)
class Cut:
    """How recordings are cut, and where the copies go."""

    data: DataConfig
    seed: int
    dataset: str
    rate: int
    window_s: float
    folder: Path
    sketches: dict[str, Sketch] | None = None
    """Filled for clips of corpora, by the name of their copy: what tells the same sound in two of them."""


def run(ctx: Context) -> None:
    """List, decode, cut and copy every clip; write table `clips`."""
    lm = ctx.models.audio_lm
    data = ctx.config.data
    window_s = data.window_s or lm.window_s
    if window_s > lm.window_s:
        raise ConfigError(f"data.window_s is {window_s:g}; {lm.name} hears at most {lm.window_s:g} s at once.")
    generated, own = data.source == "soundscape", data.source == "audio"
    if own and not data.audio:
        raise ConfigError("data.audio is empty; give --audio a folder of audio files or a manifest.")
    name = data.dataset or (Path(data.audio).resolve().stem if own else data.source)
    sketches: dict[str, Sketch] | None = None if generated or own else {}
    cut = Cut(data, ctx.config.seed, name, lm.sampling_rate, window_s, ctx.out.make_folder("audio"), sketches)
    entries = _generate(ctx) if generated else open_dataset(data.audio, data.label_from) if own else _corpora(ctx)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(data.workers) as pool:
        for found in ctx.progress(pool.map(partial(rows_of, cut=cut), entries), len(entries)):
            rows += found
    if generated:
        _point_at_copies(rows, cut.folder)
    _assign_splits(rows, data.held_out, ctx.config.seed)
    if sketches is not None:
        _part_same_sound(ctx, rows, sketches, cut.folder)
    _report(ctx, rows, str(data.audio if own else data.root if sketches is not None else data.source))
    ctx.out.write("clips", tables.from_rows("clips", _plain_attributes(rows)))


def _corpora(ctx: Context) -> list[Entry]:
    """Clips of the configured corpora; what is odd about them is said and kept in the manifest."""
    from precompute.datasets.corpora import open_corpora

    entries, notes = open_corpora(ctx.config.data, ctx.say)
    ctx.notes["corpora"] = notes
    for note in notes:
        ctx.say(note)
    return entries


def _part_same_sound(ctx: Context, rows: list[dict[str, Any]], sketches: dict[str, Sketch], folder: Path) -> None:
    """Training clips that sound the same as a held-out clip: left out of training, or only said."""
    from precompute.datasets.corpora import overlap_note

    same, choice = by_sound(rows, sketches, folder), ctx.config.data.overlap
    if not same:
        return
    for row in rows if choice == "leave_out" else ():
        if row["clip_id"] in same:
            (folder / row["audio"]).unlink()
            row.update(status=problem(same[row["clip_id"]]), audio=None)
    note = f"by their sound: {overlap_note(sorted(same), choice)}"
    ctx.notes["corpora"] = [*ctx.notes["corpora"], note]
    ctx.say(note)


def _generate(ctx: Context) -> list[Entry]:
    """Render the demo world into the unpublished folder; only the copies are kept."""
    from precompute.soundscape.world import SPLITS, render_dataset

    data = ctx.config.data
    unknown = sorted(set(data.clips) - set(SPLITS))
    if unknown:
        raise ConfigError(f"data.clips.{unknown[0]} is no split of the demo world; its splits are {', '.join(SPLITS)}.")
    entries = []
    for split, count in ctx.progress(data.clips.items(), unit="split"):
        if count:
            ctx.say(f"generating {count} clips of split {split}")
            folder = ctx.out.folder / "source" / split
            entries += open_dataset(render_dataset(folder, split, count, ctx.config.seed, data.workers))
    return entries


def _point_at_copies(rows: list[dict[str, Any]], folder: Path) -> None:
    """Generated clips have no file but the copy, so path and sha256 are the copy's."""
    for row in rows:
        if row["audio"]:
            row["path"], row["sha256"] = f"audio/{row['audio']}", audio_io.sha256(folder / row["audio"])


def rows_of(entry: Entry, *, cut: Cut) -> list[dict[str, Any]]:
    """Rows of table `clips` for one entry, usable or not; writes the copies of the usable ones."""
    row = _blank(entry, cut)
    try:
        if entry.problem:
            raise UnusableAudio(entry.problem)
        sound = entry.sound()
        row["sha256"] = audio_io.sha256(sound)
        row["recording_id"] = entry.recording_id or f"r-{row['sha256'][:16]}"
        head = audio_io.info(sound)
        row["sample_rate"] = head.sample_rate
        start, end = entry.start_s or 0.0, min(entry.end_s or head.seconds, head.seconds)
        if start >= head.seconds:
            raise UnusableAudio(f"start_s {start:g} is after the end of the file ({head.seconds:.3f} s)")
        found = audio_io.windows(end - start, cut.window_s, cut.data.min_s, first_only=cut.data.long == "first")
        if not found:
            raise UnusableAudio(f"too short: {end - start:.3f} s, at least {cut.data.min_s:g} s are needed")
    except UnusableAudio as error:
        return [row | {"status": str(error)}]
    moved = [Window(w.start_s + start, w.end_s + start) for w in found]
    ids = [entry.clip_id] if len(moved) == 1 else [f"{entry.clip_id}@{i}" for i in range(len(moved))]
    return [_clip(row | {"clip_id": i}, sound, w, cut) for i, w in zip(ids, moved, strict=True)]


def _clip(row: dict[str, Any], sound: Path | bytes, window: Window, cut: Cut) -> dict[str, Any]:
    row = row | {"start_s": window.start_s, "end_s": window.end_s, "duration_s": window.end_s - window.start_s}
    try:
        samples = audio_io.read(sound, cut.rate, window)[: round(cut.window_s * cut.rate)]
        seconds = len(samples) / cut.rate
        if seconds < cut.data.min_s - 1e-3:
            raise UnusableAudio(f"too short: {seconds:.3f} s could be decoded of {row['duration_s']:.3f} s")
        audio_io.check_heard(samples, cut.data.silence_db)
    except UnusableAudio as error:
        return row | {"status": str(error)}
    name = opaque_name(cut.seed, row["clip_id"])
    audio_io.write_copy(cut.folder / name, samples, cut.rate)
    if cut.sketches is not None:
        cut.sketches[name] = sketch(samples)
    return row | {"audio": name, "duration_s": seconds, "status": "ok"}


def opaque_name(seed: int, clip_id: str) -> str:
    """File name of a clip's copy, from which nothing about the clip can be read."""
    return hashlib.sha256(f"audio\0{seed}\0{clip_id}".encode()).hexdigest()[:24] + ".flac"


def _blank(entry: Entry, cut: Cut) -> dict[str, Any]:
    return {
        **entry.attributes,
        "clip_id": entry.clip_id,
        "path": entry.path,
        "dataset": entry.dataset or cut.dataset,
        "split": entry.split,
        "caption": entry.caption,
        "labels": list(entry.labels),
        "start_s": entry.start_s,
        "end_s": entry.end_s,
        "recording_id": entry.recording_id or f"r-{entry.path}",
        "sha256": None,
        "sample_rate": None,
        "duration_s": None,
        "audio": None,
        "status": "",
    }


def _assign_splits(rows: list[dict[str, Any]], held_out: float, seed: int) -> None:
    """Rows without a split: `train`, or where no row has one a share of the recordings, by hash, becomes held out."""
    if any(row["split"] for row in rows):
        held: set[str] = set()
    else:
        recordings = {row["recording_id"] for row in rows if row["status"] == "ok"}
        order = sorted(recordings, key=lambda r: hashlib.sha256(f"split\0{seed}\0{r}".encode()).digest())
        held = set(order[: round(len(order) * held_out)])
    for row in rows:
        row["split"] = row["split"] or (HELD_OUT if row["recording_id"] in held else TRAIN)


def _report(ctx: Context, rows: list[dict[str, Any]], where: str) -> None:
    """Say what was left out and why; refuse a corpus in which nothing is left."""
    reasons = Counter(row["status"].split(":")[0] for row in rows if row["status"] != "ok")
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    good = len(rows) - sum(reasons.values())
    if not good:
        raise StageError(f"None of the {len(rows)} clips of {where} can be used ({why}); give readable, audible files.")
    if not any(row["status"] == "ok" and row["split"] == TRAIN for row in rows):
        raise StageError(f"No usable clip of {where} is in split {TRAIN!r}; name at least some of them {TRAIN!r}.")
    ctx.say(f"{good} clips" + (f"; {sum(reasons.values())} left out: {why} (column status of clips)" if why else ""))


def _plain_attributes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Free columns whose values have several types become text, so that each column has one type."""
    own = set(tables.spec("clips").names)
    for key in {k for row in rows for k in row} - own:
        kinds = {type(row[key]) for row in rows if row.get(key) is not None}
        if len(kinds) > 1:
            for row in rows:
                row[key] = None if row.get(key) is None else str(row[key])
    return rows


def listing(config: Config) -> str:
    """Hash of names, sizes and times of the user's files: changes when one is added, removed or edited."""
    if config.data.source == "soundscape" or (config.data.source == "audio" and not config.data.audio):
        return ""
    digest = hashlib.sha256()
    for entry in _listed(config.data):
        found = entry.file.stat() if entry.file.exists() else None
        stamp = (found.st_size, found.st_mtime_ns) if found else None
        told = {f.name: getattr(entry, f.name) for f in fields(entry) if f.name != "source"}
        told = {name: value for name, value in told.items() if value or name not in LISTED}
        digest.update(repr((told | {"file": ""}, stamp)).encode())
    return digest.hexdigest()[:16]


def _listed(data: DataConfig) -> list[Entry]:
    """The entries that the user's files make."""
    if data.source == "audio":
        return open_dataset(data.audio, data.label_from)
    from precompute.datasets.corpora import open_corpora

    return open_corpora(data).entries
