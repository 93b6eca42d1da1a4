"""Stages `steering` and `ablation` on a handful of clips with tiny random models: what the rows say is recomputed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from pyarrow.csv import ParseOptions, read_csv

from ard.clamps import Clamp
from ard.degenerate import strict
from ard.models.audio_lm import AudioLM
from ard.sae import TopKSAE
from ard.steering import steer
from ard.steering_search import Bench
from ard.steering_task import word_judge
from ard.store import Run
from precompute.__main__ import main
from precompute.shards import Shards
from tests.pipeline.test_run_small import arguments, copy, work  # noqa: F401 (fixtures)

PROMPT = "Is it low?"
LINES = ParseOptions(newlines_in_values=True)  # a random model says anything
FAST = ("steering.max_new_tokens=10", "steering.values=[2,40]", "steering.candidates=3", "steering.random=4")


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


@pytest.fixture(scope="module")
def lm(work: Path) -> AudioLM:  # noqa: F811
    torch.set_num_threads(1)
    return AudioLM.load(work / "lm")


@pytest.fixture(scope="module")
def task(work: Path, lm: AudioLM) -> dict:  # noqa: F811
    """A task that this random model can fail or pass: words that its own answers hold, untouched and steered."""
    import soundfile as sf

    run = Run.open(work / "run")
    sae = TopKSAE.load(run.sae_dir(run.manifest["default_sae"]))
    clips = [c for c in run.read("clips").to_pylist() if c["status"] == "ok"]
    audios = [sf.read(run.audio_dir / c["audio"], dtype="float32")[0] for c in clips]
    options = {"max_new_tokens": 10}
    before = steer(lm, None, None, audios, [PROMPT] * len(audios), **options).texts
    clamps = [Clamp((latent,), (value,)) for latent, value in product(range(0, 60, 7), (5.0, 60.0))]
    after = [t for c in clamps for t in steer(lm, sae, c, audios[:6], [PROMPT] * 6, **options).texts]
    places = {True: Counter(), False: Counter()}
    for clip, text in zip(clips, before, strict=True):
        places[clip["split"] == "train"].update(words(text))
    source = max(places[True], key=lambda w: (min(places[True][w], places[False][w]), w))
    target = Counter(w for text in after for w in words(text) if source not in words(text)).most_common(1)[0][0]
    held = [c for c, text in zip(clips, before, strict=True) if c["split"] != "train" and source in words(text)]
    label = Counter(c["labels"][0] for c in held).most_common(1)[0][0] if held else "low"
    labels = {"source_label": label, "target_label": "high" if label == "low" else "low"}
    return {"source": source, "target": target, "prompt": PROMPT, "answers": [source, target], **labels}


def toml(value: dict) -> str:
    return "{" + ", ".join(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in value.items()) + "}"


def run_stage(run: Run, name: str, *sets: str) -> int:
    return main([name, "--run", str(run.path), "--quiet", *(part for item in sets for part in ("--set", item))])


def test_without_a_task_the_tables_are_empty(copy: Run) -> None:  # noqa: F811
    assert run_stage(copy, "steering") == 0
    for name in ("steering", "steering_examples", "steering_comparators", "steering_answers"):
        assert copy.read(name).num_rows == 0


def test_a_label_that_no_clip_carries_is_said(copy: Run, task: dict, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    absent = toml(task | {"source_label": "thunder"})
    assert main(["steering", "--run", str(copy.path), "--set", f"steering.task=[{absent}]"]) == 0
    assert "no clip labelled 'thunder' to choose on" in "".join(capsys.readouterr())
    assert copy.read("steering").num_rows == 0


def test_every_row_can_be_recomputed(copy: Run, task: dict, lm: AudioLM) -> None:  # noqa: F811
    import soundfile as sf

    assert run_stage(copy, "steering", f"steering.task=[{toml(task)}]", *FAST) == 0
    first = (copy.path / "tables/steering.parquet").read_bytes()
    rows = copy.read("steering").to_pylist()
    assert Counter((r["method"], r["control"]) for r in rows)[("ard", "none")] >= 1
    chosen = [r for r in rows if r["chosen"]]
    assert len({(r["method"], r["source"]) for r in chosen}) == len(chosen) <= 2
    judge = strict(word_judge(task["answers"], task["source"], task["target"]))
    clips = copy.read("clips").filter((pc.field("status") == "ok") & (pc.field("split") != "train")).to_pylist()
    tested, seen = [], set()
    for clip in sorted(clips, key=lambda c: len(c["labels"])):
        if task["source_label"] in clip["labels"] and clip["recording_id"] not in seen:
            tested.append(clip)
            seen.add(clip["recording_id"])
    sae = TopKSAE.load(copy.sae_dir(copy.manifest["default_sae"]))
    for row in rows:
        if row["method"] != "ard" or row["control"] == "random_latent" or row["sensitivity"] is None:
            continue
        assert row["clips"] == len(tested)
        clamp = Clamp((), ()) if row["latent_id"] is None else Clamp((row["latent_id"],), (row["value"],))
        audios = [sf.read(copy.audio_dir / c["audio"], dtype="float32")[0] for c in tested]
        asked = {"audios": audios, "prompts": [PROMPT] * len(audios), "max_new_tokens": 10}
        before = [judge(t) for t in steer(lm, None, None, **asked).texts]
        after = [judge(t) for t in steer(lm, sae, clamp, **asked).texts]
        moved = [b == "target" for a, b in zip(before, after, strict=True) if a == "source"]
        assert (row["samples"], row["sensitivity"]) == (len(moved), pytest.approx(np.mean(moved)))
        assert row["degenerate"] == pytest.approx(after.count("degenerate") / len(after))
    follows(copy, rows, task)
    assert run_stage(copy, "report") == 0
    for name in ("steering", "steering_answers", "steering_comparators"):
        assert read_csv(copy.path / f"report/{name}.csv", parse_options=LINES).num_rows == copy.read(name).num_rows > 0
    for example in copy.read("steering_examples").to_pylist():
        assert judge(example["baseline"]) == "source"
        assert judge(example["steered"]) == "target"
    assert main(["steering", "--run", str(copy.path), "--quiet", "--force"]) == 0
    assert (copy.path / "tables/steering.parquet").read_bytes() == first


def mean_of(run: Run, label: str) -> torch.Tensor:
    """Mean of x over the audio tokens, sinks left out, of the training clips with a label, all of them at once."""
    clips = run.read("clips").filter((pc.field("status") == "ok") & (pc.field("split") == "train")).to_pylist()
    return (
        Shards(run, "layers.1").gather([c["clip_id"] for c in clips if label in c["labels"]], "audio").float().mean(0)
    )


def follows(run: Run, rows: list[dict], task: dict) -> None:
    """Every figure of `steering` and `steering_comparators` is a count over rows of `steering_answers`."""
    answers = run.read("steering_answers").to_pylist()
    compared = [
        r | {"method": None, "control": "none", "latent_id": None, "sae_id": f"{r['hookpoint']}/raw"}
        for r in run.read("steering_comparators").to_pylist()
    ]
    assert Counter(r["chosen"] for r in compared)[True] == 1
    (norm,) = {r["norm"] for r in compared}
    assert norm == pytest.approx(
        float((mean_of(run, task["target_label"]) - mean_of(run, task["source_label"])).norm())
    )
    seen = set()
    for row in [*rows, *compared]:
        place = ("method", "control", "sae_id", "value", *(() if row["control"] == "random_latent" else ("latent_id",)))
        mine = [
            i
            for i, a in enumerate(answers)
            if all(a[k] == row[k] for k in place) and a["comparator"] == row.get("comparator")
        ]
        seen |= set(mine)
        some = [answers[i] for i in mine]
        moved = [a["verdict"] for a in some if a["baseline_verdict"] == "source"]
        assert (len(some), len(moved)) == (row["clips"], row["samples"])
        if row["sensitivity"] is None:
            continue
        assert row["sensitivity"] == pytest.approx(moved.count("target") / len(moved))
        assert row["degenerate"] == pytest.approx(np.mean([a["verdict"] == "degenerate" for a in some]))
        for why in ("empty", "repeated", "off_set"):
            assert row[f"degenerate_{why}"] == pytest.approx(np.mean([a["fault"] == why for a in some]))
    assert seen == set(range(len(answers)))


def test_a_killed_stage_goes_on_with_the_task_where_it_died(copy: Run, task: dict, tmp_path: Path) -> None:  # noqa: F811
    entries = ", ".join(toml(task | {"kind": kind}) for kind in ("one", "two", "three"))
    sets = (f"steering.task=[{entries}]", *FAST)
    whole = Run(shutil.copytree(copy.path, tmp_path / "whole"))
    assert run_stage(whole, "steering", *sets) == 0
    before = copy.read("steering").num_rows
    words_ = [str(copy.path), "2", *sets]
    ended = subprocess.run([sys.executable, "-m", "tests.fixtures.killed_task", *words_], check=False, timeout=300)
    assert ended.returncode == -signal.SIGKILL
    assert Run(copy.path).read("steering").num_rows == before  # nothing unfinished is seen
    kept = sorted(copy.path.glob(".parts-steering/.tasks/steering/rows/*.parquet"))
    assert len(kept) == 2
    when = [path.stat().st_mtime_ns for path in kept]
    asked = []
    real = Bench.ask
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bench, "ask", lambda self, *args: asked.append(when) or real(self, *args))
        assert run_stage(copy, "steering", *sets) == 0
    assert 2 <= len(asked) <= 3  # the third task alone: selection, test and perhaps examples
    for name in ("steering", "steering_examples", "steering_comparators", "steering_answers"):
        file = f"tables/{name}.parquet"
        assert (copy.path / file).read_bytes() == (whole.path / file).read_bytes()
    assert not list(copy.path.glob(".parts-*"))


def test_an_unknown_sae_is_one_sentence(copy: Run, task: dict, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert run_stage(copy, "steering", f"steering.task=[{toml(task)}]", 'steering.sae="layers.9/e1/k1/x"') == 2
    assert "steering.sae is 'layers.9/e1/k1/x'; this run has layers.1/e4/k4" in capsys.readouterr().err


def test_the_ablation_takes_the_runs_own_sae_where_it_agrees(copy: Run) -> None:  # noqa: F811
    sets = ("ablation.ks=[4]", "ablation.expansions=[2,4]", "ablation.steps=0")
    assert run_stage(copy, "ablation", *sets) == 0
    rows = {r["sae_id"]: r for r in copy.read("ablation").to_pylist()}
    saes = [f"layers.{layer}/e{e}/k4/recommended" for layer in (1, 2) for e in (2, 4)]
    assert set(rows) == {*saes, "layers.1/raw", "layers.2/raw"}
    assert [sae_id for sae_id in saes if rows[sae_id]["reused"]] == ["layers.1/e4/k4/recommended"]
    table = copy.read("monosemanticity").to_pylist()
    for sae_id, method in (("layers.1/e4/k4/recommended", "ard"), ("layers.1/raw", "poly")):
        m = sorted((r["score"] for r in table if (r["sae_id"], r["method"]) == (sae_id, method)), reverse=True)
        assert rows[sae_id]["scored"] == len(m) > 0
        assert rows[sae_id]["ms_max"] == pytest.approx(m[0], rel=1e-5)
        assert rows[sae_id]["ms_top"] == pytest.approx(np.mean(m[:100]), rel=1e-4)
    for sae_id in saes:
        assert (rows[sae_id]["k"], rows[sae_id]["steps"]) == (4, 30)
        assert rows[sae_id]["scored"] > 0
        assert rows[sae_id]["top"] == min(100, rows[sae_id]["scored"])
        assert rows[sae_id]["fvu"] > 0
