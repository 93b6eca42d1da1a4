"""`localisation` against true times that are put beside the small run's clips."""

# ruff: noqa: F811 (a fixture is imported under the name that tests ask for)

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest

from ard import tables
from ard.sae import TopKSAE
from ard.store import Run
from precompute.shards import Shards
from precompute.stages.base import Context
from precompute.stages.evaluate_times import localisation_rows
from tests.pipeline.test_evaluate_small import context, rows
from tests.pipeline.test_run_small import copy, run, work  # noqa: F401 (fixtures)


def timed(run: Run, start: float, end: float) -> Context:
    """The run as if it came from the demo world, each clip's first label sounding from `start` to `end`."""
    clips = run.read("clips")
    event = {"start_s": start, "end_s": end, "segments": [[start, end]], "distance": "near", "level_db": -20.0}
    truth = [
        json.dumps(
            {"clip_id": c["clip_id"], "split": c["split"], "index": 0, "seed": 0, "noise_db": -60.0,
             "events": [{"key": label, **event} for label in c["labels"]]}
        )
        for c in clips.to_pylist()
    ]  # fmt: skip
    if "truth" in clips.column_names:
        clips = clips.drop_columns("truth")
    run.write("clips", clips.append_column("truth", pa.array(truth)))
    with run.staging("evaluate") as out:
        ctx = context(run, out)
    return dataclasses.replace(
        ctx, config=dataclasses.replace(ctx.config, data=dataclasses.replace(ctx.config.data, source="soundscape"))
    )


def test_iou_is_that_of_the_tokens_counted_by_hand(copy: Run) -> None:
    ctx = timed(copy, 0.1, 0.35)
    recovery = rows(copy, "recovery")
    found = localisation_rows(ctx, recovery)
    tables.from_rows("localisation", found)  # they fit the table
    wanted = {(r["sae_id"], r["method"], r["label"]) for r in recovery if r["control"] == "none"}
    assert {(r["sae_id"], r["method"], r["label"]) for r in found} == {k for k in wanted if not k[0].endswith("/raw")}
    held = [c for c in rows(copy, "clips", status="ok") if c["split"] != "train"]
    for row in [r for r in found if r["control"] == "none" and r["method"] == "ard"]:
        sae = TopKSAE.load(copy.sae_dir(row["sae_id"]))
        both = either = 0
        for clip in (c for c in held if row["label"] in c["labels"]):
            z = sae.encode(Shards(copy, sae.cfg.hookpoint).audio(clip["clip_id"]))[:, row["latent_id"]]
            for t, value in enumerate(z.tolist()):
                there = 0.1 <= (t + 0.5) * clip["duration_s"] / len(z) < 0.35
                both += there and value > 0
                either += there or value > 0
        assert row["iou"] == pytest.approx(both / either if either else None)
        assert row["clips"] == sum(row["label"] in c["labels"] for c in held)


def test_dealing_out_equal_times_anew_changes_nothing(copy: Run) -> None:
    """Every clip sounds from beginning to end, so the times of another clip say the same: chance equals the figure."""
    found = localisation_rows(timed(copy, 0.0, 100.0), rows(copy, "recovery"))
    value = {(r["sae_id"], r["method"], r["label"], r["control"]): r["iou"] for r in found}
    same = [k for k in value if k[3] == "shuffled_labels"]
    assert same
    for key in same:
        assert value[key] == pytest.approx(value[*key[:3], "none"])


def test_without_true_times_there_is_nothing(run: Run) -> None:
    with run.staging("evaluate") as out:
        assert localisation_rows(context(run, out), rows(run, "recovery")) == []
    assert np.all(run.read("localisation").num_rows == 0)
