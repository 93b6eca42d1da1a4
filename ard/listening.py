"""What an SAE's latents do while the AudioLLM hears one recording: Eq. 2 over it, and z at every audio token."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ard.models.audio_lm import AudioLM
from ard.sae import TopKSAE
from ard.scores import clip_scores

MAX_SECONDS = 600.0
PROMPT = "Describe the audio."
"""Any text does: the decoder is causal and the audio comes first, so no question reaches the audio tokens."""


class ListenError(ValueError):
    """A recording or a request that cannot be listened to; the message says why and what is allowed."""


class HeardLatent(NamedTuple):
    """One latent over one recording: Eq. 2 with T = all its audio tokens, and its trace."""

    latent_id: int
    values: list[float]
    """z at each audio token, in order."""
    mean_activation: float
    coverage: float
    representativeness: float
    max_activation: float


class Listened(NamedTuple):
    """The latents of highest r of one recording, highest first; token i begins at i · seconds_per_token."""

    sae_id: str
    seconds: float
    """How much was heard: a last window too short for two audio tokens is left out."""
    seconds_per_token: float
    tokens: int
    windows: int
    latents: list[HeardLatent]


@torch.no_grad()
def listen(lm: AudioLM, sae: TopKSAE, samples: np.ndarray, *, top: int, batch_size: int = 8) -> Listened:
    """Encode x of every audio token and rank the latents by r = μ·c (Eq. 2).

    Ours: a recording longer than the model's window is cut into windows, each heard on its own as in the pipeline, and
    r is taken over the tokens of all of them together. Equal r: the lower latent_id comes first.

    Args:
        lm: the AudioLLM.
        sae: an SAE that fits it.
        samples: mono at the model's rate.
        top: latents wanted; fewer where fewer fire.
        batch_size: windows per forward pass.

    Raises:
        ListenError: top below 1, or a recording too short, too long or not finite.
    """
    if top < 1:
        raise ListenError(f"top is {top}; ask for 1 latent or more.")
    pieces = _windows(lm, samples)
    x = torch.cat([_audio_activations(lm, sae, pieces[i : i + batch_size]) for i in range(0, len(pieces), batch_size)])
    z = sae.encode(x.to(sae.W_enc.device)).float().cpu()
    scores = clip_scores(z)
    order = torch.argsort(scores.representativeness, descending=True, stable=True)[:top]
    heard = [
        HeardLatent(
            int(k),
            z[:, k].tolist(),
            float(scores.mean_activation[k]),
            float(scores.coverage[k]),
            float(scores.representativeness[k]),
            float(scores.max_activation[k]),
        )
        for k in order[scores.representativeness[order] > 0]
    ]
    seconds = sum(len(piece) for piece in pieces) / lm.sampling_rate
    return Listened(sae.cfg.sae_id, seconds, 1.0 / lm.tokens_per_second, len(z), len(pieces), heard)


def _windows(lm: AudioLM, samples: np.ndarray) -> list[np.ndarray]:
    """Consecutive windows as long as the model hears, without a last one too short for it."""
    seconds = len(samples) / lm.sampling_rate
    if seconds > MAX_SECONDS:
        raise ListenError(f"The recording lasts {seconds:.0f} s; give at most {MAX_SECONDS:.0f} s.")
    if seconds < lm.shortest_s:
        raise ListenError(f"The recording lasts {seconds:.3f} s; give {lm.shortest_s:.3f} s or more.")
    size, shortest = round(lm.window_s * lm.sampling_rate), round(lm.shortest_s * lm.sampling_rate)
    pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [piece for piece in pieces if len(piece) >= shortest]


def _audio_activations(lm: AudioLM, sae: TopKSAE, pieces: list[np.ndarray]) -> Float[Tensor, "T d_in"]:
    """Activations x of the audio tokens of these windows, one window after the other."""
    layer = lm.layer_of(sae.cfg.hookpoint)
    inputs = lm.prepare(pieces, [PROMPT] * len(pieces))
    return lm.activations(inputs, [layer])[layer][inputs.audio]
