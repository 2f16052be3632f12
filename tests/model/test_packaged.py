"""The models shipped with serd."""

from __future__ import annotations

from pathlib import Path

import pytest

import serd
from serd.audio.file import read_mono16k
from serd.model.classifier import Classifier
from serd.model.emotions import EMOTIONS
from serd.model.model_file import PACKAGED

SIX = ("neutral", "happy", "sad", "angry", "fearful", "disgust")


@pytest.mark.parametrize("name", PACKAGED)
def test_each_packaged_model_loads_and_classifies(name: str) -> None:
    classifier = Classifier.load(name)
    assert classifier.info.name == name
    assert classifier.info.licence
    speech = read_mono16k(Path(serd.__file__).parent / "audio" / "data" / "sample.ogg")[:48_000]
    prediction = classifier.classify(speech, 16_000)
    assert tuple(prediction.scores) == EMOTIONS
    assert sum(prediction.scores.values()) == pytest.approx(1.0, abs=1e-5)
    assert {label for label, score in prediction.scores.items() if score > 0} <= set(
        classifier.labels
    )


def test_the_permissive_model_has_no_restrictively_licensed_training_data() -> None:
    classifier = Classifier.load("permissive")
    assert classifier.labels == SIX
    assert "CREMA-D" in {corpus.name for corpus in classifier.info.corpora}
    licences = [classifier.info.licence, *(corpus.licence for corpus in classifier.info.corpora)]
    assert not [licence for licence in licences if "NC" in licence or "SA" in licence]
    prediction = classifier.classify(
        read_mono16k(Path(serd.__file__).parent / "audio" / "data" / "sample.ogg")[:32_000], 16_000
    )
    assert prediction.scores["calm"] == prediction.scores["surprised"] == 0.0
