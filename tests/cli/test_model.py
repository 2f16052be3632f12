from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from serd.model.model_file import ModelFile

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


def test_json(serd: Serd, tiny_model_path: Path) -> None:
    file = ModelFile.load(tiny_model_path)
    about = json.loads(serd("model", "info", "--json", tiny_model_path).out)
    assert about["sha256"] == file.sha256
    assert about["labels"] == list(file.labels)
    assert about["features"]["coefficients"] == file.info.features.coefficients


def test_the_configured_model_is_the_one_meant(serd: Serd, tiny_model_path: Path) -> None:
    by_path = serd("model", "info", tiny_model_path).out
    assert serd("model", "info", "--set", f"model.path={tiny_model_path}").out == by_path
    shipped = serd("model", "info").out
    assert shipped == serd("model", "info", "default").out != by_path
    assert "\ntrained on " in shipped
    assert "\nmeasured on " in shipped


def test_what_is_no_model(serd: Serd, home: Path) -> None:
    (home / "x.tflite").write_bytes(b"words, not a network")
    code, out, err = serd("model", "info", "x.tflite")
    assert (code, out) == (78, "")
    assert err.startswith("serd: x.tflite is not a TensorFlow Lite model\n")
