"""A live stream in blocks: what a program of one's own hands over as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from serd.audio.format import MAX_RATE, MIN_RATE, SAMPLE_RATE
from serd.audio.intake import Intake
from serd.model.classifier import SamplesError, mono
from serd.model.recogniser import Recogniser
from serd.speech import Segmenter, make_vad

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from serd.config import SpeechConfig
    from serd.model.classifier import Classifier
    from serd.model.decision import Prediction
    from serd.model.recogniser import Recognition


class Stream:
    """Hears one stream of samples and tells the emotion of each utterance as it ends.

    >>> stream = Classifier.load().stream(48_000)
    >>> for block in blocks:
    ...     for prediction in stream.feed(block):
    ...         print(prediction.start_s, prediction.emotion)
    >>> stream.finish()
    []

    It needs no thread and no device, and does nothing between two calls. It belongs to one thread;
    streams of several threads may share a classifier.

    Args:
        classifier: Tells the emotions.
        rate: Samples per second, 2000 to 768 000.
        speech: How speech is found and cut; None: serd's defaults.

    Raises:
        SamplesError: If the rate is out of range. It is a ``ValueError``.
    """

    def __init__(
        self, classifier: Classifier, rate: int, *, speech: SpeechConfig | None = None
    ) -> None:
        from serd.config import SpeechConfig as Settings  # noqa: PLC0415

        if not MIN_RATE <= rate <= MAX_RATE:
            msg = f"a rate of {rate} Hz is not within {MIN_RATE} .. {MAX_RATE}"
            raise SamplesError(msg)
        settings = speech or Settings()
        self._rate = int(rate)
        self._recogniser = Recogniser(Segmenter(settings, make_vad(settings)), classifier)
        self._begin()

    @property
    def speaking(self) -> bool:
        """Whether somebody is speaking at the end of what was fed."""
        return self._recogniser.speaking

    @property
    def position_s(self) -> float:
        """Seconds of the stream that were heard."""
        return self._recogniser.position / SAMPLE_RATE

    def feed(self, samples: npt.ArrayLike) -> list[Prediction]:
        """Take the next samples.

        Args:
            samples: Mono, shape ``[n]`` or ``[n, 1]``, any ``n``: int16, or float in [-1, 1].
                Samples beyond are clipped; NaN and infinities become 0.

        Returns:
            The utterances that ended within them, in order, with `Prediction.start_s` and
            `Prediction.end_s` in seconds from the beginning of the stream. As a rule none.

        Raises:
            SamplesError: If they are not mono audio of those types. It is a ``ValueError``.
        """
        if not np.size(samples):
            return []
        block = self._intake.push(mono(samples), 0.0)
        return [] if block is None else _told(self._recogniser.feed(block.samples))

    def finish(self) -> list[Prediction]:
        """End the stream: whatever was being said ends here. What is fed next is a new one.

        Returns:
            The last utterance, if there is one.
        """
        block = self._intake.finish(0.0)
        ended = [] if block is None else self._recogniser.feed(block.samples)
        told = _told([*ended, *self._recogniser.flush()])
        self._recogniser.reset(0)
        self._begin()
        return told

    def _begin(self) -> None:
        self._intake = Intake()
        self._intake.start(rate=self._rate, channels=1)


def _told(recognised: Iterable[Recognition]) -> list[Prediction]:
    return [
        msgspec.structs.replace(
            one.prediction,
            start_s=one.utterance.start / SAMPLE_RATE,
            end_s=one.utterance.end / SAMPLE_RATE,
        )
        for one in recognised
    ]
