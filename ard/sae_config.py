"""What identifies one sparse autoencoder: its configuration, checked, and `cfg.json`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

Recipe = Literal["paper", "recommended", "batchtopk", "matryoshka"]
FORMAT = "ard-topk-sae/1"
CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae.safetensors"


class SAEError(ValueError):
    """A sparse autoencoder that cannot be built, loaded or used as asked; the message says how to mend it."""


@dataclass(frozen=True)
class SAEConfig:
    """What identifies one sparse autoencoder; written to `cfg.json`."""

    hookpoint: str
    """Where x is read: `layers.<l>`, 0-based, the output of decoder layer l."""
    d_in: int
    """Width of x."""
    expansion: float
    """d_sae = round(expansion * d_in)."""
    k: int
    """Latents kept per token."""
    recipe: Recipe
    """`paper` (exactly Eq. 1), `recommended` (decoder bias, unit decoder rows, scaled x), or one of its variants
    `batchtopk` and `matryoshka` (see `ard.sae`)."""
    scale: float = 1.0
    """x is multiplied by this before encoding and x̂ divided by it; 1.0 for `paper`."""
    seed: int = 0
    """Seed of the initial weights."""
    model: str = ""
    """Model and revision whose activations it was trained on."""
    tokens: str = "all"
    """Which token positions it was trained on."""
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    """Anything else worth keeping with the weights (JSON values)."""

    def __post_init__(self) -> None:
        for name in ("d_in", "k", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise SAEError(f"{name} is {value!r}; it must be a whole number.")
        for name in ("expansion", "scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise SAEError(f"{name} is {value!r}; it must be a finite number above 0.")
        if self.d_in < 1:
            raise SAEError(f"d_in is {self.d_in}; it must be 1 or more, the width of the model's residual stream.")
        if self.recipe not in get_args(Recipe):
            raise SAEError(f"recipe is {self.recipe!r}; choose one of {', '.join(get_args(Recipe))}.")
        if not isinstance(self.hookpoint, str) or not self.hookpoint:
            raise SAEError(f"hookpoint is {self.hookpoint!r}; write it as layers.<l>, for instance layers.3.")
        if not 1 <= self.k <= self.d_sae:
            raise SAEError(f"k is {self.k}; with d_sae = {self.d_sae} it must be between 1 and {self.d_sae}.")
        if self.recipe == "paper" and self.scale != 1.0:
            raise SAEError(f"scale is {self.scale}; the paper recipe does not scale x, so leave it at 1.0.")
        if self.threshold is not None and not 0 < self.threshold < math.inf:
            raise SAEError(f"extra.threshold is {self.threshold}; a batchtopk SAE's is a finite number above 0.")
        self._check_prefixes()

    def _check_prefixes(self) -> None:
        given = self.prefixes
        if any(isinstance(p, bool) or not isinstance(p, int) for p in given) or not all(
            a < b for a, b in zip((0, *given), given, strict=False)
        ):
            raise SAEError(f"extra.prefixes is {list(given)}; give rising whole numbers from 1, the last one d_sae.")
        if given[-1] != self.d_sae:
            raise SAEError(f"extra.prefixes ends with {given[-1]}; the last one must be d_sae = {self.d_sae}.")

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return round(self.expansion * self.d_in)

    @property
    def threshold(self) -> float | None:
        """`batchtopk`: what a pre-activation must exceed once trained (`extra.threshold`); None otherwise."""
        found = self.extra.get("threshold") if self.recipe == "batchtopk" else None
        return None if found is None else float(found)

    @property
    def prefixes(self) -> tuple[int, ...]:
        """`matryoshka`: the nested dictionaries' sizes (`extra.prefixes`; default d_sae / 16, / 8, / 4, / 2, / 1).

        The other recipes have one, the whole dictionary.
        """
        if self.recipe != "matryoshka":
            return (self.d_sae,)
        halves = sorted({max(1, self.d_sae // 2**i) for i in range(5)})
        return tuple(self.extra.get("prefixes") or halves)

    @property
    def sae_id(self) -> str:
        """`<hookpoint>/e<expansion>/k<k>/<recipe>`, the expansion without a trailing .0."""
        expansion = int(self.expansion) if float(self.expansion).is_integer() else self.expansion
        return f"{self.hookpoint}/e{expansion}/k{self.k}/{self.recipe}"


def config_text(cfg: SAEConfig) -> str:
    """`cfg.json` of an SAE: every field of its configuration, with the format, sae_id and d_sae for readers."""
    record = {"format": FORMAT, "sae_id": cfg.sae_id, "d_sae": cfg.d_sae, **asdict(cfg)}
    return json.dumps(record, indent=2, sort_keys=True)


def read_config(path: Path) -> tuple[SAEConfig, str]:
    """The configuration in `path` and the file's text.

    Raises:
        SAEError: the file or a field is missing, unknown or out of range.
    """
    if not path.is_file():
        raise SAEError(f"{path} is missing; give a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, or train an SAE.")
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
    except ValueError as error:
        raise SAEError(f"{path} is not readable as JSON ({error}); train the SAE again.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise SAEError(f"{path} has format {found!r}; this version reads {FORMAT!r}, so convert or retrain the SAE.")
    known = {f.name for f in fields(SAEConfig)}
    given = set(record) - {"format", "sae_id", "d_sae"}
    if missing := sorted(known - given):
        raise SAEError(f"{path} lacks {', '.join(missing)}; add what is missing or train the SAE again.")
    if unknown := sorted(given - known):
        raise SAEError(f"{path} has unknown {', '.join(unknown)}; allowed are {', '.join(sorted(known))}.")
    try:
        cfg = SAEConfig(**{name: record[name] for name in known})
    except SAEError as error:
        raise SAEError(f"{path}: {error}") from error
    if record.get("d_sae", cfg.d_sae) != cfg.d_sae:
        raise SAEError(f"{path} says d_sae {record['d_sae']}, but expansion × d_in is {cfg.d_sae}; correct one.")
    return cfg, text
