"""From scores to events in a household: calibration, prior and thresholds, judged on other folds.

Everything is computed from the raw outputs of the networks of a cross-validation
(:mod:`training.evaluate.predictions`), with the daemon's own decision and gathering of evidence.
What is chosen for a fold is chosen on the other folds: on speakers, and sources of ordinary speech,
on which the fold's figures are not measured, each scored by a network not trained on them.
What is shipped is chosen on all folds together; the figures of the folds say how good it is.

1. Temperature and, if the recipe says so, a bias for each class
   (:mod:`training.evaluate.calibration`): those under which the truth is most likely, every corpus
   and in it every class counting alike. After that the scores assume that all classes are equally
   frequent.
2. The prior: at home a larger share is neutral or calm (``home.ordinary_share`` of the recipe).
3. A lower bias for an emotion that alone causes most of the false alarms in ordinary speech, until
   it causes no more than half of them. Otherwise a few lively voices that sound surprised would
   set the threshold of every emotion.
4. What ordinary speech sounds like, so that a room gets used to its own sound
   (:mod:`serd.model.habituation`): the mean over its sources of the typical log-odds of an emotion.
5. A threshold for each sensitivity: the lowest at which ordinary speech causes no more emotional
   events an hour than the recipe allows.

Each source of recordings is a room: its recordings are heard one after the other, with a long
silence before each. Acted clips are heard in a room that is not familiar yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
import numpy as np

from serd.model.decision import Decision
from serd.model.gathering import Gatherer
from serd.model.habituation import Habituation
from serd.model.metadata import (
    ORDINARY,
    SENSITIVITIES,
    FeatureParameters,
    Home,
    ModelInfo,
    OperatingPoint,
    Usual,
)
from training.evaluate.calibration import LARGEST_BIAS, TemperatureAndBias, fit_temperature_and_bias
from training.evaluate.shortcut import separation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from serd.config import Sensitivity
    from serd.model.decision import Prediction
    from training.evaluate.predictions import ClipScores, Predictions, RecordingScores
    from training.recipe.home import HabituationUse, HomeUse

Room: TypeAlias = Sequence["RecordingScores"]
"""The recordings of one source, in their order: what a daemon in that room hears."""

CURVE_RATES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
"""Points of the operating curve: false emotional events an hour."""


_PAUSE_S = 0.6
"""Pause between two clips of one speaker."""


_LOWEST_THRESHOLD = 0.01
"""Below the highest of eight probabilities in any case."""


_LARGEST_SHARE = 0.5
"""Largest share of the false events in ordinary speech that one emotion may cause."""


_BIAS_STEP = 0.25
"""Step by which the bias of an emotion is lowered."""


_FIGURES = ("recordings", "utterances", "hours", "events")
"""Figures of a group of recordings."""


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """The events of some recordings before a threshold is applied."""

    strengths: NDArray[np.float64]
    """For each utterance what a threshold is compared with, or 0 if it cannot be an event."""
    emotions: tuple[str, ...]
    """The emotion of each utterance, if it becomes an event."""
    ordinary: NDArray[np.bool_]
    """Whether neutral and calm together are at least as likely as not."""


def unmeasured_home(
    calibration: TemperatureAndBias, use: HomeUse, thresholds: Sequence[float]
) -> Home:
    """Household settings for a model file, without measurements.

    Args:
        calibration: Temperature and biases.
        use: Settings of the recipe.
        thresholds: One for each of ``SENSITIVITIES``.
    """
    points = {
        name: OperatingPoint(threshold=threshold, events_per_hour=0.0, recall=0.0)
        for name, threshold in zip(SENSITIVITIES, thresholds, strict=True)
    }
    return Home(
        ordinary_share=use.ordinary_share,
        trained_share=use.trained_share,
        bias=calibration.bias,
        gathering=use.gathering,
        agree=use.agree,
        threshold_on=use.threshold_on,
        sensitivity=points,
    )


def decision_of(
    labels: Sequence[str],
    temperature: float,
    home: Home | None,
    *,
    stated: Literal["home", "even"] = "home",
    min_confidence: float | None = None,
) -> Decision:
    """The daemon's decision with this calibration, at sensitivity normal.

    Args:
        labels: Classes of the network.
        temperature: Divides its logits.
        home: Household settings, if there are any.
        stated: Which class frequencies the scores of a prediction assume.
        min_confidence: The threshold, instead of that of ``home``.
    """
    info = ModelInfo(
        name="cross-validation",
        version="0",
        features=FeatureParameters(),
        temperature=temperature,
        home=home,
    )
    return Decision(labels, info, min_confidence=min_confidence, stated=stated)


def answer_of(clip: ClipScores, decision: Decision) -> Prediction:
    """The result of ``serd classify --whole`` for an acted clip."""
    return decision.decide(np.array(clip.logs, dtype=np.float32))


def events_of(rooms: Iterable[Room], decision: Decision, agree: int) -> Events:
    """The decisions of the daemon for recordings, each after a long silence.

    Args:
        rooms: Recordings with their scores; the daemon starts in each room.
        decision: With the household settings; its threshold is not applied.
        agree: Utterances that must agree.
    """
    decision = _without_threshold(decision)
    strengths, emotions, ordinary = [], [], []
    for room in rooms:
        gatherer = Gatherer(decision, agree)
        for recording in room:
            gatherer.reset()
            for one in recording.utterances:
                single = decision.decide(np.array(one.logs, dtype=np.float32))
                decided = gatherer.add(single, one.start_s, one.end_s).prediction
                emotion, strength = decision.emotional(decided.scores)
                strengths.append(strength if decided.emotion == emotion else 0.0)
                emotions.append(emotion)
                ordinary.append(sum(decided.scores[name] for name in ORDINARY) >= 0.5)
    return Events(
        strengths=np.array(strengths),
        emotions=tuple(emotions),
        ordinary=np.array(ordinary, dtype=np.bool_),
    )


def _without_threshold(decision: Decision) -> Decision:
    """The same decision with thresholds of 0, so that every emotion that could be told is told."""
    home = decision.home
    assert home is not None
    points = {
        name: msgspec.structs.replace(point, threshold=0.0)
        for name, point in home.sensitivity.items()
    }
    return decision.with_home(msgspec.structs.replace(home, sensitivity=points))


def hours(rooms: Iterable[Room], *, spoken: bool = False) -> float:
    """Total length of recordings, or of the utterances in them (``spoken``)."""
    recordings = chain.from_iterable(rooms)
    if spoken:
        return sum(u.end_s - u.start_s for one in recordings for u in one.utterances) / 3600.0
    return sum(one.duration_s for one in recordings) / 3600.0


def rooms_of(
    predictions: Iterable[Predictions],
    keep: Callable[[RecordingScores], bool] = lambda _: True,
) -> list[Room]:
    """Recordings by network and source, in the order in which they were made.

    Args:
        predictions: One for each network.
        keep: Which recordings to keep; rooms without any are left out.
    """
    found: list[Room] = []
    for network in predictions:
        by_source: dict[str, list[RecordingScores]] = defaultdict(list)
        for one in filter(keep, network.recordings):
            by_source[one.source].append(one)
        found += by_source.values()
    return found


def threshold_for(strengths: NDArray[np.float64], length_h: float, rate: float) -> float:
    """The lowest threshold that lets no more than ``rate`` events an hour pass.

    Half way between the last event that passes and the first that does not; never above 0.999, and
    never below 0.01.
    """
    ordered = np.sort(strengths)[::-1]
    allowed = int(rate * length_h)
    if allowed >= len(ordered):
        return _LOWEST_THRESHOLD
    above = ordered[allowed - 1] if allowed else 1.0
    between = float(ordered[allowed] + above) / 2.0
    return round(min(max(between, _LOWEST_THRESHOLD), 0.999), 6)


def sentences(predictions: Iterable[Predictions]) -> list[Room]:
    """The ordinary speech for choosing thresholds, without single words: they cause few alarms."""
    return rooms_of(predictions, lambda one: one.spoken and one.kind != "command")


def usual_sound(rooms: Iterable[Room], decision: Decision, use: HabituationUse) -> Usual | None:
    """What ordinary speech sounds like to networks that were not trained on it.

    Args:
        rooms: Ordinary speech. Those with fewer utterances than ``use.half_after`` are left out.
        decision: With the household settings.
        use: Settings of the recipe.

    Returns:
        None if no room has enough utterances.
    """
    usual = Usual(odds={}, remembered=use.remembered, half_after=use.half_after)
    habituation = Habituation(usual, decision.labels)
    typical = []
    for room in rooms:
        scores = [
            decision.log_scores_of(decision.decide(np.array(one.logs, dtype=np.float32)).scores)
            for recording in room
            for one in recording.utterances
        ]
        if len(scores) >= use.half_after:
            typical.append(np.median(habituation.odds(np.array(scores)), axis=0))
    if not typical:
        return None
    means = np.mean(typical, axis=0).tolist()
    odds = {
        label: round(mean, 3)
        for label, mean in zip(decision.labels, means, strict=True)
        if label not in ORDINARY
    }
    return msgspec.structs.replace(usual, odds=odds)


class HouseholdFit(msgspec.Struct, frozen=True, kw_only=True):
    """A calibration and the household settings that belong to it."""

    temperature: float
    home: Home


def fit_household(predictions: Sequence[Predictions], use: HomeUse) -> HouseholdFit:
    """Fit calibration and thresholds to predictions for clips not used in training."""
    labels = predictions[0].labels
    acted = [clip for one in predictions for clip in one.clips if clip.corpus in use.corpora]
    calibration = fit_temperature_and_bias(acted, labels, biased=use.biased)
    temperature = round(calibration.temperature * use.caution, 3)
    bias = {label: round(odds / use.caution, 3) for label, odds in calibration.bias.items()}
    speech = sentences(predictions)
    while True:
        calibration = TemperatureAndBias(temperature=temperature, bias=bias)
        home = unmeasured_home(calibration, use, [0.0] * len(SENSITIVITIES))
        decision = decision_of(labels, temperature, home)
        usual = None
        if use.habituation is not None:
            usual = usual_sound(speech, decision, use.habituation)
            decision = decision.with_home(msgspec.structs.replace(home, usual=usual))
        events = events_of(speech, decision, use.agree)
        thresholds = [
            threshold_for(events.strengths, hours(speech), use.rates[name])
            for name in SENSITIVITIES
        ]
        dominant = _dominant_emotion(_emotions_above(events, thresholds[-1]))
        if dominant is None or bias[dominant] - _BIAS_STEP < -LARGEST_BIAS:
            home = unmeasured_home(calibration, use, thresholds)
            return HouseholdFit(
                temperature=temperature, home=msgspec.structs.replace(home, usual=usual)
            )
        bias[dominant] = round(bias[dominant] - _BIAS_STEP, 3)


def _dominant_emotion(events: Sequence[str]) -> str | None:
    """The emotion that causes too large a share of the events; two events may be chance."""
    for emotion, count in Counter(events).most_common(1):
        if count > max(2.0, _LARGEST_SHARE * len(events)):
            return emotion
    return None


def measure_household(
    predictions: Predictions, fitted: HouseholdFit, others: Sequence[Predictions], agree: int
) -> dict[str, Any]:
    """Measure a model at each sensitivity, and along the operating curve.

    Args:
        predictions: Of the network that is measured.
        fitted: Chosen on ``others``.
        others: For the thresholds of the curve.
        agree: Utterances that must agree.

    Returns:
        ``points`` by sensitivity; ``curve`` by the rates of :data:`CURVE_RATES` that were allowed
        on the others: the rate here, and the recalls; ``separation`` of
        :mod:`training.evaluate.shortcut`.
    """
    decision = decision_of(predictions.labels, fitted.temperature, fitted.home)
    speech = sentences([predictions])
    events = events_of(speech, decision, agree)
    elsewhere = sentences(others)
    ranked = events_of(elsewhere, decision, agree).strengths
    decisions = [_emotional_decision(clip, decision) for clip in predictions.clips]

    def at(threshold: float) -> dict[str, Any]:
        decided = events.strengths >= threshold
        return {
            "threshold": threshold,
            "events": int(decided.sum()),
            "hours": round(hours(speech), 4),
            "per_hour": float(decided.sum() / max(hours(speech), 1e-9)),
            "per_hour_of_speech": float(decided.sum() / max(hours(speech, spoken=True), 1e-9)),
            "told": _recalls(predictions.clips, decisions, threshold),
            "told_in_a_row": _in_a_row(predictions.clips, decision, agree, threshold),
        }

    points = {}
    for name in SENSITIVITIES:
        threshold = fitted.home.sensitivity[name].threshold
        point = at(threshold)
        point |= {
            "by_emotion": dict(Counter(_emotions_above(events, threshold))),
            "ordinary_share": (
                float(np.mean((events.strengths < threshold) & events.ordinary))
                if len(events.strengths)
                else 0.0
            ),
            "groups": _groups(predictions, decision, agree, threshold),
        }
        points[name] = point
    curve = {f"{rate:g}": at(threshold_for(ranked, hours(elsewhere), rate)) for rate in CURVE_RATES}
    return {
        "points": points,
        "curve": curve,
        "separation": separation(predictions.clips, chain.from_iterable(speech), decision),
    }


def _emotions_above(events: Events, threshold: float) -> list[str]:
    return [
        emotion
        for emotion, strength in zip(events.emotions, events.strengths, strict=True)
        if strength >= threshold
    ]


def _emotional_decision(clip: ClipScores, decision: Decision) -> tuple[str, float]:
    """The likeliest emotion of a clip by itself, and what a threshold is compared with."""
    return decision.emotional(decision.decide(np.array(clip.logs, dtype=np.float32)).scores)


def _recalls(
    clips: Sequence[ClipScores], decisions: Sequence[tuple[str, float]], threshold: float
) -> dict[str, dict[str, float]]:
    """Shares of clips that make events, by corpus: right and wrong emotions, and neutral clips."""
    found: dict[str, dict[str, float]] = {}
    for corpus in sorted({clip.corpus for clip in clips}):
        right = wrong = emotional = false = neutral = 0
        for clip, (emotion, strength) in zip(clips, decisions, strict=True):
            if clip.corpus != corpus:
                continue
            decided = strength >= threshold
            if clip.emotion in ORDINARY:
                neutral += 1
                false += decided
            else:
                emotional += 1
                right += decided and emotion == clip.emotion
                wrong += decided and emotion != clip.emotion
        found[corpus] = {
            "right": right / max(1, emotional),
            "wrong": wrong / max(1, emotional),
            "neutral_told": false / max(1, neutral),
        }
    return found


def _in_a_row(
    clips: Sequence[ClipScores], decision: Decision, agree: int, threshold: float
) -> dict[str, list[float]]:
    """Share of emotional clips recognised as the first, second, third of a row.

    A row consists of clips of one speaker and one emotion.
    """
    rows: dict[tuple[str, str, str], list[ClipScores]] = defaultdict(list)
    for clip in clips:
        if clip.emotion not in ORDINARY:
            rows[clip.corpus, clip.speaker, clip.emotion].append(clip)
    hits: dict[str, list[list[bool]]] = defaultdict(lambda: [[], [], []])
    decision = _without_threshold(decision)
    for (corpus, _, emotion), row in rows.items():
        for first in range(0, len(row) - 2, 3):
            gatherer = Gatherer(decision, agree)
            now = 0.0
            for place, clip in enumerate(row[first : first + 3]):
                single = decision.decide(np.array(clip.logs, dtype=np.float32))
                decided = gatherer.add(single, now, now + 2.0).prediction
                now += 2.0 + _PAUSE_S
                _, strength = decision.emotional(decided.scores)
                hits[corpus][place].append(decided.emotion == emotion and strength >= threshold)
    return {
        corpus: [float(np.mean(of_place)) for of_place in places if of_place]
        for corpus, places in sorted(hits.items())
    }


def _groups(
    predictions: Predictions, decision: Decision, agree: int, threshold: float
) -> dict[str, dict[str, Any]]:
    """Events an hour by source, kind, language and length of recordings, and of household sound."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_FIGURES, 0))
    for room in rooms_of([predictions]):
        decided = iter((events_of([room], decision, agree).strengths >= threshold).tolist())
        for one in room:
            utterances = len(one.utterances)
            figures = (1, utterances, one.duration_s / 3600.0, sum(islice(decided, utterances)))
            for group in _groups_of(one):
                for name, figure in zip(_FIGURES, figures, strict=True):
                    found[group][name] += figure
    return {
        group: figures | {"hours": round(figures["hours"], 4)}
        for group, figures in sorted(found.items())
    }


