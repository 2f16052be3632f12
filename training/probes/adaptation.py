"""Unsupervised adaptation to a room: what it would gain, and where it would do harm.

A daemon that stays in one room hears the same voices again and again. Without labels it can learn
how they sound on average, but not what they felt. Two methods are measured. Both work without
labels by construction (:class:`RoomAdapter` gets features and scores, and nothing else), in RAM
only, and from utterance to utterance:

``features``
    The mean of each cepstral coefficient over past utterances is moved towards the mean in
    training: speaker and channel normalisation, as in cepstral mean subtraction (S. Furui, IEEE
    Trans. ASSP 29, 1981), as far as the number of utterances allows (a running mean that starts
    with ``prior`` pseudo-utterances). "The mean in training" is that of the training corpus nearest
    to the room, so that the properties of a corpus are not mistaken for those of a voice.
``scores``
    A class that is predicted more often in this room than in training is weighted down, a rarer one
    up, as in prior correction (M. Saerens, P. Latinne and C. Decaestecker, Neural Computation 14,
    2002), but in the opposite direction: it assumes the same class frequencies in all rooms.

Three situations:

``speaker``
    One voice. Its utterances in random order, of every emotion as often as in the corpus.
``household``
    Three voices of one corpus in one room, mixed.
``mostly_neutral``
    The same, but seven of ten utterances are neutral or calm, as people at home are. Acted
    corpora have all emotions about equally often, and adapting to that would not match a home.

Before each clip there are 0, 5, 20 or 50 other utterances, drawn again with each seed. Prior and
strength are chosen on validation speakers by the mean gain in UAR after 20 utterances over corpora
and the first two situations; test speakers are used once.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from training.evaluate import metrics
from training.evaluate.classification import top_label
from training.prepare import CACHE
from training.probes.conditions import ClipClassifier, ConditionCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.corpora import Clip

Method = Literal["features", "scores"]
Situation = Literal["speaker", "household", "mostly_neutral"]

HEARD = (0, 5, 20, 50)
"""Numbers of past utterances."""

SITUATIONS: tuple[Situation, ...] = ("speaker", "household", "mostly_neutral")

HOUSEHOLD = 3
"""Voices in a household."""

NEUTRAL_SHARE = 0.7
"""Share of neutral and calm utterances in the situation ``mostly_neutral``."""

CANDIDATES: Mapping[Method, tuple[tuple[float, float], ...]] = {
    "features": ((0.15, 5), (0.3, 5), (0.5, 20), (1.0, 20), (1.0, 60)),
    "scores": ((0.5, 20), (1.0, 10), (1.0, 20), (1.0, 50)),
}
"""Candidates for strength and prior."""

REFERENCE_CLIPS = 500
"""Training clips of each corpus, evenly spaced, from which the reference is measured."""

_NEUTRAL = ("neutral", "calm")


class Reference(msgspec.Struct, frozen=True):
    """Means over the training clips."""

    means: Any
    """float64 ``[corpora, coefficients]``: mean over utterances of the mean over their frames."""
    scores: Any
    """float64 ``[classes]``: mean scores, every corpus counting alike."""


class RoomAdapter:
    """Adapts features or scores by sums over the past utterances in a room.

    Args:
        method: What to adapt.
        reference: Means over the training clips.
        strength: 0: no change; 1: the whole difference is removed.
        prior: Utterances after which half of that is reached.
    """

    def __init__(
        self, method: Method, reference: Reference, *, strength: float, prior: float
    ) -> None:
        self._method = method
        self._reference = reference
        self._strength = strength
        self._prior = prior
        self._heard = 0
        self._means = np.zeros(reference.means.shape[1])
        self._scores = np.zeros(len(reference.scores))

    def add(self, mean: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        """Add one utterance.

        Args:
            mean: Of its cepstral coefficients over its frames, ``[coefficients]``.
            scores: Of the model, ``[classes]``.
        """
        self._heard += 1
        self._means += mean
        self._scores += scores

    def features(self, features: NDArray[np.float32], rows: slice) -> NDArray[np.float32]:
        """The adapted input of the network.

        Args:
            features: ``[frames, coefficients]``.
            rows: Position of the utterance, surrounded by silence.
        """
        if self._method != "features" or not self._heard:
            return features
        mean = self._means / self._heard
        means = self._reference.means
        nearest = means[np.argmin(((means - mean) ** 2).sum(axis=1))]
        share = self._strength * self._heard / (self._heard + self._prior)
        moved = features.copy()
        moved[rows] -= (share * (mean - nearest)).astype(np.float32)
        return moved

    def scores(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The adapted class probabilities, ``[classes]``."""
        if self._method != "scores" or not self._heard:
            return scores
        usual = self._reference.scores
        here = (self._scores + self._prior * usual) / (self._heard + self._prior)
        weighed = scores * (usual / here) ** self._strength
        return np.asarray(weighed / weighed.sum())


class ScoredClip(msgspec.Struct, frozen=True):
    """A clip with its features and scores."""

    clip: Clip
    features: Any
    """float32 ``[frames, coefficients]``."""
    rows: slice
    mean: Any
    """float64 ``[coefficients]``."""
    scores: Any
    """float64 ``[classes]``."""


