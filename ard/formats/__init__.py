"""SAEs in the formats of other libraries, and on a model hub.

    save_as(sae, folder, "saelens")     a folder that sae_lens.SAE.load_from_disk reads
    save_as(sae, folder, "sparsify")    a folder that sparsify.SparseCoder.load_from_disk reads
    load_from(folder)                   any of the two, or ours, as a TopKSAE

Only TopK SAEs with ReLU cross over (Eq. 1): everything else computes its latents in another way and is refused with one
sentence. Latents keep their ids and values, and reconstructions are in the units of x on both sides.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Literal

from ard.formats import saelens, sparsify
from ard.formats.folded import FormatError, Origin, read_json
from ard.sae import TopKSAE
from ard.sae_config import CONFIG_FILE, FORMAT, WEIGHTS_FILE

__all__ = ["FOREIGN", "FORMATS", "Format", "FormatError", "Origin", "detect", "files_of", "load_from", "save_as"]

Format = Literal["ard", "saelens", "sparsify"]
FOREIGN = ("saelens", "sparsify")
FORMATS = ("ard", *FOREIGN)


def save_as(sae: TopKSAE, folder: Path, fmt: str) -> None:
    """Write `sae` to `folder` in the format `fmt`; the weights are replaced first, the configuration last.

    Raises:
        FormatError: an unknown format, or an SAE that the format cannot hold.
    """
    if fmt == "ard":
        sae.save(folder)
    else:
        _room(fmt).save(sae, Path(folder))


def load_from(folder: Path, fmt: str | None = None, origin: Origin | None = None) -> TopKSAE:
    """The SAE in `folder`, in float32; without `fmt` the files tell which format it is.

    `origin` goes over what the files say about where the SAE was trained (another library's files may not say it).

    Raises:
        FormatError: an unknown format, a kind of SAE that is not TopK, or files that cannot be read.
        SAEError: a damaged folder of our own format.
    """
    folder = Path(folder)
    fmt = fmt or detect(folder)
    if fmt == "ard":
        return TopKSAE.load(folder)
    return _room(fmt).load(folder, origin or Origin())


def detect(folder: Path) -> Format:
    """Which format the files in `folder` are.

    Raises:
        FormatError: there is no readable cfg.json.
    """
    folder = Path(folder)
    cfg = read_json(folder / CONFIG_FILE)
    if str(cfg.get("format", "")).startswith(FORMAT.split("/")[0]):
        return "ard"
    return "saelens" if "architecture" in cfg or (folder / saelens.WEIGHTS).is_file() else "sparsify"


def files_of(fmt: str) -> tuple[str, str]:
    """Names of the configuration and the weights of a format."""
    return CONFIG_FILE, WEIGHTS_FILE if fmt == "ard" else _room(fmt).WEIGHTS


def _room(fmt: str) -> ModuleType:
    rooms = {"saelens": saelens, "sparsify": sparsify}
    if fmt not in rooms:
        raise FormatError(f"{fmt!r} is no format of SAEs; choose one of {', '.join(FORMATS)}.")
    return rooms[fmt]
