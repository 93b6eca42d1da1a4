"""The AudioLLM families: one file each, looked up by the `model_type` of a checkpoint's `config.json`."""

from __future__ import annotations

from ard.models.common import ModelError
from ard.models.families.audioflamingo3 import AudioFlamingo3
from ard.models.families.base import Family
from ard.models.families.qwen2_5_omni import Qwen25Omni
from ard.models.families.qwen2_audio import Qwen2Audio
from ard.models.families.voxtral import Voxtral

FAMILIES: tuple[Family, ...] = (Qwen2Audio(), AudioFlamingo3(), Qwen25Omni(), Voxtral())


def family_of(model_type: str, what: object = "This") -> Family:
    """The family of a `model_type`; `what` is named when there is none.

    Raises:
        ModelError: no family serves it.
    """
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = "; ".join(f"{', '.join(map(repr, family.model_types))} ({family.name})" for family in FAMILIES)
    raise ModelError(
        f"{what} is a {model_type!r} model, which no AudioLLM family here serves; give a checkpoint of model_type "
        f"{known}, or add a family in ard/models/families/."
    )
