"""Sound that a visitor brings: what is accepted, and the plain error for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import soundfile

from explorer.queries import Queries

MAX_MB = 25
MAX_SECONDS = 600.0


class AudioError(ValueError):
    """A sound that cannot be used; the message names the field and says what is allowed."""


def checked(path: Path) -> Path:
    """The path of a readable sound of allowed size and length.

    Raises:
        AudioError: missing, too large, too long, empty or not a sound.
    """
    if not path.is_file():
        raise AudioError("audio is not there any more; upload it again.")
    size = path.stat().st_size
    if size > MAX_MB * 2**20:
        raise AudioError(f"audio has {size / 2**20:.0f} MB; at most {MAX_MB} MB are accepted, give a shorter piece.")
    try:
        seconds = soundfile.info(path).duration
    except (OSError, soundfile.LibsndfileError):
        raise AudioError("audio cannot be read as sound; give a wav, flac, ogg or mp3 file.") from None
    if not 0 < seconds <= MAX_SECONDS:
        raise AudioError(f"audio lasts {seconds:.1f} s; give more than 0 and at most {MAX_SECONDS:.0f} s.")
    return path


def of_clip(queries: Queries, clip_id: str) -> Path:
    """The audio of a clip of the run.

    Raises:
        AudioError: no such clip, or it has no audio.
    """
    found = queries.clip(clip_id)
    if found is None or found.audio is None:
        raise AudioError(f"audio is {clip_id!r}, which is no clip of this run with sound; /concept lists clips.")
    return queries.run.audio_dir.resolve() / found.audio


def of_request(queries: Queries, audio: Any, uploads: Path) -> Path:
    """What a script sent: a clip_id of the run, or a file it uploaded (Gradio's FileData).

    Args:
        queries: the run.
        audio: the value of the field `audio`.
        uploads: the only folder that uploaded files come from.

    Raises:
        AudioError: neither of both, or it cannot be used.
    """
    if isinstance(audio, str) and audio:
        return of_clip(queries, audio)
    named = audio.get("path") if isinstance(audio, dict) else None
    if not isinstance(named, str) or not named:
        raise AudioError("audio is neither a clip_id nor an uploaded file; give one of both.")
    path = Path(named).resolve()
    if not path.is_relative_to(uploads.resolve()):
        raise AudioError("audio names a file that was not uploaded; upload it first (`gradio_client.handle_file`).")
    return checked(path)
