"""The configuration of a run: frozen dataclasses, read from TOML presets, files and `--set key=value`.

Every field says what it does. Unknown keys and wrong values are refused with one sentence; the resolved configuration
is kept in the run's manifest.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from precompute.config_evaluation import (
    FORBID,
    AblationConfig,
    EvaluateConfig,
    HumanConfig,
    MapConfig,
    NotNegative,
    SteeringConfig,
)
from precompute.config_names import wrong_chat
from precompute.config_sections import (
    ActivationsConfig,
    DataConfig,
    ModelConfig,
    NamesConfig,
    RankConfig,
    SAEEntry,
    TrainSection,
)

PRESETS = Path(__file__).parent / "presets"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, the value, what is allowed and the mend."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on."""

    __pydantic_config__ = FORBID

    preset: str = "demo"
    """Name of the preset it started from."""
    seed: NotNegative = 0
    """Seed of everything that is drawn."""
    stages_left_out: tuple[str, ...] = ()
    """Stages that `run` leaves out; each can still be run by its own name."""
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
    human: HumanConfig = HumanConfig()

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers to read: those asked for, and those that the SAEs and the ablation need."""
        return tuple(sorted({*self.activations.layers, *(s.layer for s in self.sae), *self.ablation.layers}))

    def model_of(self, role: str) -> str:
        """Folder or hub id of `audio_lm`, `clap`, `captioner`, `namer` or `judge`; empty where none has that role."""
        if role == "captioner":
            return self.names.captioner or self.model.audio_lm
        if role in ("namer", "judge"):
            chat = self.names.namer if role == "namer" else self.steering.judge
            return chat.model if chat.kind == "local" else ""
        return getattr(self.model, role)


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
    for chat, section in ((config.names.namer, "names.namer"), (config.steering.judge, "steering.judge")):
        if wrong := wrong_chat(chat, section):
            raise ConfigError(wrong)
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
        tree = _merge(tree, _nest(key.strip(), value_of(text.strip())))
    return build(tree)


def presets() -> list[str]:
    """Names of the presets that come with the program."""
    return sorted(p.stem for p in PRESETS.glob("*.toml"))


def read_preset(name: str) -> dict[str, Any]:
    """The content of one preset; with `extends = "other"` it goes over that one.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in presets():
        raise ConfigError(f"There is no preset {name!r}{_nearest(name, presets())}; presets: {', '.join(presets())}.")
    tree = _read_toml(PRESETS / f"{name}.toml", "--preset")
    below = tree.pop("extends", None)
    return tree if below is None else _merge(read_preset(below), tree)


def _read_toml(path: Path, option: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{option} {path} does not exist; give a TOML file.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{option} {path} cannot be read as TOML: {error}.") from None


def value_of(text: str) -> Any:
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
