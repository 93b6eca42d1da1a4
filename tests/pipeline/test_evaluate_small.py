"""Methods `random` and `poly` and the stage `evaluate` on the small run, against slow code over its tables."""

# ruff: noqa: F811 (a fixture is imported under the name that tests ask for)

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import roc_auc_score

from ard.naming import NO_NAME
from ard.store import Run
from precompute.config import Config, build
from precompute.shards import Shards
from precompute.stages import evaluate
from precompute.stages.base import Context, Models
from precompute.stages.evaluate_data import labelled, named_concepts
from tests.pipeline.test_run_small import copy, run, work  # noqa: F401 (fixtures)

SEEDS = range(10)
EVALUATED = (
    *("interpretability", "interpretability_curve", "comparisons", "controls"),
    *("detection", "recovery", "purity", "localisation", "stability"),
)


def rows(run: Run, name: str, **where: Any) -> list[dict]:
    found = run.read(name)
    for column, value in where.items():
        found = found.filter(pc.field(column).is_null() if value is None else pc.field(column) == value)
    return found.to_pylist()


def clip_sets(run: Run, side: str, **where: Any) -> dict[tuple[str, int, int], list[str]]:
    """Clips of each SAE, seed and latent in rank order."""
    sets: dict[tuple[str, int, int], list[str]] = {}
    for r in sorted(rows(run, "representatives", side=side, **where), key=lambda r: r["rank"]):
        sets.setdefault((r["sae_id"], r["seed"], r["latent_id"]), []).append(r["clip_id"])
    return sets


def context(run: Run, out: Any, **evaluate_settings: Any) -> Context:
    config: Config = build(run.manifest["config"])
    if evaluate_settings:
        config = dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, **evaluate_settings))
    return Context(run, config, out, Models(config), quiet=True)


def evaluated(run: Run) -> None:
    """Run the stage alone on whatever the run's tables hold now."""
    with run.staging("evaluate") as out:
        evaluate.run(context(run, out, bootstrap=20, shuffles=2))
        out.publish()


# -- random and poly ----------------------------------------------------------------------------------------------


def test_random_draws_clips_in_place_of_the_most_and_keeps_the_least(run: Run) -> None:
    recording = {c["clip_id"]: c["recording_id"] for c in run.read("clips").to_pylist()}
    least = clip_sets(run, "least", method="ard")
    drawn, kept = clip_sets(run, "most", method="random"), clip_sets(run, "least", method="random")
    scored = {(r["sae_id"], r["latent_id"]) for r in rows(run, "monosemanticity", method="ard")}
    assert {(sae, latent) for sae, _, latent in drawn} == scored
    assert {seed for _, seed, _ in drawn} == set(SEEDS)
    for (sae, seed, latent), clips in drawn.items():
        assert kept[sae, seed, latent] == least[sae, 0, latent]
        assert len(clips) == len({recording[c] for c in clips}) == 4
        assert not set(clips) & set(kept[sae, seed, latent])
    first, second = ([c for key, c in sorted(drawn.items()) if key[1] == seed] for seed in (0, 1))
    assert first != second


def test_poly_ranks_raw_dimensions_by_mean_times_share_above_zero(run: Run) -> None:
    train = [c["clip_id"] for c in rows(run, "clips", split="train", status="ok")]
    shards = Shards(run, "layers.1")
    r = {}
    for clip in train:
        x = shards.audio(clip).double().numpy()
        r[clip] = x.mean(0) * (x > 0).mean(0)
    most, least = (clip_sets(run, side, sae_id="layers.1/raw") for side in ("most", "least"))
    recording = {c["clip_id"]: c["recording_id"] for c in run.read("clips").to_pylist()}
    assert most
    for (_, _, dimension), clips in most.items():
        values = [r[c][dimension] for c in clips]
        assert values == sorted(values, reverse=True)
        assert min(values) > 0
        taken = {recording[c] for c in clips}
        others = [r[c][dimension] for c in train if recording[c] not in taken]
        assert not others or len(clips) < 4 or values[-1] >= max(others) - 1e-6
    lowest = min(r[c][0] for c in train if c not in most.get(("layers.1/raw", 0, 0), []))
    if ("layers.1/raw", 0, 0) in least:
        assert r[least["layers.1/raw", 0, 0][0]][0] == pytest.approx(lowest)


