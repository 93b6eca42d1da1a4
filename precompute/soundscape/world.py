"""The demo world: clips of one to three sounds with exact ground truth, the same from a seed in any process.

A clip is a mixture of *dry* event signals, each moved away from the listener (low-pass filter, reverberation, gain),
over background noise. What sounds when is read off the dry signals, so the truth does not depend on the mixture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from scipy import signal

from precompute.soundscape import dsp
from precompute.soundscape.registry import EVENTS, SAMPLE_RATE
from precompute.soundscape.sounds import load_all
from precompute.soundscape.speech import Speaker, speak

CLIP_SECONDS = 4.0
"""Length of every clip; also the window of the demo AudioLLM."""
SPLITS = ("train", "validation", "selection", "evaluation")
"""Splits share no seed and no spoken text."""
GENDERS = ("female", "male")
EMOTIONS = ("neutral", "happy", "sad", "angry")
LANGUAGES = ("english", "spanish", "french", "german")
SPEECH = "speech"
DISTANCES = ("near", "middle", "far")


@dataclass(frozen=True)
class EventTruth:
    """What one event of a clip really is."""

    key: str
    """Key of the sound event, or `speech`."""
    start_s: float
    end_s: float
    segments: tuple[tuple[float, float], ...]
    """Stretches (start, end) in seconds during which the dry event sounds."""
    distance: str
    level_db: float
    """Root-mean-square level of the sounding part, dB relative to full scale."""
    gender: str | None = None
    emotion: str | None = None
    language: str | None = None
    text: str | None = None

    def labels(self) -> list[str]:
        """Its key and, for speech, the `gender:`, `emotion:` and `language:` values."""
        if self.key != SPEECH:
            return [self.key]
        return [self.key, f"gender:{self.gender}", f"emotion:{self.emotion}", f"language:{self.language}"]


@dataclass(frozen=True)
class ClipTruth:
    """Everything the demo world knows of one clip."""

    clip_id: str
    split: str
    index: int
    seed: int
    events: tuple[EventTruth, ...]
    noise_db: float

    def labels(self) -> list[str]:
        """True values of the clip: event keys and, for speech, `gender:`, `emotion:` and `language:` values."""
        return list(dict.fromkeys(label for event in self.events for label in event.labels()))


@dataclass(frozen=True)
class Plan:
    """What a clip shall contain; `None` is drawn from the seed."""

    events: tuple[str, ...] | None = None
    speaker: dict[str, str] = field(default_factory=dict)
    """Fixed speaker attributes, e.g. `{"emotion": "sad"}`."""


def generator(seed: int, split: str, index: int) -> np.random.Generator:
    """The clip's own random generator.

    Raises:
        ValueError: unknown split or negative index.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} does not exist; use one of {', '.join(SPLITS)}")
    if index < 0 or seed < 0:
        raise ValueError(f"seed {seed} and index {index} must be 0 or more; use whole numbers from 0")
    return np.random.default_rng(np.random.SeedSequence([seed, SPLITS.index(split), index]))


def active_segments(dry: np.ndarray, floor_db: float = -32.0) -> tuple[tuple[float, float], ...]:
    """Stretches (seconds from the start of `dry`) whose 10 ms level is within `floor_db` of the loudest.

    Gaps under 60 ms are closed.

    Raises:
        ValueError: the signal is empty, silent or not finite.
    """
    if not len(dry) or not np.isfinite(dry).all() or not np.abs(dry).max() > 0:
        raise ValueError(f"dry signal of {len(dry)} samples is empty, silent or not finite; mend its generator")
    hop = SAMPLE_RATE // 100
    n = max(1, len(dry) // hop)
    frames = np.resize(dry, n * hop).reshape(n, hop) if len(dry) < hop else dry[: n * hop].reshape(n, hop)
    level = np.sqrt((frames**2).mean(1))
    on = level > level.max() * 10 ** (floor_db / 20)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(int)))
    runs: list[list[int]] = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if runs and start - runs[-1][1] < 6:
            runs[-1][1] = int(stop)
        else:
            runs.append([int(start), int(stop)])
    return tuple((a / 100, b / 100) for a, b in runs)


def _shift(segments: Sequence[tuple[float, float]], onset: float) -> tuple[tuple[float, float], ...]:
    return tuple((round(onset + a, 3), round(onset + b, 3)) for a, b in segments)


