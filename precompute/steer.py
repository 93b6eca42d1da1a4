"""`python -m precompute steer`: the answer of the steered model beside the untouched one, as a JSON object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import soundfile as sf

from ard.sae import TopKSAE
from ard.steering import Clamp, steer
from ard.store import Run
from precompute import audio_io
from precompute.audio_io import UnusableAudio, Window
from precompute.config import build
from precompute.stages.base import Models, StageError


@dataclass(frozen=True)
class Request:
    """What to steer, and how."""

    clip: str
    clamp: Clamp
    prompt: str | None = None
    sae_id: str | None = None
    max_new_tokens: int = 48


def steer_once(run: Run, models: Models, request: Request) -> dict[str, Any]:
    """Baseline and steered answer, with every switch and what the clamp did.

    Raises:
        StageError: the clip or SAE is not there. SteeringError, SAEError: the latent or the model does not fit.
    """
    sae_id = _sae_id(run, request.sae_id)
    sae = TopKSAE.load(run.sae_dir(sae_id), device=models.device)
    lm = models.audio_lm
    audio, what = _audio(run, request.clip, lm.sampling_rate, lm.window_s)
    prompt = request.prompt or build(run.manifest["config"]).activations.questions[0]
    options: dict[str, Any] = {"max_new_tokens": request.max_new_tokens}
    baseline = steer(lm, None, None, [audio], [prompt], **options).texts[0]
    steered = steer(lm, sae, request.clamp, [audio], [prompt], **options)
    clamp, report = request.clamp, steered.report
    return {
        "run": str(run.path),
        "model": f"{lm.name}@{lm.revision}",
        "sae_id": sae_id,
        "sae_trained_on": sae.cfg.model,
        **what,
        "prompt": prompt,
        "latents": [
            {"latent_id": k, "value": v, "name": _name(run, sae_id, k), "dead_zone": _number(d)}
            for k, v, d in zip(clamp.latents, clamp.values, report.dead_zone_by_latent, strict=True)
        ],
        "when": clamp.when,
        "positions": clamp.positions,
        "decoding": clamp.decoding,
        "error_term": clamp.error_term,
        "baseline": baseline,
        "steered": steered.texts[0],
        "changed": steered.texts[0] != baseline,
        "positions_steered": report.positions,
        "norm_ratio": _number(report.norm_ratio),
    }


def _sae_id(run: Run, asked: str | None) -> str:
    ids = run.read("saes")["sae_id"].to_pylist()
    chosen = str(asked or run.manifest.get("default_sae"))
    if chosen not in ids:
        raise StageError(f"{run.path} has no SAE {chosen!r}; it has {', '.join(ids)}.")
    return chosen


def _audio(run: Run, clip: str, rate: int, window_s: float) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples of a clip of the run, or of the first window of a file."""
    clips = run.read("clips")
    row = clips.filter(pc.equal(clips["clip_id"], clip)).to_pylist()
    if row and row[0]["status"] != "ok":
        raise StageError(f"Clip {clip!r} was left out of the run ({row[0]['status']}); choose another one.")
    if row:
        return sf.read(run.audio_dir / row[0]["audio"], dtype="float32")[0], {"clip": clip, "cut_to_window": False}
    if not Path(clip).is_file():
        raise StageError(f"{clip!r} is neither a clip_id of {run.path} nor a file; see column clip_id of table clips.")
    try:
        seconds = audio_io.info(Path(clip)).seconds
        samples = audio_io.read(Path(clip), rate, Window(0.0, min(seconds, window_s)))
    except UnusableAudio as error:
        raise StageError(f"{clip} cannot be heard: {error}.") from None
    return samples[: round(window_s * rate)], {"clip": clip, "cut_to_window": seconds > window_s}


def _name(run: Run, sae_id: str, latent_id: int) -> str | None:
    if not run.has("concepts"):
        return None
    row = run.connect().execute(
        "SELECT name FROM concepts WHERE sae_id = ? AND latent_id = ? AND method = 'ard'", [sae_id, latent_id]
    )
    found = row.fetchone()
    return found[0] if found else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def request_of(
    clip: str, latents: Sequence[int], values: Sequence[float], switches: dict[str, Any], **more: Any
) -> Request:
    """A request with one value for every latent.

    Raises:
        SteeringError: counts or switches do not fit.
    """
    return Request(clip, Clamp(tuple(latents), tuple(values), **switches), **more)
