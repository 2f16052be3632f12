"""Learning from corrections: what households would gain, and where it would do harm.

A household is one voice or four of one corpus. It speaks half of the corpus's sentences, drawn at
random, and sees how serd classifies each; mistakes are corrected, and serd adapts before the next
utterance. After 5, 20 and 40 corrections, and at the end, it is tested on the other half of the
sentences. Neither test speakers nor test sentences occur in training, and no sentence is on both
sides, so what is learned is the voices.

Situations:

``all``      every mistake is corrected, with the right emotion
``third``    three mistakes of ten are
``not``      people only say "not that"
``wrong``    a fifth of the corrections name a wrong emotion
``random``   all of them name any emotion
``neutral``  seven of ten utterances are neutral, as people at home are

Ordinary speech is a row of its own: nobody acts, so every emotional event is false, and the
household corrects it to "neutral". Measured are the emotional events in an hour of other recordings
of the same source, before and after 5 and 20 corrections.

The divisor that keeps adapted scores calibrated (:func:`serd.model.adaptation.temperature`) was
chosen on households of validation speakers; ``temperature`` is the best one there.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from serd.config import Config, ModelConfig
from serd.model.adaptation import PASSED_MOST, Adaptation, Example, fit, log_scores
from serd.model.decision import Decision
from serd.model.emotions import UNCERTAIN
from serd.model.metadata import ScoreStatistics
from serd.model.model_file import ModelFile
from serd.recordings import classify_all
from training.corpora.ordinary import read_recordings
from training.evaluate import metrics
from training.prepare import CACHE, cutting_code, file_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.corpora import Clip

    Floats = NDArray[np.float64]

Situation = Literal["all", "third", "not", "wrong", "random", "neutral"]

SITUATIONS: tuple[Situation, ...] = ("all", "third", "not", "wrong", "random", "neutral")
VOICES = (1, 4)
"""People in a household, if a corpus has so many test speakers; otherwise all of them."""

CORRECTIONS = (5, 20, 40)
"""Numbers of corrections after which a household is tested; it is tested at the end as well."""

HOUSEHOLDS = 12
"""Households of each kind."""

ORDINARY_CORRECTIONS = (5, 20)
ORDINARY_HOUSEHOLDS = 6
NEUTRAL_SHARE = 0.7
TEMPERATURES = np.round(np.arange(0.6, 1.41, 0.05), 2)

_ORDINARY = frozenset({"neutral", "calm"})
_LEAST_UTTERANCES = 40


class ScoredClips:
    """Clips of one corpus with the scores of a model.

    Args:
        clips: The clips.
        scores: float64 ``[clips, classes]``: the model's own, in the order of ``labels``.
        labels: The model's classes.
    """

    def __init__(self, clips: Sequence[Clip], scores: Floats, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.scores = scores
        self.truth = np.array([labels.index(clip.emotion) for clip in clips])
        self.voices = np.array([clip.voice for clip in clips])
        self.texts = np.array([clip.text or clip.path.stem.rpartition("_")[2] for clip in clips])
        calm = self.labels.index("calm") if "calm" in self.labels else -1
        self._calm = calm if calm not in self.truth else -1

    def classes(self, scores: Floats) -> NDArray[np.int_]:
        """The most likely class; calm counts as neutral in a corpus that has no calm."""
        top: NDArray[np.int_] = scores.argmax(axis=1)
        if self._calm >= 0:
            top[top == self._calm] = self.labels.index("neutral")
        return top


def classify(
    model: str | Path,
    paths: Sequence[Path],
    *,
    whole: bool,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> list[list[dict[str, Any]]]:
    """The results of ``serd classify`` for recordings, cached by model and content.

    Args:
        model: A packed model file, or the name of a packaged one.
        paths: The recordings.
        whole: Take each recording as one utterance.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the number of recordings that were added.

    Returns:
        For each recording its utterances: ``emotion``, ``scores`` and ``seconds``.

    Raises:
        InputError: A recording cannot be read.
    """
    # The whole file: the scores depend on its calibration, too.
    key = ModelFile.load(model).sha256.encode() + cutting_code()
    digest = hashlib.sha256(key).hexdigest()[:16]
    folder = cache / "personal" / f"{digest}-{'whole' if whole else 'stream'}"
    entries = [folder / f"{file_digest(path)}.json" for path in paths]
    missing = [path for path, entry in zip(paths, entries, strict=True) if not entry.is_file()]
    progress(len(paths) - len(missing))
    folder.mkdir(parents=True, exist_ok=True)
    config = Config(model=ModelConfig(path=str(model)))
    for result in classify_all(missing, config, whole=whole, jobs=jobs):
        if result.error is not None:
            raise result.error
        utterances = [
            {"emotion": one.emotion, "scores": one.scores, "seconds": one.end_s - one.start_s}
            for one in result.utterances
        ]
        entry = folder / f"{file_digest(result.path)}.json"
        part = entry.with_suffix(".part")
        part.write_text(json.dumps(utterances))
        part.replace(entry)
        progress(1)
    return [json.loads(entry.read_text()) for entry in entries]


def standard_of(labels: Sequence[str], scores: Floats) -> ScoreStatistics:
    """Mean and spread of a model's log scores on people it was not trained on; for the model file.

    Args:
        labels: The model's classes.
        scores: float64 ``[clips, classes]``, of validation speakers.
    """
    logs = log_scores(scores)
    return ScoreStatistics(
        mean={name: round(float(v), 4) for name, v in zip(labels, logs.mean(0), strict=True)},
        spread={name: round(float(v), 4) for name, v in zip(labels, logs.std(0), strict=True)},
    )


def probe_personal(
    model: str | Path,
    *,
    validation: Sequence[Clip],
    test: Sequence[Clip],
    ordinary: Path | None = None,
    sources: Collection[str] | None = None,
    households: int = HOUSEHOLDS,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Simulate households.

    Args:
        model: A packed model file, or the name of a packaged one.
        validation: Clips of validation speakers: for the best temperature, and the standard that
            a model file may contain. Empty where a recipe has no such speakers: both are left out.
        test: Clips of test speakers, also of other corpora.
        ordinary: Folder of ordinary speech with its ``manifest.csv``; None: not measured.
        sources: Those of its sources that the model was not trained on; None: all.
        households: Households of each kind.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the stage, the amount done, and the total.

    Returns:
        ``standard``, as a model file contains it (``standard_in_model``: whether this one does),
        ``temperature`` ``{corrections: best}``, ``test`` ``{corpus: {voices: {situation: curve}}}``
        and ``ordinary``; see :func:`curve` and :func:`ordinary_speech`.

    Raises:
        InputError: A recording cannot be read.
    """
    file = ModelFile.load(model)
    labels = file.labels
    done, whole = 0, len(validation) + len(test)

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("corrections, classify", done, whole)

    def scored(clips: Sequence[Clip]) -> dict[str, ScoredClips]:
        found = {}
        for corpus in sorted({clip.corpus for clip in clips}):
            own = [clip for clip in clips if clip.corpus == corpus and clip.emotion in labels]
            results = classify(
                model, [clip.path for clip in own], whole=True, cache=cache, jobs=jobs,
                progress=step,
            )  # fmt: skip
            scores = np.array([[one[0]["scores"][name] for name in labels] for one in results])
            found[corpus] = ScoredClips(own, scores, labels)
        return found

    chosen, tested = scored(validation), scored(test)
    standard = file.info.personal
    result: dict[str, Any] = {"standard_in_model": standard is not None, "households": households}
    if chosen:
        measured = standard_of(labels, np.concatenate([one.scores for one in chosen.values()]))
        result["standard"] = {"mean": measured.mean, "spread": measured.spread}
    rounds = len(tested) * len(VOICES) * len(SITUATIONS)
    if chosen:
        result["temperature"] = best_temperatures(chosen, standard, households)
    result["test"] = {}
    for corpus, one in tested.items():
        result["test"][corpus] = {}
        for voices in sorted({min(most, len(set(one.voices))) for most in VOICES}):
            curves = result["test"][corpus][str(voices)] = {}
            for situation in SITUATIONS:
                curves[situation] = curve(one, standard, voices, situation, households)
                progress("corrections, simulate", sum(
                    len(of_voices) for of_corpus in result["test"].values()
                    for of_voices in of_corpus.values()
                ), rounds)  # fmt: skip
    if ordinary is not None:
        result["ordinary"] = ordinary_speech(
            model, ordinary, standard, sources=sources, cache=cache, jobs=jobs, progress=progress
        )
    return result