def at_distance(rng: np.random.Generator, dry: np.ndarray, distance: str) -> np.ndarray:
    """Move a dry signal away: air low-pass, early and late reverberation. The tail may exceed the dry length."""
    if distance == "near":
        wet, cutoff, t60 = rng.uniform(0.0, 0.06), 7800.0, rng.uniform(0.1, 0.35)
    elif distance == "middle":
        wet, cutoff, t60 = rng.uniform(0.08, 0.2), rng.uniform(5000, 7500), rng.uniform(0.2, 0.7)
    else:
        wet, cutoff, t60 = rng.uniform(0.2, 0.45), rng.uniform(2800, 5000), rng.uniform(0.4, 1.1)
    direct = dry if cutoff > 7700 else dsp.lowpass(dry, cutoff, 1)
    tail = dsp.samples(t60 * 0.8)
    response = rng.standard_normal(tail) * np.exp(-6.91 * np.arange(tail) / SAMPLE_RATE / t60)
    response = signal.lfilter([1.0], [1.0, -0.45], response)
    response /= np.sqrt((response**2).sum())
    out = np.zeros(len(dry) + tail)
    out[: len(dry)] = (1 - wet) * direct
    out[: len(dry) + tail - 1] += wet * signal.oaconvolve(direct, response)
    return out


def _level(x: np.ndarray, segments: Sequence[tuple[float, float]]) -> float:
    """Root-mean-square level over the segments, counted from the start of `x`."""
    sounding = np.concatenate([x[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)] for a, b in segments])
    return float(np.sqrt((sounding**2).mean() + 1e-12))


def _draw_plan(rng: np.random.Generator, plan: Plan) -> list[str]:
    if plan.events is not None:
        return list(plan.events)
    count = int(rng.choice([1, 2, 3], p=[0.45, 0.40, 0.15]))
    keys = list(rng.choice(sorted(EVENTS), size=count, replace=False))
    if rng.random() < 0.36:
        keys[0] = SPEECH
    rng.shuffle(keys)
    return [str(k) for k in keys]


def _slots(rng: np.random.Generator, keys: Sequence[str]) -> list[tuple[float, float]]:
    """Onset and available seconds of each event: alone, in sequence, or overlapping."""
    shortest = [1.3 if k == SPEECH else EVENTS[k].min_seconds for k in keys]
    if len(keys) == 1:
        onset = rng.uniform(0, CLIP_SECONDS - max(shortest[0], 2.2)) if rng.random() < 0.7 else 0.0
        return [(onset, CLIP_SECONDS - onset)]
    if sum(shortest) <= CLIP_SECONDS - 0.2 and rng.random() < 0.5:
        spare = CLIP_SECONDS - sum(shortest)
        cuts = np.cumsum(rng.dirichlet(np.full(len(keys), 4.0))) * spare
        starts = [0.0] + [float(sum(shortest[:i]) + cuts[i - 1]) for i in range(1, len(keys))]
        stops = [*starts[1:], CLIP_SECONDS]
        return [(a, b - a - (0.05 if b < CLIP_SECONDS else 0.0)) for a, b in zip(starts, stops, strict=True)]
    onsets = [float(rng.uniform(0, CLIP_SECONDS - max(s, 1.6))) for s in shortest]
    return [(a, float(rng.uniform(max(s, 1.6), CLIP_SECONDS - a))) for a, s in zip(onsets, shortest, strict=True)]


def _speaker(rng: np.random.Generator, fixed: dict[str, str]) -> Speaker:
    drawn: dict[str, Any] = {
        "gender": str(rng.choice(GENDERS)),
        "emotion": str(rng.choice(EMOTIONS)),
        "language": str(rng.choice(LANGUAGES)),
    }
    return Speaker(**{**drawn, **fixed})


EMOTION_LEVEL_DB = {"neutral": 0.0, "happy": 1.5, "sad": -3.0, "angry": 3.0}
"""Ours: mean level of an emotion relative to neutral, well inside the range of levels that distance gives."""


