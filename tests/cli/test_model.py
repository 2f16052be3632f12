from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from serd.config import Config, DecisionConfig, ModelConfig
from serd.doctor.recognition import check_sensitivity
from serd.model.classifier import Classifier
from serd.model.metadata import Reverb
from serd.model.model_file import ModelFile, pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]


def test_summary(serd: Serd, tiny_model_path: Path) -> None:
    file = ModelFile.load(tiny_model_path)
    code, out, err = serd("model", "info", tiny_model_path)
    assert (code, err) == (0, "")
    rows = dict(line.split("  ", 1) for line in out.splitlines())
    facts = {head: text.strip() for head, text in rows.items()}
    assert facts["model"] == f"{file.info.name} {file.info.version}"
    assert facts["file"] == f"{tiny_model_path}, {file.size} bytes"
    assert facts["sha256"] == hashlib.sha256(tiny_model_path.read_bytes()).hexdigest()
    assert facts["classes"] == ", ".join(file.labels)


def test_home_settings_are_described(serd: Serd, home_model_path: Path) -> None:
    lines = serd("model", "info", home_model_path).out.splitlines()
    rows = dict(line.split("  ", 1) for line in lines)
    facts = {head: text.strip() for head, text in rows.items()}
    assert facts["home"] == "90% of utterances assumed neutral or calm"
    assert facts["sensitivity low"] == (
        "emotions from 80% on: about 2 false emotional events in an hour of ordinary speech, "
        "20% of emotional utterances reported correctly"
    )
    assert facts["evidence"].endswith("none after a pause of 60 s; 1 must agree")
    about = json.loads(serd("model", "info", "--json", home_model_path).out)
    assert about["home"]["sensitivity"]["high"]["events_per_hour"] == 120.0


def test_the_room_of_the_front_end_is_described(
    serd: Serd, tiny_model_path: Path, tmp_path: Path
) -> None:
    file = ModelFile.load(tiny_model_path)
    room = Reverb(rt60_s=0.5, tail_db=-3.0)
    features = msgspec.structs.replace(file.info.features, reverb=room)
    info = msgspec.structs.replace(file.info, features=features)
    (tmp_path / "room.tflite").write_bytes(pack(file.network, file.labels, info))
    text = " ".join(serd("model", "info", tmp_path / "room.tflite").out.split())
    assert "Hz, room of 0.5 s at -3 dB " in text
    assert "room of" not in serd("model", "info", tiny_model_path).out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"decision": DecisionConfig(sensitivity="high")},
            "high: about 120 false emotional events in an hour of ordinary speech, "  # noqa: ISC004
            "50% of emotional utterances reported correctly (low: 2 and 20%; normal: 50 and 36%)",
        ),
        ({"min_confidence": 0.7}, "replaced by model.min_confidence, 0.7"),
        (None, "not adjustable: tiny has no settings for homes"),
    ],
)
def test_doctor_reports_the_effect_of_the_sensitivity(
    settings: dict[str, Any] | None, message: str, home_model_path: Path, tiny_model_path: Path
) -> None:
    path = str(tiny_model_path if settings is None else home_model_path)
    settings = settings or {}
    config = Config(
        model=ModelConfig(path=path, min_confidence=settings.get("min_confidence")),
        decision=settings.get("decision", DecisionConfig()),
    )
    found = check_sensitivity(config, Classifier.configured(config))
    assert (found.check, found.status, found.message) == ("sensitivity", "ok", message)


@pytest.mark.parametrize(
    "wrong", ["x", None, {}, [], 10**400], ids=["text", "null", "object", "list", "huge"]
)
def test_figures_that_are_no_numbers_are_left_out(
    serd: Serd, home_model_path: Path, tmp_path: Path, wrong: object
) -> None:
    names = ("speakers", "clips", "uar", "uar_sd", "accuracy", "decided_share", "decided_accuracy")
    file = ModelFile.load(home_model_path)
    right = dict.fromkeys(names, 0.5)
    for name in names:
        evaluation = {"test": right | {name: wrong}, "cross_validation": {"mean": {name: wrong}}}
        info = msgspec.structs.replace(file.info, evaluation=evaluation)
        (tmp_path / "odd.tflite").write_bytes(pack(file.network, file.labels, info))
        code, out, err = serd("model", "info", tmp_path / "odd.tflite")
        assert (code, err) == (0, "")
        (measured,) = [line for line in out.splitlines() if line.startswith("measured on test")]
        assert ("UAR 50.0 %" in measured) is (name != "uar")
        assert ("accuracy 50.0 %" in measured) is (name != "accuracy")
    assert serd("model", "info", "--json", tmp_path / "odd.tflite").code == 0


def test_json(serd: Serd, tiny_model_path: Path) -> None:
    file = ModelFile.load(tiny_model_path)
    about = json.loads(serd("model", "info", "--json", tiny_model_path).out)
    assert about["sha256"] == file.sha256
    assert about["labels"] == list(file.labels)
    assert about["features"]["coefficients"] == file.info.features.coefficients


def test_describes_the_configured_model_by_default(serd: Serd, tiny_model_path: Path) -> None:
    by_path = serd("model", "info", tiny_model_path).out
    assert serd("model", "info", "--set", f"model.path={tiny_model_path}").out == by_path
    shipped = serd("model", "info").out
    assert shipped == serd("model", "info", "default").out != by_path
    assert "\ntrained on " in shipped
    assert "\nmeasured on " in shipped
    # Its decisions assume that most speech is neutral, unlike its accuracy and UAR.
    assert "decided as at home, not uncertain " in " ".join(shipped.split())


def test_a_file_that_is_not_a_model_is_rejected(serd: Serd, home: Path) -> None:
    (home / "x.tflite").write_bytes(b"words, not a network")
    code, out, err = serd("model", "info", "x.tflite")
    assert (code, out) == (78, "")
    assert err.startswith("serd: x.tflite is not a TensorFlow Lite model\n")