def test_every_seed_of_random_has_its_own_equation_4(run: Run) -> None:
    vectors = {r["clip_id"]: np.array(r["vector"], dtype=float) for r in run.read("embeddings").to_pylist()}
    most, least = (clip_sets(run, side, method="random") for side in ("most", "least"))
    scored = rows(run, "monosemanticity", method="random")
    assert {r["seed"] for r in scored} == set(SEEDS)
    for r in scored[::37]:
        key = r["sae_id"], r["seed"], r["latent_id"]
        cosines = []
        for clips in (most[key], least[key]):
            e = np.stack([vectors[c] for c in clips])
            cosines.append([e[i] @ e[j] for i in range(4) for j in range(i)])
        pooled = np.sqrt((np.var(cosines[0]) + np.var(cosines[1])) / 2)
        assert r["score"] == pytest.approx((np.mean(cosines[0]) - np.mean(cosines[1])) / (pooled + 1e-6), rel=1e-3)
    for seed in SEEDS:
        mine = [r["rank"] for r in scored if r["seed"] == seed and r["sae_id"] == run.manifest["default_sae"]]
        assert sorted(mine) == list(range(1, len(mine) + 1))


def test_random_and_poly_have_names_with_their_evidence(run: Run) -> None:
    captions = {r["clip_id"]: r["caption"] for r in run.read("captions").to_pylist()}
    for method in ("random", "poly"):
        most = clip_sets(run, "most", method=method, seed=0)
        concepts = rows(run, "concepts", method=method)
        assert concepts
        for c in concepts:
            assert c["captions"] == [captions[i] for i in most[c["sae_id"], 0, c["latent_id"]]]
    assert {c["sae_id"] for c in rows(run, "concepts", method="poly")} == {"layers.1/raw", "layers.2/raw"}


# -- evaluate -----------------------------------------------------------------------------------------------------


def test_every_method_is_measured_in_both_readings_with_its_controls(run: Run) -> None:
    found = run.read("interpretability").to_pylist()
    for method in ("ard", "mean", "coverage", "random", "poly"):
        mine = [r for r in found if r["method"] == method]
        assert {(r["reading"], r["n"]) for r in mine if r["control"] == "none"} == {
            ("vocabulary", None), *(("clip", n) for n in (None, 1, 3, 5, 10))
        }  # fmt: skip
        assert {"none", "shuffled_labels", "shuffled_names"} <= {r["control"] for r in mine}
    assert {r["seed"] for r in found if r["method"] == "random"} == set(SEEDS)
    assert {r["sae_id"] for r in found if r["control"] == "untrained_sae"} == {run.manifest["default_sae"]}
    for r in found:
        assert 0 <= r["matched"] <= min(r["predictions"], r["references"])
        assert r["precision"] == pytest.approx(r["matched"] / r["predictions"] if r["predictions"] else 0, abs=0.2)
        assert (r["tau"] is None) == (r["reading"] == "vocabulary" or r["n"] is not None)
        for name in ("precision", "recall", "f1", "map", "ms_max"):
            if r[name] is not None and r[f"{name}_low"] is not None and r["control"] == "none":
                assert r[f"{name}_low"] <= r[f"{name}_high"]
    tops = {(r["sae_id"], r["method"]): r["score"] for r in rows(run, "monosemanticity", rank=1, seed=0)}
    for r in found:
        if r["control"] == "none" and r["seed"] == 0:
            assert r["ms_max"] == pytest.approx(tops[r["sae_id"], r["method"]])


