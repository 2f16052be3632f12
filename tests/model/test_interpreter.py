"""The wrapper around the TFLite runtime, tested with the real runtime."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from serd.errors import ConfigError
from serd.model.interpreter import Interpreter, Quantisation
from serd.model.mfcc import MfccFrontEnd
from serd.model.model_file import ModelFile
from tests.model.signals import voice

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def model(tiny_model_path: Path) -> ModelFile:
    return ModelFile.load(tiny_model_path)


def test_quantisation_rounds_half_to_even_and_clips() -> None:
    half = Quantisation(0.5, 3)
    numbers = np.array([0.25, 0.75, -0.25, 0.3, 100.0, -100.0, 1e30, -1e30], dtype=np.float32)
    assert half.quantise(numbers).tolist() == [3, 5, 3, 4, 127, -128, 127, -128]
    assert half.quantise(numbers).dtype == np.int8
    back = half.dequantise(np.array([[3, 4, -128]], dtype=np.int8))
    assert back.tolist() == [[0.0, 0.5, -65.5]]
    assert back.dtype == np.float32


def test_every_integer_survives_the_round_trip() -> None:
    quantisation = Quantisation(0.0331, -17)
    integers = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(quantisation.quantise(quantisation.dequantise(integers)), integers)


def test_results_match_those_of_the_bare_runtime(model: ModelFile) -> None:
    from ai_edge_litert.interpreter import Interpreter as Native

    native = Native(model_content=model.network, num_threads=1)
    native.allocate_tensors()
    input_details, output_details = native.get_input_details()[0], native.get_output_details()[0]
    ours = Interpreter(model)
    results = []
    for seed in range(5):
        features = MfccFrontEnd(model.info.features).features(voice(1.0, seed))
        scale, zero = input_details["quantization"]
        integers = np.clip(np.rint(features / scale) + zero, -128, 127).astype(np.int8)
        native.set_tensor(input_details["index"], integers[np.newaxis])
        native.invoke()
        raw = native.get_tensor(output_details["index"])[0]
        scale, zero = output_details["quantization"]
        result = ours.run(features)
        assert np.allclose(result, (raw.astype(np.float64) - zero) * scale, atol=1e-6)
        results.append(result.tobytes())
    assert len(set(results)) == 5  # the output does depend on the input


def test_a_result_is_not_overwritten_by_the_next(model: ModelFile) -> None:
    ours = Interpreter(model)
    front_end = MfccFrontEnd(model.info.features)
    first = ours.run(front_end.features(voice(1.0, 1)))
    kept = first.copy()
    ours.run(front_end.features(voice(2.0, 4)))
    assert np.array_equal(first, kept)


def test_threads_share_an_interpreter_without_mixing_results(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime lets other threads run at each call; the delay makes sure that they do."""
    ours = Interpreter(model)
    native = ours._native

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            time.sleep(0.0005)
            return getattr(native, name)

    monkeypatch.setattr(ours, "_native", Interrupted())
    front_end = MfccFrontEnd(model.info.features)
    features = [front_end.features(voice(1.0, seed)) for seed in range(4)]
    expected = [ours.run(each) for each in features]
    wrong: list[int] = []

    def run(which: int) -> None:
        wrong.extend(
            which
            for _ in range(10)
            if not np.array_equal(ours.run(features[which]), expected[which])
        )

    threads = [threading.Thread(target=run, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_features_of_the_wrong_shape_are_rejected(model: ModelFile) -> None:
    with pytest.raises(ValueError, match=r"shape \(187, 64\) are not \(188, 64\)"):
        Interpreter(model).run(np.zeros((187, 64), dtype=np.float32))


def test_more_threads_give_the_same_result(model: ModelFile) -> None:
    features = MfccFrontEnd(model.info.features).features(voice(1.0, 2))
    assert np.array_equal(
        Interpreter(model).run(features), Interpreter(model, threads=2).run(features)
    )


class _HiddenModules:
    """An import hook that hides modules."""

    def __init__(self, *hidden: str) -> None:
        self.hidden = hidden

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in self.hidden:
            raise ImportError(f"No module named {name!r}")


def test_without_a_runtime_the_error_says_what_to_install(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith(("ai_edge_litert", "tflite_runtime"))]:
        monkeypatch.delitem(sys.modules, name)
    hidden = _HiddenModules("ai_edge_litert", "tflite_runtime")
    monkeypatch.setattr(sys, "meta_path", [hidden, *sys.meta_path])
    with pytest.raises(ConfigError, match=r"no TFLite runtime.*pip install ai-edge-litert"):
        Interpreter(model)


def test_the_older_runtime_is_used_if_the_new_one_is_missing(
    model: ModelFile, tmp_path: Path
) -> None:
    """With a fake ``tflite_runtime`` package that provides the real runtime."""
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text("from real import Native as Interpreter\n")
    (tmp_path / "real.py").write_text(
        "import sys\nfrom ai_edge_litert.interpreter import Interpreter as Native\n"
        "for name in [n for n in sys.modules if n.startswith('ai_edge_litert')]:\n"
        "    sys.modules[name] = None\n"
    )
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import real\n"
        "from serd.model.classifier import Classifier; import numpy as np\n"
        "c = Classifier.load(sys.argv[1])\n"
        "assert 'tflite_runtime.interpreter' in sys.modules\n"
        "print(c.classify_features(np.zeros((188, 64), np.float32)).emotion)"
    )
    path = tmp_path / "m.tflite"
    from serd.model.emotions import EMOTIONS
    from serd.model.model_file import pack

    path.write_bytes(pack(model.network, EMOTIONS, model.info))
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() in {*EMOTIONS, "uncertain"}


def test_messages_of_the_runtime_do_not_reach_stderr(tiny_model_path: Path) -> None:
    program = (
        "import sys; from serd.model.classifier import Classifier\n"
        "Classifier.load(sys.argv[1]); print('mine', file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tiny_model_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == "mine\n"


def test_loading_works_with_stderr_closed(tiny_model_path: Path) -> None:
    program = (
        "import os, sys; os.close(2)\n"
        "from serd.model.classifier import Classifier; Classifier.load(sys.argv[1]); print('fine')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tiny_model_path)], stdout=subprocess.PIPE, check=True
    )
    assert ran.stdout == b"fine\n"
