"""Log-mel features of rendered clips: computed once, mixed and varied while training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm
from transformers import ClapFeatureExtractor, WhisperFeatureExtractor

from precompute.soundscape.registry import SAMPLE_RATE
from precompute.soundscape.world import CLIP_SECONDS, ClipTruth, render_many, truth_from_dict


class Rendered(NamedTuple):
    """Features and truth of a split."""

    mels: np.ndarray
    """float16 [clips, mel bins, frames]: log10 of the mel power, before any normalisation."""
    truths: list[ClipTruth]


class Bank(NamedTuple):
    """One way to compute a log-mel spectrogram."""

    name: str
    window: int
    """Samples of the Fourier window (Hann)."""
    hop: int
    filters: np.ndarray
    """[window / 2 + 1, mel bins]."""
    frames: int


def whisper_bank(extractor: WhisperFeatureExtractor) -> Bank:
    """The AudioLLM's front end."""
    return Bank("whisper", extractor.n_fft, extractor.hop_length, extractor.mel_filters, extractor.nb_max_frames)


def clap_bank(extractor: ClapFeatureExtractor) -> Bank:
    """CLAP's front end without fusion (Slaney filters)."""
    frames = extractor.nb_max_samples // extractor.hop_length + 1
    return Bank("clap", extractor.fft_window_size, extractor.hop_length, extractor.mel_filters_slaney, frames)


def log_mel(audio: torch.Tensor, bank: Bank) -> torch.Tensor:
    """log10 of the mel power spectrum, [B, samples] to [B, mel bins, frames].

    `normalise(log_mel(audio, whisper_bank(x)))` equals the Whisper extractor's output for a full window, and
    `10 * log_mel(audio, clap_bank(x))` the CLAP extractor's.
    """
    window = torch.hann_window(bank.window)
    spectrum = torch.stft(audio, bank.window, bank.hop, window=window, return_complex=True)
    power = spectrum[..., : bank.frames].abs() ** 2
    filters = torch.from_numpy(bank.filters).to(power.dtype)
    return torch.clamp(filters.T @ power, min=1e-10).log10()


def normalise(log_spectrum: torch.Tensor) -> torch.Tensor:
    """Whisper's normalisation: floor 8 decades under the clip's maximum, then (x + 4) / 4."""
    top = log_spectrum.amax(dim=(-2, -1), keepdim=True)
    return (torch.maximum(log_spectrum, top - 8.0) + 4.0) / 4.0


SHARD = 1_000
"""Clips rendered and kept together: an interrupted rendering loses at most these."""


def render_features(cache: Path, split: str, count: int, seed: int, bank: Bank, workers: int = 2) -> Rendered:
    """Render a split's first `count` clips and compute their features; the shards under `cache` are read again."""
    cache.mkdir(parents=True, exist_ok=True)
    mels, truths = [], []
    for start in tqdm(range(0, count, SHARD), desc=f"{split} clips x {SHARD}", mininterval=10):
        stem = cache / f"{split}-{seed}-{start:06d}-{min(SHARD, count - start)}"
        audio_file, truth_file = stem.with_suffix(".audio.npy"), stem.with_suffix(".truth.jsonl")
        if not truth_file.exists():
            _render(audio_file, truth_file, split, range(start, min(start + SHARD, count)), seed, workers)
        mel_file = stem.with_suffix(f".{bank.name}.npy")
        if not mel_file.exists():
            _compute(np.load(audio_file, mmap_mode="r"), mel_file, bank)
        mels.append(np.load(mel_file))
        truths += [truth_from_dict(json.loads(line)) for line in truth_file.read_text().splitlines()]
    return Rendered(np.concatenate(mels), truths)


def _render(audio_file: Path, truth_file: Path, split: str, indices: range, seed: int, workers: int) -> None:
    store = np.empty((len(indices), int(CLIP_SECONDS * SAMPLE_RATE)), dtype=np.int16)
    lines = []
    for row, (audio, truth) in enumerate(render_many(split, indices, seed, workers)):
        store[row] = np.round(audio * 32767)
        lines.append(json.dumps(asdict(truth)))
    _write(audio_file, store)
    partial = truth_file.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(truth_file)


def _compute(audio: np.ndarray, mel_file: Path, bank: Bank, batch: int = 50) -> None:
    parts = [torch.from_numpy(audio[i : i + batch].astype(np.float32) / 32767) for i in range(0, len(audio), batch)]
    _write(mel_file, np.concatenate([log_mel(part, bank).half().numpy() for part in parts]))


def _write(file: Path, array: np.ndarray) -> None:
    partial = file.with_suffix(".partial.npy")
    np.save(partial, array)
    partial.replace(file)


def mix(a: torch.Tensor, b: torch.Tensor, gain_db: float) -> torch.Tensor:
    """Log-mel of the sum of two uncorrelated sounds, the second changed by `gain_db`: powers add."""
    return torch.logaddexp(a * np.log(10.0), (b + gain_db / 10) * np.log(10.0)) / np.log(10.0)


def mixable(a: ClipTruth, b: ClipTruth) -> bool:
    """Whether two clips together are again a clip of the world: at most three events, none twice."""
    keys = [e.key for e in (*a.events, *b.events)]
    return len(keys) <= 3 and len(set(keys)) == len(keys)


SILENCE = -10.0
"""log10 of the mel power of digital silence, as `log_mel` floors it."""


def shorten(truth: ClipTruth, rng: np.random.Generator) -> tuple[float, ClipTruth]:
    """A moment that cuts no event in two, and the truth of the clip up to it.

    Drawn from the ends of the events; the clip goes on for up to half a second. A clip in which every end falls inside
    another event keeps its full length.
    """
    ends = [e.end_s for e in truth.events]
    clean = [t for t in ends if t > 0.4 and all(e.end_s <= t or e.start_s >= t for e in truth.events)]
    if not clean:
        return CLIP_SECONDS, truth
    cut = float(rng.choice(clean))
    following = min([e.start_s for e in truth.events if e.start_s >= cut], default=CLIP_SECONDS)
    events = tuple(e for e in truth.events if e.end_s <= cut)
    return min(cut + float(rng.uniform(0, 0.5)), following), replace(truth, events=events)


def merge_truth(a: ClipTruth, b: ClipTruth) -> ClipTruth:
    """Truth of a mixture."""
    events = tuple(sorted((*a.events, *b.events), key=lambda e: (e.start_s, e.key)))
    return ClipTruth(f"{a.clip_id}+{b.clip_id}", a.split, a.index, a.seed, events, max(a.noise_db, b.noise_db))


def token_targets(truth: ClipTruth, values: Sequence[str], tokens: int, tokens_per_second: float) -> np.ndarray:
    """Which true values sound during each audio token: bool [tokens, values]."""
    column = {v: i for i, v in enumerate(values)}
    out = np.zeros((tokens, len(values)), dtype=bool)
    for e in truth.events:
        names = [e.key]
        if e.gender:
            names += [f"gender:{e.gender}", f"emotion:{e.emotion}", f"language:{e.language}"]
        for start, stop in e.segments:
            a, b = int(start * tokens_per_second), int(np.ceil(stop * tokens_per_second))
            for name in names:
                out[a:b, column[name]] = True
    return out