class AdaptableModel:
    """A model with access to its features and scores.

    Args:
        model: A packed model file, or the name of a packaged one.
        cache: Folder of the cache.
    """

    def __init__(self, model: Path | str, *, cache: Path = CACHE) -> None:
        self._judge = ClipClassifier(model)
        self._hearing = ConditionCache(self._judge.features, ["clean"], cache=cache)
        self.labels = self._judge.classifier.labels

    def score_clips(
        self,
        clips: Sequence[Clip],
        *,
        jobs: int = 1,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[ScoredClip]:
        """Features and scores of clips; digital silence is left out."""
        self._hearing.prepare(clips, jobs=jobs, progress=progress)
        heard = []
        for clip in clips:
            power = self._hearing.power(clip, "clean")
            if len(power):
                features = self._judge.coefficients(power)
                first = (len(features) - len(power)) // 2
                rows = slice(first, first + len(power))
                heard.append(
                    ScoredClip(
                        clip,
                        features,
                        rows,
                        features[rows].mean(axis=0, dtype=np.float64),
                        self.scores(features),
                    )
                )
        return heard

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities ``[classes]`` in the order of ``labels``."""
        given = self._judge.classifier.classify_features(features).scores
        return np.array([given[label] for label in self.labels])


def measure_reference(training: Sequence[ScoredClip]) -> Reference:
    """Means over the training clips, every corpus counting alike."""
    corpora = sorted({one.clip.corpus for one in training})
    parts = [[one for one in training if one.clip.corpus == name] for name in corpora]
    return Reference(
        np.array([np.mean([one.mean for one in part], axis=0) for part in parts]),
        np.mean([np.mean([one.scores for one in part], axis=0) for part in parts], axis=0),
    )


def probe_adaptation(
    model: Path | str,
    *,
    training: Sequence[Clip],
    validation: Sequence[Clip],
    test: Sequence[Clip],
    seeds: int = 3,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Simulate rooms.

    Args:
        model: A packed model file, or the name of a packaged one.
        training: Of training speakers: the reference.
        validation: Of the speakers for the choice of prior and strength.
        test: Of test speakers, also of other corpora.
        seeds: Number of random repetitions.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the stage, the amount done, and the total.

    Returns:
        See ``adaptation`` in :mod:`training.probes`.
    """
    adaptable = AdaptableModel(model, cache=cache)
    sparse = [
        clip
        for name in sorted({clip.corpus for clip in training})
        for clip in evenly_spaced([one for one in training if one.corpus == name], REFERENCE_CLIPS)
    ]
    done, whole = 0, len(sparse) + len(validation) + len(test)

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("adaptation, hear", done, whole)

    heard = [
        adaptable.score_clips(clips, jobs=jobs, progress=step)
        for clips in (sparse, validation, test)
    ]
    reference = measure_reference(heard[0])
    rounds = sum(2 * len(grid) + 2 * len(SITUATIONS) for grid in CANDIDATES.values())
    played = 0
    methods: dict[str, Any] = {}
    for method, grid in CANDIDATES.items():

        def play(
            clips: Sequence[ScoredClip],
            situation: Situation,
            strength: float,
            prior: float,
            method: Method = method,
        ) -> dict[str, Any]:
            nonlocal played
            played += 1
            progress("adaptation, simulate", played, rounds)
            return simulate(
                adaptable,
                clips,
                lambda: RoomAdapter(method, reference, strength=strength, prior=prior),
                situation,
                seeds=seeds,
            )

        tried = []
        for strength, prior in grid:
            gains = [
                of_corpus["uar"][HEARD.index(20)] - of_corpus["uar"][0]
                for situation in SITUATIONS[:2]
                for of_corpus in play(heard[1], situation, strength, prior).values()
            ]
            gain = round(float(np.mean(gains)), 4)
            tried.append({"strength": strength, "prior": prior, "gain": gain})
        best = max(tried, key=lambda one: one["gain"])
        chosen = (best["strength"], best["prior"])
        methods[method] = {
            "strength": chosen[0],
            "prior": chosen[1],
            "tried": tried,
            "validation": {name: play(heard[1], name, *chosen) for name in SITUATIONS},
            "test": {name: play(heard[2], name, *chosen) for name in SITUATIONS},
        }
    return {
        "heard": list(HEARD),
        "seeds": seeds,
        "household": HOUSEHOLD,
        "neutral_share": NEUTRAL_SHARE,
        "methods": methods,
    }


def simulate(
    adaptable: AdaptableModel,
    clips: Sequence[ScoredClip],
    room: Callable[[], RoomAdapter],
    situation: Situation,
    *,
    seeds: int,
) -> dict[str, dict[str, Any]]:
    """Classify each clip in rooms with past utterances.

    Args:
        adaptable: The model.
        clips: Of any corpora; voices of different corpora are never mixed.
        room: Creates a new one.
        situation: Voices and emotions in it.
        seeds: Number of random repetitions.

    Returns:
        For each corpus, in the order of :data:`HEARD`: ``uar`` and its ``uar_sd`` over seeds;
        ``usual_accuracy``, the accuracy where :data:`NEUTRAL_SHARE` of the clips are neutral or
        calm; ``gain_20``, by how much more of a voice's clips are right after 20, mean over voices,
        and ``gain_20_se``, its standard error.
    """
    result = {}
    for corpus in sorted({one.clip.corpus for one in clips}):
        inside = [one for one in clips if one.clip.corpus == corpus]
        emotions = {one.clip.emotion for one in inside}
        truth: list[str] = []
        voices: list[str] = []
        answers: dict[int, list[list[str]]] = {count: [] for count in HEARD}
        for seed in range(seeds):
            random = np.random.default_rng(seed)
            given: dict[int, list[str]] = {count: [] for count in HEARD}
            truth, voices = [], []
            for group in _groups(inside, 1 if situation == "speaker" else HOUSEHOLD, random):
                for place, one in enumerate(group):
                    truth.append(one.clip.emotion)
                    voices.append(one.clip.voice)
                    for count, state in _rooms(group, place, room, situation, random):
                        features = state.features(one.features, one.rows)
                        scores = (
                            one.scores if features is one.features else adaptable.scores(features)
                        )
                        scores = state.scores(scores)
                        named = dict(zip(adaptable.labels, scores.tolist(), strict=True))
                        given[count].append(top_label(named, emotions))
            for count, labels in given.items():
                # The order of voices differs between seeds; sort for the count by voice.
                order = sorted(range(len(truth)), key=lambda at: (voices[at], at))
                answers[count].append([labels[at] for at in order])
            truth, voices = ([part[at] for at in order] for part in (truth, voices))
        result[corpus] = _figures(truth, voices, answers)
    return result


def _rooms(
    group: Sequence[ScoredClip],
    place: int,
    room: Callable[[], RoomAdapter],
    situation: Situation,
    random: np.random.Generator,
) -> Iterator[tuple[int, RoomAdapter]]:
    """Rooms with 0, 5, ... past utterances other than ``place``."""
    others = [at for at in range(len(group)) if at != place]
    if situation == "mostly_neutral":
        plain = [at for at in others if group[at].clip.emotion in _NEUTRAL]
        moved = [at for at in others if group[at].clip.emotion not in _NEUTRAL]
        calm = random.random(max(HEARD)) < NEUTRAL_SHARE
        # With repetition: no actor has 35 neutral clips.
        sequence = [int(random.choice(plain if one and plain else moved)) for one in calm]
    else:
        sequence = random.permutation(others)[: max(HEARD)].tolist()
    state = room()
    heard = 0
    for count in HEARD:
        for at in sequence[heard:count]:
            state.add(group[at].mean, group[at].scores)
        heard = count
        yield count, state


def _groups(
    clips: Sequence[ScoredClip], size: int, random: np.random.Generator
) -> Iterator[list[ScoredClip]]:
    """Clips grouped by one voice or several; remaining voices join the last group."""
    by_voice: dict[str, list[ScoredClip]] = defaultdict(list)
    for one in clips:
        by_voice[one.clip.voice].append(one)
    names = [sorted(by_voice)[at] for at in random.permutation(len(by_voice))]
    groups = max(1, len(names) // size)
    for number in range(groups):
        last = len(names) if number == groups - 1 else (number + 1) * size
        yield [one for name in names[number * size : last] for one in by_voice[name]]


def _figures(
    truth: Sequence[str], voices: Sequence[str], answers: Mapping[int, list[list[str]]]
) -> dict[str, Any]:
    right = {
        count: np.mean([[a == b for a, b in zip(truth, row, strict=True)] for row in rows], axis=0)
        for count, rows in answers.items()
    }
    neutral = np.array([label in _NEUTRAL for label in truth])
    each = np.array(
        [
            np.mean((right[20] - right[0])[np.array([voice == one for voice in voices])])
            for one in sorted(set(voices))
        ]
    )
    uars = {count: [metrics.uar(truth, row) for row in rows] for count, rows in answers.items()}
    usual = {
        count: NEUTRAL_SHARE * hits[neutral].mean() + (1 - NEUTRAL_SHARE) * hits[~neutral].mean()
        for count, hits in right.items()
        if neutral.any() and not neutral.all()
    }
    return {
        "voices": len(each),
        "clips": len(truth),
        "uar": [round(float(np.mean(values)), 4) for values in uars.values()],
        "uar_sd": [round(float(np.std(values)), 4) for values in uars.values()],
        "usual_accuracy": [round(float(value), 4) for value in usual.values()],
        "gain_20": round(float(each.mean()), 4),
        "gain_20_se": round(float(each.std(ddof=1) / len(each) ** 0.5), 4)
        if len(each) > 1
        else None,
    }


def evenly_spaced(clips: Sequence[Clip], count: int) -> list[Clip]:
    """At most ``count`` clips, evenly spaced over the list."""
    places = np.linspace(0, len(clips) - 1, min(len(clips), count))
    return [clips[round(place)] for place in places]
