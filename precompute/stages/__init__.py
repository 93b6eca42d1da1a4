"""The whole pipeline on one page: the stages in their order, what each reads and writes, what makes it run again.

The work of stage `x` is `run(ctx)` in `precompute/stages/x.py`. It is imported when the stage runs and not before, so
that asking where a run stands (`status`, or a `run` with nothing to do) loads no model library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from precompute.config import Config
from precompute.config_names import changes_names, changes_verdicts
from precompute.stages.base import Context, Stage


def _stage(name: str, version: int, **more: Any) -> Stage:
    return Stage(name, _work(name), version, **more)


def _work(name: str) -> Callable[[Context], None]:
    def run(ctx: Context) -> None:
        import_module(f"precompute.stages.{name}").run(ctx)

    return run


def _without(section: Any, *names: str) -> dict[str, Any]:
    """A section of the configuration without the fields that do not change the result."""
    return {key: value for key, value in asdict(section).items() if key not in names}


def _data(config: Config) -> Any:
    audio, root = (str(Path(place).resolve()) if place else "" for place in (config.data.audio, config.data.root))
    of_corpora = ("root", "corpus", "overlap")
    data = _without(config.data, "workers", *of_corpora) | {"audio": audio}
    if config.data.source not in ("soundscape", "audio"):
        data |= {key: value for key, value in asdict(config.data).items() if key in of_corpora} | {"root": root}
    return {"data": data, "seed": config.seed}


def _files(config: Config) -> str:
    from precompute.stages.clips import listing

    return listing(config)


def _activations(config: Config) -> Any:
    speed = ("batch", "workers", "buffer_mb")
    return {"activations": _without(config.activations, *speed) | {"layers": list(config.layers)}}


def _sae(config: Config) -> Any:
    saes = [asdict(entry) for entry in config.sae]
    train = _without(config.train, "log_every", "checkpoint_every")
    order = config.activations.buffer_mb  # of a set too large for memory
    return {"sae": saes, "train": train, "seed": config.seed, "buffer_mb": order}


def _evaluate(config: Config) -> Any:
    rank = {name: getattr(config.rank, name) for name in ("p", "random_seeds", "poly")}
    return {"evaluate": asdict(config.evaluate), "rank": rank, "names": _names(config), "seed": config.seed}


def _captions(config: Config) -> Any:
    if config.names.captions == "corpus":
        return {"names": {"captions": "corpus"}}
    return {"names": _without(config.names, "top", "namer")}


def _names(config: Config) -> dict[str, Any]:
    namer = changes_names(config.names.namer)
    return {"top": config.names.top} | ({"namer": namer} if namer else {})


def _steering(config: Config) -> Any:
    steering, evaluate = config.steering, config.evaluate
    splits = [steering.choose_on or evaluate.choose_on, steering.test_on or evaluate.test_on]
    part = _without(steering, "batch", "choose_on", "test_on", "judge")
    return {"steering": part, "splits": splits, "seed": config.seed}


def _ablation(config: Config) -> Any:
    train = _without(
        config.train, "log_every", "checkpoint_every", "loss_clips", *(["steps"] if config.ablation.steps else [])
    )
    part = asdict(config.ablation) | {"layers": list(config.ablation.layers or config.layers)}
    return {"ablation": part, "train": train, "rank": {"p": config.rank.p}, "seed": config.seed}


_DECLARED = (
    _stage(
        "clips",
        version=1,
        uses=_data,
        models=("audio_lm",),
        tables=("clips",),
        folders=("audio",),
        listing=_files,
    ),
    _stage(
        "activations",
        version=2,
        needs=("clips",),
        uses=_activations,
        models=("audio_lm",),
        tables=("answers", "hookpoints"),
        folders=("activations",),
        resumable=True,
    ),
    _stage(
        "sae",
        version=2,
        needs=("clips", "activations"),
        uses=_sae,
        models=("audio_lm",),
        tables=("saes", "curves", "density"),
        folders=("sae",),
    ),
    _stage(
        "latents",
        version=2,
        needs=("clips", "activations", "sae"),
        uses=lambda config: {"rank": {"p": config.rank.p}},
        tables=("clip_latents", "latents_by_clip", "latents", "histograms"),
    ),
    _stage(
        "representatives",
        version=3,
        needs=("clips", "activations", "sae", "latents"),
        uses=lambda config: {"rank": _without(config.rank, "draws"), "seed": config.seed},
        models=("audio_lm",),
        tables=("representatives", "examples", "traces"),
    ),
    _stage("embeddings", version=1, needs=("clips",), models=("audio_lm", "clap"), tables=("embeddings",)),
    _stage(
        "monosemanticity",
        version=2,
        needs=("clips", "activations", "sae", "latents", "representatives", "embeddings"),
        uses=lambda config: {"rank": asdict(config.rank), "seed": config.seed},
        tables=("monosemanticity",),
    ),
    _stage(
        "captions",
        version=1,
        needs=("clips", "representatives"),
        uses=_captions,
        models=("captioner",),
        tables=("captions",),
    ),
    _stage(
        "names",
        version=3,
        needs=("representatives", "monosemanticity", "captions"),
        uses=lambda config: {"names": _names(config), "seed": config.seed},
        models=("namer",),
        tables=("concepts", "namings"),
    ),
    _stage(
        "neighbours",
        version=1,
        needs=("clips", "sae", "latents"),
        models=("audio_lm",),
        tables=("neighbours", "output_tokens"),
    ),
    _stage(
        "map",
        version=1,
        needs=("embeddings", "representatives", "names"),
        uses=lambda config: {"map": asdict(config.map), "seed": config.seed},
        tables=("clip_map", "concept_map"),
    ),
    _stage(
        "evaluate",
        version=3,
        needs=(
            *("clips", "activations", "sae", "latents", "representatives", "embeddings"),
            *("monosemanticity", "captions", "names"),
        ),
        uses=_evaluate,
        models=("clap", "namer", "audio_lm"),
        tables=(
            *("interpretability", "interpretability_curve", "comparisons", "controls"),
            *("detection", "recovery", "purity", "localisation", "stability"),
        ),
    ),
    _stage(
        "steering",
        version=2,
        needs=("clips", "activations", "sae", "latents", "names"),
        uses=_steering,
        models=("audio_lm",),
        tables=("steering", "steering_examples", "steering_comparators", "steering_answers"),
        resumable=True,
    ),
    _stage(
        "judge",
        version=1,
        needs=("clips",),
        reads_if_there=("steering",),
        uses=lambda config: {"judge": changes_verdicts(config.steering.judge)},
        models=("judge",),
        tables=("judgements", "judge_agreement", "steering_judged"),
    ),
    _stage(
        "ablation",
        version=1,
        needs=("clips", "activations", "sae", "embeddings"),
        uses=_ablation,
        models=("audio_lm",),
        tables=("ablation",),
    ),
    _stage(
        "human",
        version=3,
        needs=("names",),
        reads_if_there=("evaluate",),
        published=("ratings",),
        uses=lambda config: {"human": asdict(config.human), "seed": config.seed},
        models=("clap",),
        tables=("human", "human_catches", "human_correlation"),
    ),
    _stage(
        "report",
        version=2,
        needs=("clips", "sae", "monosemanticity", "names"),
        reads_if_there=("evaluate", "steering", "judge", "human", "ablation"),
        folders=("report",),
        files=("report.html", "report.md"),
    ),
)

STAGES: dict[str, Stage] = {stage.name: stage for stage in _DECLARED}
