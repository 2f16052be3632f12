"""The public API: samples of any kind in, prediction out."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

import serd
from serd.audio.file import read_mono16k
from serd.audio.highpass import HighPass
from serd.config import SpeechConfig
from serd.errors import InputError, SerdError
from serd.model.classifier import Classifier, SamplesError
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.speech import make_vad, trim_to_speech
from tests.model.signals import voice

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def classifier(tiny_model_path: Path) -> Classifier:
    return Classifier.load(tiny_model_path, min_confidence=0.0)


def at_rate(rate: int, seed: int = 3) -> Any:
    """The same voice resampled to another rate."""
    import soxr

    return np.clip(soxr.resample(voice(1.5, seed), 16_000, rate), -1.0, 1.0)


def test_the_properties_of_a_model_are_exposed(classifier: Classifier) -> None:
    assert classifier.info.name == "tiny"
    assert classifier.labels == EMOTIONS
    assert classifier.threshold == 0.0
    assert classifier.front_end() is not classifier.front_end()


def test_the_models_own_threshold_is_the_default(tiny_model_path: Path) -> None:
    assert Classifier.load(str(tiny_model_path)).threshold == 0.3
    with pytest.raises(ValueError, match="minimum confidence"):
        Classifier.load(tiny_model_path, min_confidence=2.0)


def test_different_voices_get_different_predictions(classifier: Classifier) -> None:
    predictions = {classifier.classify(voice(1.2, seed), 16_000).emotion for seed in range(8)}
    assert len(predictions) >= 3
    assert predictions <= set(EMOTIONS)


def test_classify_combines_trimming_features_network_and_decision(classifier: Classifier) -> None:
    samples = np.concatenate(
        [np.zeros(16_000, np.float32), voice(4.5, 1), np.zeros(16_000, np.float32)]
    )
    settings = SpeechConfig()
    HighPass().filter(filtered := samples.copy())
    utterance, speech = trim_to_speech(filtered, settings, make_vad(settings))
    assert utterance.start > 0
    assert len(speech) == 48_000
    features = classifier.front_end().features(speech)
    expected = classifier.classify_features(features)
    assert classifier.classify(samples, 16_000) == expected
    assert classifier.classify_utterance(speech) == expected


def test_speech_settings_are_applied(classifier: Classifier) -> None:
    samples = voice(2.5, 1)
    short = classifier.classify(samples, 16_000, speech=SpeechConfig(window_s=1.0))
    assert short != classifier.classify(samples, 16_000)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_samples_give_the_same_result_as_a_file_of_them(
    classifier: Classifier, tmp_path: Path, rate: int
) -> None:
    samples = np.rint(at_rate(rate) * 32767).astype(np.int16)
    path = tmp_path / "voice.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    settings = SpeechConfig()
    _, speech = trim_to_speech(read_mono16k(path), settings, make_vad(settings))
    assert classifier.classify(samples, rate) == classifier.classify_utterance(speech)


def test_the_rate_hardly_affects_the_result(classifier: Classifier) -> None:
    predictions = [classifier.classify(at_rate(rate), rate) for rate in (16_000, 44_100, 48_000)]
    assert len({prediction.emotion for prediction in predictions}) == 1
    for prediction in predictions:
        assert prediction.confidence == pytest.approx(predictions[0].confidence, abs=0.05)


def test_equivalent_types_of_samples_give_the_same_result(classifier: Classifier) -> None:
    integers = np.rint(voice(1.0, 2) * 32767).astype(np.int16)
    expected = classifier.classify(integers, 16_000)
    floats = integers.astype(np.float32) / 32768
    for same in (
        floats,
        floats.astype(np.float64),
        floats[:, np.newaxis],
        floats.tolist(),
        np.repeat(floats, 2)[::2],
        integers.astype(">i2"),
        floats.astype(">f4"),
    ):
        assert classifier.classify(same, 16_000) == expected
    assert classifier.classify(floats, 16_000.0) == expected  # type: ignore[arg-type]


def test_the_callers_samples_are_not_changed(classifier: Classifier) -> None:
    samples = 4.0 * voice(1.0)
    samples[100] = np.nan
    kept = samples.copy()
    classifier.classify(samples, 16_000)
    assert np.array_equal(samples, kept, equal_nan=True)


def test_nan_becomes_silence_and_loud_samples_are_clipped(classifier: Classifier) -> None:
    samples = voice(1.0, 5)
    holes, zeros = samples.copy(), samples.copy()
    holes[500:510] = [np.nan, np.inf, -np.inf, np.nan, np.nan] * 2
    zeros[500:510] = 0.0
    assert classifier.classify(holes, 16_000) == classifier.classify(zeros, 16_000)
    loud = samples * np.float32(10.0)
    assert classifier.classify(loud, 16_000) == classifier.classify(np.clip(loud, -1, 1), 16_000)
    huge = classifier.classify(samples.astype(np.float64) * 1e300, 16_000)
    assert math.isfinite(huge.confidence)


@pytest.mark.parametrize(
    "silence", [np.zeros(16_000, np.float32), np.zeros(3, np.int16), np.full(9000, np.nan)]
)
def test_digital_silence_is_uncertain(classifier: Classifier, silence: Any) -> None:
    prediction = classifier.classify(silence, 44_100)
    assert prediction.emotion == UNCERTAIN
    assert prediction.confidence == pytest.approx(1 / 8)


@pytest.mark.parametrize("length", [2, 10, 479, 481, 3000])
def test_very_short_sounds_still_get_a_prediction(classifier: Classifier, length: int) -> None:
    prediction = classifier.classify(voice(1.0)[1000 : 1000 + length], 16_000)
    assert math.fsum(prediction.scores.values()) == pytest.approx(1.0)
    assert prediction.emotion in EMOTIONS


@pytest.mark.parametrize(
    ("samples", "rate", "why"),
    [
        (np.zeros(0, np.float32), 16_000, "no samples"),
        ([], 16_000, "no samples"),
        (np.zeros((100, 2), np.float32), 16_000, r"shape \(100, 2\) are not mono"),
        (np.float32(0.5), 16_000, r"shape \(\) are not mono"),
        (np.zeros(100, np.int32), 16_000, "type int32 are neither"),
        (np.zeros(100, np.uint8), 16_000, "type uint8 are neither"),
        (np.zeros(100, bool), 16_000, "type bool are neither"),
        (np.zeros(100, np.complex64), 16_000, "type complex64 are neither"),
        (np.array(["a"]), 16_000, "neither int16 nor float"),
        (np.zeros(100, np.float32), 0, "rate of 0 Hz"),
        (np.zeros(100, np.float32), -16_000, "rate of -16000 Hz"),
        (np.zeros(100, np.float32), 10**9, "rate of 1000000000 Hz"),
        (np.zeros(100, np.float32), float("nan"), "rate of nan Hz"),
    ],
)
def test_invalid_samples_and_rates_are_rejected(
    classifier: Classifier, samples: Any, rate: Any, why: str
) -> None:
    with pytest.raises(SamplesError, match=why) as error:
        classifier.classify(samples, rate)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, InputError)
    assert issubclass(SamplesError, SerdError)


def test_missing_classes_have_a_score_of_zero(six_model_path: Path) -> None:
    prediction = Classifier.load(six_model_path).classify(voice(1.0), 16_000)
    assert tuple(prediction.scores) == EMOTIONS
    assert prediction.scores["calm"] == prediction.scores["surprised"] == 0.0


def test_what_the_package_exports() -> None:
    assert serd.Classifier is Classifier
    assert {"Classifier", "Prediction", "__version__"} <= set(dir(serd))
    assert serd.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="has no attribute 'Clasifier'"):
        _ = serd.Clasifier


LOADED = """
import sys
def loaded():
    return {name.split(".")[0] for name in sys.modules}
import serd
assert "numpy" not in loaded(), "import serd"
import serd.model, serd.model.classifier
at_import = loaded()
for heavy in ("ai_edge_litert", "tflite_runtime", "soundfile", "sounddevice", "soxr"):
    assert heavy not in at_import, heavy
import numpy as np
classifier = serd.Classifier.load(sys.argv[1])
classifier.classify(np.random.default_rng(0).standard_normal(8000).astype(np.float32), 8000)
everything = loaded()
assert "ai_edge_litert" in everything
for heavy in ("librosa", "numba", "scipy", "sklearn", "tensorflow", "keras", "pydantic", "jax"):
    assert heavy not in everything, heavy
print("fine")
"""


def test_nothing_heavy_is_imported_before_it_is_needed(tiny_model_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, str(tiny_model_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "fine\n"