def _groups_of(one: RecordingScores) -> list[str]:
    of_all = [f"source {one.source}", f"kind {one.kind}"]
    if not one.spoken:
        return [*of_all, "household"]
    length = "under 2 s" if one.duration_s < 2 else "2 to 6 s" if one.duration_s < 6 else "longer"
    return [*of_all, f"language {one.language}", f"length {length}"]


def events_by_emotion(
    predictions: Predictions, temperature: float, home: Home, agree: int
) -> dict[str, Any]:
    """Events in recordings at each sensitivity of a model, by emotion.

    Args:
        predictions: Raw scores of the recordings.
        temperature: Of the model.
        home: Household settings of the model.
        agree: Utterances that must agree.
    """
    rooms = rooms_of([predictions])
    events = events_of(rooms, decision_of(predictions.labels, temperature, home), agree)
    length = {"of_recording": hours(rooms), "of_speech": hours(rooms, spoken=True)}
    points = {}
    for name in SENSITIVITIES:
        decided = Counter(_emotions_above(events, home.sensitivity[name].threshold))
        points[name] = {
            "events": dict(decided.most_common()),
            "per_hour": {key: decided.total() / max(one, 1e-9) for key, one in length.items()},
        }
    return {
        "recordings": len(predictions.recordings),
        "utterances": len(events.strengths),
        "hours": length,
        "told": points,
    }


def with_measurements(
    home: Home, points: dict[Sensitivity, dict[str, Any]], corpora: Sequence[str]
) -> Home:
    """Household settings with what was measured at each sensitivity.

    Args:
        home: The settings.
        points: Means over the folds: ``per_hour``, and ``told`` by corpus.
        corpora: Acted corpora that were trained on; their mean recall is stated.
    """
    return msgspec.structs.replace(
        home,
        sensitivity={
            name: OperatingPoint(
                threshold=home.sensitivity[name].threshold,
                events_per_hour=round(points[name]["per_hour"], 1),
                recall=round(
                    float(np.mean([points[name]["told"][one]["right"] for one in corpora])), 3
                ),
            )
            for name in SENSITIVITIES
        },
    )
