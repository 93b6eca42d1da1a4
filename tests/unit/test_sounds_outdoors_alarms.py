"""Weather, vehicle and alarm sounds: the shared blocks against plain formulas, and acoustic facts of the events."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from precompute.soundscape.registry import EVENTS, SAMPLE_RATE
from precompute.soundscape.sounds import _engine, _texture, aircraft, alarms, vehicles, water, weather

MODULES = {module.__name__ for module in (weather, water, vehicles, aircraft, alarms)}
OURS = sorted(key for key, event in EVENTS.items() if event.render.__module__ in MODULES)
SEEDS = range(4)


def render(key: str, seed: int, seconds: float = 4.0) -> np.ndarray:
    return EVENTS[key].render(np.random.default_rng(seed), seconds)


def power(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return signal.welch(x, SAMPLE_RATE, nperseg=min(len(x), 8192))


def share_below(x: np.ndarray, hz: float) -> float:
    f, p = power(x)
    return float(p[f < hz].sum() / p.sum())


def loudest(x: np.ndarray) -> float:
    f, p = power(x)
    return float(f[np.argmax(p)])


def level_db(x: np.ndarray, window: float = 0.01) -> np.ndarray:
    size = int(window * SAMPLE_RATE)
    blocks = x[: len(x) // size * size].reshape(-1, size)
    return 20 * np.log10(np.abs(blocks).max(axis=1) / np.abs(x).max() + 1e-9)


def track(x: np.ndarray, low: float, high: float) -> np.ndarray:
    f, _, z = signal.stft(x, SAMPLE_RATE, nperseg=1024, noverlap=768, boundary=None)
    band = (f >= low) & (f <= high)
    return f[band][np.abs(z[band]).argmax(axis=0)]


def envelope_peak(x: np.ndarray, low: float, high: float) -> float:
    """Strongest modulation frequency of the intensity between two bounds, Hz."""
    slow = signal.resample_poly(
        signal.sosfiltfilt(signal.butter(2, 60, "low", fs=SAMPLE_RATE, output="sos"), x**2), 1, 100
    )
    f, p = signal.periodogram(slow - slow.mean(), SAMPLE_RATE / 100, "hann")
    band = (f >= low) & (f <= high)
    return float(f[band][np.argmax(p[band])])


def test_the_three_families_hold_what_was_asked() -> None:
    assert set(OURS) == {
        *("rain", "thunder", "wind", "stream", "ocean_waves", "water_drops", "fire", "boiling"),
        *("car_engine", "motorcycle", "train", "train_horn", "airplane", "helicopter", "car_horn", "reversing_beep"),
        *("siren", "smoke_alarm", "alarm_clock", "telephone", "church_bell", "doorbell", "bicycle_bell"),
    }


@pytest.mark.parametrize("key", OURS)
def test_event_is_sound_of_the_asked_length_from_the_seed_alone(key: str) -> None:
    for seconds in (EVENTS[key].min_seconds, 4.0):
        rendered = [render(key, seed, seconds) for seed in SEEDS]
        for seed, x in zip(SEEDS, rendered, strict=True):
            assert x.dtype == np.float64
            assert x.ndim == 1
            assert 0.3 * SAMPLE_RATE < len(x) <= round(seconds * SAMPLE_RATE)
            assert np.isfinite(x).all()
            assert 0.2 < np.abs(x).max() <= 1.0001
            assert np.array_equal(x, render(key, seed, seconds))
        for other in rendered[1:]:
            assert abs(np.corrcoef(rendered[0], other)[0, 1]) < 0.5


def test_words_are_plain_and_none_lies_inside_another() -> None:
    words = [word for key in OURS for word in (EVENTS[key].label, *EVENTS[key].clauses)]
    assert len(set(words)) == len(words)
    for word in words:
        assert word.isascii()
        assert word
        assert word == word.lower().strip()
        assert not [other for other in words if other != word and word in other]


# the shared blocks


def test_excite_is_the_sum_of_plain_convolutions() -> None:
    rng = np.random.default_rng(0)
    for n, lengths in ((9000, (30, 700)), (300, (5, 900)), (20000, (1,))):
        pairs = [(rng.standard_normal(n), rng.standard_normal(length)) for length in lengths]
        expected = sum(np.convolve(x, h)[:n] for x, h in pairs)
        assert np.allclose(_texture.excite(n, pairs), expected, atol=1e-3)


def test_ringing_and_tone_equal_their_formulas() -> None:
    t = np.arange(4000) / SAMPLE_RATE
    expected = 0.5 * np.exp(-6.91 * t / 0.1) * np.sin(2 * np.pi * 440 * t + 0.3)
    got = _texture.ringing(0.25, np.array([440.0, 9000.0]), np.array([0.1, 1]), np.array([0.5, 9]), np.array([0.3, 0]))
    assert np.allclose(got, expected, atol=1e-9)
    turns = np.cumsum(np.full(4000, 1000.0)) / SAMPLE_RATE
    expected = np.sin(2 * np.pi * turns) + 0.5 * np.sin(4 * np.pi * turns)
    assert np.allclose(_texture.tone(np.full(4000, 1000.0), np.array([1, 0.5])), expected, atol=3e-3)


def test_tone_leaves_out_what_would_alias() -> None:
    x = _texture.tone(np.linspace(1000, 3000, 16000), np.ones(12))
    f, _, z = signal.stft(x, SAMPLE_RATE, nperseg=1024, boundary=None)
    assert np.abs(z[f > 7800]).max() < 0.05 * np.abs(z).max()
    assert np.abs(z[f < 850]).max() < 0.02 * np.abs(z).max()


def test_painted_noise_has_the_gain_as_its_level() -> None:
    rng = np.random.default_rng(1)
    t, hz = _texture.canvas(4.0)
    steady = _texture.painted(rng, 4.0, np.ones((len(t), hz.shape[1])))
    assert steady.std() == pytest.approx(1.0, abs=0.02)
    half = _texture.painted(rng, 4.0, np.where(t < 2, 1.0, 0.1) * np.ones_like(hz))
    assert half[:30000].std() / half[34000:].std() == pytest.approx(10, rel=0.05)


def test_colour_has_the_asked_spectrum_and_unit_energy() -> None:
    response = _texture.colour([(20, -20), (1000, 0), (8000, -18)])
    assert (response**2).sum() == pytest.approx(1)
    gain = 20 * np.log10(np.abs(np.fft.rfft(response, 16000)))
    assert gain[1000] - gain[8000 - 1] == pytest.approx(18, abs=1)
    assert gain[1000] - gain[150] == pytest.approx(-gain_db(150) + gain_db(1000), abs=1)


def gain_db(hz: float) -> float:
    return float(20 * np.log10(_texture.gain_at(np.array([hz]), [(20, -20), (1000, 0), (8000, -18)])[0]))


def test_scatter_keeps_the_sum_and_splits_between_samples() -> None:
    x = _texture.scatter(100, np.array([10.25, 50.0, 1e9]) / SAMPLE_RATE, np.array([4.0, 2.0, 7.0]))
    assert np.allclose(x[[10, 11, 50]], [3, 1, 2])
    assert x.sum() == pytest.approx(6)


def test_bubble_rings_near_its_pitch_and_rises() -> None:
    rng = np.random.default_rng(0)
    x = _texture.bubbles(rng, 1600, np.array([0.0]), np.array([1000.0]), np.array([1.0]), rise=0.2, longest=0.05)
    crossings = np.flatnonzero(np.diff(np.signbit(x[: int(0.03 * SAMPLE_RATE)])))
    pitch = SAMPLE_RATE / 2 / np.diff(crossings)
    assert pitch[:5].mean() == pytest.approx(1030, rel=0.08)
    assert pitch[-5:].mean() > 1.15 * pitch[:5].mean()


# weather and water


def test_thunder_rolls_on_in_the_bass() -> None:
    for seed in SEEDS:
        x = render("thunder", seed)
        start = int(np.argmax(np.abs(x) > 0.2 * np.abs(x).max()))
        late = x[start + SAMPLE_RATE :]
        assert share_below(late, 300) > 0.6
        assert 20 * np.log10(late[: SAMPLE_RATE // 2].std() / np.abs(x).max()) > -45
        assert share_below(x, 60) < 0.8


def test_close_thunder_cracks_before_it_rumbles() -> None:
    high = [1 - share_below(render("thunder", seed)[:16000], 500) for seed in range(12)]
    later = [1 - share_below(render("thunder", seed)[32000:], 500) for seed in range(12)]
    assert np.median(high) > np.median(later)
    assert max(high) > 0.2


def test_fire_is_sparse_clicks_and_rain_is_dense_ones() -> None:
    def peakiness(key: str, seed: int) -> float:
        x = signal.sosfilt(signal.butter(4, 2000, "high", fs=SAMPLE_RATE, output="sos"), render(key, seed)[800:-1600])
        return float(np.mean(x**4) / np.mean(x**2) ** 2)

    fire = [peakiness("fire", seed) for seed in range(8)]
    rain = [peakiness("rain", seed) for seed in range(8)]
    assert min(fire) > 20
    assert np.median(rain) < 8
    assert max(rain) < min(fire)


def test_wet_and_airy_noises_have_their_own_spectra() -> None:
    def centroid(key: str) -> float:
        f, p = zip(*[power(render(key, seed)) for seed in range(6)], strict=True)
        return float(np.median([(a * b).sum() / b.sum() for a, b in zip(f, p, strict=True)]))

    heights = {key: centroid(key) for key in ("rain", "stream", "boiling", "wind", "thunder")}
    assert heights["rain"] > 2000
    assert heights["rain"] > heights["stream"] > heights["boiling"] > heights["thunder"]
    assert heights["wind"] < 600


def test_ocean_waves_swell_slowly() -> None:
    for seed in SEEDS:
        x = render("ocean_waves", seed)[2400:-3200]
        level = [20 * np.log10(block.std()) for block in np.array_split(x, 14)]
        assert max(level) - min(level) > 6
        assert np.abs(np.diff(level)).max() < 14


def test_water_drops_chirp_upwards_out_of_silence() -> None:
    rises = []
    for seed in range(8):
        x = render("water_drops", seed)
        assert np.mean(level_db(x) < -45) > 0.25
        at = int(np.argmax(np.abs(x)))
        piece = x[at : at + 1200]
        pitch = SAMPLE_RATE / 2 / np.diff(np.flatnonzero(np.diff(np.signbit(piece))))
        rises.append(np.median(pitch[len(pitch) // 2 :]) / np.median(pitch[: max(4, len(pitch) // 4)]))
    assert np.median(rises) > 1.05


# vehicles


def test_engine_fires_once_a_cylinder_every_two_turns() -> None:
    rng = np.random.default_rng(0)
    revs, load = np.full(64000, 20.0), np.full(64000, 0.5)
    at, cylinder = _engine._firings(rng, revs, load, np.arange(4) / 4)
    assert len(at) == pytest.approx(20 / 2 * 4 * 4, abs=5)
    assert np.median(np.diff(at)) == pytest.approx(1 / 40, rel=0.03)
    assert np.bincount(cylinder).min() >= 38
    x = _engine.engine(rng, revs, load, np.arange(4) / 4, 0.4, 0.05)
    f, p = signal.periodogram(x)
    assert p[np.abs(f * SAMPLE_RATE - 80) < 1].max() > 5 * np.median(p[(f * SAMPLE_RATE > 65) & (f * SAMPLE_RATE < 95)])


def test_throttle_raises_the_speed_and_lets_it_fall() -> None:
    rng = np.random.default_rng(3)
    t = _texture.slow(4.0)
    revs, load = _engine.spin(rng, ((t > 1) & (t < 2)).astype(float), 4.0, 12.0, 60.0, 0.2, 0.5)
    assert revs[8000] == pytest.approx(12, rel=0.1)
    assert revs[31000] > 50
    assert 12 < revs[-1] < 20
    assert load[8000] < 0.05 < 0.8 < load[24000]


def test_engines_are_low_but_not_only_low() -> None:
    for key in ("car_engine", "motorcycle"):
        for seed in SEEDS:
            x = render(key, seed)
            assert share_below(x, 700) > 0.6
            assert -60 < 10 * np.log10(1 - share_below(x, 2000)) < -5


def test_helicopter_beats_at_the_blade_rate() -> None:
    for seed in range(8):
        x = render("helicopter", seed)
        assert 8 < envelope_peak(x, 4, 45) < 25


def test_airplane_swells_and_passes() -> None:
    for seed in SEEDS:
        level = np.array([block.std() for block in np.array_split(render("airplane", seed)[3200:-3200], 10)])
        assert level.max() > 2 * min(level[0], level[-1])


def test_horns_are_chords_rich_in_overtones() -> None:
    for key, low, high in (("train_horn", 220, 720), ("car_horn", 310, 580)):
        notes = []
        for seed in range(8):
            f, p = signal.periodogram(render(key, seed), SAMPLE_RATE, "hann", nfft=65536)
            band = (f > low) & (f < high)
            peaks, _ = signal.find_peaks(
                10 * np.log10(p[band] + 1e-20), height=10 * np.log10(p.max()) - 25, distance=100
            )
            notes.append(len(peaks))
            assert p[(f > 1000) & (f < 5000)].sum() > 0.15 * p.sum()
        assert np.median(notes) >= (3 if key == "train_horn" else 2)


def test_reversing_alarm_is_one_pitch_half_of_the_time() -> None:
    for seed in SEEDS:
        x = render("reversing_beep", seed)
        assert 930 < loudest(x) < 1520
        on = level_db(x) > -20
        rising, falling = np.flatnonzero(np.diff(on.astype(int)) == 1), np.flatnonzero(np.diff(on.astype(int)) == -1)
        assert 3 <= len(rising) <= 6
        period = np.median(np.diff(rising)) * 0.01
        assert 0.65 < period < 1.2
        last = falling[falling > rising[0]][: len(rising)]
        assert 0.38 < np.median(last - rising[: len(last)]) * 0.01 / period < 0.6
        assert np.mean(level_db(x) < -45) > 0.3


# alarms and bells


def test_siren_moves_within_its_range() -> None:
    spans = []
    for seed in range(16):
        hz = track(render("siren", seed), 350, 1900)
        low, high = np.percentile(hz, [4, 96])
        spans.append(high / low)
        assert 350 < low < high < 1850
    assert min(spans) > 1.1
    assert np.median(spans) > 1.5


def test_smoke_alarm_is_piercing_and_pulsed() -> None:
    for seed in range(8):
        x = render("smoke_alarm", seed)
        assert 2800 < loudest(x) < 3500
        level = level_db(x)
        assert np.mean(level < -45) > 0.1
        assert np.sum(np.diff((level > -20).astype(int)) == 1) >= 1


def test_alarm_clock_beeps_in_groups() -> None:
    for seed in range(8):
        x = render("alarm_clock", seed)
        assert 1800 < loudest(x) < 2750
        on = (level_db(x, 0.005) > -20).astype(int)
        gaps = np.diff(np.flatnonzero(np.diff(on) == 1)) * 0.005
        assert len(gaps) >= 4
        assert gaps.min() < 0.22 < 0.24 < gaps.max()
        assert np.mean(level_db(x) < -45) > 0.3


def test_telephone_rings_and_rests() -> None:
    for seed in range(10):
        x = render("telephone", seed)
        level = level_db(x, 0.05)
        assert np.mean(level > -20) > 0.25
        assert level.min() < -30
        assert 650 < loudest(x) < 7000


def test_bell_partials_beat_in_pairs() -> None:
    rng = np.random.default_rng(0)
    x = alarms._bell(rng, 4.0, np.array([300.0]), np.array([60.0]), np.array([1.0]), 4.0)
    f, p = signal.periodogram(x, SAMPLE_RATE, "blackman", nfft=1 << 19)
    peaks, _ = signal.find_peaks(p, height=p.max() * 1e-3, distance=20)
    assert len(peaks) == 2
    assert f[peaks].mean() == pytest.approx(300, abs=0.2)
    assert 0.7 < np.diff(f[peaks])[0] < 7.5


def test_church_bell_has_a_minor_third_and_a_hum() -> None:
    found = 0
    for seed in range(8):
        x = render("church_bell", seed)
        f, p = signal.periodogram(x, SAMPLE_RATE, "hann", nfft=1 << 17)
        db = 10 * np.log10(p / p.max() + 1e-12)
        candidates = np.arange(190, 600, 1.0)

        def near(hz: float, f: np.ndarray = f, db: np.ndarray = db) -> float:
            return float(db[np.abs(f / hz - 1) < 0.012].max())

        found += any(min(near(c * r) for r in (0.5, 1.0, 1.2, 2.0)) > -28 for c in candidates)
    assert found >= 7


def test_doorbell_goes_down_by_about_a_third() -> None:
    for seed in range(8):
        x = render("doorbell", seed)
        start = int(np.argmax(np.abs(x) > 0.1 * np.abs(x).max()))
        first = loudest(
            signal.sosfilt(signal.butter(4, 1000, "low", fs=SAMPLE_RATE, output="sos"), x[start + 300 : start + 4800])
        )
        rest = track(x[start + 12000 : start + 18000], 350, 1000)
        assert 1.1 < first / np.median(rest) < 1.45


def test_bicycle_bell_is_high_and_dies_away() -> None:
    for seed in range(8):
        x = render("bicycle_bell", seed)
        assert 1400 < loudest(x) < 7900
        assert share_below(x, 1200) < 0.1
        assert np.abs(x[-1600:]).max() < 0.5 * np.abs(x).max()