def render_clip(split: str, index: int, seed: int = 0, plan: Plan | None = None) -> tuple[np.ndarray, ClipTruth]:
    """Render one clip.

    Returns:
        audio: float32 [CLIP_SECONDS * SAMPLE_RATE], within ±1.
        truth: what sounds when.

    Raises:
        ValueError: unknown split, negative seed or index.
    """
    load_all()
    rng = generator(seed, split, index)
    plan = plan or Plan()
    keys = _draw_plan(rng, plan)
    canvas = np.zeros(dsp.samples(CLIP_SECONDS))
    events = []
    for key, (onset, seconds) in zip(keys, _slots(rng, keys), strict=True):
        speaker, text = None, None
        if key == SPEECH:
            speaker = _speaker(rng, plan.speaker)
            utterance = speak(rng, split, speaker, seconds)
            dry, text = utterance.audio, utterance.text
        else:
            dry = np.asarray(EVENTS[key].render(rng, seconds), dtype=float)
        dry = dry[: dsp.samples(min(seconds, CLIP_SECONDS - onset))]
        relative = active_segments(dry)
        segments = _shift(relative, onset)
        distance = str(rng.choice(DISTANCES, p=[0.45, 0.35, 0.2]))
        level_db = float(rng.uniform(-24, -16) - 3.0 * DISTANCES.index(distance))
        if speaker is not None:
            level_db += EMOTION_LEVEL_DB[speaker.emotion]
        wet = at_distance(rng, dry, distance)
        wet *= 10 ** (level_db / 20) / _level(wet, relative)
        dsp.place(canvas, wet, onset)
        who = asdict(speaker) if speaker is not None else {}
        events.append(
            EventTruth(key, segments[0][0], segments[-1][1], segments, distance, round(level_db, 2), text=text, **who)
        )
    noise_db = float(rng.uniform(-62, -42))
    canvas += dsp.coloured(rng, CLIP_SECONDS, float(rng.uniform(-6, 0))) * 10 ** (noise_db / 20)
    top = np.abs(canvas).max()
    if top > 0.97:
        canvas *= 0.97 / top
    events.sort(key=lambda e: (e.start_s, e.key))
    truth = ClipTruth(clip_name(split, index, seed), split, index, seed, tuple(events), round(noise_db, 2))
    return canvas.astype(np.float32), truth


def clip_name(split: str, index: int, seed: int = 0) -> str:
    """Stable clip_id of the demo world."""
    return f"{split}-{seed}-{index:06d}"


def truth_from_dict(d: dict) -> ClipTruth:
    """Read back what `asdict(truth)` wrote to JSON."""
    events = tuple(
        EventTruth(**{**e, "segments": tuple((float(a), float(b)) for a, b in e["segments"])}) for e in d["events"]
    )
    return ClipTruth(**{**d, "events": events})


def _render_job(job: tuple[str, int, int, Plan | None]) -> tuple[np.ndarray, ClipTruth]:
    split, index, seed, plan = job
    return render_clip(split, index, seed, plan)


def render_many(
    split: str,
    indices: Sequence[int],
    seed: int = 0,
    workers: int = 2,
    plans: Sequence[Plan] | None = None,
) -> Iterator[tuple[np.ndarray, ClipTruth]]:
    """Clips in the order of `indices`; the result does not depend on `workers`."""
    jobs = [(split, int(i), seed, plans[n] if plans else None) for n, i in enumerate(indices)]
    if workers <= 1:
        yield from map(_render_job, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_render_job, jobs, chunksize=16)


def render_dataset(
    folder: Path, split: str, count: int, seed: int = 0, workers: int = 2, plans: Sequence[Plan] | None = None
) -> Path:
    """Write `count` clips as 16-bit WAV with a JSONL manifest (`clip_id, path, caption, labels, split, truth`).

    Returns:
        The manifest's path. File names are hashes of the clip_id, so a name does not give a clip's content away.
    """
    from precompute.soundscape.grammar import caption

    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{split}.jsonl"
    lines = []
    for audio, truth in render_many(split, range(count), seed, workers, plans):
        name = hashlib.blake2b(truth.clip_id.encode(), digest_size=8).hexdigest() + ".wav"
        sf.write(folder / name, audio, SAMPLE_RATE, subtype="PCM_16")
        row = {
            "clip_id": truth.clip_id,
            "path": name,
            "caption": caption(truth),
            "labels": truth.labels(),
            "split": split,
            "truth": asdict(truth),
        }
        lines.append(json.dumps(row))
    partial = manifest.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(manifest)
    return manifest
