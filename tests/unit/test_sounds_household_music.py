"""The household and music generators: same seed, same samples; and the acoustic facts a listener goes by."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import signal

from precompute.soundscape import dsp, modal, score
from precompute.soundscape.registry import EVENTS, SAMPLE_RATE
from precompute.soundscape.sounds import load_all
from precompute.soundscape.sounds.household import clock_tick
from precompute.soundscape.sounds.music import piano_note
from precompute.soundscape.sounds.percussion import marimba
from precompute.soundscape.sounds.tools import hand_saw, power_drill
from precompute.soundscape.sounds.winds import glide

EXPECTED = {
    "clock_tick", "door_knock", "glass_breaking", "keyboard_typing", "vacuum_cleaner", "power_drill", "hammering",
    "hand_saw", "door_creak", "camera_shutter", "toilet_flush", "coin_drop", "piano", "acoustic_guitar", "flute",
    "violin", "trumpet", "drum_kit", "church_organ", "marimba", "harp", "accordion",
}  # fmt: skip


def level_db(x: np.ndarray, hop_s: float = 0.005) -> np.ndarray:
    """Root-mean-square level of consecutive stretches in dB under the loudest one."""
    hop = int(hop_s * SAMPLE_RATE)
    frames = x[: len(x) // hop * hop].reshape(-1, hop)
    level = np.sqrt((frames**2).mean(1))
    return 20 * np.log10(level / level.max() + 1e-12)


def impact_times(x: np.ndarray, floor_db: float = -20.0, apart_s: float = 0.12) -> np.ndarray:
    """Seconds of the peaks of the level curve, at least `apart_s` apart."""
    peaks, _ = signal.find_peaks(level_db(x, 0.002), height=floor_db, distance=int(apart_s / 0.002))
    return peaks * 0.002


def spectrum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and magnitudes of a Hann-windowed stretch, zero-padded four times."""
    size = 4 * len(x)
    return np.fft.rfftfreq(size, 1 / SAMPLE_RATE), np.abs(np.fft.rfft(x * np.hanning(len(x)), size))


def fundamental(x: np.ndarray, low: float, high: float) -> float:
    """Fundamental in Hz by the highest peak of the autocorrelation between two bounds."""
    x = x - x.mean()
    lags = np.fft.irfft(np.abs(np.fft.rfft(x, 2 * len(x))) ** 2)[: len(x)]
    first, last = int(SAMPLE_RATE / high), int(SAMPLE_RATE / low)
    return SAMPLE_RATE / (first + int(np.argmax(lags[first:last])))


def test_every_event_of_the_two_families_is_registered() -> None:
    load_all()
    assert {key for key, event in EVENTS.items() if event.family in ("household and tools", "music")} == EXPECTED


