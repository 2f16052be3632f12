"""The interface to the TFLite runtime.

The runtime is ``ai-edge-litert``, the current name of TensorFlow Lite, or, where that has no wheel,
the older ``tflite-runtime`` with the same interface. Both verify a flatbuffer before they use it.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from serd import stderr
from serd.errors import ConfigError, ModelError
from serd.model.placement import Placements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.model.model_file import ModelFile

INT8_MIN: Final = -128
INT8_MAX: Final = 127


class Quantisation(msgspec.Struct, frozen=True):
    """The quantisation of a tensor: ``number = scale * (integer - zero_point)``."""

    scale: float
    """Difference between the numbers of consecutive integers; above 0."""
    zero_point: int
    """The integer that represents 0."""

    def quantise(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
        """Round to the nearest integers, halves to even, and clip to int8; same shape."""
        steps = np.rint(numbers / np.float32(self.scale)) + np.float32(self.zero_point)
        integers: npt.NDArray[np.int8] = np.clip(steps, INT8_MIN, INT8_MAX).astype(np.int8)
        return integers

    def dequantise(self, integers: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """The numbers that the integers represent; same shape."""
        return (integers.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


class Interpreter:
    """A network, ready to run.

    Thread-safe, by a lock: threads that should run in parallel need one each.

    Args:
        model: The model file.
        threads: Threads of the runtime.

    Raises:
        ModelError: If the runtime does not accept the network, or its input or output does not
            match the model's metadata.
        ConfigError: If there is no TFLite runtime.
    """

    def __init__(self, model: ModelFile, *, threads: int = 1) -> None:
        source = model.source
        features = model.info.features
        with _refusing(source):
            self._native, inputs, outputs = _open(model.network, threads)
        if len(inputs) != 1 or len(outputs) != 1:
            msg = (
                f"the network of {source} has {len(inputs)} inputs and {len(outputs)} outputs; "
                "serd needs one of each"
            )
            raise ModelError(msg)
        self._input, self._output = int(inputs[0]["index"]), int(outputs[0]["index"])
        self.input = _checked(
            inputs[0], "input", (1, features.frames, features.coefficients), source
        )
        """Quantisation of the features."""
        self.output = _checked(outputs[0], "output", (1, len(model.labels)), source)
        """Quantisation of the scores."""
        self._shape = (features.frames, features.coefficients)
        self._placements = Placements(model.info.placements, features)
        self._lock = threading.Lock()
        with _refusing(
            source
        ):  # report a network that does not run now, not at the first utterance
            self.run(np.zeros(self._shape, dtype=np.float32))

    def run(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Quantise, run the network, dequantise; at every place that the model asks for.

        Args:
            features: float32 ``[frames, coefficients]``.

        Returns:
            float32 ``[classes]``: logits or probabilities, depending on the model; the mean over
            its placements.

        Raises:
            ValueError: If the shape is wrong.
        """
        if features.shape != self._shape:
            msg = f"features of shape {features.shape} are not {self._shape}"
            raise ValueError(msg)
        scores = [
            self.output.dequantise(self.run_int8(self.input.quantise(placed)[np.newaxis])[0])
            for placed in self._placements.of(features)
        ]
        mean: npt.NDArray[np.float32] = np.mean(scores, axis=0, dtype=np.float32)
        return mean

    def run_int8(self, features: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """Run the network on integers.

        Args:
            features: int8 ``[1, frames, coefficients]``.

        Returns:
            int8 ``[1, classes]``, a new array.
        """
        with self._lock:
            self._native.set_tensor(self._input, features)
            self._native.invoke()
            scores: npt.NDArray[np.int8] = self._native.get_tensor(self._output)
        return scores


def _runtime() -> Any:
    """The class of whichever runtime is installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter as Native  # noqa: PLC0415 - 15 MB
    except ImportError as first:
        try:
            from tflite_runtime.interpreter import Interpreter as Native  # noqa: PLC0415
        except ImportError:
            msg = f"there is no TFLite runtime: {first}"
            raise ConfigError(msg, remedy="pip install ai-edge-litert") from first
    return Native


def _open(network: bytes, threads: int) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
    """The runtime's interpreter, with the details of its inputs and outputs."""
    native = _runtime()
    # It writes INFO lines to standard error, and offers Python no setting for that.
    with stderr.filtered(lambda line: line.startswith(b"INFO: ")):
        interpreter = native(model_content=network, num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter, interpreter.get_input_details(), interpreter.get_output_details()


@contextlib.contextmanager
def _refusing(source: str) -> Iterator[None]:
    """Turn the runtime's exceptions (also those about names that are not UTF-8) into ModelError."""
    try:
        yield
    except (ValueError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"the TFLite runtime does not accept the network of {source}: {reason}"
        raise ModelError(msg) from error


def _checked(
    details: dict[str, Any], role: str, shape: tuple[int, ...], source: str
) -> Quantisation:
    kind = np.dtype(details["dtype"]).name
    if kind != "int8":
        msg = f"the {role} of the network of {source} is {kind}; serd needs full-integer int8"
        raise ModelError(msg, remedy="convert it with full-integer quantisation, int8 in and out")
    found = tuple(int(size) for size in details["shape"])
    if found != shape:
        expected = "its feature parameters" if role == "input" else "its labels"
        msg = (
            f"the {role} of the network of {source} is {list(found)}, but {expected} say "
            f"{list(shape)}"
        )
        raise ModelError(msg)
    parameters = details["quantization_parameters"]
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    if len(scales) != 1 or len(zero_points) != 1 or not 1e-9 < float(scales[0]) < 1e9:
        msg = f"the {role} of the network of {source} has no usable quantisation"
        raise ModelError(msg)
    return Quantisation(float(scales[0]), int(zero_points[0]))
