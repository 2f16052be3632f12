"""From scores to events in a household: calibration, prior and thresholds, judged on other folds.

Everything is computed from the raw outputs of the networks of a cross-validation
(:mod:`training.evaluate.predictions`), with the daemon's own decision and gathering of evidence.
What is chosen for a fold is chosen on the other folds: on speakers, and sources of ordinary speech,
on which the fold's figures are not measured, each heard by a network that was not trained on them.
What is shipped is chosen on all folds together; the figures of the folds say how good it is.

1. Temperature and a bias for each class (:func:`~training.evaluate.calibration.fit_calibration`):
   those under which the truth is most likely, every corpus and in it every class counting alike.
   After that the scores assume that all classes are equally frequent.
2. The prior: at home a larger share is neutral or calm (``home.ordinary_share`` of the recipe).
3. A lower bias for an emotion that alone causes most of the false alarms in ordinary speech, until
   it causes no more than half of them. Otherwise a few lively voices that sound surprised would
   set the threshold of every emotion.
4. A threshold for each sensitivity: the lowest at which ordinary speech causes no more emotional
   events an hour than the recipe allows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from serd.model.decision import Decision
from serd.model.emotions import EMOTIONS
from serd.model.gathering import Gatherer
from serd.model.metadata import (
    ORDINARY,
    SENSITIVITIES,
    FeatureParameters,
    Home,
    ModelInfo,
    OperatingPoint,
)
from training.evaluate.calibration import MOST_BIAS, TemperatureAndBias, fit_calibration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from serd.config import Sensitivity
    from serd.model.decision import Prediction
    from training.evaluate.predictions import Heard, HeardClip, HeardRecording
    from training.recipe import HomeUse


CURVE_RATES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
"""False emotional events an hour at which the operating curve is given."""


_PAUSE_S = 0.6
"""Between two clips of one speaker that are played one after the other."""


_LENGTHS = {"under 2 s": 2.0, "2 to 6 s": 6.0, "longer": float("inf")}


_LEAST_THRESHOLD = 0.01
"""Below any probability that is on top of eight."""


_MOST_SHARE = 0.5
"""Of the false events in ordinary speech that one emotion may make."""


_WARIER = 0.25
"""By how much an emotion's bias is lowered at a time."""


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What would be told of some recordings, before there is a threshold."""

    strengths: NDArray[np.float64]
    """For each utterance the probability of the emotion that would be told, or 0 for none."""
    emotions: tuple[str, ...]
    """That emotion."""
    ordinary: NDArray[np.bool_]
    """Whether neutral or calm is told where no emotion is."""


def make_home(calibration: TemperatureAndBias, use: HomeUse, thresholds: Sequence[float]) -> Home:
    """A home of which nothing has been measured yet.

    Args:
        calibration: What was fitted.
        use: The recipe's wishes.
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
        sensitivity=points,
    )


def decision_of(
    labels: Sequence[str],
    temperature: float,
    home: Home | None,
    *,
    stated: Literal["home", "even"] = "home",
    min_confidence: float | None = 0.0,
) -> Decision:
    """The daemon's decision with this calibration; by default it tells whatever is on top."""
    info = ModelInfo(
        name="cross-validation",
        version="0",
        features=FeatureParameters(),
        temperature=temperature,
        home=home,
    )
    return Decision(labels, info, min_confidence=min_confidence, stated=stated)


def answer_of(clip: HeardClip, decision: Decision) -> Prediction:
    """What ``serd classify --whole`` says of an acted clip."""
    return decision.decide(np.array(clip.logs, dtype=np.float32))


def events_of(recordings: Iterable[HeardRecording], decision: Decision, agree: int) -> Events:
    """What the daemon would tell of recordings, each after a long silence.

    Args:
        recordings: What was heard in them.
        decision: Knows the home.
        agree: Utterances that must agree.
    """
    gatherer = Gatherer(decision, agree)
    strengths, emotions, ordinary = [], [], []
    for recording in recordings:
        gatherer.reset()
        for one in recording.utterances:
            single = decision.decide(np.array(one.logs, dtype=np.float32))
            told = gatherer.hear(single, one.start_s, one.end_s).prediction
            emotional = told.emotion in EMOTIONS and told.emotion not in ORDINARY
            strengths.append(told.scores[told.emotion] if emotional else 0.0)
            emotions.append(told.emotion)
            ordinary.append(sum(told.scores[name] for name in ORDINARY) >= 0.5)
    return Events(
        strengths=np.array(strengths),
        emotions=tuple(emotions),
        ordinary=np.array(ordinary, dtype=np.bool_),
    )


def hours(recordings: Iterable[HeardRecording], *, spoken: bool = False) -> float:
    """Of recordings, or of the utterances in them."""
    if spoken:
        return sum(u.end_s - u.start_s for one in recordings for u in one.utterances) / 3600.0
    return sum(one.duration_s for one in recordings) / 3600.0