def test_the_curve_meets_the_table_at_its_gamma_and_falls(run: Run) -> None:
    table = {(r["reading"], r["method"], r["sae_id"], r["seed"], r["control"], r["n"]): r
             for r in run.read("interpretability").to_pylist()}  # fmt: skip
    curves: dict[tuple, list[dict]] = {}
    for r in run.read("interpretability_curve").to_pylist():
        key = tuple(r[name] for name in ("reading", "method", "sae_id", "seed", "control", "n"))
        curves.setdefault(key, []).append(r)
    assert set(curves) == set(table)
    for key, points in curves.items():
        assert [round(p["gamma"], 2) for p in points] == [round(0.3 + 0.05 * i, 2) for i in range(14)]
        matched = [p["matched"] for p in points]
        assert matched == sorted(matched, reverse=True)
        if key[4] in ("none", "untrained_sae"):
            (here,) = [p for p in points if abs(p["gamma"] - 0.7) < 1e-6]
            for name in ("precision", "recall", "f1", "matched"):
                assert here[name] == pytest.approx(table[key][name])


def test_comparisons_are_differences_of_the_table_and_checks_follow_them(run: Run) -> None:
    table: dict[tuple, list[dict]] = {}
    for r in run.read("interpretability").to_pylist():
        key = r["reading"], r["sae_id"], r["method"], r["control"], r["n"]
        table.setdefault(key, []).append(r)
    found = run.read("comparisons").to_pylist()
    default = run.manifest["default_sae"]
    mine = [r for r in found if (r["sae_id"], r["reading"], r["n"], r["figure"]) == (default, "clip", None, "f1")]
    assert {(r["other_method"], r["other_control"]) for r in mine} == {
        *((method, "none") for method in ("mean", "coverage", "random", "poly")), ("ard", "untrained_sae"),
    }  # fmt: skip
    for r in found:
        ours = table[r["reading"], r["sae_id"], "ard", "none", r["n"]]
        theirs = table[r["reading"], r["other_sae_id"], r["other_method"], r["other_control"], r["n"]]
        assert r["other_seeds"] == len(theirs) == (10 if r["other_method"] == "random" else 1)
        means = [np.mean([x[r["figure"]] for x in some]) for some in (ours, theirs)]
        assert r["difference"] == pytest.approx(means[0] - means[1], abs=1e-5)
        assert (r["better"], r["worse"]) == (r["difference_low"] > 0, r["difference_high"] < 0)
        assert r["paired"] == ("clips" if r["reading"] == "clip" else "names")
    for r in run.read("controls").to_pylist():
        if r["control"] == "untrained_sae":
            (same,) = [x for x in mine if x["other_control"] == "untrained_sae"] if r["figure"] == "f1" else [None]
            assert same is None or r["passed"] == same["better"]
        else:
            (chance,) = table["clip", r["sae_id"], "ard", r["control"], None]
            assert r["chance"] == pytest.approx(chance[r["figure"]], abs=1e-6)
            assert not r["passed"] or r["value"] > r["high"]
            assert (r["expected"] is not None) == (r["figure"] == "map")
        assert f"{r['value']:.3f}" in r["sentence"]


