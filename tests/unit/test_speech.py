"""The demo world's voices: what is said, by whom, and that it is always the same for the same draw."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from precompute.soundscape import espeak, speech
from precompute.soundscape.registry import SAMPLE_RATE
from precompute.soundscape.sentences import LANGUAGES, SENTENCES, SPLITS
from precompute.soundscape.speech import EMOTIONS, GENDERS, Speaker, speak

EVERYONE = [Speaker(g, e, la) for g in GENDERS for e in EMOTIONS for la in speech.LANGUAGES]
LEAST = {"train": 40, "validation": 10, "selection": 10, "evaluation": 15}


def _audio(seed: int, speaker: Speaker, seconds: float = 3.5) -> np.ndarray:
    return speak(np.random.default_rng(seed), "train", speaker, seconds).audio


def _pitch(x: np.ndarray) -> float:
    """Median pitch in Hz of the louder half of 50 ms frames, by autocorrelation."""
    size, low, high = 800, SAMPLE_RATE // 400, SAMPLE_RATE // 65
    frames = np.lib.stride_tricks.sliding_window_view(x, size)[:: size // 2] * np.hanning(size)
    frames = frames[(frames**2).sum(1) >= np.median((frames**2).sum(1))]
    taper = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 2048)) ** 2)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048)) ** 2, axis=1)[:, :high] / taper[:high]
    correlation = correlation[:, low:high] / correlation[:, :1]
    # The shortest of the nearly best periods, since every multiple of a period is one too.
    near = correlation > 0.95 * correlation.max(1, keepdims=True)
    peak = near & (correlation >= np.roll(correlation, 1, 1)) & (correlation >= np.roll(correlation, -1, 1))
    return float(np.median(SAMPLE_RATE / (low + peak.argmax(1))))


def _share_above(x: np.ndarray, hertz: float) -> float:
    power = np.abs(np.fft.rfft(x)) ** 2
    return float(power[np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE) > hertz].sum() / power.sum())


def test_pitch_meter_reads_a_known_tone() -> None:
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for hertz in (100, 200):
        tone = sum(np.sin(2 * np.pi * hertz * n * t) / n for n in range(1, 6))
        assert _pitch(tone) == pytest.approx(hertz, rel=0.02)


def test_every_split_of_every_language_has_its_own_sentences() -> None:
    assert set(SENTENCES) == set(LANGUAGES) == set(speech.LANGUAGES)
    for by_split in SENTENCES.values():
        assert set(by_split) == set(SPLITS)
        everything = [text for split in SPLITS for text in by_split[split]]
        assert len(everything) == len(set(everything))
        for split, least in LEAST.items():
            assert len(by_split[split]) >= least
        assert all(text.endswith(".") and text.count(".") == 1 for text in everything)


@pytest.mark.parametrize("speaker", EVERYONE, ids=lambda s: f"{s.gender}-{s.emotion}-{s.language}")
def test_an_utterance_is_clean_audio_of_the_asked_split(speaker: Speaker) -> None:
    utterance = speak(np.random.default_rng(3), "evaluation", speaker, 3.5)
    assert utterance.speaker == speaker
    assert utterance.text in SENTENCES[speaker.language]["evaluation"]
    assert utterance.audio.dtype == np.float64
    assert utterance.audio.ndim == 1
    assert np.isfinite(utterance.audio).all()
    assert np.abs(utterance.audio).max() < 1
    assert 0.6 * SAMPLE_RATE < len(utterance.audio) <= 3.5 * SAMPLE_RATE


def _sad_voice(language_file: str) -> str:
    return espeak.language_lines(language_file) + "\nflutter 0\nroughness 0\npitch 150 170\n"


def test_the_same_draw_gives_the_same_samples_whatever_was_spoken_before() -> None:
    draws = [(seed, EVERYONE[seed * 5 % len(EVERYONE)]) for seed in range(16)]
    forward = [_audio(*draw) for draw in draws]
    backward = [_audio(*draw) for draw in reversed(draws)][::-1]
    for a, b in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(a, b)


def test_creaky_sounds_do_not_depend_on_what_was_spoken_before() -> None:
    # These sentences hold sounds of which espeak damps every fourth period, counted on from one call to the next.
    creaky = [("La reunión empieza después de comer.", "roa/es"), ("Schreiben Sie Ihren Namen.", "gmw/de")]
    for text, file in creaky:
        spoken = set()
        for pitch in range(100, 116):
            other = espeak.language_lines("gmw/en") + f"\nflutter 0\nroughness 0\npitch {pitch} {pitch}\n"
            espeak.synthesise("The lamp.", other, words_per_minute=200)
            spoken.add(espeak.synthesise(text, _sad_voice(file), words_per_minute=150).tobytes())
        assert len(spoken) == 1


def test_the_same_draw_gives_the_same_samples_in_another_process() -> None:
    code = (
        "import hashlib, numpy as np; from precompute.soundscape.speech import *;"
        "speak(np.random.default_rng(1), 'train', Speaker('male', 'sad', 'german'), 3.0);"
        "u = speak(np.random.default_rng(9), 'train', Speaker('female', 'angry', 'french'), 3.0);"
        "print(hashlib.sha256(u.audio.tobytes()).hexdigest())"
    )
    here = speak(np.random.default_rng(9), "train", Speaker("female", "angry", "french"), 3.0).audio
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


def test_draws_differ() -> None:
    speaker = Speaker("female", "neutral", "english")
    assert len({_audio(seed, speaker).tobytes() for seed in range(8)}) == 8


def test_another_emotion_keeps_the_person_and_the_sentence() -> None:
    said = {speak(np.random.default_rng(5), "train", Speaker("male", e, "english"), 4.0).text for e in EMOTIONS}
    assert len(said) == 1


@pytest.mark.parametrize("seconds", [1.0, 1.5, 2.5])
@pytest.mark.parametrize("emotion", EMOTIONS)
def test_speech_fits_and_is_made_of_whole_words(emotion: str, seconds: float) -> None:
    for seed in range(4):
        utterance = speak(np.random.default_rng(seed), "train", Speaker("female", emotion, "german"), seconds)
        assert len(utterance.audio) <= seconds * SAMPLE_RATE
        start = utterance.text.rstrip(".")
        assert any(
            text.rstrip(".").split()[: len(start.split())] == start.split() for text in SENTENCES["german"]["train"]
        )
        # Speech that was cut would still be loud at its end.
        tail = utterance.audio[-80:]
        assert np.sqrt(np.mean(tail**2)) < 0.2 * np.sqrt(np.mean(utterance.audio**2))


def test_pitch_tells_the_gender() -> None:
    for seed in range(6):
        assert 80 < _pitch(_audio(seed, Speaker("male", "neutral", "spanish"))) < 150
        assert 160 < _pitch(_audio(seed, Speaker("female", "neutral", "spanish"))) < 260


@pytest.mark.parametrize("gender", GENDERS)
def test_emotions_move_pitch_pace_brightness_and_level_the_way_people_do(gender: str) -> None:
    measured = {}
    for emotion in EMOTIONS:
        spoken = [_audio(seed, Speaker(gender, emotion, "english"), 6.0) for seed in range(6)]
        measured[emotion] = (
            np.mean([_pitch(x) for x in spoken]),
            np.mean([len(x) for x in spoken]),
            np.mean([_share_above(x, 2000) for x in spoken]),
            np.mean([np.sqrt(np.mean(x**2)) for x in spoken]),
        )
    pitch, length, bright, level = ({e: measured[e][i] for e in EMOTIONS} for i in range(4))
    assert pitch["happy"] > 1.1 * pitch["neutral"] > 1.1 * pitch["sad"]
    assert pitch["angry"] > pitch["neutral"]
    assert length["sad"] > 1.15 * length["neutral"] > 1.15 * max(length["happy"], length["angry"])
    assert bright["angry"] > bright["happy"] > bright["neutral"] > bright["sad"]
    assert level["angry"] > level["neutral"] > level["sad"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("gender", "robot"), ("emotion", "bored"), ("language", "latin")],
    ids=["gender", "emotion", "language"],
)
def test_an_unknown_speaker_is_refused(field: str, value: str) -> None:
    fields = {"gender": "male", "emotion": "sad", "language": "french"} | {field: value}
    with pytest.raises(ValueError, match=rf"{field} '{value}' .* not one of"):
        Speaker(**fields)


def test_an_unknown_split_and_too_little_time_are_refused() -> None:
    speaker = Speaker("male", "sad", "french")
    with pytest.raises(ValueError, match="split 'test' is not one of"):
        speak(np.random.default_rng(0), "test", speaker, 3.0)
    for seconds in (0.1, -1.0, float("nan")):
        with pytest.raises(ValueError, match="too short"):
            speak(np.random.default_rng(0), "train", speaker, seconds)


def test_a_missing_library_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak.engine.cache_clear()
    try:
        with pytest.raises(espeak.SpeechLibraryError, match="pip install espeakng-loader"):
            espeak.engine()
    finally:
        espeak.engine.cache_clear()


def test_a_language_espeak_lacks_is_refused() -> None:
    with pytest.raises(espeak.SpeechLibraryError, match="no language file 'gmw/none'"):
        espeak.language_lines("gmw/none")