@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_same_seed_gives_the_same_samples_and_another_seed_others(key: str) -> None:
    first, again, other = (EVENTS[key].render(np.random.default_rng(seed), 3.0) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    n = min(len(first), len(other))
    alike = np.dot(first[:n], other[:n]) / np.sqrt(np.dot(first, first) * np.dot(other, other))
    assert abs(alike) < 0.7


@pytest.mark.parametrize(("key", "extra"), list(product(sorted(EXPECTED), (-0.05, 0.0, 0.37, 2.0))))
def test_length_level_and_finiteness(key: str, extra: float) -> None:
    seconds = min(4.0, EVENTS[key].min_seconds + extra)
    for seed in range(3):
        x = EVENTS[key].render(np.random.default_rng(seed), seconds)
        assert x.ndim == 1
        assert x.dtype == np.float64
        assert 0.3 * SAMPLE_RATE < len(x) <= dsp.samples(seconds)
        assert np.isfinite(x).all()
        assert 0.02 < np.abs(x).max() < 60
        assert abs(x.mean()) < 0.05 * np.abs(x).max()


@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_no_phrase_hides_in_another(key: str) -> None:
    load_all()
    mine = (EVENTS[key].label, *EVENTS[key].clauses)
    others = [(e.key, phrase) for e in EVENTS.values() for phrase in (e.label, *e.clauses)]
    for phrase in mine:
        assert phrase == phrase.lower()
        assert phrase.isascii()
        inside = [(k, other) for k, other in others if phrase in other and (k, other) != (key, phrase)]
        assert not inside


@pytest.mark.parametrize("key", ["clock_tick", "door_knock", "hammering", "keyboard_typing", "camera_shutter"])
def test_repeats_are_separated_by_silence(key: str) -> None:
    for seed in range(6):
        level = level_db(EVENTS[key].render(np.random.default_rng(seed), 4.0))
        onsets = np.flatnonzero((level[1:] > -20) & (level[:-1] < -45))
        assert len(onsets) >= (1 if key == "camera_shutter" else 2)
        assert (level < -45).mean() > 0.1


def test_clock_beats_steadily_with_two_timbres() -> None:
    for seed in range(8):
        x = clock_tick(np.random.default_rng(seed), 4.0)
        gaps = np.diff(impact_times(x))
        pairs = gaps[:-1] + gaps[1:]
        assert len(gaps) >= 4
        assert 0.23 < gaps.mean() < 0.75
        assert pairs.std() / pairs.mean() < 0.03
        at = (impact_times(x) * SAMPLE_RATE).astype(int)
        shapes = [np.abs(np.fft.rfft(x[max(0, a - 200) : max(0, a - 200) + 1600], 2048)) for a in at[:4]]
        shapes = [s / np.linalg.norm(s) for s in shapes]
        assert shapes[0] @ shapes[2] > shapes[0] @ shapes[1]


def test_clock_is_broadband() -> None:
    for seed in range(5):
        hz, power = signal.welch(clock_tick(np.random.default_rng(seed), 4.0), SAMPLE_RATE, nperseg=512)
        share = power[hz > 3000].sum() / power.sum()
        assert 0.05 < share < 0.95


def test_ring_equals_the_plain_sum_of_decaying_cosines() -> None:
    rng = np.random.default_rng(0)
    hz, t60, gain, phase = rng.uniform(50, 7000, 9), rng.uniform(0.05, 2, 9), rng.uniform(0, 1, 9), rng.uniform(0, 6, 9)
    t = np.arange(8000)[:, None] / SAMPLE_RATE
    plain = (gain * np.exp(-6.91 * t / t60) * np.cos(2 * np.pi * hz * t + phase)).sum(1)
    np.testing.assert_allclose(modal.ring(0.5, hz, t60, gain, phase), plain, atol=2e-3)


def test_ring_leaves_out_what_would_alias() -> None:
    assert np.abs(modal.ring(0.1, np.array([7900.0, 9000.0]), np.ones(2), np.ones(2))).max() == 0


def test_wave_table_holds_the_harmonics_asked_for() -> None:
    tone = modal.read_table(modal.wave_table(np.array([1.0, 0.0, 0.5])), np.arange(4096) / 64)
    magnitude = np.abs(np.fft.rfft(tone)) / 2048
    np.testing.assert_allclose(magnitude[[64, 128, 192]], [1.0, 0.0, 0.5], atol=1e-6)


def test_shaped_noise_follows_its_points() -> None:
    x = modal.shaped_noise(np.random.default_rng(0), 4.0, [(20, -40), (500, 0), (4000, 0), (8000, -40)])
    hz, power = signal.welch(x, SAMPLE_RATE, nperseg=1024)
    decibel = 10 * np.log10(power)
    plateau = decibel[(hz > 800) & (hz < 3500)].mean()
    assert decibel[np.argmin(abs(hz - 100))] - plateau == pytest.approx(-20, abs=2.5)
    assert x.std() == pytest.approx(1.0)


def test_piano_partials_are_stretched_as_those_of_a_stiff_string() -> None:
    stiffness = 4e-4
    note = score.Note(0.0, 1.5, 262.0, 0.9)
    x = piano_note(np.random.default_rng(3), note, 1.5, stiffness, 1500.0)
    hz, magnitude = spectrum(x)
    for n in (2, 4, 6, 10):
        expected = n * 262.0 * np.sqrt(1 + stiffness * n**2)
        near = abs(hz - expected) < 40
        assert hz[near][np.argmax(magnitude[near])] == pytest.approx(expected, rel=0.002)
    assert 10 * 262.0 * np.sqrt(1 + stiffness * 100) > 10 * 262.0 * 1.015


def test_piano_decays_fast_then_slowly_and_a_harder_blow_is_brighter() -> None:
    def bright(x: np.ndarray) -> float:
        hz, magnitude = spectrum(x)
        return float((hz * magnitude**2).sum() / (magnitude**2).sum())

    soft, hard = (
        piano_note(np.random.default_rng(1), score.Note(0.0, 1.5, 262.0, s), 1.5, 4e-4, 1200.0) for s in (0.3, 1.0)
    )
    assert bright(hard) > 1.1 * bright(soft)
    level = level_db(hard, 0.1)
    assert level[1] - level[3] > level[10] - level[12] > 0


@pytest.mark.parametrize(("key", "low", "high"), [("flute", 262, 1400), ("violin", 200, 1250), ("trumpet", 190, 1000)])
def test_one_voice_stays_in_the_range_of_the_instrument(key: str, low: float, high: float) -> None:
    for seed in range(5):
        x = EVENTS[key].render(np.random.default_rng(seed), 4.0)
        middle = x[len(x) // 3 : len(x) // 3 + 1600]
        assert low * 0.97 < fundamental(middle, low * 0.9, high * 1.1) < high * 1.03


def test_trumpet_is_brighter_than_flute() -> None:
    def upper(key: str, seed: int) -> float:
        hz, power = signal.welch(EVENTS[key].render(np.random.default_rng(seed), 4.0), SAMPLE_RATE, nperseg=1024)
        return float((hz * power).sum() / power.sum())

    assert np.mean([upper("trumpet", s) for s in range(6)]) > 1.15 * np.mean([upper("flute", s) for s in range(6)])


def test_marimba_bar_rings_at_its_fourth_partial_not_its_second() -> None:
    ratios = []
    for seed in range(6):
        x = marimba(np.random.default_rng(seed), 3.0)
        start = int(impact_times(x, -25, 0.1)[0] * SAMPLE_RATE)
        hz, magnitude = spectrum(x[start : start + 2400])
        base = hz[np.argmax(magnitude)]
        around = lambda f, hz=hz, magnitude=magnitude: magnitude[abs(hz / f - 1) < 0.03].max()  # noqa: E731
        ratios.append(around(3.93 * base) / around(2.4 * base))
    assert np.median(ratios) > 3


def test_saw_strokes_come_two_a_cycle() -> None:
    for seed in range(6):
        level = np.maximum(level_db(hand_saw(np.random.default_rng(seed), 4.0), 0.01), -40)
        level = np.convolve(level, np.ones(9) / 9, "same")
        dips, _ = signal.find_peaks(-level, prominence=6, distance=10)
        assert 1.5 < len(dips) / 4.0 < 4.6


def test_drill_glides_up_when_the_trigger_is_pulled() -> None:
    rising = 0
    for seed in range(8):
        x = power_drill(np.random.default_rng(seed), 3.0)
        start = int(np.argmax(level_db(x) > -30) * 0.005 * SAMPLE_RATE)
        early, late = (fundamental(x[start + a : start + a + 1200], 40, 500) for a in (0, 6400))
        rising += late > 1.15 * early
    assert rising >= 5


def test_struck_things_fade_and_glass_is_high() -> None:
    for seed in range(5):
        x = EVENTS["glass_breaking"].render(np.random.default_rng(seed), 4.0)
        hz, power = signal.welch(x, SAMPLE_RATE, nperseg=512)
        assert power[hz > 2000].sum() > 0.5 * power.sum()
        third = len(x) // 3
        assert (x[:third] ** 2).sum() > 3 * (x[-third:] ** 2).sum()


def test_coins_bounce_ever_faster() -> None:
    shrinking = 0
    for seed in range(10):
        x = EVENTS["coin_drop"].render(np.random.default_rng(seed), 1.2)
        gaps = np.diff(impact_times(x, -30, 0.05))[:3]
        shrinking += bool(len(gaps) == 3 and gaps[2] < gaps[0])
    assert shrinking >= 6


def test_melody_stays_in_key_and_within_the_phrase() -> None:
    key = score.Key(2, score.MAJOR, 0.0)
    notes = score.melody(np.random.default_rng(0), 4.0, key, 60, 76, 0.4)
    midi = np.array([69 + 12 * np.log2(n.hz / 440) for n in notes])
    np.testing.assert_allclose(midi, np.round(midi), atol=1e-9)
    assert {int(m) % 12 for m in np.round(midi)} <= {(2 + s) % 12 for s in score.MAJOR}
    assert all(n.start >= 0 and n.start + n.length < 4.0 and n.strength > 0 for n in notes)
    assert 4 <= len(notes) <= 40


def test_triad_on_the_tonic_of_c_major() -> None:
    assert score.triad(score.Key(0, score.MAJOR, 0.0), 0, 48) == [48, 52, 55]
    assert score.pitch(69, score.Key(0, score.MAJOR, 0.0)) == 440.0


def test_glide_reaches_every_note() -> None:
    notes = [score.Note(0.0, 0.4, 440.0, 1.0), score.Note(0.5, 0.4, 660.0, 1.0)]
    curve = glide(notes, 1.0, 0.02)
    assert curve[200] == pytest.approx(440.0)
    assert curve[700] == pytest.approx(660.0)
    assert 440 < curve[510] < 660
