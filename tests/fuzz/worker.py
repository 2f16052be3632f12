"""A process in which native code may crash: ``python -m tests.fuzz.worker model|audio``.

Reads cases from standard input (four bytes of length, then the bytes) and answers each with a line:
``ok``, ``refused SENTENCE``, or ``bug TRACEBACK``.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

from serd.audio.file import FileSource
from serd.audio.source import EndOfSource
from serd.errors import InputError, ModelError
from serd.model.classifier import Classifier

SAMPLES_READ = 16_000 * 600
"""No case is longer than this, but a damaged header may claim years."""


def audio(path: Path) -> None:
    """What `serd run --source PATH` does with it."""
    with FileSource(path, pace="fast") as source:
        count = 0
        while count < SAMPLES_READ:
            try:
                block = source.read(0.0)
            except EndOfSource:
                return
            if block is not None:
                assert block.samples.dtype == np.float32
                assert np.abs(block.samples).max() <= 1.0
                count += len(block)


def model(path: Path) -> None:
    """What `serd run --set model.path=PATH` does with it."""
    classifier = Classifier.load(path)
    parameters = classifier.info.features
    shape = (parameters.frames, parameters.coefficients)
    prediction = classifier.classify_features(np.zeros(shape, np.float32))
    assert abs(sum(prediction.scores.values()) - 1.0) < 1e-3


def main() -> None:
    case = {"audio": audio, "model": model}[sys.argv[1]]
    answers = sys.stdout
    with tempfile.TemporaryDirectory(prefix="serd-fuzz-") as folder:
        path = Path(folder) / "case"
        while head := sys.stdin.buffer.read(4):
            path.write_bytes(sys.stdin.buffer.read(struct.unpack("<I", head)[0]))
            try:
                case(path)
                answer = "ok"
            except (InputError, ModelError) as error:
                answer = f"refused {error}"
            except BaseException:  # noqa: BLE001 - any other exception is a finding
                answer = f"bug {traceback.format_exc()}"
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
