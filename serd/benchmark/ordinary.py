"""Counts false alarms on ordinary speech, at each sensitivity.

The household knows that nobody was angry, so every emotional event is a false alarm. Sound passes
through the same detectors, network and evidence as in the daemon; of an utterance only counts are
kept, and nothing is stored or published.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from serd.audio.format import SAMPLE_RATE
from serd.audio.source import EndOfSource
from serd.model.classifier import Classifier, Recogniser
from serd.model.emotions import UNCERTAIN
from serd.model.gathering import Gatherer
from serd.model.metadata import ORDINARY, SENSITIVITIES
from serd.speech import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable

    from serd.audio.source import Source
    from serd.config import Config
    from serd.model.classifier import Recognition
    from serd.model.decision import Decision

_READ_S: Final = 0.5


class FalseAlarms(msgspec.Struct, frozen=True, kw_only=True):
    """The emotional events at one sensitivity."""

    events: int
    """Emotional events."""
    per_hour_of_speech: float | None
    """Per hour of utterances; None without any."""
    per_hour_of_recording: float | None
    """Per hour of sound."""
    ordinary_share: float | None
    """Share of utterances classified as neutral or calm."""
    emotions: dict[str, int]
    """Events by emotion."""


class OrdinarySpeech(msgspec.Struct, frozen=True, kw_only=True):
    """What ``serd bench --ordinary --json`` prints."""

    recording_s: float
    """Seconds of sound."""
    speech_s: float
    """Of these, in utterances."""
    utterances: int
    """Utterances classified."""
    dropped: int
    """Sounds that were not utterances."""
    unconfirmed: int
    """Of these, sounds that only the second detector rejected."""
    told: dict[str, FalseAlarms]
    """By sensitivity; only ``normal`` if the model or ``model.min_confidence`` allows no choice."""
    model: str
    """Name and version of the model."""


class _Counter:
    """Counts emotions at one sensitivity."""

    def __init__(self, decision: Decision, gatherer: Gatherer | None) -> None:
        self._decision = decision
        self._gatherer = gatherer
        self.emotions: Counter[str] = Counter()

    def hear(self, recognition: Recognition) -> None:
        utterance, single = recognition.utterance, recognition.prediction
        single = msgspec.structs.replace(single, emotion=self._decision.label_of(single.scores))
        if self._gatherer is not None:
            start_s, end_s = utterance.start / SAMPLE_RATE, utterance.end / SAMPLE_RATE
            single = self._gatherer.add(single, start_s, end_s).prediction
        self.emotions[single.emotion] += 1


def listen(
    config: Config,
    source: Source,
    *,
    seconds: float | None = None,
    heard: Callable[[float], None] = lambda _seconds: None,
) -> OrdinarySpeech:
    """Listen to a source that is open, until it ends, is interrupted (Ctrl-C), or time is up.

    Args:
        config: The model, how speech is found, and what must agree.
        source: What to listen to.
        seconds: Seconds of sound to listen to; None for all of it.
        heard: Called regularly with the seconds heard so far.

    Raises:
        SerdError: As the source, the detectors and the model do.
    """
    classifier = Classifier.configured(config)
    counters_by_sensitivity: dict[str, _Counter] = {}
    for sensitivity in SENSITIVITIES if classifier.decision.adjustable else ("normal",):
        decision = classifier.decision.copy()
        decision.sensitivity = sensitivity
        counters_by_sensitivity[sensitivity] = _Counter(
            decision, Gatherer.configured(decision, config.decision)
        )
    recogniser = Recogniser(Segmenter.of(config.speech), classifier)
    samples = speech = 0

    def take(recognitions: list[Recognition]) -> None:
        nonlocal speech
        for recognition in recognitions:
            speech += recognition.utterance.end - recognition.utterance.start
            for counter in counters_by_sensitivity.values():
                counter.hear(recognition)

    try:
        while seconds is None or samples < seconds * SAMPLE_RATE:
            block = source.read(_READ_S)
            if block is None:
                continue
            if block.lost or not samples:
                take(recogniser.reset(block.position))
            take(recogniser.feed(block.samples))
            samples += len(block)
            heard(samples / SAMPLE_RATE)
    except (EndOfSource, KeyboardInterrupt):
        pass
    take(recogniser.flush())
    counters = recogniser.counters
    return OrdinarySpeech(
        recording_s=round(samples / SAMPLE_RATE, 1),
        speech_s=round(speech / SAMPLE_RATE, 1),
        utterances=counters.utterances,
        dropped=counters.dropped,
        unconfirmed=counters.unconfirmed,
        told={
            name: _sum_up(counter.emotions, samples, speech)
            for name, counter in counters_by_sensitivity.items()
        },
        model=f"{classifier.info.name} {classifier.info.version}",
    )


def _sum_up(counts: Counter[str], samples: int, speech: int) -> FalseAlarms:
    emotions = {name: n for name, n in counts.most_common() if name not in {*ORDINARY, UNCERTAIN}}
    events, utterances = sum(emotions.values()), counts.total()
    return FalseAlarms(
        events=events,
        per_hour_of_speech=round(events * 3600 * SAMPLE_RATE / speech, 1) if speech else None,
        per_hour_of_recording=round(events * 3600 * SAMPLE_RATE / samples, 1) if samples else None,
        ordinary_share=(
            round(sum(counts[name] for name in ORDINARY) / utterances, 3) if utterances else None
        ),
        emotions=emotions,
    )


def page(speech: OrdinarySpeech) -> str:
    """The counts as lines for people."""
    heard = f"{speech.recording_s / 60:.1f} minutes heard, {speech.speech_s / 60:.1f} of speech"
    dropped = f"{speech.dropped} other sounds dropped, {speech.unconfirmed} of them by silero"
    lines = [f"{heard}: {speech.utterances} utterances ({dropped}); model {speech.model}"]
    for name, alarms in speech.told.items():
        if alarms.per_hour_of_speech is None or alarms.ordinary_share is None:
            lines.append(f"{name:<7} no speech, so no result")
            continue
        which = ", ".join(f"{emotion} {n}" for emotion, n in alarms.emotions.items())
        lines.append(
            f"{name:<7} {alarms.events} emotional events{f' ({which})' if which else ''}: "
            f"{alarms.per_hour_of_speech:.1f} per hour of speech, "
            f"{alarms.per_hour_of_recording:.1f} per hour of sound; "
            f"{alarms.ordinary_share:.0%} classified as neutral or calm"
        )
    return "\n".join(lines)
