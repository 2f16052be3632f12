"""A model in use: samples in, prediction out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from serd.audio.format import MAX_RATE, MIN_RATE, SAMPLE_RATE
from serd.errors import InputError
from serd.model.decision import Decision
from serd.model.interpreter import Interpreter
from serd.model.mfcc import MfccFrontEnd
from serd.model.model_file import ModelFile

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from serd.audio.channels import Choice
    from serd.config import Config, SpeechConfig
    from serd.model.decision import Prediction
    from serd.model.home import Sensitivity
    from serd.model.model_file import ModelInfo
    from serd.model.stream import Stream


class SamplesError(InputError, ValueError):
    """The samples handed over are no audio that can be classified."""


class Classifier:
    """Tells the emotion of an utterance.

    >>> classifier = Classifier.load()
    >>> prediction = classifier.classify(samples, 44_100)
    >>> prediction.emotion, prediction.confidence
    ('happy', 0.83)

    One classifier may be shared by threads for `classify_features`; the other methods use buffers
    of its own and belong to one thread. Loading another costs a few milliseconds.

    Args:
        model: A checked model file.
        threads: Threads of the TFLite runtime.
        min_confidence: Below it the emotion is ``uncertain``; None: the model's own threshold.
        sensitivity: How readily an emotion is told: ``low``, ``normal`` or ``high``; without effect
            where ``min_confidence`` is given or the model has but one threshold.
        stated: What the scores assume: that all classes are equally frequent (``even``), or the
            shares of a ``home``, where nearly everything is neutral. The emotion is told by the
            latter either way.

    Raises:
        ModelError: If the network is not what the model file says.
        ConfigError: If there is no TFLite runtime.
        ValueError: If ``min_confidence`` is not within 0..1, or there is no such sensitivity.
    """

    def __init__(
        self,
        model: ModelFile,
        *,
        threads: int = 1,
        min_confidence: float | None = None,
        sensitivity: Sensitivity = "normal",
        stated: Literal["home", "even"] = "even",
    ) -> None:
        self.model = model
        """The model file."""
        self.decision = Decision(
            model.labels,
            model.info,
            min_confidence=min_confidence,
            sensitivity=sensitivity,
            stated=stated,
        )
        """What is made of the network's output."""
        self._interpreter = Interpreter(model, threads=threads)
        self._front_end = self.front_end()

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        threads: int = 1,
        min_confidence: float | None = None,
        sensitivity: Sensitivity = "normal",
        stated: Literal["home", "even"] = "even",
    ) -> Classifier:
        """Load a model.

        Args:
            path: A model file, or ``default`` or ``permissive`` for those that come with serd;
                None: ``default``.
            threads: Threads of the TFLite runtime.
            min_confidence: Below it the emotion is ``uncertain``; None: the model's own threshold.
            sensitivity: How readily an emotion is told: ``low``, ``normal`` or ``high``; without
                effect where ``min_confidence`` is given or the model has but one threshold.
            stated: See the class.

        Returns:
            The classifier.

        Raises:
            ModelError: If there is no such model, or it is none that serd can use.
            ConfigError: If there is no TFLite runtime.
            ValueError: If ``min_confidence`` is not within 0..1, or there is no such sensitivity.
        """
        return cls(
            ModelFile.load(path),
            threads=threads,
            min_confidence=min_confidence,
            sensitivity=sensitivity,
            stated=stated,
        )

    @classmethod
    def configured(cls, config: Config, *, stated: Literal["home", "even"] = "home") -> Classifier:
        """Load the model that a configuration names, with its settings; errors as of `load`."""
        settings = config.model
        return cls.load(
            settings.path,
            threads=settings.threads,
            min_confidence=settings.min_confidence,
            sensitivity=config.decision.sensitivity,
            stated=stated,
        )

    @property
    def info(self) -> ModelInfo:
        """What the model says of itself."""
        return self.model.info

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that it can tell, in the order of its output."""
        return self.model.labels

    @property
    def threshold(self) -> float:
        """Confidence below which the emotion is ``uncertain``; see `Decision.threshold`."""
        return self.decision.threshold

    def front_end(self) -> MfccFrontEnd:
        """A new front end that computes this model's features."""
        return MfccFrontEnd(self.model.info.features)

    def classify(
        self, samples: npt.ArrayLike, rate: int, *, speech: SpeechConfig | None = None
    ) -> Prediction:
        """Classify a recording of one utterance.

        It is resampled to 16 kHz, trimmed to its speech, and of that the first 3 seconds count: the
        same samples, features and answer as ``serd classify --whole`` gives for a file. A recording
        without speech is taken as it is. Digital silence gives ``uncertain`` and the same score for
        every class. There is no shortest utterance, but below half a second nothing good can be
        expected.

        Args:
            samples: Mono, shape ``[n]`` or ``[n, 1]``: int16, or float in [-1, 1] (float32;
                float64 is converted). Samples beyond are clipped; NaN and infinities become 0.
            rate: Samples per second, 2000 to 768 000.
            speech: How to find the speech (detector, window, pre-roll); None: serd's defaults.

        Returns:
            The prediction.

        Raises:
            SamplesError: If there are no samples, or they are not mono audio of those types, or
                the rate is out of range. It is a ``ValueError``.
        """
        from serd.audio.intake import Intake  # noqa: PLC0415 - soxr: a daemon may never need it
        from serd.config import SpeechConfig as Settings  # noqa: PLC0415
        from serd.speech import make_vad, whole  # noqa: PLC0415 - loads the detector

        frames = mono(samples)
        if not MIN_RATE <= rate <= MAX_RATE:
            msg = f"a rate of {rate} Hz is not within {MIN_RATE} .. {MAX_RATE}"
            raise SamplesError(msg)
        intake = Intake()
        intake.start(rate=int(rate), channels=1)
        blocks = (intake.push(frames, 0.0), intake.finish(0.0))
        heard = [block.samples for block in blocks if block is not None]
        audio = np.concatenate(heard) if heard else np.zeros(0, dtype=np.float32)
        settings = speech or Settings()
        _, utterance = whole(audio, settings, make_vad(settings))
        return self.classify_utterance(utterance)

    def classify_file(
        self,
        path: str | os.PathLike[str],
        *,
        speech: SpeechConfig | None = None,
        channel: Choice = "mix",
    ) -> list[Prediction]:
        """Find and classify the utterances of a recording, as ``serd classify`` does.

        The recording is never whole in memory. What is damaged in it or missing is a warning in the
        log of ``serd.audio.file``.

        Args:
            path: Any file that libsndfile reads, or ffmpeg where that is installed.
            speech: How speech is found and cut; None: serd's defaults.
            channel: Of several channels, which: ``mix``, ``auto`` or a number from 1.

        Returns:
            A prediction for each utterance, in order, with `Prediction.start_s` and
            `Prediction.end_s`; none where nothing is spoken.

        Raises:
            InputError: The file is missing, unreadable, not audio, or holds no audio.
        """
        from serd.audio.file import FileSource  # noqa: PLC0415 - a daemon may never need it
        from serd.config import SpeechConfig as Settings  # noqa: PLC0415
        from serd.model.recogniser import Recogniser  # noqa: PLC0415 - it imports this module
        from serd.speech import Segmenter, make_vad  # noqa: PLC0415 - loads the detector

        settings = speech or Settings()
        recogniser = Recogniser(Segmenter(settings, make_vad(settings)), self)
        return [
            msgspec.structs.replace(
                found.prediction,
                start_s=found.utterance.start / SAMPLE_RATE,
                end_s=found.utterance.end / SAMPLE_RATE,
            )
            for found in recogniser.through(FileSource(path, pace="fast", channel=channel))
        ]

    def stream(self, rate: int, *, speech: SpeechConfig | None = None) -> Stream:
        """Hear a live stream block by block: see `Stream`.

        Args:
            rate: Samples per second, 2000 to 768 000.
            speech: How speech is found and cut; None: serd's defaults.

        Returns:
            A new stream.

        Raises:
            SamplesError: If the rate is out of range. It is a ``ValueError``.
        """
        from serd.model.stream import Stream as New  # noqa: PLC0415 - it imports this module

        return New(self, rate, speech=speech)

    def classify_utterance(self, samples: npt.NDArray[np.float32]) -> Prediction:
        """Classify an utterance as it is: nothing is trimmed.

        Args:
            samples: float32 ``[n]``, mono, 16 kHz, finite. What is longer than the network's input
                is cut off.

        Returns:
            The prediction; for digital silence or no samples ``uncertain``, with the same score
            for every class.
        """
        if not samples.any():
            return self.decision.nothing_heard()
        return self.classify_features(self._front_end.features(samples))

    def classify_features(
        self, features: npt.NDArray[np.float32], decision: Decision | None = None
    ) -> Prediction:
        """Classify what a front end's ``finish`` has given.

        Args:
            features: float32 ``[frames, coefficients]``.
            decision: Instead of the classifier's own, for one of its users.

        Returns:
            The prediction.

        Raises:
            ValueError: If the shape is another.
        """
        return (decision or self.decision).decide(self._interpreter.run(features))


def mono(samples: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """A float32 copy ``[n, 1]`` of mono samples, int16 scaled to [-1, 1).

    Raises:
        SamplesError: If there are none, or they are not mono audio of int16 or float.
    """
    array: npt.NDArray[Any] = np.asarray(samples)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        msg = f"samples of shape {array.shape} are not mono"
        raise SamplesError(msg, remedy="pass one channel, or the mean of all")
    if not len(array):
        msg = "there are no samples to classify"
        raise SamplesError(msg)
    if array.dtype == np.int16:
        return (array.astype(np.float32) * np.float32(1.0 / 32768.0))[:, np.newaxis]
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and so 0
            return array.astype(np.float32)[:, np.newaxis]
    msg = f"samples of type {array.dtype} are neither int16 nor float"
    raise SamplesError(msg, remedy="convert them to int16, or to float32 in [-1, 1]")