def threshold_for(strengths: NDArray[np.float64], length_h: float, rate: float) -> float:
    """The lowest threshold at which no more than ``rate`` events an hour are told.

    Half way between the last event that is told and the first that is not; never above 0.999, and
    never so low that it tells nothing.
    """
    ordered = np.sort(strengths)[::-1]
    allowed = int(rate * length_h)
    if allowed >= len(ordered):
        return _LEAST_THRESHOLD
    above = ordered[allowed - 1] if allowed else 1.0
    between = float(ordered[allowed] + above) / 2.0
    return round(min(max(between, _LEAST_THRESHOLD), 0.999), 6)


def sentences(heards: Iterable[Heard]) -> list[HeardRecording]:
    """The ordinary speech by which thresholds are chosen: single words raise fewer false alarms."""
    return [
        one for heard in heards for one in heard.recordings if one.spoken and one.kind != "command"
    ]


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """All that is chosen."""

    temperature: float
    home: Home


def fit(heards: Sequence[Heard], use: HomeUse) -> Fitted:
    """Choose everything on what some networks heard of what they were not trained on."""
    labels = heards[0].labels
    acted = [clip for heard in heards for clip in heard.clips if clip.corpus in use.corpora]
    calibration = fit_calibration(acted, labels)
    temperature = round(calibration.temperature * use.caution, 3)
    bias = {label: round(odds / use.caution, 3) for label, odds in calibration.bias.items()}
    speech = sentences(heards)
    while True:
        calibration = TemperatureAndBias(temperature=temperature, bias=bias)
        home = make_home(calibration, use, [0.0] * len(SENSITIVITIES))
        events = events_of(speech, decision_of(labels, temperature, home), use.agree)
        thresholds = [
            threshold_for(events.strengths, hours(speech), use.rates[name])
            for name in SENSITIVITIES
        ]
        often = _too_often(_told(events, thresholds[-1]))
        if often is None or bias[often] - _WARIER < -MOST_BIAS:
            return Fitted(temperature=temperature, home=make_home(calibration, use, thresholds))
        bias[often] = round(bias[often] - _WARIER, 3)


def _too_often(told: Sequence[str]) -> str | None:
    """The emotion that makes more than its share of false events; a pair of events is chance."""
    for emotion, count in Counter(told).most_common(1):
        if count > max(2.0, _MOST_SHARE * len(told)):
            return emotion
    return None


def household(heard: Heard, fitted: Fitted, others: Sequence[Heard], agree: int) -> dict[str, Any]:
    """What a model does at each sensitivity, and along the operating curve.

    Args:
        heard: By the network that is judged.
        fitted: Chosen on ``others``.
        others: The thresholds of the curve come from them.
        agree: Utterances that must agree.

    Returns:
        ``points`` by sensitivity, and ``curve`` by the rates of :data:`CURVE_RATES` that were
        allowed on the others: the rate here, and the recalls.
    """
    decision = decision_of(heard.labels, fitted.temperature, fitted.home)
    speech = sentences([heard])
    events = events_of(speech, decision, agree)
    elsewhere = sentences(others)
    ranked = events_of(elsewhere, decision, agree).strengths
    singles = [_single(clip, decision) for clip in heard.clips]

    def at(threshold: float) -> dict[str, Any]:
        told = events.strengths >= threshold
        return {
            "threshold": threshold,
            "events": int(told.sum()),
            "hours": round(hours(speech), 4),
            "per_hour": float(told.sum() / max(hours(speech), 1e-9)),
            "per_hour_of_speech": float(told.sum() / max(hours(speech, spoken=True), 1e-9)),
            "told": _recalls(heard.clips, singles, threshold),
            "told_in_a_row": _in_a_row(heard.clips, decision, agree, threshold),
        }

    points = {}
    for name in SENSITIVITIES:
        threshold = fitted.home.sensitivity[name].threshold
        point = at(threshold)
        point |= {
            "by_emotion": dict(Counter(_told(events, threshold))),
            "ordinary_share": (
                float(np.mean((events.strengths < threshold) & events.ordinary))
                if len(events.strengths)
                else 0.0
            ),
            "groups": _groups(heard.recordings, decision, agree, threshold),
        }
        points[name] = point
    curve = {f"{rate:g}": at(threshold_for(ranked, hours(elsewhere), rate)) for rate in CURVE_RATES}
    return {"points": points, "curve": curve}


def _told(events: Events, threshold: float) -> list[str]:
    return [
        emotion
        for emotion, strength in zip(events.emotions, events.strengths, strict=True)
        if strength >= threshold
    ]


