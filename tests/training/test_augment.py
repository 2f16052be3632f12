from __future__ import annotations

import numpy as np
import pytest

from serd.model.metadata import FeatureParameters
from training.augment import (
    add_room,
    augment,
    band_centres,
    band_limits,
    coloured_noise,
    exchange_spectra,
    warp,
)
from training.recipe.augmentation import Augmentation, BandLimit, Exchange, Noise, Reverb, Warp

FEATURES = FeatureParameters()


def speech(count: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random power with an utterance in frames 60 to 119 of each clip."""
    power = np.zeros((count, 188, 64), dtype=np.float32)
    power[:, 60:120] = np.random.default_rng(0).gamma(2.0, 1.0, size=(count, 60, 64))
    return power, np.full(count, 60), np.full(count, 60)


def test_augment_without_settings_returns_the_input() -> None:
    power, starts, lengths = speech()
    augmented = augment(
        power,
        starts,
        lengths,
        settings=Augmentation(),
        features=FEATURES,
        random=np.random.default_rng(1),
    )
    np.testing.assert_array_equal(augmented, power)


def test_reverb_adds_a_tail_of_the_requested_energy_and_nothing_before_the_sound() -> None:
    power = np.zeros((1, 188, 64), dtype=np.float32)
    power[0, 20] = 1.0
    room = Reverb(probability=1.0, rt60_s=(0.4, 0.4), tail_db=(-6.0, -6.0))
    wet = add_room(power, room, FEATURES, np.random.default_rng(0))
    assert not wet[0, :20].any()
    np.testing.assert_allclose(wet[0, 20], 1.0)
    np.testing.assert_allclose(wet[0, 21:].sum(axis=0), 10**-0.6, rtol=1e-3)
    # In 0.4 s (25 frames) the tail falls by 60 dB in the lowest band, by 120 dB in the highest.
    fall = 10 * np.log10(wet[0, 21] / wet[0, 46])
    assert fall[0] == pytest.approx(60.0, abs=0.1)
    assert fall[-1] == pytest.approx(120.0, abs=0.2)


def test_only_long_term_spectra_are_exchanged() -> None:
    power, _, lengths = speech(8)
    power *= np.geomspace(1.0, 100.0, 64, dtype=np.float32) ** np.linspace(-1, 1, 8)[:, None, None]
    unchanged = exchange_spectra(power, lengths, Exchange(), np.random.default_rng(0))
    np.testing.assert_array_equal(unchanged, power)
    exchanged = exchange_spectra(
        power, lengths, Exchange(probability=1.0), np.random.default_rng(0)
    )
    assert not exchanged[:, :60].any()

    def slopes(of: np.ndarray) -> np.ndarray:
        level = 10 * np.log10(of[:, 60:120].mean(axis=1))
        return np.asarray([np.polyfit(np.arange(64), row, 1)[0] for row in level])

    before, after = slopes(power), slopes(exchanged)
    # Each clip gets another clip's spectral slope; its course over time does not change.
    np.testing.assert_allclose(np.sort(after), np.sort(before), atol=0.03)
    assert np.abs(after - before).max() > 0.2
    gains = exchanged[:, 60:120] / power[:, 60:120]
    np.testing.assert_allclose(gains, gains[:, :1].repeat(60, axis=1), rtol=1e-4)


def test_noise_has_the_requested_snr() -> None:
    power, _, lengths = speech()
    level = power.sum(axis=(1, 2)) / lengths
    settings = Noise(probability=1.0, snr_db=(10.0, 10.0), tilt_db=(-20.0, -20.0))
    noise = coloured_noise(power, level, settings, np.random.default_rng(0))
    ratio = 10 * np.log10(level / noise.sum(axis=2).mean(axis=1))
    np.testing.assert_allclose(ratio, 10.0, atol=0.6)
    assert (noise[:, :, :8].mean(axis=(1, 2)) > noise[:, :, -8:].mean(axis=(1, 2))).all()


def test_band_limit_passes_only_the_telephone_band() -> None:
    settings = BandLimit(
        probability=1.0, low_hz=(300.0, 300.0), high_hz=(3400.0, 3400.0), slope_db=(60.0, 60.0)
    )
    gain = band_limits(2, settings, FEATURES, np.random.default_rng(0))
    centres = band_centres(FEATURES)
    inside = (centres > 300.0) & (centres < 3400.0)
    np.testing.assert_allclose(gain[:, inside], 1.0)
    assert (gain[:, centres < 150.0] <= 1e-6).all()
    assert (gain[:, centres > 6800.0] <= 1e-6).all()


def test_frames_outside_the_utterance_and_its_margins_are_silent() -> None:
    power, starts, lengths = speech()
    settings = Augmentation(
        reverb=Reverb(probability=1.0), noise=Noise(probability=1.0), margin_frames=5
    )
    augmented = augment(
        power,
        starts,
        lengths,
        settings=settings,
        features=FEATURES,
        random=np.random.default_rng(3),
    )
    assert not augmented[:, :55].any()
    assert not augmented[:, 125:].any()
    assert (augmented[:, 60:120].sum(axis=2) > 0).all()


def test_warp_stays_within_the_limits_for_length_and_shift() -> None:
    power = np.zeros((100, 64), dtype=np.float32)
    power[:, 32] = 1.0
    random = np.random.default_rng(0)
    settings = Warp(probability=1.0, stretch=0.15, shift=0.08)
    lengths, peaks = set(), set()
    for _ in range(50):
        warped = warp(power, settings, random)
        lengths.add(len(warped))
        peaks.add(int(warped.sum(axis=0).argmax()))
    assert min(lengths) >= 85
    assert max(lengths) <= 115
    assert len(lengths) > 10
    assert {29, 32, 35} & peaks
    assert min(peaks) >= 29
    assert max(peaks) <= 35
    assert warp(power, Warp(), random) is power