def test_three_predictions_a_clip_are_what_slow_code_finds(run: Run) -> None:
    sae = run.manifest["default_sae"]
    ctx = context(run, None)
    clips = labelled(ctx)
    names = {c["latent_id"]: c["name"] for c in rows(run, "concepts", sae_id=sae, method="ard")}
    r = {(x["clip_id"], x["latent_id"]): x["representativeness"] for x in rows(run, "clip_latents", sae_id=sae)}
    train = [clips.clip_ids[i] for i in clips.train]
    scale = {}
    for k in names:
        values = [r.get((c, k), 0.0) for c in train]
        scale[k] = np.percentile(values, 99) or max(values)
    classes = ctx.models.clap.embed_text(clips.classes).numpy()
    matched = predictions = references = 0
    for i in clips.test:
        best: dict[str, float] = {}
        for k, name in names.items():
            if name != NO_NAME:
                best[name] = max(best.get(name, 0.0), r.get((clips.clip_ids[i], k), 0.0) / scale[k])
        said = sorted((n for n in best if best[n] > 0), key=lambda n: (-best[n], n))[:3]
        carried = clips.carried[i].nonzero()[0]
        predictions, references = predictions + len(said), references + len(carried)
        if said:
            block = ctx.models.clap.embed_text(said).numpy() @ classes[carried].T
            matched += (block[linear_sum_assignment(-block)] > 0.7).sum()
    (row,) = rows(run, "interpretability", reading="clip", sae_id=sae, method="ard", control="none", n=3)
    assert (row["matched"], row["predictions"], row["references"]) == (matched, predictions, references)
    assert predictions > 0
    assert row["clips"] == len(clips.test)


def test_recovery_and_detection_are_auroc_on_clips_that_chose_nothing(run: Run) -> None:
    sae = run.manifest["default_sae"]
    r = {(x["clip_id"], x["latent_id"]): x["representativeness"] for x in rows(run, "clip_latents", sae_id=sae)}
    clips = rows(run, "clips", status="ok")

    def area(latent: int, label: str, train: bool) -> float:
        mine = [c for c in clips if (c["split"] == "train") == train]
        return roc_auc_score([label in c["labels"] for c in mine], [r.get((c["clip_id"], latent), 0.0) for c in mine])

    recovered = rows(run, "recovery", sae_id=sae, method="ard", control="none")
    assert recovered
    for row in recovered:
        assert row["auroc_probing"] == pytest.approx(area(row["latent_id"], row["label"], True))
        assert row["auroc_held_out"] == pytest.approx(area(row["latent_id"], row["label"], False))
        others = [area(k, row["label"], True) for k in range(0, 128, 5)]
        assert row["auroc_probing"] >= max(others) - 1e-6
    found = [row for row in rows(run, "detection", sae_id=sae) if row["auroc"] is not None]
    assert {row["method"] for row in found} == {"ard"}
    for row in found[::9]:
        assert row["auroc"] == pytest.approx(area(row["latent_id"], row["label"], False))
        assert row["auroc_probing"] == pytest.approx(
            max(area(row["latent_id"], x, True) for x in ("low", "mid", "high"))
        )
        assert row["auroc_low"] <= row["auroc_high"]
    draws = {row["draw"] for row in rows(run, "recovery", control="shuffled_labels")}
    assert draws == set(range(10))


def test_every_concept_has_the_fit_of_its_name_to_held_out_clips(run: Run) -> None:
    clap = Models(build(run.manifest["config"])).clap
    concepts = {(c["sae_id"], c["method"], c["latent_id"]): c["name"] for c in run.read("concepts").to_pylist()}
    found = {(d["sae_id"], d["method"], d["latent_id"]): d for d in run.read("detection").to_pylist()}
    assert set(found) == set(concepts)
    clips = [c for c in rows(run, "clips", status="ok") if c["split"] != "train"]
    vectors = {e["clip_id"]: np.array(e["vector"]) for e in run.read("embeddings").to_pylist()}
    r = {(x["sae_id"], x["latent_id"], x["clip_id"]): x["representativeness"] for x in rows(run, "clip_latents")}
    checked = 0
    for (sae, method, latent), row in found.items():
        name = concepts[sae, method, latent]
        assert row["heard"] == len(clips)
        assert (row["clap_top"] is None) == (name == NO_NAME or row["firing"] == 0)
        if method not in ("ard", "random") or row["auroc_clap"] is None:
            continue
        text = clap.embed_text([name])[0].numpy()
        s = np.array([vectors[c["clip_id"]] @ text for c in clips])
        z = np.array([r.get((sae, latent, c["clip_id"]), 0.0) for c in clips])
        assert row["firing"] == (z > 0).sum()
        assert row["auroc_clap"] == pytest.approx(roc_auc_score(z > 0, s), abs=1e-6)
        assert row["auroc_clap_low"] <= row["auroc_clap"] <= row["auroc_clap_high"]
        order = [i for i in np.argsort(-z, kind="stable") if z[i] > 0]
        recordings = [clips[i]["recording_id"] for i in order]
        top = [i for n, i in enumerate(order) if recordings[n] not in recordings[:n]][:4]
        assert row["clap_top"] == pytest.approx(s[top].mean(), abs=1e-5)
        assert row["clap_rest"] == pytest.approx(np.delete(s, top).mean(), abs=1e-5)
        checked += 1
    assert checked > 0