def _single(clip: HeardClip, decision: Decision) -> tuple[str, float]:
    """The emotion that would be told of a clip alone, and its probability; else nothing and 0."""
    told = decision.decide(np.array(clip.logs, dtype=np.float32))
    emotional = told.emotion in EMOTIONS and told.emotion not in ORDINARY
    return (told.emotion, told.confidence) if emotional else ("", 0.0)


def _recalls(
    clips: Sequence[HeardClip], singles: Sequence[tuple[str, float]], threshold: float
) -> dict[str, dict[str, float]]:
    """Shares of clips told, by corpus: emotional ones rightly and wrongly, neutral ones at all."""
    found: dict[str, dict[str, float]] = {}
    for corpus in sorted({clip.corpus for clip in clips}):
        right = wrong = emotional = false = neutral = 0
        for clip, (emotion, strength) in zip(clips, singles, strict=True):
            if clip.corpus != corpus:
                continue
            told = strength >= threshold
            if clip.emotion in ORDINARY:
                neutral += 1
                false += told
            else:
                emotional += 1
                right += told and emotion == clip.emotion
                wrong += told and emotion != clip.emotion
        found[corpus] = {
            "right": right / max(1, emotional),
            "wrong": wrong / max(1, emotional),
            "neutral_told": false / max(1, neutral),
        }
    return found


def _in_a_row(
    clips: Sequence[HeardClip], decision: Decision, agree: int, threshold: float
) -> dict[str, list[float]]:
    """Share of emotional clips told rightly as the first, second, third of a row.

    A row is of one speaker in one emotion.
    """
    rows: dict[tuple[str, str, str], list[HeardClip]] = defaultdict(list)
    for clip in clips:
        if clip.emotion not in ORDINARY:
            rows[clip.corpus, clip.speaker, clip.emotion].append(clip)
    hits: dict[str, list[list[bool]]] = defaultdict(lambda: [[], [], []])
    gatherer = Gatherer(decision, agree)
    for (corpus, _, emotion), row in rows.items():
        for first in range(0, len(row) - 2, 3):
            gatherer.reset()
            now = 0.0
            for place, clip in enumerate(row[first : first + 3]):
                single = decision.decide(np.array(clip.logs, dtype=np.float32))
                told = gatherer.hear(single, now, now + 2.0).prediction
                now += 2.0 + _PAUSE_S
                hits[corpus][place].append(
                    told.emotion == emotion and told.scores[emotion] >= threshold
                )
    return {
        corpus: [float(np.mean(of_place)) for of_place in places if of_place]
        for corpus, places in sorted(hits.items())
    }


def _groups(
    recordings: Sequence[HeardRecording], decision: Decision, agree: int, threshold: float
) -> dict[str, dict[str, Any]]:
    """Events an hour by source, kind, language and length of recordings, and of household sound."""
    grouped: dict[str, list[HeardRecording]] = defaultdict(list)
    for one in recordings:
        length = (
            "under 2 s" if one.duration_s < 2 else "2 to 6 s" if one.duration_s < 6 else "longer"
        )
        grouped[f"source {one.source}"].append(one)
        grouped[f"kind {one.kind}"].append(one)
        if one.spoken:
            grouped[f"language {one.language}"].append(one)
            grouped[f"length {length}"].append(one)
        else:
            grouped["household"].append(one)
    found = {}
    for name, some in sorted(grouped.items()):
        events = events_of(some, decision, agree)
        told = len(_told(events, threshold))
        found[name] = {
            "recordings": len(some),
            "utterances": len(events.strengths),
            "hours": round(hours(some), 4),
            "events": told,
        }
    return found


def told_of(heard: Heard, temperature: float, home: Home, agree: int) -> dict[str, Any]:
    """What a model with a home tells of recordings at each sensitivity, by emotion.

    Args:
        heard: What its network says of them.
        temperature: The model's.
        home: The model's.
        agree: Utterances that must agree.
    """
    events = events_of(heard.recordings, decision_of(heard.labels, temperature, home), agree)
    length = {
        "of_recording": hours(heard.recordings),
        "of_speech": hours(heard.recordings, spoken=True),
    }
    points = {}
    for name in SENSITIVITIES:
        told = Counter(_told(events, home.sensitivity[name].threshold))
        points[name] = {
            "events": dict(told.most_common()),
            "per_hour": {key: told.total() / max(one, 1e-9) for key, one in length.items()},
        }
    return {
        "recordings": len(heard.recordings),
        "utterances": len(events.strengths),
        "hours": length,
        "told": points,
    }


def measured(home: Home, points: dict[Sensitivity, dict[str, Any]], corpora: Sequence[str]) -> Home:
    """A home with what was measured at its sensitivities.

    Args:
        home: Without.
        points: Means over the folds: ``per_hour``, and ``told`` by corpus.
        corpora: Acted ones that were trained on; their mean recall is what is stated.
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
