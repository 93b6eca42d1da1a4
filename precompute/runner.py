"""Runs stages in order, skips what is done, says why something runs again, and keeps the manifest.

A stage is done when the manifest holds a record of it whose ingredients (its part of the configuration, its code
version, the hashes of the tables it read, the revisions of its models, the listing of outside files) are those of
today, and whose outputs lie there as they were written. The record is removed before new outputs replace old ones and
written after the last of them, so an interruption at any point leaves finished stages usable and the rest to be done.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tqdm import tqdm

from ard.resumable import resumable
from ard.staging import Staging
from ard.store import Run, RunError
from precompute import environment
from precompute.config import Config, ConfigError, to_dict
from precompute.stages import STAGES
from precompute.stages.base import Context, Models, Stage

HASHED_BYTES = 256 << 20
"""Tables up to this size are compared by content, larger ones by length."""


class State(NamedTuple):
    """Where a stage stands, and why if it is not done."""

    stage: str
    state: Literal["done", "stale", "missing", "left out"]
    why: str
    record: dict[str, Any]


@dataclass
class Runner:
    """The pipeline on one run folder with one configuration."""

    run: Run
    config: Config
    quiet: bool = False
    command: str | None = None
    """The command line, for the manifest."""

    def __post_init__(self) -> None:
        self.models = Models(self.config)
        self._revisions: dict[str, str] = {}
        self._stamps: dict[str, str] = {}
        self._listings: dict[str, str] = {}
        self._described: dict[tuple[str, int, int], dict[str, Any]] = {}
        unknown = [name for name in self.config.stages_left_out if name not in STAGES]
        if unknown:
            raise ConfigError(f"stages_left_out has {unknown[0]!r}, which is no stage; stages are {', '.join(STAGES)}.")

    # -- where things stand ---------------------------------------------------------------------------------------

    def states(self) -> list[State]:
        """Every stage: done, stale and why, missing, or left out by the configuration."""
        out: list[State] = []
        open_stages: set[str] = set()
        for stage in STAGES.values():
            state = self.state(stage)
            waits = [n for n in (*stage.needs, *stage.reads_if_there) if n in open_stages]
            if state.state == "done" and waits:
                state = state._replace(state="stale", why=f"{waits[0]} has to run again")
            if state.state in ("stale", "missing") and stage.name not in self.config.stages_left_out:
                open_stages.add(stage.name)
            out.append(state)
        return out

    def state(self, stage: Stage) -> State:
        """One stage on its own, taking what lies before it as it is."""
        record = self.run.manifest.get("stages", {}).get(stage.name)
        if not record and stage.name in self.config.stages_left_out:
            return State(stage.name, "left out", "by the setting stages_left_out", {})
        if not record:
            return State(stage.name, "missing", "", {})
        why = _difference(record["ingredients"], self.ingredients(stage)) or self._damage(record)
        return State(stage.name, "stale" if why else "done", why, record)

    def ingredients(self, stage: Stage) -> dict[str, Any]:
        """Everything the stage's result depends on."""
        records = self.run.manifest.get("stages", {})
        if stage.name not in self._listings:
            self._listings[stage.name] = stage.listing(self.config)
        found = {
            "version": stage.version,
            "config": stage.uses(self.config),
            "inputs": {name: records.get(name, {}).get("output") for name in (*stage.needs, *stage.reads_if_there)},
            "models": {name: self._revision(name) + self._precision(stage, name) for name in stage.models},
            "files": self._listings[stage.name],
        }
        if stage.published:
            found["published"] = {name: self._publication(name) for name in stage.published}
        return json.loads(json.dumps(found))

    def _publication(self, table: str) -> dict[str, Any] | None:
        """What tells one version of a table of the app from another; None while there is none."""
        return self._describe(self.run.table_path(table)) if self.run.has(table) else None

    def _revision(self, model: str) -> str:
        """The model's revision; weights that lie there untouched since the manifest was written are not read again."""
        if model not in self._revisions:
            wanted, manifest = self.config.model_of(model), self.run.manifest
            if model not in self._roles():
                return self._revision("audio_lm") if model == "captioner" else ""
            stamp = self._stamps[model] = environment.model_stamp(wanted)
            known = manifest.get("model_stamps", {}).get(model) == stamp != ""
            self._revisions[model] = manifest["models"][model] if known else environment.model_revision(wanted)
        return self._revisions[model]

    def _precision(self, stage: Stage, model: str) -> str:
        """How an AudioLLM is loaded, where that was asked for and the stage takes more from it than rate and window."""
        if model not in ("audio_lm", "captioner") or stage.name in ("clips", "embeddings"):
            return ""
        how = self.config.model
        return "".join(f"+{one}" for one in (how.dtype, how.quantisation) if one not in ("auto", "none"))

    def _roles(self) -> list[str]:
        """The roles that have a model of their own."""
        config = self.config
        more = [
            role for role in ("captioner", "namer", "judge") if config.model_of(role) not in ("", config.model.audio_lm)
        ]
        return ["audio_lm", "clap", *more]

    def _damage(self, record: dict[str, Any]) -> str:
        """What is wrong with a stage's outputs, or nothing."""
        for name, written in record["files"].items():
            path = self.run.path / name
            if not path.exists():
                return f"{name} is missing"
            found = self._describe(path, hashed="sha256" in written)
            if found != written:
                return f"{name} was changed or damaged since"
        return ""

    def _describe(self, path: Path, hashed: bool = True) -> dict[str, Any]:
        """`_describe`, asked once while the file stays as it is."""
        if path.is_dir() or not hashed:
            return _describe(path, hashed)
        now = path.stat()
        key = (str(path), now.st_size, now.st_mtime_ns)
        if key not in self._described:
            self._described[key] = _describe(path)
        return self._described[key]

    # -- doing --------------------------------------------------------------------------------------------------

    def run_all(self, names: Sequence[str] | None = None, *, force: bool = False) -> None:
        """Run the named stages (all by default) in order, skipping those that are done.

        Raises:
            RunError: a stage before the first named one is missing, or another process works on this run.
        """
        if self.config.model.device != "auto":
            _ = self.models.device  # refuse a device that is not there before anything is done
        with _locked(self.run):
            self.run.remove_leftovers()
            for name, stage in STAGES.items():
                if name in names if names is not None else name not in self.config.stages_left_out:
                    self._run_or_skip(stage, force)

    def _run_or_skip(self, stage: Stage, force: bool) -> None:
        for need in stage.needs:
            before = self.state(STAGES[need])
            if before.state in ("missing", "left out"):
                raise RunError(
                    f"Stage {stage.name} needs {need}, which has not run; "
                    f"run `python -m precompute {need} --run {self.run.path}` first, or `run` for all."
                )
            if before.state == "stale":
                self._say(f"{stage.name}: note that {need} is stale ({before.why})")
        state = self.state(stage)
        if state.state == "done" and not force:
            self._say(f"{stage.name}: done already")
            return
        self._say(f"{stage.name}" + (f": again, {state.why}" if state.why else ""))
        self._run(stage, fresh=force)

    def _staging(
        self, stage: Stage, ingredients: dict[str, Any], fresh: bool
    ) -> contextlib.AbstractContextManager[Staging]:
        """Where the stage's output is collected; of a resumable one, with what was finished under the same settings."""
        if stage.resumable:
            fingerprint = _hash(ingredients)
            record = self.run.manifest.get("stages", {}).get(stage.name, {})
            same = record.get("fingerprint") == fingerprint  # done, then damaged
            return resumable(self.run, stage.name, fingerprint, fresh=fresh, repair=same)
        return self.run.staging(stage.name)

    def _run(self, stage: Stage, *, fresh: bool = False) -> None:
        ingredients, started = self.ingredients(stage), time.perf_counter()
        with self._staging(stage, ingredients, fresh) as out:
            context = Context(self.run, self.config, out, self.models, self.quiet)
            self.run.live = context.read_live
            stage.run(context)
            absent = [t for t in stage.tables if t not in out.rows]
            if absent:
                raise RuntimeError(f"stage {stage.name} did not write table {absent[0]}")
            self._forget(stage.name)
            out.publish()
            self._record(stage, ingredients, out, time.perf_counter() - started, context.notes)

    def _forget(self, name: str) -> None:
        stages = dict(self.run.manifest.get("stages", {}))
        if stages.pop(name, None):
            self.run.update_manifest(stages=stages)

    def _record(
        self, stage: Stage, ingredients: dict[str, Any], out: Staging, seconds: float, notes: dict[str, Any]
    ) -> None:
        """Write the stage into the manifest: the last thing a stage does."""
        files = {f"tables/{t}.parquet": _describe(self.run.path / f"tables/{t}.parquet") for t in stage.tables}
        # Tables stand for their stage by content; folders (activations, weights) by what they were made from.
        content = {k: v.get("sha256") or v["bytes"] for k, v in files.items()}
        parts = [content, ingredients if stage.folders and stage.name != "clips" else None]
        files |= {f: _describe(self.run.path / f) for f in (*stage.folders, *stage.files)}
        record = {
            "fingerprint": _hash(ingredients),
            "output": _hash(parts),
            "ingredients": ingredients,
            "rows": out.rows,
            "seconds": round(seconds, 3),
            "bytes": sum(f["bytes"] for f in files.values()),
            "files": files,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        manifest = self.run.manifest
        stages = {**manifest.get("stages", {}), stage.name: record}
        self.run.update_manifest(
            format=1,
            preset=self.config.preset,
            seed=self.config.seed,
            config=to_dict(self.config),
            models={role: self._revision(role) for role in self._roles()},
            model_stamps=self._stamps,
            command=self.command,
            stages={name: stages[name] for name in STAGES if name in stages},
            device=environment.device(self.models.device),
            versions=environment.versions(),
            git_commit=environment.git_commit(),
            **notes,
        )

    def _say(self, text: str) -> None:
        if not self.quiet:
            tqdm.write(text)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _describe(path: Path, hashed: bool = True) -> dict[str, Any]:
    """Length and content hash of a file, or number of files and their length of a folder."""
    if path.is_dir():
        sizes = [p.stat().st_size for p in path.rglob("*") if p.is_file()]
        return {"bytes": sum(sizes), "count": len(sizes)}
    size = path.stat().st_size
    if not hashed or size > HASHED_BYTES:
        return {"bytes": size}
    with path.open("rb") as file:
        return {"bytes": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """In words, the first thing that differs between the ingredients of then and now."""
    words = {
        "version": "the stage's code changed",
        "files": "the audio files or their list changed",
    }
    for part in ("version", "config", "models", "inputs", "published", "files"):
        before, now = old.get(part), new.get(part)
        if before == now:
            continue
        if part in words:
            return words[part]
        key, was, is_now = _first_difference(before, now)
        if part == "config":
            return f"setting {key} changed from {_short(was)} to {_short(is_now)}"
        return f"the model {key} changed" if part == "models" else f"{key.split('.')[0]} has new results"
    return ""


def _first_difference(before: Any, now: Any, path: str = "") -> tuple[str, Any, Any]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(k for k in before if k not in now)]:
            if before.get(key) != now.get(key):
                return _first_difference(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))
    return path, before, now


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


@contextlib.contextmanager
def _locked(run: Run) -> Iterator[None]:
    """One process at a time writes to a run; the lock goes with the process, however it ends.

    Raises:
        RunError: another process holds it.
    """
    with (run.path / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"Another process is working on {run.path}; wait for it or choose another --run.") from None
        yield
