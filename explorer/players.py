"""Clip cards: waveform, activation strip, player. Everything a person or a model wrote is escaped."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import soundfile

from explorer.queries_clips import Clip

_NO_AUDIO = (
    '<p class="missing">The audio of this clip is not in the run folder; run the stage <code>clips</code> again.</p>'
)
BINS = 240  # columns of a waveform
LOUDNESS = 0.08  # root mean square that every clip is levelled to (full scale = 1)
GAIN_LIMITS = (0.05, 8.0)
HEADROOM = 0.98  # no levelled sample comes above this


class Waveform(NamedTuple):
    """Peaks in 0–1 (full scale of the file's own peak), and the gain that levels the clip."""

    peaks: tuple[float, ...]
    gain: float


@lru_cache(maxsize=512)
def _read_waveform(path: Path, _mtime_ns: int) -> Waveform:
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.abs(samples.mean(axis=1))
    if mono.size == 0 or not np.any(mono):
        return Waveform((0.0,) * BINS, 1.0)
    edges = np.linspace(0, mono.size, BINS + 1).astype(int)
    peaks = np.array([mono[a : max(b, a + 1)].max() for a, b in pairwise(edges)])
    rms = float(np.sqrt(np.mean(np.square(mono, dtype=np.float64))))
    gain = float(np.clip(LOUDNESS / rms, *GAIN_LIMITS))
    return Waveform(tuple(float(p) for p in peaks / peaks.max()), min(gain, HEADROOM / float(mono.max())))


def waveform(path: Path) -> Waveform | None:
    """Peaks and levelling gain of an audio file; None if it cannot be read (the card then says so)."""
    try:
        return _read_waveform(path, path.stat().st_mtime_ns)
    except (OSError, soundfile.LibsndfileError):
        return None


def waveform_svg(peaks: tuple[float, ...]) -> str:
    """A mirrored waveform, one bar a column, in the current text colour."""
    bars = "".join(f"M{i + 0.5} {50 - 47 * p - 1:.1f}V{50 + 47 * p + 1:.1f}" for i, p in enumerate(peaks))
    return (
        f'<svg class="wave" viewBox="0 0 {len(peaks)} 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{bars}"/></svg>'
    )


def strip_svg(values: list[float], top: float) -> str:
    """Activation strip: one bar a token, its height and strength z / top. Tokens where z = 0 stay empty."""
    if not values:
        return '<svg class="strip" viewBox="0 0 1 100" aria-hidden="true"></svg>'
    bars = []
    for i, z in enumerate(values):
        if z > 0:
            share = min(1.0, z / top) if top > 0 else 1.0
            height = 18 + 82 * share
            bars.append(
                f'<rect data-t="{i}" x="{i}" y="{100 - height:.0f}" width="1.02" height="{height:.0f}" '
                f'opacity="{0.35 + 0.65 * share:.2f}"/>'
            )
    return (
        f'<svg class="strip" viewBox="0 0 {len(values)} 100" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(bars)}</svg>"
    )


def activation_words(clip: Clip) -> str:
    """The strip in words, for those who cannot see it."""
    if not clip.values:
        return "No activation trace is stored for this clip."
    peak = max(clip.values)
    if peak <= 0:
        return "The latent does not fire in this clip."
    at = clip.values.index(peak) * clip.seconds_per_token
    return f"Fires on {sum(z > 0 for z in clip.values)} of {len(clip.values)} tokens, most ({peak:.2f}) at {at:.1f} s."


def clip_card(clip: Clip, rank: int, audio_dir: Path, top: float) -> str:
    """One clip to hear and see. `top` is the latent's largest activation: the strip's full height."""
    sound = waveform(audio_dir / clip.audio) if clip.audio else None
    caption = escape(clip.caption) or "no caption"
    words = escape(activation_words(clip))
    if sound is None or clip.audio is None:
        body = _NO_AUDIO
        gain, source, disabled = 1.0, "", " disabled"
    else:
        body = waveform_svg(sound.peaks) + strip_svg(clip.values, top)
        gain, source, disabled = sound.gain, f"audio/{quote(clip.audio)}", ""
    player = f'<audio preload="none" src="{escape(source)}"></audio>' if source else ""
    return f"""<article class="clip" data-clip="{escape(clip.clip_id)}" data-duration="{clip.duration_s:.3f}"
  data-gain="{gain:.4f}" data-token="{clip.seconds_per_token:.6f}">
  <button class="play" type="button" aria-label="Play clip {rank}: {caption}"{disabled}></button>
  <div class="seek" role="slider" tabindex="0" aria-label="Position in clip {rank}" aria-valuemin="0"
    aria-valuemax="{clip.duration_s:.1f}" aria-valuenow="0" title="{words}">{body}<i class="playhead"></i></div>
  <p class="line"><span class="time"><span class="now">0.0</span> / {clip.duration_s:.1f} s</span>{_scores(clip)}</p>
  <p class="caption">{f"“{caption}”" if clip.caption else caption}</p>
  <p class="source" title="{escape(clip.clip_id)}">{_source(clip)}</p>
  <p class="sr-only">{words}</p>{player}
</article>"""


def _source(clip: Clip) -> str:
    """What came with the data: the clip's labels, then its id."""
    labels = f"<span>{escape(', '.join(clip.labels))}</span>" if clip.labels else ""
    return f"{labels}<code>{escape(clip.clip_id)}</code>"


def _scores(clip: Clip) -> str:
    if clip.representativeness <= 0:
        return '<span class="score">silent: r 0</span>'
    figures = (
        (f"r {clip.representativeness:.3g}", "representativeness r = μ·c (Eq. 2)"),
        (f"μ {clip.mean_activation:.3g}", "mean activation μ over the clip's audio tokens"),
        (f"c {clip.coverage:.2f}", "coverage c: share of audio tokens where the latent fires"),
    )
    return "".join(f'<span class="score" title="{escape(words)}">{figure}</span>' for figure, words in figures)


def clip_cards(clips: list[Clip], audio_dir: Path, top: float) -> str:
    """The cards of one side, in rank order."""
    return f'<div class="clips">{"".join(clip_card(c, i + 1, audio_dir, top) for i, c in enumerate(clips))}</div>'
