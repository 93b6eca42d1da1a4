"""Animal and human sounds: what every generator keeps to, and acoustic facts measured on the samples."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.soundscape.registry import EVENTS, SAMPLE_RATE
from precompute.soundscape.sounds import animals, human  # noqa: F401  (imported for their registrations)
from precompute.soundscape.sounds._voice import glide, pulse_train, tract

ANIMALS = (
    "dog_bark", "cat_meow", "bird_song", "crow_caw", "crickets", "frog_croak", "rooster_crow", "cow_moo", "sheep_bleat",
    "owl_hoot", "bee_buzz", "horse_hooves",
)  # fmt: skip
HUMAN = (
    "laughter", "cough", "breathing", "footsteps", "clapping", "sneeze", "snoring", "baby_cry", "whistling",
)  # fmt: skip
KEYS = ANIMALS + HUMAN
SEEDS = range(6)


def render(key: str, seed: int, seconds: float = 4.0) -> np.ndarray:
    return EVENTS[key].render(np.random.default_rng(seed), seconds)


def level(x: np.ndarray, seconds: float = 0.01) -> np.ndarray:
    """Root mean square of stretches of `seconds`, in dB below the loudest one."""
    n = int(seconds * SAMPLE_RATE)
    x = np.pad(x, (0, -len(x) % n))
    rms = np.sqrt((x.reshape(-1, n) ** 2).mean(1))
    return 20 * np.log10(rms / rms.max() + 1e-9)


def bursts(x: np.ndarray, threshold_db: float, seconds: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends in seconds of the stretches above the threshold."""
    loud = np.concatenate([[False], level(x, seconds) > threshold_db, [False]]).astype(int)
    return np.flatnonzero(np.diff(loud) == 1) * seconds, np.flatnonzero(np.diff(loud) == -1) * seconds


def share(x: np.ndarray, low: float, high: float) -> float:
    """Share of the power between two frequencies in Hz."""
    power = np.abs(np.fft.rfft(x)) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE)
    return float(power[(hz >= low) & (hz < high)].sum() / power.sum())


def peak_hz(x: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(x, 1 << 17))
    return float(np.argmax(power) * SAMPLE_RATE / (1 << 17))


@pytest.mark.parametrize("key", KEYS)
def test_family_and_words(key: str) -> None:
    event = EVENTS[key]
    assert event.family == ("animals" if key in ANIMALS else "human")
    assert 2 <= len(event.clauses) <= 3
    for text in (event.label, *event.clauses):
        assert text == text.lower()
        assert text.isascii()


def test_no_phrase_is_part_of_another() -> None:
    texts = [text for key in KEYS for text in (EVENTS[key].label, *EVENTS[key].clauses)]
    assert [(a, b) for i, a in enumerate(texts) for j, b in enumerate(texts) if i != j and a in b] == []


@pytest.mark.parametrize("key", KEYS)
def test_same_seed_same_samples_and_other_seed_other_samples(key: str) -> None:
    first = render(key, 3)
    assert np.array_equal(first, render(key, 3))
    other = render(key, 4)
    assert len(first) != len(other) or not np.allclose(first, other)


@pytest.mark.parametrize("key", KEYS)
def test_length_level_and_finiteness(key: str) -> None:
    for seconds in (EVENTS[key].min_seconds, 2.37, 4.0):
        for seed in SEEDS:
            x = render(key, seed, seconds)
            assert x.ndim == 1
            assert x.dtype == np.float64
            assert 0.2 * SAMPLE_RATE <= len(x) <= round(seconds * SAMPLE_RATE)
            assert np.isfinite(x).all()
            assert 0.05 < np.abs(x).max() < 50
            assert abs(x.mean()) < 0.1 * np.abs(x).max()


@pytest.mark.parametrize("key", ["dog_bark", "cat_meow", "crow_caw", "cough", "footsteps", "horse_hooves", "sneeze"])
def test_events_are_apart_by_real_silence(key: str) -> None:
    for seed in SEEDS:
        starts, _ = bursts(render(key, seed), -45)
        assert len(starts) >= 2, (key, seed)


def test_barks_are_short_and_apart() -> None:
    for seed in range(12):
        starts, ends = bursts(render("dog_bark", seed), -30)
        assert ((ends - starts) > 0.05).all()
        assert ((ends - starts) < 0.25).all()
        assert (starts[1:] - ends[:-1] > 0.06).all()


def test_barks_reach_from_the_pitch_to_a_broad_band() -> None:
    for seed in range(12):
        x = render("dog_bark", seed)
        assert share(x, 250, 4000) > 0.8
        assert share(x, 4000, 8000) > 1e-4


