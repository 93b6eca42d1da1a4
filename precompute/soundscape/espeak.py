"""Text to dry speech samples: a small binding to libespeak-ng, without an audio device.

espeak-ng is a formant synthesiser with global state. Every call therefore brings the synthesiser to the same state,
loads a whole voice (language, pitch in Hz, formants, …) written in espeak's own voice-file format, resets every
parameter, and speaks. Voices that ask for `flutter`, `roughness`, `breath` or `echo` still depend on earlier calls.
"""

from __future__ import annotations

import ctypes
import functools
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_PACKAGE = "espeakng-loader"
_SYNCHRONOUS = 0x02
_DONT_EXIT = 0x8000
_UTF8 = 0x01
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_LOCK = threading.Lock()


class SpeechLibraryError(RuntimeError):
    """libespeak-ng is missing or refused a request."""


class Engine(NamedTuple):
    """The loaded library, the rate it speaks at (Hz), and its data folder."""

    library: ctypes.CDLL
    sample_rate: int
    data: Path


@functools.lru_cache(maxsize=1)
def engine() -> Engine:
    """Load and start libespeak-ng once a process.

    Raises:
        SpeechLibraryError: the package that carries the library is not installed, or the library does not start.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise SpeechLibraryError(
            f"speech needs libespeak-ng, which the Python package {_PACKAGE!r} carries and which is not installed; "
            f"run `pip install {_PACKAGE}`"
        ) from error
    path, data = espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path())
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise SpeechLibraryError(
            f"libespeak-ng at {path} does not load ({error}); run `pip install --force-reinstall {_PACKAGE}`"
        ) from error
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    # The data's parent folder is what espeak_Initialize expects.
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data.parent).encode(), _DONT_EXIT)
    if rate <= 0:
        raise SpeechLibraryError(
            f"libespeak-ng found no voice data in {data}; run `pip install --force-reinstall {_PACKAGE}`"
        )
    return Engine(library, int(rate), data)


@functools.cache
def language_lines(language_file: str) -> str:
    """Espeak's own lines for a language, e.g. `gmw/en`, to which a voice adds its own.

    Raises:
        SpeechLibraryError: the data has no such language.
    """
    path = engine().data / "lang" / language_file
    if not path.is_file():
        raise SpeechLibraryError(
            f"libespeak-ng has no language file {language_file!r}; run `pip install --force-reinstall {_PACKAGE}`"
        )
    return path.read_text(encoding="utf-8")


def _take_voice(lines: str, words_per_minute: int) -> None:
    """Load a voice and set every parameter; the caller holds the lock."""
    library = engine().library
    # espeak reads a voice from a file only; the file may go as soon as it is read.
    handle, name = tempfile.mkstemp(prefix="voice-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(lines)
        _check(library.espeak_SetVoiceByFile(name.encode()), "voice")
    finally:
        Path(name).unlink()
    for parameter, value in ((_RATE, words_per_minute), (_VOLUME, 100), (_PITCH, 50), (_RANGE, 50), (_WORDGAP, 0)):
        _check(library.espeak_SetParameter(parameter, int(value), 0), "parameter")


def _check(status: int, what: str) -> None:
    if status != 0:
        raise SpeechLibraryError(f"libespeak-ng refused the {what} (status {status}); report this with the text spoken")


def _collector(parts: list[np.ndarray]) -> Any:
    def collect(wave: Any, count: int, _events: Any) -> int:
        if wave and count > 0:
            parts.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        return 0

    return _CALLBACK(collect)


def _say(text: str) -> np.ndarray:
    """Int16 samples of `text` in the voice taken; the caller holds the lock."""
    library = engine().library
    parts: list[np.ndarray] = []
    collect = _collector(parts)
    library.espeak_SetSynthCallback(collect)
    data = text.encode("utf-8") + b"\0"
    _check(library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None), "text")
    _check(library.espeak_Synchronize(), "text")
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


_STATES = 4
_PROBE, _PROBE_LANGUAGE, _PROBE_LINES, _PROBE_RATE = "rra.", "roa/es", "\nflutter 0\nroughness 0\npitch 100 100\n", 450


@functools.lru_cache(maxsize=1)
def _home() -> bytes:
    """What the probe sounds like from the state that every call starts after."""
    return max(_say(_PROBE).tobytes() for _ in range(2 * _STATES))


def _settle() -> None:
    """Bring the synthesiser to the same state, whatever it spoke before.

    espeak damps every fourth period of trills and creaky sounds, and goes on counting periods from one call to the
    next. The probe, a trill, tells where the count stands, and moves it on by an odd number.

    Raises:
        SpeechLibraryError: the state cannot be reached.
    """
    _take_voice(language_lines(_PROBE_LANGUAGE) + _PROBE_LINES, _PROBE_RATE)
    home = _home()
    if not any(_say(_PROBE).tobytes() == home for _ in range(2 * _STATES)):
        raise SpeechLibraryError("libespeak-ng does not return to a known state; start a new process and try again")


def synthesise(text: str, voice: str, *, words_per_minute: int) -> np.ndarray:
    """Speak `text` with the voice whose espeak voice-file lines are given.

    Returns float64 samples in [-1, 1] at `engine().sample_rate`, with the library's silence around them.

    Raises:
        SpeechLibraryError: the library is missing, refuses the voice or the text, or has nothing to say.
    """
    with _LOCK:
        _settle()
        _take_voice(voice, words_per_minute)
        spoken = _say(text)
    if not len(spoken):
        raise SpeechLibraryError(f"libespeak-ng spoke nothing for {text!r}; give a text with words")
    return spoken.astype(np.float64) / 32768.0