class Household:
    """One simulated household: its utterances, its corrections, and the scores after them.

    Args:
        clips: Of one corpus.
        standard: For the adaptation.
        voices: Number of people.
        situation: How they correct.
        rng: Source of everything random.
    """

    def __init__(
        self, clips: ScoredClips, standard: ScoreStatistics | None, voices: int,
        situation: Situation, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        everybody = sorted(set(clips.voices))
        people = rng.choice(everybody, min(voices, len(everybody)), replace=False)
        texts = sorted(set(clips.texts))
        known = rng.choice(texts, len(texts) // 2, replace=False)
        inside = np.isin(clips.voices, people)
        adapted = np.isin(clips.texts, known)
        self._clips = clips
        self._standard = standard
        self._situation = situation
        self._rng = rng
        self._present = sorted(set(clips.truth[inside]))
        self.tested = np.flatnonzero(inside & ~adapted)
        self.answers: dict[int | str, Floats] = {0: clips.scores[self.tested]}
        """Scores of the test utterances, by the number of corrections; ``end``: at the end."""
        self.corrections = 0
        self._simulate(self._stream(np.flatnonzero(inside & adapted)))

    def _stream(self, places: NDArray[np.int_]) -> NDArray[np.int_]:
        rng, clips = self._rng, self._clips
        if self._situation != "neutral":
            return rng.permutation(places)
        calm = np.array([clips.labels[label] in _ORDINARY for label in clips.truth[places]])
        sides = (places[~calm], places[calm])
        if not all(len(side) for side in sides):  # one voice may lack either
            return rng.permutation(places)
        wanted = rng.random(2 * len(places)) < NEUTRAL_SHARE
        return np.array([rng.choice(sides[int(side)]) for side in wanted])

    def _simulate(self, stream: NDArray[np.int_]) -> None:
        clips, rng = self._clips, self._rng
        examples: list[Example] = []
        adaptation: Adaptation | None = None
        passed = 0
        for place in stream:
            own = clips.scores[place]
            now = own[None] if adaptation is None else shares(adaptation, own[None])
            predicted, truth = int(now.argmax()), int(clips.truth[place])
            if int(clips.classes(now)[0]) == truth or (
                self._situation == "third" and rng.random() > 0.3
            ):
                passed += 1
                continue
            wanted: int | None = truth
            if self._situation == "random" or (self._situation == "wrong" and rng.random() < 0.2):
                wanted = int(rng.choice(self._present))
            if self._situation == "not":
                wanted = None
            examples.append(
                Example(
                    scores=tuple(own),
                    emotion=wanted,
                    denied=predicted,
                    passed=min(passed, PASSED_MOST),
                )
            )
            passed = 0
            count = self.corrections = len(examples)
            if count <= 5 or count % 5 == 0:
                adaptation = fit(examples, clips.labels, self._standard)
            if count in CORRECTIONS and adaptation is not None:
                self.answers[count] = shares(adaptation, clips.scores[self.tested])
            if count == CORRECTIONS[-1] + 35:
                break
        if examples:
            adaptation = fit(examples, clips.labels, self._standard)
        if adaptation is not None:
            self.answers["end"] = shares(adaptation, clips.scores[self.tested])


def shares(adaptation: Adaptation, scores: Floats, temperature: float | None = None) -> Floats:
    """Adapted probabilities ``[n, classes]``, optionally at another temperature."""
    logits = adaptation.shift(np.log(np.maximum(scores, 1e-12)))
    if temperature is not None:
        logits = logits * (adaptation.temperature / temperature)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def curve(
    clips: ScoredClips,
    standard: ScoreStatistics | None,
    voices: int,
    situation: Situation,
    households: int,
) -> dict[str, Any]:
    """The gain from corrections in households of one kind.

    Returns:
        ``uar`` before, mean ``corrections`` at the end, and for 5, 20, 40 and ``end`` the gain in
        UAR: ``mean``, ``sd``, the shares of households that are ``worse`` and worse by two points
        (``much_worse``), the number of households that made so many corrections (``count``), and
        the calibration error ``ece`` over them beside that of the same households before
        (``ece_before``).
    """
    rng = np.random.default_rng(7)
    simulated = [Household(clips, standard, voices, situation, rng) for _ in range(households)]

    def uar(one: Household, scores: Floats) -> float:
        truth = [clips.labels[label] for label in clips.truth[one.tested]]
        return metrics.uar(truth, [clips.labels[label] for label in clips.classes(scores)])

    def ece(some: Sequence[Household], key: int | str) -> float:
        confidence = np.concatenate([one.answers[key].max(axis=1) for one in some])
        right = np.concatenate(
            [clips.classes(one.answers[key]) == clips.truth[one.tested] for one in some]
        )
        return round(metrics.calibration_error(confidence, right), 4)

    result: dict[str, Any] = {
        "uar": round(float(np.mean([uar(one, one.answers[0]) for one in simulated])), 4),
        "corrections": round(float(np.mean([one.corrections for one in simulated])), 1),
    }
    for key in (*CORRECTIONS, "end"):
        some = [one for one in simulated if key in one.answers]
        if len(some) < 3:
            continue
        gains = np.array([uar(one, one.answers[key]) - uar(one, one.answers[0]) for one in some])
        result[str(key)] = {
            "mean": round(float(gains.mean()), 4),
            "sd": round(float(gains.std()), 4),
            "worse": round(float((gains < 0).mean()), 3),
            "much_worse": round(float((gains < -0.02).mean()), 3),
            "count": len(some),
            "ece": ece(some, key),
            "ece_before": ece(some, 0),
        }
    return result


def best_temperatures(
    chosen: dict[str, ScoredClips], standard: ScoreStatistics | None, households: int
) -> dict[str, float]:
    """The temperature of adapted scores with the lowest log loss, by the number of corrections."""
    losses: dict[str, Floats] = {}
    for clips in chosen.values():
        rng = np.random.default_rng(11)
        for _ in range(households):
            one = Household(clips, standard, 4, "all", rng)
            truth = clips.truth[one.tested]
            for key, scores in one.answers.items():
                logs = np.log(np.maximum(scores, 1e-12)) * _applied(one, key)
                sums = np.array([
                    -_log_share(logs / t)[np.arange(len(truth)), truth].mean() for t in TEMPERATURES
                ])  # fmt: skip
                losses[str(key)] = losses.get(str(key), np.zeros(len(TEMPERATURES))) + sums
    return {key: float(TEMPERATURES[loss.argmin()]) for key, loss in losses.items()}


def _applied(one: Household, key: int | str) -> float:
    from serd.model.adaptation import temperature

    return temperature(one.corrections if key == "end" else int(key))


def _log_share(logits: Floats) -> Floats:
    logits = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def ordinary_speech(
    model: str | Path,
    root: Path,
    standard: ScoreStatistics | None,
    *,
    sources: Collection[str] | None = None,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """False emotional events in an hour of speech in which nobody acts.

    Each utterance is classified by itself, without evidence from the ones before, and decided as at
    home.

    Args:
        model: A packed model file, or the name of a packaged one.
        root: Folder of ordinary speech with its ``manifest.csv``.
        standard: For the adaptation.
        sources: Only these; None: all.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the stage, the amount done, and the total.

    Returns:
        ``sources`` and, for 0, 5 and 20 corrections (``"neutral"`` to every emotional event),
        ``events_per_hour`` of speech and their standard deviation ``sd`` over ``households``.
    """
    file = ModelFile.load(model)
    decision = Decision(file.labels, file.info)
    recordings = [
        one
        for one in read_recordings(root, frozenset({"read"}))
        if sources is None or one.source in sources
    ]
    found: dict[str, list[tuple[Floats, float]]] = {}
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("corrections, ordinary speech", done, len(recordings))

    paths = [one.path for one in recordings]
    results = classify(model, paths, whole=False, cache=cache, jobs=jobs, progress=step)
    for recording, utterances in zip(recordings, results, strict=True):
        found.setdefault(recording.source, []).extend(
            (np.array([one["scores"][name] for name in file.labels]), one["seconds"])
            for one in utterances
        )
    kept = {name: one for name, one in found.items() if len(one) >= _LEAST_UTTERANCES}
    rng = np.random.default_rng(5)
    rates: dict[int, list[float]] = {count: [] for count in (0, *ORDINARY_CORRECTIONS)}
    neutral = file.labels.index("neutral")
    for spoken in kept.values():
        scores = at_home(decision, np.array([one for one, _ in spoken]))
        seconds = np.array([length for _, length in spoken])
        for _ in range(ORDINARY_HOUSEHOLDS):
            order = rng.permutation(len(scores))
            adapted, tested = order[: len(order) // 2], order[len(order) // 2 :]
            examples: list[Example] = []
            states: dict[int, Adaptation | None] = {0: None}
            passed = 0
            adaptation: Adaptation | None = None
            for place in adapted:
                emotion = _emotion(decision, scores[place], adaptation)
                if emotion in _ORDINARY or emotion == UNCERTAIN:
                    passed += 1
                    continue
                examples.append(
                    Example(
                        scores=tuple(scores[place]), emotion=neutral,
                        denied=file.labels.index(emotion), passed=min(passed, PASSED_MOST),
                    )
                )  # fmt: skip
                passed = 0
                adaptation = fit(examples, file.labels, standard)
                if len(examples) in ORDINARY_CORRECTIONS:
                    states[len(examples)] = adaptation
                if len(examples) == ORDINARY_CORRECTIONS[-1]:
                    break
            for count, of_count in rates.items():
                # A household with nothing left to correct keeps its last state.
                state = states.get(count, adaptation)
                false = sum(
                    _emotion(decision, scores[place], state) not in {*_ORDINARY, UNCERTAIN}
                    for place in tested
                )
                of_count.append(3600 * false / float(seconds[tested].sum()))
    return {
        "sources": sorted(kept),
        "households": len(rates[0]),
        "corrections": {
            str(count): {
                "events_per_hour": round(float(np.mean(values)), 1),
                "sd": round(float(np.std(values)), 1),
            }
            for count, values in rates.items()
        },
    }


def at_home(decision: Decision, scores: Floats) -> Floats:
    """The scores that the daemon would publish, from those of recordings.

    The scores of a recording assume equally frequent classes, those at home the model's prior.

    Args:
        decision: Of the model.
        scores: float64 ``[utterances, classes]``; rows sum to 1.

    Returns:
        float64 ``[utterances, classes]``; rows sum to 1.
    """
    weighted = scores * np.exp(decision.log_prior)
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))


def _emotion(decision: Decision, scores: Floats, adaptation: Adaptation | None) -> str:
    logs = np.log(np.maximum(scores, 1e-12))
    return decision.predict(logs if adaptation is None else adaptation.shift(logs)).emotion
