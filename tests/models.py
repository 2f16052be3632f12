"""Shared fixtures: real model files, built once per session.

Their networks are tiny and their weights random: the predictions are meaningless, but come from the
real interpreter and differ between voices.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serd.model.decision import Decision, softmax
from serd.model.emotions import EMOTIONS
from serd.model.metadata import (
    Corpus,
    FeatureParameters,
    Gathering,
    Home,
    ModelInfo,
    OperatingPoint,
)
from serd.model.model_file import ModelFile, pack

SIX = ("neutral", "happy", "sad", "angry", "fearful", "disgust")
"""The classes of the network ``six``."""

HOME = Home(
    ordinary_share=0.9,
    gathering=Gathering(half_life_s=30.0, weight=0.5, pause_s=60.0),
    sensitivity={
        "low": OperatingPoint(threshold=0.8, events_per_hour=2.0, recall=0.2),
        "normal": OperatingPoint(threshold=0.54, events_per_hour=50.0, recall=0.36),
        "high": OperatingPoint(threshold=0.3, events_per_hour=120.0, recall=0.5),
    },
)
"""Assumptions of a model about homes; the figures are made up."""

Network = Callable[[str], bytes]


def at_home(model: Path | str | None = None, home: Home | None = HOME) -> bytes:
    """A copy of a model (None: the shipped one) with these assumptions about homes (None: none)."""
    file = ModelFile.load(model)
    return pack(file.network, file.labels, msgspec.structs.replace(file.info, home=home))


def as_at_home(scores: dict[str, float], model: Path | str | None = None) -> dict[str, float]:
    """Convert scores of `serd classify`, which assume equal shares, to those of the daemon."""
    file = ModelFile.load(model)
    even = Decision(file.labels, file.info, stated="even")
    logs = np.log([max(scores[label], 1e-9) for label in file.labels]) - even._unstated
    return dict.fromkeys(EMOTIONS, 0.0) | dict(
        zip(file.labels, softmax(logs).tolist(), strict=True)
    )


@pytest.fixture(scope="session")
def home_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with the shipped network and `HOME`; needs no TensorFlow."""
    path = tmp_path_factory.mktemp("model") / "home.tflite"
    path.write_bytes(at_home())
    return path


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bare ``.tflite`` networks of ``tests.networks`` and their features."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("needs TensorFlow to build a network")
    folder = tmp_path_factory.mktemp("networks")
    made = subprocess.run(
        [sys.executable, "-m", "tests.networks", str(folder)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert made.returncode == 0, made.stderr[-4000:]
    return folder


@pytest.fixture(scope="session")
def network(networks: Path) -> Network:
    """Returns the flatbuffer of a network by name."""
    return lambda name: (networks / f"{name}.tflite").read_bytes()


@pytest.fixture(scope="session")
def tiny_info(networks: Path) -> ModelInfo:
    """The metadata of the tiny model: default features, normalised."""
    features = msgspec.json.decode(
        (networks / "features.json").read_bytes(), type=FeatureParameters
    )
    return ModelInfo(
        name="tiny",
        version="1.2",
        features=features,
        temperature=1.1,
        abstain_threshold=0.3,
        corpora=(Corpus(name="hand-made voices", licence="Apache-2.0", speakers=8, clips=8),),
        licence="Apache-2.0",
        evaluation={"uar": 0.125},
        created="2025-01-01",
    )


@pytest.fixture(scope="session")
def tiny_model_path(
    network: Network, tiny_info: ModelInfo, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A packed, valid model with random weights, all eight classes and default features."""
    path = tmp_path_factory.mktemp("model") / "tiny.tflite"
    path.write_bytes(pack(network("eight"), EMOTIONS, tiny_info))
    return path


@pytest.fixture(scope="session")
def six_model_path(
    network: Network, tiny_info: ModelInfo, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same with six classes, without calm and surprised."""
    path = tmp_path_factory.mktemp("model") / "six.tflite"
    path.write_bytes(pack(network("six"), SIX, tiny_info))
    return path
