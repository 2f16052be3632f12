"""Classification: of arrays, of recordings, and of live streams.

`Classifier` is a model in use, `Recogniser` applies it to the utterances of one stream at 16 kHz,
and `Stream` to blocks of samples at any rate.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from serd.audio.format import MAX_RATE, MIN_RATE, SAMPLE_RATE
from serd.audio.intake import Intake
from serd.audio.source import EndOfSource
from serd.config import SpeechConfig
from serd.errors import InputError
from serd.histogram import Histogram
from serd.model.decision import Decision, Prediction
from serd.model.interpreter import Interpreter
from serd.model.mfcc import MfccFrontEnd
from serd.model.model_file import ModelFile
from serd.speech import Begin, End, Extend, Segmenter, Utterance, make_vad, trim_to_speech

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from serd.audio.channels import Choice
    from serd.audio.source import Source
    from serd.config import Config, Sensitivity
    from serd.model.metadata import ModelInfo
    from serd.speech import Counters, SegmentEvent


INFERENCE_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
"""Histogram buckets of the inference time in seconds, from a Pi 5 (0.5 ms) to a Pi Zero 2 W."""


class SamplesError(InputError, ValueError):
    """The samples are not audio that can be classified."""


class Classifier:
    """Classifies the emotion of utterances.

    >>> classifier = Classifier.load()
    >>> prediction = classifier.classify(samples, 44_100)
    >>> prediction.emotion, prediction.confidence
    ('happy', 0.83)

    Threads may share a classifier for `classify_features`. The other methods use internal buffers,
    so each thread needs its own classifier for them; loading one takes a few milliseconds.

    Args:
        model: The model file.
        threads: Threads of the TFLite runtime.
        min_confidence: Confidence below which no emotion is reported; None: the model's own
            threshold.
        sensitivity: How readily an emotion is reported: ``low``, ``normal`` or ``high``; without
            effect if ``min_confidence`` is given or the model has only one threshold.
        stated: The class frequencies that the scores assume: ``even``, or those of a ``home``,
            where nearly everything is neutral. The emotion is decided by those of a home either
            way.

    Raises:
        ModelError: If the network does not match the model file's metadata.
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
        """Decides on an emotion from the network's output."""
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
            path: A model file, or the name of a model that comes with serd: ``default`` or
                ``permissive``. None: ``default``.
            threads: Threads of the TFLite runtime.
            min_confidence: Confidence below which no emotion is reported; None: the model's own
                threshold.
            sensitivity: How readily an emotion is reported: ``low``, ``normal`` or ``high``;
                without effect if ``min_confidence`` is given or the model has only one threshold.
            stated: See the class.

        Returns:
            The classifier.

        Raises:
            ModelError: If the model does not exist or cannot be used.
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
        """Load the model that a configuration names, with its settings; raises as `load` does."""
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
        """The model's metadata."""
        return self.model.info

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's classes, in the order of its output."""
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

        The recording is resampled to 16 kHz and trimmed to the first 3 seconds of its speech: the
        result is the same as that of ``serd classify --whole`` for a file. A recording without
        speech is not trimmed. Digital silence gives ``uncertain`` and equal scores. There is no
        minimum length, but results are poor below half a second.

        Args:
            samples: Mono, shape ``[n]`` or ``[n, 1]``: int16, or float in [-1, 1] (float32;
                float64 is converted). Larger samples are clipped; NaN and infinities become 0.
            rate: Samples per second, 2000 to 768 000.
            speech: Settings of the speech detection; None: serd's defaults.

        Returns:
            The prediction.

        Raises:
            SamplesError: If there are no samples, or they are not mono audio of those types, or
                the rate is out of range. It is a ``ValueError``.
        """
        frames = _mono(samples)
        if not MIN_RATE <= rate <= MAX_RATE:
            msg = f"a rate of {rate} Hz is not within {MIN_RATE} .. {MAX_RATE}"
            raise SamplesError(msg)
        intake = Intake()
        intake.start(rate=int(rate), channels=1)
        blocks = (intake.push(frames, 0.0), intake.finish(0.0))
        heard = [block.samples for block in blocks if block is not None]
        audio = np.concatenate(heard) if heard else np.zeros(0, dtype=np.float32)
        settings = speech or SpeechConfig()
        _, utterance = trim_to_speech(audio, settings, make_vad(settings))
        return self.classify_utterance(utterance)

    def classify_file(
        self,
        path: str | os.PathLike[str],
        *,
        speech: SpeechConfig | None = None,
        channel: Choice = "mix",
    ) -> list[Prediction]:
        """Find and classify the utterances of a recording, as ``serd classify`` does.

        The recording is streamed, never loaded as a whole. Damaged or missing parts are logged as
        warnings by ``serd.audio.file``.

        Args:
            path: Any file that libsndfile reads, or ffmpeg if that is installed.
            speech: Settings of the speech detection; None: serd's defaults.
            channel: Which of several channels: ``mix``, ``auto`` or a number from 1.

        Returns:
            A prediction for each utterance, in order, with `Prediction.start_s` and
            `Prediction.end_s`; empty if there is no speech.

        Raises:
            InputError: The file is missing, unreadable, not audio, or holds no audio.
        """
        from serd.audio.file import FileSource  # noqa: PLC0415 - a daemon may never need it

        settings = speech or SpeechConfig()
        recogniser = Recogniser(Segmenter.of(settings), self)
        return _timed(recogniser.recognise(FileSource(path, pace="fast", channel=channel)))

    def stream(self, rate: int, *, speech: SpeechConfig | None = None) -> Stream:
        """Process a live stream block by block; see `Stream`.

        Args:
            rate: Samples per second, 2000 to 768 000.
            speech: Settings of the speech detection; None: serd's defaults.

        Returns:
            A new stream.

        Raises:
            SamplesError: If the rate is out of range. It is a ``ValueError``.
        """
        return Stream(self, rate, speech=speech)

    def classify_utterance(self, samples: npt.NDArray[np.float32]) -> Prediction:
        """Classify an utterance without trimming it.

        Args:
            samples: float32 ``[n]``, mono, 16 kHz, finite. Anything beyond the length of the
                network's input is cut off.

        Returns:
            The prediction; for digital silence or no samples ``uncertain`` with equal scores.
        """
        if not samples.any():
            return self.decision.silence()
        return self.classify_features(self._front_end.features(samples))

    def classify_features(
        self, features: npt.NDArray[np.float32], decision: Decision | None = None
    ) -> Prediction:
        """Classify the features that a front end's ``finish`` returned.

        Args:
            features: float32 ``[frames, coefficients]``.
            decision: Used in place of the classifier's own.

        Returns:
            The prediction.

        Raises:
            ValueError: If the shape is wrong.
        """
        return (decision or self.decision).decide(self._interpreter.run(features))


def _mono(samples: npt.ArrayLike) -> npt.NDArray[np.float32]:
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
    if array.dtype.kind == "i" and array.dtype.itemsize == 2:  # of either byte order
        return (array.astype(np.float32) * np.float32(1.0 / 32768.0))[:, np.newaxis]
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and so 0
            return array.astype(np.float32)[:, np.newaxis]
    msg = f"samples of type {array.dtype} are neither int16 nor float"
    raise SamplesError(msg, remedy="convert them to int16, or to float32 in [-1, 1]")


class Recognition(msgspec.Struct, frozen=True, kw_only=True):
    """An utterance and its prediction."""

    utterance: Utterance
    """Its position in the stream, in samples, and its level."""
    prediction: Prediction


class Recogniser:
    """Finds and classifies the utterances of one stream.

    Features are computed while somebody is speaking, so that at the end of an utterance only its
    last frames and the network remain. Not thread-safe: each stream needs its own.

    Args:
        segmenter: Cuts the stream into utterances.
        classifier: Classifies them.
        decision: Used in place of the classifier's own, whose sensitivity all its users share.
    """

    def __init__(
        self, segmenter: Segmenter, classifier: Classifier, *, decision: Decision | None = None
    ) -> None:
        self._segmenter = segmenter
        self._classifier = classifier
        self.decision = decision or classifier.decision
        """Decides on an emotion from the network's output."""
        self._front_end = classifier.front_end()
        self.inference = Histogram(INFERENCE_S)
        """Seconds spent in the network and the decision, for each utterance."""

    @property
    def speaking(self) -> bool:
        """Whether somebody is speaking at the end of the audio so far."""
        return self._segmenter.speaking

    @property
    def batch_samples(self) -> int:
        """Samples that may be fed at once without delaying an utterance's end."""
        return self._segmenter.batch_samples

    @property
    def counters(self) -> Counters:
        """Numbers of utterances recognised and dropped."""
        return self._segmenter.counters

    @property
    def position(self) -> int:
        """Position of the next sample to be fed."""
        return self._segmenter.position

    def feed(self, samples: npt.NDArray[np.float32]) -> list[Recognition]:
        """Process the next samples.

        Args:
            samples: float32 ``[n]``, mono, 16 kHz, any ``n``.

        Returns:
            The utterances that ended within them, in order.
        """
        return self._follow(self._segmenter.feed(samples))

    def flush(self) -> list[Recognition]:
        """End the stream, and with it any utterance in progress.

        Returns:
            The last utterance, if there is one.
        """
        return self._follow(self._segmenter.flush())

    def recognise(
        self, source: Source, progress: Callable[[Source], None] = lambda _: None
    ) -> Iterator[Recognition]:
        """Read a source to its end.

        Args:
            source: Not yet opened; it is closed afterwards.
            progress: Called now and then with the source.

        Yields:
            Its utterances, in order.

        Raises:
            InputError: The source cannot be read.
        """
        # An earlier source may have been abandoned in the middle of an utterance.
        self.flush()
        self.reset(0)
        try:
            source.open()
            while True:
                try:
                    block = source.read(1.0)
                except EndOfSource:
                    break
                if block is not None:
                    yield from self.feed(block.samples)
                    progress(source)
        finally:
            source.close()
        yield from self.flush()

    def reset(self, position: int) -> list[Recognition]:
        """Continue after audio was lost.

        Args:
            position: Position of the next sample to be fed.

        Returns:
            The utterance that was interrupted, if it was long enough.
        """
        return self._follow(self._segmenter.reset(position))

    def _follow(self, events: Iterable[SegmentEvent]) -> list[Recognition]:
        recognised: list[Recognition] = []
        for event in events:
            match event:
                case Extend():
                    self._front_end.push(event.samples)
                case Begin():
                    self._front_end.start()
                case End():
                    utterance = event.utterance
                    features = self._front_end.finish(utterance.end - utterance.start)
                    begun = time.perf_counter()
                    prediction = self._classifier.classify_features(features, self.decision)
                    self.inference.observe(time.perf_counter() - begun)
                    recognised.append(Recognition(utterance=utterance, prediction=prediction))
                case _:  # discarded: the next Begin starts the front end again
                    pass
        return recognised