def test_purity_is_whether_the_top_clips_share_a_label(run: Run) -> None:
    labels = {c["clip_id"]: set(c["labels"]) for c in run.read("clips").to_pylist()}
    most = {m: clip_sets(run, "most", method=m, seed=0) for m in ("ard", "poly")}
    live = {(r["sae_id"], r["latent_id"]) for r in run.read("clip_latents").to_pylist()}
    for row in rows(run, "purity", control="none"):
        if row["method"] in most:
            sets = [labels[c] for c in most[row["method"]][row["sae_id"], 0, row["latent_id"]]]
            assert row["pure"] == bool(set.intersection(*sets))
            assert (row["label"] is None) != bool(row["pure"])
    default = run.manifest["default_sae"]
    mine = rows(run, "purity", sae_id=default, method="ard", control="none")
    assert [r["rank"] for r in mine] == list(range(1, len(mine) + 1))
    assert len(mine) <= min(100, sum(sae == default for sae, _ in live) // 2)
    assert len(rows(run, "purity", sae_id=default, method="ard", control="shuffled_labels")) == len(mine)


# -- what users bring ---------------------------------------------------------------------------------------------


def changed(run: Run, **columns: Any) -> None:
    clips = run.read("clips")
    for name, value in columns.items():
        index = clips.schema.get_field_index(name)
        clips = clips.set_column(index, name, pa.array([value] * clips.num_rows, clips.schema.field(name).type))
    run.write("clips", clips)


def test_without_labels_the_tables_are_empty_and_it_says_why(
    copy: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed(copy, labels=[])
    with copy.staging("evaluate") as out:
        ctx = context(copy, out)
        ctx.quiet = False
        evaluate.run(ctx)
        out.publish()
    assert not any(copy.read(name).num_rows for name in EVALUATED if name != "detection")
    found = copy.read("detection").to_pylist()
    assert len(found) == copy.read("concepts").num_rows
    assert {row["auroc"] for row in found} == {None}
    assert any(row["auroc_clap"] is not None for row in found)
    assert "no clip has a label" in "".join(capsys.readouterr())


def test_without_held_out_clips_names_and_purity_remain(copy: Run) -> None:
    changed(copy, split="train")
    evaluated(copy)
    assert {r["reading"] for r in copy.read("interpretability").to_pylist()} == {"vocabulary"}
    assert [copy.read(name).num_rows for name in ("detection", "recovery")] == [0, 0]
    assert copy.read("purity").num_rows > 0


def test_one_label_on_every_clip_says_nothing_but_breaks_nothing(copy: Run) -> None:
    changed(copy, labels=["sound"])
    evaluated(copy)
    assert copy.read("recovery").num_rows == 0
    assert set(copy.read("detection")["auroc"].to_pylist()) == {None}
    assert set(copy.read("interpretability")["reading"].to_pylist()) == {"vocabulary", "clip"}


def test_named_splits_are_used_and_otherwise_halves(copy: Run) -> None:
    clips = copy.read("clips").to_pylist()
    ctx = context(copy, None)
    halves = labelled(ctx)
    assert set(halves.choose) | set(halves.test) == set(halves.held_out)
    recordings = [set(halves.recordings[part]) for part in (halves.choose, halves.test)]
    assert not recordings[0] & recordings[1]
    names = ["train", "selection", "evaluation", "other"]
    split = pa.array([names[i % 4] for i in range(len(clips))])
    table = copy.read("clips")
    copy.write("clips", table.set_column(table.schema.get_field_index("split"), "split", split))
    found = labelled(ctx)
    ids = {c["clip_id"]: names[i % 4] for i, c in enumerate(clips)}
    assert {ids[found.clip_ids[i]] for i in found.choose} == {"selection"}
    assert {ids[found.clip_ids[i]] for i in found.test} == {"evaluation"}
    assert {ids[found.clip_ids[i]] for i in found.held_out} == {"selection", "evaluation", "other"}


def test_classes_of_another_corpus_are_no_references_of_the_vocabulary(copy: Run) -> None:
    clips = copy.read("clips")
    training = np.array(clips["split"].to_pylist()) == "train"
    labels = [[*has, "elsewhere"] if t else has for has, t in zip(clips["labels"].to_pylist(), training, strict=True)]
    index = clips.schema.get_field_index("labels")
    clips = clips.set_column(index, clips.schema.field(index), pa.array(labels, clips.schema.field(index).type))
    copy.write("clips", clips)
    with_it = labelled(context(copy, None))
    assert [with_it.classes[i] for i in with_it.vocabulary] == sorted(with_it.classes)  # one data set: all of them
    index = clips.schema.get_field_index("dataset")
    names = pa.array(["other" if t else "mine" for t in training])
    copy.write("clips", clips.set_column(index, clips.schema.field(index), names))
    found = labelled(context(copy, None))
    assert "elsewhere" in found.classes
    assert "elsewhere" not in [found.classes[i] for i in found.vocabulary]
    assert len(found.vocabulary) == len(found.classes) - 1


def test_descriptions_in_place_of_names(copy: Run) -> None:
    with copy.staging("evaluate") as out:
        ctx = context(copy, out, bootstrap=20, shuffles=2, text="description")
        concepts = named_concepts(ctx)
        evaluate.run(ctx)
        out.publish()
    written = {(c["sae_id"], c["method"], c["latent_id"]): c for c in copy.read("concepts").to_pylist()}
    for mine in (c for c in concepts if c.first):
        for latent, text in zip(mine.latent_ids.tolist(), mine.names, strict=True):
            concept = written[mine.sae_id, mine.method, latent]
            assert text == (NO_NAME if concept["name"] == NO_NAME else concept["description"])
    assert copy.read("interpretability").num_rows > 0


def test_another_seed_is_trained_and_its_latents_are_matched(copy: Run) -> None:
    with copy.staging("evaluate") as out:
        evaluate.run(context(copy, out, bootstrap=20, shuffles=2, stability_seeds=1))
        out.publish()
    found = {r["control"]: r for r in copy.read("stability").to_pylist()}
    assert set(found) == {"none", "untrained_sae"}
    sae_id = copy.manifest["default_sae"]
    for r in found.values():
        assert (r["sae_id"], r["seed"]) == (sae_id, 1)
        assert r["concepts"] == len(rows(copy, "concepts", sae_id=sae_id, method="ard"))
        assert r["share_one_to_one"] <= r["share"]
        assert -1 <= r["median_one_to_one"] <= r["median"] <= 1
    assert found["none"]["median"] > found["untrained_sae"]["median"]
    assert (found["none"]["fvu"] is None, found["untrained_sae"]["fvu"]) == (False, None)
    assert not (copy.path / ".work" / "sae").exists()


def test_a_second_time_gives_the_same_tables(copy: Run, tmp_path: Path) -> None:
    before = {name: (copy.path / "tables" / f"{name}.parquet").read_bytes() for name in EVALUATED}
    with copy.staging("evaluate") as out:
        evaluate.run(context(copy, out))
        out.publish()
    assert {name: (copy.path / "tables" / f"{name}.parquet").read_bytes() for name in EVALUATED} == before
