"""From a stream of samples to predictions: segmenter, streaming front end and network together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from serd.audio.source import EndOfSource
from serd.histogram import Histogram
from serd.model.decision import Prediction  # noqa: TC001 - msgspec looks types up
from serd.speech.utterance import Begin, End, Extend, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    import numpy.typing as npt

    from serd.audio.source import Source
    from serd.model.classifier import Classifier
    from serd.model.decision import Decision
    from serd.speech.segmenter import Counters, Segmenter
    from serd.speech.utterance import SegmentEvent


INFERENCE_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
"""Buckets of the network's time, seconds: around a Pi 5 (0.5 ms) and a Pi Zero 2 W (some ms)."""


class Recognition(msgspec.Struct, frozen=True, kw_only=True):
    """An utterance and what the model makes of it."""

    utterance: Utterance
    """When it was, in samples of the stream, and how loud."""
    prediction: Prediction
    """The model's answer."""


class Recogniser:
    """Listens to one stream.

    Features are computed while somebody speaks, so that at the end of an utterance only its last
    frames and the network are left. For one thread; several streams need one each.

    Args:
        segmenter: Cuts the stream into utterances.
        classifier: Tells their emotions.
        decision: Instead of the classifier's own, whose sensitivity all its users share.
    """

    def __init__(
        self, segmenter: Segmenter, classifier: Classifier, *, decision: Decision | None = None
    ) -> None:
        self._segmenter = segmenter
        self._classifier = classifier
        self.decision = decision or classifier.decision
        """What is made of the network's output."""
        self._front_end = classifier.front_end()
        self.inference = Histogram(INFERENCE_S)
        """Seconds that the network and the decision took, for each utterance."""

    @property
    def speaking(self) -> bool:
        """Whether somebody is speaking at the end of what was fed."""
        return self._segmenter.speaking

    @property
    def patience(self) -> int:
        """Samples that may be collected before they are fed without an utterance ending later."""
        return self._segmenter.patience

    @property
    def counters(self) -> Counters:
        """Utterances heard and dropped."""
        return self._segmenter.counters

    @property
    def position(self) -> int:
        """Position of the next sample to be fed."""
        return self._segmenter.position

    def feed(self, samples: npt.NDArray[np.float32]) -> list[Recognition]:
        """Take the next samples.

        Args:
            samples: float32 ``[n]``, mono, 16 kHz, any ``n``.

        Returns:
            The utterances that ended within them, in order.
        """
        return self._follow(self._segmenter.feed(samples))

    def flush(self) -> list[Recognition]:
        """End the stream: whatever was being said ends here.

        Returns:
            The last utterance, if there is one.
        """
        return self._follow(self._segmenter.flush())

    def through(
        self, source: Source, progress: Callable[[Source], None] = lambda _: None
    ) -> Iterator[Recognition]:
        """Hear a source that ends, from its beginning to its end.

        Args:
            source: Not yet opened; it is closed afterwards.
            progress: Called now and then with it.

        Yields:
            Its utterances, in order.

        Raises:
            InputError: It cannot be read.
        """
        # What was heard before may have been broken off and have left something behind.
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
        """Go on after audio was lost.

        Args:
            position: Position of the next sample to be fed.

        Returns:
            The utterance that the loss cut off, if there was enough of it.
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
                case _:  # discarded: the next Begin starts afresh
                    pass
        return recognised