def test_steps_come_at_a_walk() -> None:
    for seed in range(12):
        starts, _ = bursts(render("footsteps", seed), -14, 0.2)
        onsets = onset_times(render("footsteps", seed))
        assert len(starts) >= 4
        assert 0.35 < np.median(np.diff(onsets)) < 0.9


def onset_times(x: np.ndarray) -> np.ndarray:
    """First moment above -20 dB after a quarter of a second without one before it."""
    loud = np.flatnonzero(np.abs(x) > 0.1 * np.abs(x).max()) / SAMPLE_RATE
    keep = [loud[0]]
    for moment in loud:
        if moment - keep[-1] > 0.3:
            keep.append(moment)
    return np.array(keep)


def test_crickets_sing_at_four_to_five_kilohertz() -> None:
    for seed in SEEDS:
        x = render("crickets", seed)
        assert 3500 < peak_hz(x) < 5500
        assert share(x, 3500, 5800) > 0.9


def test_owls_hoot_low_and_pure() -> None:
    for seed in SEEDS:
        x = render("owl_hoot", seed)
        f0 = peak_hz(x)
        assert 250 < f0 < 600
        assert share(x, 0.9 * f0, 1.1 * f0) > 0.8


def test_cows_are_the_lowest_voices() -> None:
    centre = {
        key: np.median([centroid(render(key, seed)) for seed in range(8)])
        for key in ("cow_moo", "sheep_bleat", "cat_meow")
    }
    assert 2 * centre["cow_moo"] < min(centre["sheep_bleat"], centre["cat_meow"])


def centroid(x: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(x)) ** 2
    return float((power * np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE)).sum() / power.sum())


def test_sheep_tremble() -> None:
    for seed in SEEDS:
        x = render("sheep_bleat", seed)
        starts, ends = bursts(x, -30)
        k = int(np.argmax(ends - starts))
        envelope = level(x[int(starts[k] * SAMPLE_RATE) : int(ends[k] * SAMPLE_RATE)], 0.01)
        envelope = 10 ** (envelope / 20)
        hz = np.fft.rfftfreq(1024, 0.01)
        spectrum = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope)), 1024))
        band = (hz > 4) & (hz < 25)
        assert 6 < hz[band][np.argmax(spectrum[band])] < 13.5


def test_birds_stay_high_and_whistlers_below_them() -> None:
    for seed in SEEDS:
        assert share(render("bird_song", seed), 1400, 8000) > 0.98
        assert share(render("whistling", seed), 700, 2700) > 0.9


def test_laughter_has_four_to_six_notes_a_second() -> None:
    for seed in SEEDS:
        x = render("laughter", seed)
        starts, ends = bursts(x, -22)
        gaps = np.diff(starts[(ends - starts) > 0.02])
        assert 0.12 < np.median(gaps) < 0.32


def test_bees_beat_their_wings_at_about_two_hundred_hertz() -> None:
    for seed in SEEDS:
        x = render("bee_buzz", seed)
        assert share(x, 120, 1200) > 0.8


def test_glide_passes_its_points_and_never_overshoots() -> None:
    y = glide([(0, 1.0), (0.25, 3.0), (0.5, 3.0), (1, 0.0)], 1.0)
    assert y[0] == pytest.approx(1.0)
    assert y[-1] == pytest.approx(0.0, abs=1e-4)
    assert y[4000] == pytest.approx(3.0, abs=1e-3)
    assert y.max() <= 3.0 + 1e-9
    assert y.min() >= -1e-4


def test_pulse_train_has_the_asked_pitch_and_unit_power() -> None:
    x = pulse_train(np.random.default_rng(0), np.full(SAMPLE_RATE, 200.0), jitter=0.0, shimmer=0.0, subharmonic=0.0)
    power = np.abs(np.fft.rfft(x[1600:-1600])) ** 2
    lag = np.fft.irfft(power)
    assert 40 + np.argmax(lag[40:120]) == SAMPLE_RATE // 200
    assert np.mean(x**2) == pytest.approx(1.0, rel=0.15)


def test_still_tract_rings_at_its_formant_with_unit_gain_at_zero() -> None:
    impulse = np.zeros(4096)
    impulse[1000] = 1.0
    response = np.abs(np.fft.rfft(tract(impulse, [[1000.0]], [80.0], upper=False)))
    assert response[0] == pytest.approx(1.0, rel=0.02)
    assert np.argmax(response) * SAMPLE_RATE / 4096 == pytest.approx(1000.0, abs=10)
