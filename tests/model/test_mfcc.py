"""The front end compared with librosa, and streaming compared with batch processing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.model.metadata import FeatureParameters, Reverb
from serd.model.mfcc import (
    BLOCK_FRAMES,
    MfccFrontEnd,
    cosine_matrix,
    hz_to_mel,
    mel_filterbank,
    mel_to_hz,
)
from tests.model.signals import signals, voice

TOLERANCE_DB: Final = 1e-3

SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "window shorter than fft": {"window": 400, "hop": 160},
    "odd window": {"window": 401, "hop": 100},
    "odd hop": {"hop": 171},
    "hop as long as the fft": {"hop": 512},
    "long fft": {"fft": 2048, "window": 2048, "hop": 512, "mel_bands": 128, "coefficients": 20},
    "fft not a power of two": {"fft": 600, "window": 480, "hop": 160, "mel_bands": 40,
                               "coefficients": 13},
    "short fft": {"fft": 128, "window": 128, "hop": 64, "mel_bands": 16, "coefficients": 16},
    "13 coefficients": {"mel_bands": 40, "coefficients": 13},
    "all frequencies": {"f_min_hz": 0.0, "f_max_hz": 8000.0, "mel_bands": 40, "coefficients": 40},
    "telephone": {"f_min_hz": 300.0, "f_max_hz": 3400.0, "mel_bands": 26, "coefficients": 26},
    "below the break of the mel scale": {"f_min_hz": 0.0, "f_max_hz": 900.0, "mel_bands": 10,
                                         "coefficients": 5},
    "other rate": {"rate": 8000, "fft": 256, "window": 200, "hop": 80, "f_max_hz": 4000.0,
                   "mel_bands": 26, "coefficients": 12},
    "high floor": {"amin": 1e-3},
    "low floor": {"amin": 1e-20},
}  # fmt: skip


def librosa_log_mel(samples: npt.NDArray[np.float32], p: FeatureParameters) -> Any:
    librosa = pytest.importorskip("librosa")
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=p.rate,
        n_fft=p.fft,
        win_length=p.window,
        hop_length=p.hop,
        window="hann",
        center=True,
        pad_mode="constant",
        power=2.0,
        n_mels=p.mel_bands,
        fmin=p.f_min_hz,
        fmax=p.f_max_hz,
        htk=False,
        norm="slaney",
    )
    return librosa.power_to_db(power, ref=1.0, amin=p.amin, top_db=None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:n_fft=:UserWarning")  # some signals are deliberately shorter
@pytest.mark.parametrize("name", SETTINGS)
def test_log_mel_and_mfcc_match_librosa(name: str) -> None:
    librosa = pytest.importorskip("librosa")
    params = FeatureParameters(**SETTINGS[name])
    front_end = MfccFrontEnd(params)
    for signal, samples in signals().items():
        expected = librosa_log_mel(samples, params)
        ours = front_end.log_mel(samples)
        assert ours.dtype == np.float32
        assert ours.shape == expected.T.shape, signal
        assert np.abs(ours - expected.T).max() <= TOLERANCE_DB, signal
        cosines = librosa.feature.mfcc(S=expected, n_mfcc=params.coefficients, norm="ortho")
        assert np.abs(front_end.mfcc(samples) - cosines.T).max() <= TOLERANCE_DB, signal


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_parameters_match_librosa(data: st.DataObject) -> None:
    librosa = pytest.importorskip("librosa")
    fft = 2 * data.draw(st.integers(32, 600), label="fft / 2")
    low = data.draw(st.floats(0.0, 1000.0), label="f_min_hz")
    # Bands narrower than the distance between bins stay empty, about which librosa warns.
    widest = max(1, int((4000.0 - low) / (16_000 / fft) / 12))
    bands = data.draw(st.integers(1, min(64, widest)), label="mel_bands")
    params = FeatureParameters(
        fft=fft,
        window=data.draw(st.integers(fft // 4, fft), label="window"),
        hop=data.draw(st.integers(fft // 8, fft), label="hop"),
        mel_bands=bands,
        coefficients=data.draw(st.integers(1, bands), label="coefficients"),
        f_min_hz=low,
        f_max_hz=data.draw(st.floats(5000.0, 8000.0), label="f_max_hz"),
    )
    samples = voice(0.5, seed=data.draw(st.integers(0, 5)))
    expected = librosa_log_mel(samples, params)
    front_end = MfccFrontEnd(params)
    assert np.abs(front_end.log_mel(samples) - expected.T).max() <= TOLERANCE_DB
    cosines = librosa.feature.mfcc(S=expected, n_mfcc=params.coefficients, norm="ortho")
    assert np.abs(front_end.mfcc(samples) - cosines.T).max() <= TOLERANCE_DB


def test_input_of_the_network_matches_librosas_peak_relative_mfcc() -> None:
    """With clamping, padding with silence and normalisation done by hand."""
    librosa = pytest.importorskip("librosa")
    rng = np.random.default_rng(1)
    mean, sd = rng.normal(0, 20, 64), rng.uniform(5, 30, 64)
    params = FeatureParameters(mean=tuple(mean), sd=tuple(sd))
    samples = voice(1.3)
    relative = librosa_log_mel(samples, params)
    relative -= relative.max()
    levels = np.full((64, 188), -70.0, dtype=np.float32)
    frames = relative.shape[1]
    first = (188 - frames) // 2
    levels[:, first : first + frames] = np.maximum(relative, -70.0)
    expected = librosa.feature.mfcc(S=levels, n_mfcc=64, norm="ortho").T
    features = MfccFrontEnd(params).features(samples)
    assert features.dtype == np.float32
    assert features.shape == (188, 64)
    assert np.abs(features * sd + mean - expected).max() <= TOLERANCE_DB


@pytest.mark.parametrize("name", SETTINGS)
def test_filterbank_matches_librosa(name: str) -> None:
    librosa = pytest.importorskip("librosa")
    p = FeatureParameters(**SETTINGS[name])
    ours = mel_filterbank(
        rate=p.rate, fft=p.fft, bands=p.mel_bands, f_min_hz=p.f_min_hz, f_max_hz=p.f_max_hz,
    )  # fmt: skip
    theirs = librosa.filters.mel(
        sr=p.rate, n_fft=p.fft, n_mels=p.mel_bands, fmin=p.f_min_hz, fmax=p.f_max_hz,
        htk=False, norm="slaney",
    )  # fmt: skip
    assert np.abs(ours - theirs.T).max() <= 1e-6


def test_mel_scale_matches_librosa_and_can_be_inverted() -> None:
    librosa = pytest.importorskip("librosa")
    hertz = np.array([0.0, 60.0, 999.9, 1000.0, 1000.1, 4000.0, 8000.0])
    mels = hz_to_mel(hertz)
    assert np.allclose(mels, librosa.hz_to_mel(hertz, htk=False), rtol=1e-12)
    assert np.allclose(mel_to_hz(mels), hertz, rtol=1e-12, atol=1e-9)


def test_full_cosine_transform_is_orthogonal() -> None:
    matrix = cosine_matrix(64, 64)
    assert np.abs(matrix @ matrix.T - np.eye(64)).max() < 1e-12


def test_matrices_are_cached_and_read_only() -> None:
    assert cosine_matrix(64, 40) is cosine_matrix(64, 40)
    with pytest.raises(ValueError, match="read-only"):
        cosine_matrix(64, 40)[0, 0] = 1.0


STREAM: Final = FeatureParameters(frames=50, mean=(1.5,) * 64, sd=(3.0,) * 64)
ODD: Final = FeatureParameters(
    frames=21, fft=600, window=501, hop=171, mel_bands=20, coefficients=13
)
IN_ROOM: Final = FeatureParameters(frames=50, reverb=Reverb(rt60_s=0.5, tail_db=-3.0))


@settings(max_examples=150, deadline=None)
@given(
    params=st.sampled_from([STREAM, ODD, IN_ROOM]),
    blocks=st.lists(st.one_of(st.integers(0, 40), st.integers(0, 6000), st.just(480)), max_size=40),
    trimmed=st.floats(0.0, 1.0),
    before=st.integers(0, 20_000),
)
@pytest.mark.slow
def test_streaming_equals_batch_processing_bit_for_bit(
    params: FeatureParameters, blocks: list[int], trimmed: float, before: int
) -> None:
    samples = np.random.default_rng(3).standard_normal(sum(blocks)).astype(np.float32) * 0.1
    length = round(trimmed * len(samples))
    front_end = MfccFrontEnd(params)
    front_end.push(voice(2.0)[:before])  # an abandoned utterance has no effect
    front_end.start()
    position = 0
    for size in blocks:
        front_end.push(samples[position : position + size])
        position += size
    streamed = front_end.finish(length)
    assert np.array_equal(streamed, MfccFrontEnd(params).features(samples[:length]))


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 20_000), params=st.sampled_from([STREAM, ODD, IN_ROOM]))
def test_separate_stages_give_the_same_features_bit_for_bit(
    length: int, params: FeatureParameters
) -> None:
    samples = voice(2.0)[:length]
    front_end = MfccFrontEnd(params)
    power = front_end.mel_power(samples)
    assert power.shape == (params.frames_of(length), params.mel_bands)
    assert np.array_equal(front_end.finish_mel(power), front_end.features(samples))


def test_frames_are_computed_while_the_audio_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    front_end = MfccFrontEnd(FeatureParameters())
    computed = 0
    block = front_end._spectrum.block

    def count(frames: Any, out: Any) -> None:
        nonlocal computed
        computed += 1
        block(frames, out)

    monkeypatch.setattr(front_end._spectrum, "block", count)
    samples = voice(2.8)
    front_end.start()
    for first in range(0, len(samples), 480):
        front_end.push(samples[first : first + 480])
    while_speaking = computed
    assert while_speaking == (1 + (len(samples) - 256) // 256) // BLOCK_FRAMES
    front_end.finish()
    assert computed - while_speaking <= 2
    computed = 0
    front_end.finish(len(samples) - 3200)  # 0.2 s of hangover trimmed off
    assert computed <= 3


def test_audio_after_the_last_frame_is_ignored() -> None:
    front_end = MfccFrontEnd(STREAM)
    samples = voice(5.0)
    assert np.array_equal(
        front_end.features(samples), front_end.features(samples[: STREAM.longest])
    )
    assert front_end.features(samples).shape == (50, 64)
    assert not np.array_equal(
        front_end.features(samples), front_end.features(samples[: STREAM.longest - 200])
    )


def test_an_utterance_cannot_be_longer_than_what_was_pushed() -> None:
    front_end = MfccFrontEnd(STREAM)
    front_end.start()
    front_end.push(voice(0.1))
    for length in (-1, 1601):
        with pytest.raises(ValueError, match=f"of {length} samples cannot end after 1600"):
            front_end.finish(length)


def test_peak_relative_features_do_not_depend_on_loudness() -> None:
    front_end = MfccFrontEnd(FeatureParameters())
    samples = voice(1.0)
    loud, quiet = front_end.features(samples), front_end.features(samples * np.float32(0.125))
    assert np.abs(loud - quiet).max() < 0.01


def test_levels_are_relative_to_the_peak_and_clamped() -> None:
    power = np.full((4, 8), 1e-12, dtype=np.float32)
    power[1, 2] = 100.0  # +20 dB
    power[2, 3] = 1e-2  # -20 dB
    common: dict[str, Any] = {"mel_bands": 8, "coefficients": 8, "frames": 4, "range_db": 60.0}
    inverse = cosine_matrix(8, 8).T
    relative = MfccFrontEnd(FeatureParameters(**common)).finish_mel(power) @ inverse
    assert relative[1, 2] == pytest.approx(0.0, abs=1e-4)
    assert relative[2, 3] == pytest.approx(-40.0, abs=1e-4)
    assert relative.min() == pytest.approx(-60.0, abs=1e-4)


def test_silence_gives_the_same_features_as_no_audio() -> None:
    front_end = MfccFrontEnd(STREAM)
    nothing = front_end.features(np.zeros(0, dtype=np.float32))
    assert np.array_equal(front_end.features(np.zeros(9000, dtype=np.float32)), nothing)
    assert nothing[0, 0] == pytest.approx((-70.0 * 8 - 1.5) / 3.0, rel=1e-6)


@pytest.mark.parametrize("offset", [-3, 0, 5, 44, 60, -30])
def test_an_utterance_can_be_placed_at_any_offset(offset: int) -> None:
    front_end = MfccFrontEnd(STREAM)
    power = front_end.mel_power(voice(0.3))
    placed = front_end.finish_mel(power, offset)
    centred = front_end.finish_mel(power)
    middle = (50 - len(power)) // 2
    silence = front_end.finish_mel(power[:0])[0]
    for row in range(50):
        at = row - offset
        expected = centred[middle + at] if 0 <= at < len(power) else silence
        assert np.allclose(placed[row], expected, atol=1e-4), row
