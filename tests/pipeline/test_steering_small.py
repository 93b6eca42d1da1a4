"""Stages `steering` and `ablation` on a handful of clips with tiny random models: what the rows say is recomputed."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from ard.clamps import Clamp
from ard.models.audio_lm import AudioLM
from ard.sae import TopKSAE
from ard.steering import steer
from ard.steering_task import word_judge
from ard.store import Run
from precompute.__main__ import main
from tests.pipeline.test_run_small import arguments, copy, work  # noqa: F401 (fixtures)

PROMPT = "Is it low?"
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
    return {"source": source, "target": target, "prompt": PROMPT, "answers": [source, target], "source_label": label}


def toml(value: dict) -> str:
    return "{" + ", ".join(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in value.items()) + "}"


def run_stage(run: Run, name: str, *sets: str) -> int:
    return main([name, "--run", str(run.path), "--quiet", *(part for item in sets for part in ("--set", item))])


def test_without_a_task_the_tables_are_empty(copy: Run) -> None:  # noqa: F811
    assert run_stage(copy, "steering") == 0
    assert copy.read("steering").num_rows == copy.read("steering_examples").num_rows == 0


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
    judge = word_judge(task["answers"], task["source"], task["target"])
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
    for example in copy.read("steering_examples").to_pylist():
        assert judge(example["baseline"]) == "source"
        assert judge(example["steered"]) == "target"
    assert main(["steering", "--run", str(copy.path), "--quiet", "--force"]) == 0
    assert (copy.path / "tables/steering.parquet").read_bytes() == first


def test_an_unknown_sae_is_one_sentence(copy: Run, task: dict, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert run_stage(copy, "steering", f"steering.task=[{toml(task)}]", 'steering.sae="layers.9/e1/k1/x"') == 2
    assert "steering.sae is 'layers.9/e1/k1/x'; this run has layers.1/e4/k4" in capsys.readouterr().err


def test_the_ablation_takes_the_runs_own_sae_where_it_agrees(copy: Run) -> None:  # noqa: F811
    sets = ("ablation.k=4", "ablation.expansions=[2,4]", "ablation.steps=0")
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
        assert rows[sae_id]["fvu"] > 0