class Stream:
    """Finds and classifies the utterances of a live stream, block by block.

    >>> stream = Classifier.load().stream(48_000)
    >>> for block in blocks:
    ...     for prediction in stream.feed(block):
    ...         print(prediction.start_s, prediction.emotion)
    >>> stream.finish()
    []

    It needs no thread and no device, and is idle between calls. It is not thread-safe, but the
    streams of several threads may share a classifier.

    Args:
        classifier: Classifies the utterances.
        rate: Samples per second, 2000 to 768 000.
        speech: Settings of the speech detection; None: serd's defaults.

    Raises:
        SamplesError: If the rate is out of range. It is a ``ValueError``.
    """

    def __init__(
        self, classifier: Classifier, rate: int, *, speech: SpeechConfig | None = None
    ) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            msg = f"a rate of {rate} Hz is not within {MIN_RATE} .. {MAX_RATE}"
            raise SamplesError(msg)
        settings = speech or SpeechConfig()
        self._rate = int(rate)
        self._recogniser = Recogniser(Segmenter.of(settings), classifier)
        self._begin()

    @property
    def speaking(self) -> bool:
        """Whether somebody is speaking at the end of the audio so far."""
        return self._recogniser.speaking

    @property
    def position_s(self) -> float:
        """Seconds of the stream that have been processed."""
        return self._recogniser.position / SAMPLE_RATE

    def feed(self, samples: npt.ArrayLike) -> list[Prediction]:
        """Process the next samples.

        Args:
            samples: Mono, shape ``[n]`` or ``[n, 1]``, any ``n``: int16, or float in [-1, 1].
                Larger samples are clipped; NaN and infinities become 0.

        Returns:
            The utterances that ended within them, in order, with `Prediction.start_s` and
            `Prediction.end_s` in seconds from the beginning of the stream. Usually none.

        Raises:
            SamplesError: If they are not mono audio of those types. It is a ``ValueError``.
        """
        if not np.size(samples):
            return []
        block = self._intake.push(_mono(samples), 0.0)
        return [] if block is None else _timed(self._recogniser.feed(block.samples))

    def finish(self) -> list[Prediction]:
        """End the stream, and with it any utterance in progress; later samples start a new stream.

        Returns:
            The last utterance, if there is one.
        """
        block = self._intake.finish(0.0)
        ended = [] if block is None else self._recogniser.feed(block.samples)
        predictions = _timed([*ended, *self._recogniser.flush()])
        self._recogniser.reset(0)
        self._begin()
        return predictions

    def _begin(self) -> None:
        self._intake = Intake()
        self._intake.start(rate=self._rate, channels=1)


def _timed(recognised: Iterable[Recognition]) -> list[Prediction]:
    return [
        msgspec.structs.replace(
            one.prediction,
            start_s=one.utterance.start / SAMPLE_RATE,
            end_s=one.utterance.end / SAMPLE_RATE,
        )
        for one in recognised
    ]
