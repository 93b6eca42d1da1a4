"""The configuration of a run: frozen dataclasses, read from TOML presets, files and `--set key=value`.

Every field says what it does. Unknown keys and wrong values are refused with one sentence; the resolved configuration
is kept in the run's manifest.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from precompute.config_evaluation import AblationConfig, EvaluateConfig, MapConfig, SteeringConfig

PRESETS = Path(__file__).parent / "presets"
FORBID = ConfigDict(extra="forbid", allow_inf_nan=False)

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]

# One question a clip, in turn: activations then cover the audio, what can be asked, and what the model answers.
QUESTIONS = (
    "What can be heard in this clip?",
    "Describe the audio.",
    "Which sounds occur, and in which order?",
    "Is somebody speaking in this recording?",
    "How does the speaker feel?",
    "Is the speaker female or male?",
    "Where might this have been recorded?",
    "What is the loudest sound in this clip?",
)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, the value, what is allowed and the mend."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the clips come from and how recordings become clips."""

    __pydantic_config__ = FORBID

    source: Literal["soundscape", "audio"] = "soundscape"
    """`soundscape`: generated clips with known content; `audio`: the user's own files."""
    audio: str = ""
    """For `audio`: a folder of audio files, or a CSV, JSONL or Parquet manifest."""
    dataset: str = ""
    """Name written to the column `dataset`; empty: the folder's or manifest's name."""
    label_from: Literal["auto", "folder", "prefix", "none"] = "auto"
    """Labels of a folder's files: the sub-folders' names, the file name before its first `_`, or none.
    `auto`: sub-folders where there are any, otherwise the prefix. A manifest brings its own labels."""
    clips: dict[str, NotNegative] = dataclasses.field(default_factory=lambda: {"train": 400, "validation": 60})
    """For `soundscape`: number of clips of each split; 0 leaves a split out."""
    held_out: Share = 0.1
    """Share of the recordings kept out of SAE training and probing where the data has no splits of its own."""
    window_s: Seconds | None = None
    """Length of a clip; longer recordings become several. Empty: the AudioLLM's own window."""
    long: Literal["windows", "first"] = "windows"
    """A recording longer than a window: all its windows, or the first alone (as the paper does)."""
    min_s: Seconds = 0.2
    """Shorter clips, and shorter remainders of long recordings, are left out."""
    silence_db: Annotated[float, Field(le=0)] = -70.0
    """A clip whose peak stays below this level (dB relative to full scale) is left out as silent."""
    workers: Positive = 2
    """Threads that read files, and processes that generate clips."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Which models, where they run."""

    __pydantic_config__ = FORBID

    audio_lm: str = "data/demo/audio_lm"
    """AudioLLM: a folder or a hub id."""
    clap: str = "data/demo/clap"
    """CLAP: a folder or a hub id."""
    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`."""


@dataclasses.dataclass(frozen=True)
class ActivationsConfig:
    """Stage 1, the activations x the SAEs are trained on."""

    __pydantic_config__ = FORBID

    layers: tuple[NotNegative, ...] = ()
    """Decoder layers to read, 0-based. Empty: those that `sae` names."""
    questions: Annotated[tuple[str, ...], Field(min_length=1)] = QUESTIONS
    """Questions put to the model, in turn over the clips; its own greedy answer is read too."""
    max_new_tokens: Positive = 32
    """Longest answer."""
    batch: Positive = 16
    """Clips per forward pass."""
    shard_clips: Positive = 1024
    """Clips per file of activations."""
    dtype: Literal["float16", "float32"] = "float16"
    """Number format on disk; float32 for models whose activations exceed 65504."""


@dataclasses.dataclass(frozen=True)
class SAEEntry:
    """One SAE to train."""

    __pydantic_config__ = FORBID

    layer: NotNegative = 0
    """Decoder layer, 0-based."""
    expansion: Annotated[float, Field(gt=0)] = 8.0
    """d_sae / d_in."""
    k: Positive = 16
    """Latents kept per token."""
    recipe: Literal["paper", "recommended"] = "recommended"
    """`paper`: exactly as published; `recommended`: decoder bias, unit rows, AuxK, scaled activations."""


@dataclasses.dataclass(frozen=True)
class TrainSection:
    """How the SAEs are trained; None leaves the recipe's own value."""

    __pydantic_config__ = FORBID

    tokens: Literal["all", "audio"] = "all"
    """Tokens to train on: audio, question and answer, or audio alone. Never padding or the constant prefix."""
    text_weight: Positive = 1
    """How often a text token counts for each time an audio token does. Text is a small share of the tokens; an SAE that
    replaces x while the model writes its answer must get it right."""
    steps: Positive = 2000
    """Training steps."""
    batch: Positive = 1024
    """Tokens per step."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Learning rate."""
    warmup: NotNegative | None = None
    """Steps of linear warm-up."""
    auxk_coef: Annotated[float, Field(ge=0)] | None = None
    """Weight of the AuxK loss."""
    log_every: Positive = 50
    """Steps between two entries of the curves."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Number format of the matrix products."""
    loss_clips: NotNegative = 64
    """Held-out clips behind `loss_recovered`; 0 leaves it empty."""


@dataclasses.dataclass(frozen=True)
class RankConfig:
    """Stage 2, representative clips."""

    __pydantic_config__ = FORBID

    p: Annotated[int, Field(ge=2)] = 4
    """Clips in H and in L (paper: 4)."""
    methods: Annotated[tuple[Literal["ard", "mean", "coverage"], ...], Field(min_length=1)] = (
        "ard",
        "mean",
        "coverage",
    )
    """Rankings to keep: r = μ·c, μ alone, c alone."""
    draws: Positive = 5
    """Draws of L among its ties, for the spread of m."""
    random_seeds: NotNegative = 10
    """Draws of method `random` (paper: 10 seeds); 0 leaves the method out."""
    poly: bool = True
    """Method `poly`: raw dimensions of x as the latents, no SAE."""


@dataclasses.dataclass(frozen=True)
class NamesConfig:
    """Stage 3, captions and names."""

    __pydantic_config__ = FORBID

    captions: Literal["model", "corpus"] = "model"
    """Captions by the AudioLLM itself, or those that came with the data."""
    caption_prompt: Annotated[str, Field(min_length=1)] = "Generate a detailed caption for the audio clip"
    """Prompt for a caption (the paper's)."""
    max_new_tokens: Positive = 48
    """Longest caption."""
    top: Positive = 5000
    """C: latents with the highest m that get a name (paper: 5000)."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on."""

    __pydantic_config__ = FORBID

    preset: str = "demo"
    """Name of the preset it started from."""
    seed: NotNegative = 0
    """Seed of everything that is drawn."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    activations: ActivationsConfig = ActivationsConfig()
    sae: Annotated[tuple[SAEEntry, ...], Field(min_length=1)] = (SAEEntry(),)
    """SAEs to train; the first is the one the app opens with."""
    train: TrainSection = TrainSection()
    rank: RankConfig = RankConfig()
    names: NamesConfig = NamesConfig()
    map: MapConfig = MapConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    steering: SteeringConfig = SteeringConfig()
    ablation: AblationConfig = AblationConfig()

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers to read: those asked for and those the SAEs need."""
        return tuple(sorted({*self.activations.layers, *(s.layer for s in self.sae)}))


_ADAPTER = TypeAdapter(Config)


def build(tree: dict[str, Any]) -> Config:
    """Configuration from nested dictionaries (TOML, or a manifest's `config`).

    Raises:
        ConfigError: an unknown key or a value that is not allowed.
    """
    try:
        config = _ADAPTER.validate_python(tree)
    except ValidationError as error:
        raise ConfigError(_sentence(error.errors()[0])) from None
    for i, entry in enumerate(config.sae):
        if entry in config.sae[:i]:
            raise ConfigError(
                f"sae.{i} repeats sae.{config.sae.index(entry)}; change its layer, expansion, k or recipe."
            )
    return config


def to_dict(config: Config) -> dict[str, Any]:
    """JSON-ready form that `build` reads back."""
    return _ADAPTER.dump_python(config, mode="json")


def load(
    preset: str | None = None,
    file: str | Path | None = None,
    overrides: dict[str, Any] | None = None,
    sets: tuple[str, ...] | list[str] = (),
    base: dict[str, Any] | None = None,
) -> Config:
    """Later wins: `base` (a manifest's config), preset, file, `overrides` (dotted keys), `--set key=value`."""
    tree: dict[str, Any] = dict(base or {})
    if preset is not None:
        tree = _merge(tree, {**read_preset(preset), "preset": preset})
    if file is not None:
        tree = _merge(tree, _read_toml(Path(file), "--config"))
    for key, value in (overrides or {}).items():
        tree = _merge(tree, _nest(key, value))
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {item!r} is not of the form key=value, for instance --set train.steps=500.")
        tree = _merge(tree, _nest(key.strip(), _value(text.strip())))
    return build(tree)


def presets() -> list[str]:
    """Names of the presets that come with the program."""
    return sorted(p.stem for p in PRESETS.glob("*.toml"))


def read_preset(name: str) -> dict[str, Any]:
    """The content of one preset."""
    if name not in presets():
        raise ConfigError(f"There is no preset {name!r}{_nearest(name, presets())}; presets: {', '.join(presets())}.")
    return _read_toml(PRESETS / f"{name}.toml", "--preset")


def _read_toml(path: Path, option: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{option} {path} does not exist; give a TOML file.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{option} {path} cannot be read as TOML: {error}.") from None


def _value(text: str) -> Any:
    """A TOML value; a bare word is a string, so that --set model.device=cpu needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Deep merge of dictionaries; everything else is replaced. `sae.0.k` reaches into a list of tables."""
    out = dict(base)
    for key, value in top.items():
        old = out.get(key)
        if isinstance(value, dict) and isinstance(old, list) and all(k.isdigit() for k in value):
            out[key] = _merge_list(key, old, value)
        elif isinstance(value, dict) and isinstance(old, dict):
            out[key] = _merge(old, value)
        else:
            out[key] = value
    return out


def _merge_list(key: str, old: list[Any], changes: dict[str, Any]) -> list[Any]:
    out = list(old)
    for index, value in changes.items():
        if int(index) >= len(out):
            raise ConfigError(f"{key}.{index} does not exist; {key} has {len(out)} entries, counted from 0.")
        merge = isinstance(value, dict) and isinstance(out[int(index)], dict)
        out[int(index)] = _merge(out[int(index)], value) if merge else value
    return out


def _sentence(problem: dict[str, Any] | Any) -> str:
    where = [str(p) for p in problem["loc"]]
    key = ".".join(where)
    if problem["type"] == "unexpected_keyword_argument":
        known = _keys_at(where[:-1])
        near = _nearest(where[-1], known)
        return f"There is no setting {key}{near}; {'.'.join(where[:-1]) or 'the top level'} has {', '.join(known)}."
    message = problem["msg"]
    return f"{key} = {problem['input']!r} is not allowed: {message[0].lower()}{message[1:]}."


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _keys_at(where: list[str]) -> list[str]:
    """Field names of the section at this place."""
    section: Any = Config
    for part in where:
        if part.isdigit():
            continue
        hint = get_type_hints(section)[part]
        section = (
            hint if dataclasses.is_dataclass(hint) else next(a for a in get_args(hint) if dataclasses.is_dataclass(a))
        )
    return [f.name for f in dataclasses.fields(section)]
