"""Stage `steering`: sensitivity of the AudioLLM's answers to a clamped latent, with its controls (Table 3).

Each finished task is on the disk before the next one begins, so a killed stage goes on with the task where it died.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ard import tables
from ard.resumable import read_part, write_part
from ard.sae import TopKSAE
from ard.steering_search import Bench
from precompute.stages.base import Context, StageError
from precompute.steering_direction import MeanDirection
from precompute.steering_methods import Method, RawDimensions, SaeLatents, settings_of
from precompute.steering_rows import TABLES, Row
from precompute.steering_session import Session
from precompute.steering_tasks import RunTask, clips_of, tasks_of


def run(ctx: Context) -> None:
    """Choose, test and compare for every task; write the tables of `TABLES`."""
    tasks = tasks_of(ctx)
    if tasks:
        parts = _measure(ctx, tasks)
    else:
        ctx.say("no steering task: add [[steering.task]] with source, target, prompt and answers; the table is empty")
        parts = []
    made = {name: pa.concat_tables([tables.empty(name), *(part[name] for part in parts)]) for name in TABLES}
    for name, table in made.items():
        ctx.out.write(name, table)
    _summary(ctx, made["steering"].to_pylist(), made["steering_comparators"].to_pylist())


def _measure(ctx: Context, tasks: list[RunTask]) -> list[dict[str, pa.Table]]:
    """The rows of every task, those of an earlier process among them."""
    _sae_id(ctx)
    folder = ctx.out.scratch("tasks")
    done = {i: rows for i in range(len(tasks)) if (rows := _kept(folder, i)) is not None}
    missing = [i for i in range(len(tasks)) if i not in done]
    if done:
        ctx.say(f"{len(done)} of {len(tasks)} tasks are kept from before")
    if missing:
        done |= _steered(ctx, folder, tasks, missing)
    return [done[i] for i in range(len(tasks))]


def _steered(ctx: Context, folder: Path, tasks: list[RunTask], missing: list[int]) -> dict[int, dict[str, pa.Table]]:
    part, lm = ctx.config.steering, ctx.models.audio_lm
    sae = TopKSAE.load(ctx.run.sae_dir(_sae_id(ctx)), device=ctx.models.device)
    bench = Bench(lm, sae, **settings_of(part))
    methods: list[Method] = [SaeLatents(ctx, sae, [one.task for one in tasks])]
    methods += [RawDimensions(ctx, sae.cfg.hookpoint)] if part.poly else []
    direction = MeanDirection(ctx, sae.cfg.hookpoint) if part.direction else None
    some = [tasks[i] for i in missing]
    found = {}
    work = list(zip(missing, some, clips_of(ctx, some), strict=True))
    for number, one, clips in ctx.progress(work, unit="task"):
        rows: dict[str, list[Row]] = {name: [] for name in TABLES}
        if clips.selection and clips.test:
            session = Session(ctx, bench, one.task, clips)
            session.run(methods, direction)
            rows = session.rows
        else:
            where = "to choose on" if not clips.selection else "to measure on"
            ctx.say(f"{one.task.name}: left out, no clip labelled {one.task.source_label!r} {where}")
        found[number] = _keep(folder, number, rows)
    return found


def _keep(folder: Path, number: int, rows: dict[str, list[Row]]) -> dict[str, pa.Table]:
    """Put the rows of a task on the disk, table `steering` last: it says that the task is complete."""
    made = {name: tables.from_rows(name, rows[name]) for name in TABLES}
    for name in reversed(TABLES):
        write_part(folder / name, name, number, made[name])
    return made


def _kept(folder: Path, number: int) -> dict[str, pa.Table] | None:
    """The rows of a task that an earlier process finished."""
    found = {name: read_part(folder / name, name, number) for name in TABLES}
    whole = {name: table for name, table in found.items() if table is not None}
    return whole if len(whole) == len(TABLES) else None


def _sae_id(ctx: Context) -> str:
    ids = ctx.sae_ids()
    if ctx.config.steering.sae and ctx.config.steering.sae not in ids:
        raise StageError(f"steering.sae is {ctx.config.steering.sae!r}; this run has {', '.join(ids)}.")
    return ctx.config.steering.sae or ids[0]


def _summary(ctx: Context, rows: list[Row], compared: list[Row]) -> None:
    def mean(picked: list[Row]) -> str:
        known = [r["sensitivity"] for r in picked if r["sensitivity"] is not None]
        return f"{np.mean(known):.2f}" if known else "–"

    for sae_id in dict.fromkeys(r["sae_id"] for r in rows):
        mine = [r for r in rows if r["sae_id"] == sae_id]
        chosen = [r for r in mine if r["chosen"] and r["sensitivity"] is not None]
        if chosen:
            controls = [mean([r for r in mine if r["control"] == c]) for c in ("reconstruct_only", "random_latent")]
            ctx.say(
                f"{sae_id}: mean sensitivity {mean(chosen)} over {len(chosen)} tasks; "
                f"reconstruct only {controls[0]}, random latents {controls[1]}"
            )
    if best := [r for r in compared if r["chosen"]]:
        ctx.say(f"difference of means: mean sensitivity {mean(best)} over {len(best)} tasks")
