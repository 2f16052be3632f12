"""Learning from corrections: what households would gain, and where it would hurt.

A household is one voice or four of one corpus. It speaks half of the corpus's sentences, drawn
anew, and hears what serd says of each; where that is wrong, somebody corrects it, and from the next
utterance on serd hears by that. After 5, 20 and 40 corrections, and at the end, it is tried on the
other half of the sentences. Voices and sentences of the trial were never heard in training, and no
sentence is on both sides, so what is learned is the voices.

Situations:

``all``      every mistake is corrected, with the right emotion
``third``    three mistakes of ten are
``not``      people only say "not that"
``wrong``    a fifth of the corrections name a wrong emotion
``random``   all of them name any emotion
``neutral``  seven of ten utterances heard are neutral, as people at home are

Ordinary speech is a row of its own: nobody acts, so every emotional event is false, and the
household says "neutral" to it. Counted are the emotional events in an hour of other recordings of
the same source, before and after 5 and 20 corrections.

By how much adapted scores are divided to stay calibrated
(:func:`serd.model.adaptation.temperature`) is looked for on households of validation speakers;
``temperature`` says what is best there.
"""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from serd.config import Config, ModelConfig
from serd.model.adaptation import PASSED_MOST, Adaptation, Example, fit, log_scores
from serd.model.decision import Decision
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.model.metadata import Standard
from serd.model.model_file import ModelFile
from serd.recordings import classify_all
from training.corpora import Clip
from training.evaluate import metrics
from training.prepare import CACHE, file_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Situation = Literal["all", "third", "not", "wrong", "random", "neutral"]

SITUATIONS: tuple[Situation, ...] = ("all", "third", "not", "wrong", "random", "neutral")
VOICES = (1, 4)
"""People in a household."""

CORRECTIONS = (5, 20, 40)
"""After so many a household is tried, and at the end."""

HOUSEHOLDS = 12
"""Households of each kind that are drawn."""

ORDINARY_CORRECTIONS = (5, 20)
ORDINARY_HOUSEHOLDS = 6
NEUTRAL_SHARE = 0.7
TEMPERATURES = np.round(np.arange(0.6, 1.41, 0.05), 2)

_ORDINARY = frozenset({"neutral", "calm"})
_LEAST_UTTERANCES = 40


class Heard:
    """Clips of one corpus as a model hears them.

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

    def said(self, scores: Floats) -> NDArray[np.int_]:
        """The likeliest class; calm is neutral in a corpus that has no calm."""
        top: NDArray[np.int_] = scores.argmax(axis=1)
        if self._calm >= 0:
            top[top == self._calm] = self.labels.index("neutral")
        return top


def listen(
    model: str | Path,
    paths: Sequence[Path],
    *,
    whole: bool,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> list[list[dict[str, Any]]]:
    """What ``serd classify`` says of recordings, from the cache where it is known.

    Args:
        model: A packed model file, or the name of a packaged one.
        paths: The recordings.
        whole: One utterance each.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the number of recordings that have become ready.

    Returns:
        For each recording its utterances: ``emotion``, ``scores`` and ``seconds``.

    Raises:
        InputError: A recording cannot be read.
    """
    network = hashlib.sha256(ModelFile.load(model).network).hexdigest()[:16]
    folder = cache / "personal" / f"{network}-{'whole' if whole else 'stream'}"
    entries = [folder / f"{file_digest(path)}.json" for path in paths]
    missing = [path for path, entry in zip(paths, entries, strict=True) if not entry.is_file()]
    progress(len(paths) - len(missing))
    folder.mkdir(parents=True, exist_ok=True)
    config = Config(model=ModelConfig(path=str(model)))
    for result in classify_all(missing, config, whole=whole, jobs=jobs):
        if result.error is not None:
            raise result.error
        told = [
            {"emotion": one.emotion, "scores": one.scores, "seconds": one.end_s - one.start_s}
            for one in result.utterances
        ]
        entry = folder / f"{file_digest(result.path)}.json"
        part = entry.with_suffix(".part")
        part.write_text(json.dumps(told))
        part.replace(entry)
        progress(1)
    return [json.loads(entry.read_text()) for entry in entries]


def standard_of(labels: Sequence[str], scores: Floats) -> Standard:
    """How a model's log scores lie over people it was not trained on; for the model file.

    Args:
        labels: The model's classes.
        scores: float64 ``[clips, classes]``, of validation speakers.
    """
    logs = log_scores(scores)
    return Standard(
        mean={name: round(float(v), 4) for name, v in zip(labels, logs.mean(0), strict=True)},
        spread={name: round(float(v), 4) for name, v in zip(labels, logs.std(0), strict=True)},
    )


def probe_personal(
    model: str | Path,
    *,
    validation: Sequence[Clip],
    test: Sequence[Clip],
    ordinary: Path | None = None,
    households: int = HOUSEHOLDS,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Simulate households.

    Args:
        model: A packed model file, or the name of a packaged one.
        validation: Clips of validation speakers: for the best temperature, and the standard that
            a model file may be given. Empty, where a recipe has no such speakers: neither is told.
        test: Clips of test speakers, also of other corpora.
        ordinary: Folder of ordinary speech with its ``manifest.csv``; None: it is not tried.
        households: How many of each kind are drawn.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with what is being done, how much of it is done, and how much there is.

    Returns:
        ``standard``, as the model file might have it (``standard_in_model``: whether it has one),
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
        progress("corrections, hear", done, whole)

    def heard(clips: Sequence[Clip]) -> dict[str, Heard]:
        found = {}
        for corpus in sorted({clip.corpus for clip in clips}):
            own = [clip for clip in clips if clip.corpus == corpus and clip.emotion in labels]
            told = listen(
                model, [clip.path for clip in own], whole=True, cache=cache, jobs=jobs,
                progress=step,
            )  # fmt: skip
            scores = np.array([[one[0]["scores"][name] for name in labels] for one in told])
            found[corpus] = Heard(own, scores, labels)
        return found

    chosen, tried = heard(validation), heard(test)
    standard = file.info.personal
    result: dict[str, Any] = {"standard_in_model": standard is not None, "households": households}
    if chosen:
        measured = standard_of(labels, np.concatenate([one.scores for one in chosen.values()]))
        result["standard"] = {"mean": measured.mean, "spread": measured.spread}
    rounds = len(tried) * len(VOICES) * len(SITUATIONS)
    if chosen:
        result["temperature"] = best_temperatures(chosen, standard, households)
    result["test"] = {}
    for corpus, one in tried.items():
        result["test"][corpus] = {}
        for voices in VOICES:
            curves = result["test"][corpus][str(voices)] = {}
            for situation in SITUATIONS:
                curves[situation] = curve(one, standard, voices, situation, households)
                progress("corrections, simulate", sum(
                    len(of_voices) for of_corpus in result["test"].values()
                    for of_voices in of_corpus.values()
                ), rounds)  # fmt: skip
    if ordinary is not None:
        result["ordinary"] = ordinary_speech(
            model, ordinary, standard, cache=cache, jobs=jobs, progress=progress
        )
    return result


class Household:
    """What one household hears and says, and how it ends.

    Args:
        heard: Of one corpus.
        standard: As learning wants it.
        voices: How many people.
        situation: How they correct.
        rng: Draws everything.
    """

    def __init__(
        self, heard: Heard, standard: Standard | None, voices: int, situation: Situation,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        everybody = sorted(set(heard.voices))
        people = rng.choice(everybody, min(voices, len(everybody)), replace=False)
        texts = sorted(set(heard.texts))
        learned = rng.choice(texts, len(texts) // 2, replace=False)
        inside = np.isin(heard.voices, people)
        taught = np.isin(heard.texts, learned)
        self._heard = heard
        self._standard = standard
        self._situation = situation
        self._rng = rng
        self._present = sorted(set(heard.truth[inside]))
        self.tested = np.flatnonzero(inside & ~taught)
        self.answers: dict[int | str, Floats] = {0: heard.scores[self.tested]}
        """Scores of what is tried, by the number of corrections; ``end``: at the end."""
        self.corrections = 0
        self._live(self._stream(np.flatnonzero(inside & taught)))

    def _stream(self, places: NDArray[np.int_]) -> NDArray[np.int_]:
        rng, heard = self._rng, self._heard
        if self._situation != "neutral":
            return rng.permutation(places)
        calm = np.array([heard.labels[label] in _ORDINARY for label in heard.truth[places]])
        sides = (places[~calm], places[calm])
        if not all(len(side) for side in sides):  # one voice may have none of either
            return rng.permutation(places)
        wanted = rng.random(2 * len(places)) < NEUTRAL_SHARE
        return np.array([rng.choice(sides[int(side)]) for side in wanted])

    def _live(self, stream: NDArray[np.int_]) -> None:
        heard, rng = self._heard, self._rng
        examples: list[Example] = []
        adaptation: Adaptation | None = None
        passed = 0
        for place in stream:
            own = heard.scores[place]
            now = own[None] if adaptation is None else shares(adaptation, own[None])
            told, truth = int(now.argmax()), int(heard.truth[place])
            if int(heard.said(now)[0]) == truth or (
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
                    scores=tuple(own), emotion=wanted, denied=told, passed=min(passed, PASSED_MOST)
                )
            )
            passed = 0
            count = self.corrections = len(examples)
            if count <= 5 or count % 5 == 0:
                adaptation = fit(examples, heard.labels, self._standard)
            if count in CORRECTIONS and adaptation is not None:
                self.answers[count] = shares(adaptation, heard.scores[self.tested])
            if count == CORRECTIONS[-1] + 35:
                break
        if examples:
            adaptation = fit(examples, heard.labels, self._standard)
        if adaptation is not None:
            self.answers["end"] = shares(adaptation, heard.scores[self.tested])


def shares(adaptation: Adaptation, scores: Floats, temperature: float | None = None) -> Floats:
    """Adapted probabilities ``[n, classes]``; another temperature than the adaptation's own."""
    logits = adaptation.shift(np.log(np.maximum(scores, 1e-12)))
    if temperature is not None:
        logits = logits * (adaptation.temperature / temperature)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def curve(
    heard: Heard, standard: Standard | None, voices: int, situation: Situation, households: int
) -> dict[str, Any]:
    """What corrections bring households of one kind.

    Returns:
        ``uar`` before, mean ``corrections`` at the end, and for 5, 20, 40 and ``end`` the gain in
        UAR: ``mean``, ``sd``, the shares of households that are ``worse`` and worse by two points
        (``much_worse``), how many households came so far (``count``), and the calibration error
        ``ece`` over them beside that of the same households before (``ece_before``).
    """
    rng = np.random.default_rng(7)
    lived = [Household(heard, standard, voices, situation, rng) for _ in range(households)]

    def uar(one: Household, scores: Floats) -> float:
        truth = [heard.labels[label] for label in heard.truth[one.tested]]
        return metrics.uar(truth, [heard.labels[label] for label in heard.said(scores)])

    def ece(some: Sequence[Household], key: int | str) -> float:
        confidence = np.concatenate([one.answers[key].max(axis=1) for one in some])
        right = np.concatenate(
            [heard.said(one.answers[key]) == heard.truth[one.tested] for one in some]
        )
        return round(metrics.calibration_error(confidence, right), 4)

    result: dict[str, Any] = {
        "uar": round(float(np.mean([uar(one, one.answers[0]) for one in lived])), 4),
        "corrections": round(float(np.mean([one.corrections for one in lived])), 1),
    }
    for key in (*CORRECTIONS, "end"):
        some = [one for one in lived if key in one.answers]
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
    chosen: dict[str, Heard], standard: Standard | None, households: int
) -> dict[str, float]:
    """The temperature by which adapted scores predict best, by the number of corrections."""
    losses: dict[str, Floats] = {}
    for heard in chosen.values():
        rng = np.random.default_rng(11)
        for _ in range(households):
            one = Household(heard, standard, 4, "all", rng)
            truth = heard.truth[one.tested]
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
    standard: Standard | None,
    *,
    cache: Path = CACHE,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """False emotional events in an hour of speech in which nobody acts.

    Each utterance is told by itself: what evidence over several of them adds is another matter.

    Args:
        model: A packed model file, or the name of a packaged one.
        root: Folder of ordinary speech with its ``manifest.csv``.
        standard: As learning wants it.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with what is being done, how much of it is done, and how much there is.

    Returns:
        ``sources`` and, for 0, 5 and 20 corrections (``"neutral"`` to every emotional event),
        ``events_per_hour`` of speech and their standard deviation ``sd`` over ``households``.
    """
    file = ModelFile.load(model)
    decision = Decision(file.labels, file.info)
    with (root / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        recordings = [row["path"] for row in csv.DictReader(lines) if row["kind"] == "read"]
    sources: dict[str, list[tuple[Floats, float]]] = {}
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("corrections, ordinary speech", done, len(recordings))

    paths = [root / path for path in recordings]
    told = listen(model, paths, whole=False, cache=cache, jobs=jobs, progress=step)
    for path, utterances in zip(recordings, told, strict=True):
        sources.setdefault(path.partition("/")[0], []).extend(
            (np.array([one["scores"][name] for name in file.labels]), one["seconds"])
            for one in utterances
        )
    kept = {name: one for name, one in sources.items() if len(one) >= _LEAST_UTTERANCES}
    rng = np.random.default_rng(5)
    rates: dict[int, list[float]] = {count: [] for count in (0, *ORDINARY_CORRECTIONS)}
    neutral = file.labels.index("neutral")
    for spoken in kept.values():
        scores = np.array([one for one, _ in spoken])
        seconds = np.array([length for _, length in spoken])
        for _ in range(ORDINARY_HOUSEHOLDS):
            order = rng.permutation(len(scores))
            taught, tested = order[: len(order) // 2], order[len(order) // 2 :]
            examples: list[Example] = []
            states: dict[int, Adaptation | None] = {0: None}
            passed = 0
            adaptation: Adaptation | None = None
            for place in taught:
                emotion = _told(decision, scores[place], adaptation)
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
                # Whoever has nothing left to correct has come to the end of what can be learned.
                state = states.get(count, adaptation)
                false = sum(
                    _told(decision, scores[place], state) not in {*_ORDINARY, UNCERTAIN}
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


def _told(decision: Decision, scores: Floats, adaptation: Adaptation | None) -> str:
    logs = np.log(np.maximum(scores, 1e-12))
    return decision.tell(logs if adaptation is None else adaptation.shift(logs)).emotion


def polish(root: Path) -> list[Clip]:
    """nEMO, if it is there: ``nemo/SPEAKER/EMOTION/SPEAKER_WORD_SENTENCE.*``."""
    return [
        Clip(
            path=path,
            corpus="nemo",
            speaker=path.parent.parent.name,
            emotion=path.parent.name,
            text=path.stem.rpartition("_")[2],
        )
        for path in sorted((root / "nemo").glob("*/*/*"))
        if path.parent.name in EMOTIONS and path.is_file()
    ]


_NAMES = {"crema_d": "CREMA-D", "ravdess": "RAVDESS", "emodb": "EMO-DB", "nemo": "nEMO"}
_WORDS: dict[Situation, str] = {
    "all": "every mistake corrected",
    "third": "three mistakes of ten corrected",
    "not": 'only "not that"',
    "wrong": "a fifth of the corrections wrong",
    "random": "all corrections random",
    "neutral": "seven of ten utterances neutral",
}
_BEGIN, _END = "<!-- probe: begin -->", "<!-- probe: end -->"


def lines(found: dict[str, Any]) -> list[str]:
    """The figures that one wants to see at once."""
    shown = []
    if "temperature" in found:
        shown.append(f"temperature that predicts best: {found['temperature']}")
    for corpus, of_corpus in found["test"].items():
        for voices, of_voices in of_corpus.items():
            for situation, one in of_voices.items():
                points = "  ".join(
                    f"{key}: {100 * one[key]['mean']:+.1f} (worse {one[key]['worse']:.0%}, "
                    f"ECE {one[key]['ece_before']:.3f} to {one[key]['ece']:.3f})"
                    for key in (*map(str, CORRECTIONS), "end")
                    if key in one
                )
                shown.append(f"{corpus}, {voices} voices, {situation}: {one['uar']:.3f}  {points}")
    if "ordinary" in found:
        rates = found["ordinary"]["corrections"]
        points = ", ".join(f"{key}: {one['events_per_hour']:.0f}" for key, one in rates.items())
        shown.append(f"ordinary speech, false emotional events an hour: {points}")
    return shown


def in_page(page: str, found: dict[str, Any]) -> str:
    """A page with the table between its two marks made anew.

    Args:
        page: Its text, with ``<!-- probe: begin -->`` and ``<!-- probe: end -->``.
        found: What :func:`probe_personal` gave, with ``model``.
    """
    head, _, rest = page.partition(_BEGIN)
    _, mark, tail = rest.partition(_END)
    return f"{head}{_BEGIN}\n{_table(found)}\n{mark}{tail}" if mark else page


def _table(found: dict[str, Any]) -> str:
    model = found["model"]
    about = (
        f"Model {model['name']} {model['version']}, test speakers of fold {found['fold']}; gain in "
        "UAR in points (mean ± spread over households; in brackets the share that ended below "
        "where it began)."
    )
    rows = [
        about,
        "",
        "| household | before | 5 corrections | 20 | 40 | all | calibration error, all |",
        "|---|---|---|---|---|---|---|",
    ]
    for corpus, of_corpus in found["test"].items():
        for voices, of_voices in of_corpus.items():
            for situation, one in of_voices.items():
                if situation != "all" and (corpus != "crema_d" or voices == "1"):
                    continue
                people = "1 person" if voices == "1" else f"{voices} people"
                words = "" if situation == "all" else f", {_WORDS[situation]}"
                cells = [
                    f"{_NAMES.get(corpus, corpus)}, {people}{words}",
                    f"{100 * one['uar']:.1f}",
                    *(_gain(one.get(key)) for key in (*map(str, CORRECTIONS), "end")),
                    _calibration(one.get("end")),
                ]
                rows.append(f"| {' | '.join(cells)} |")
    if "ordinary" in found:
        rates = found["ordinary"]["corrections"]
        said = ", ".join(
            f"{one['events_per_hour']:.0f} ± {one['sd']:.0f} after {key}" if key != "0" else
            f"{one['events_per_hour']:.0f} ± {one['sd']:.0f} without corrections"
            for key, one in rates.items()
        )  # fmt: skip
        sources = len(found["ordinary"]["sources"])
        text = (
            f"Ordinary speech, nobody acting ({sources} sources), false emotional events in an "
            f"hour of speech, each utterance told by itself: {said}."
        )
        rows += ["", text]
    return "\n".join(rows)


def _gain(point: dict[str, Any] | None) -> str:
    if point is None:
        return "-"
    return f"{100 * point['mean']:+.1f} ± {100 * point['sd']:.1f} ({point['worse']:.0%})"


def _calibration(point: dict[str, Any] | None) -> str:
    return "-" if point is None else f"{point['ece_before']:.3f} to {point['ece']:.3f}"


def draw(found: dict[str, Any], path: Path) -> list[Path]:
    """Draw what corrections bring: a panel for each corpus, a line for each situation.

    Args:
        found: What :func:`probe_personal` gave.
        path: Where it goes, without an ending.

    Returns:
        The files written, PNG and SVG.
    """
    from training.plots import (
        HARMFUL,
        HELPFUL,
        INK,
        SOFT,
        figure,
        name_lines,
        save,
        style,
    )

    looks = {
        "all": (HELPFUL[0], "o", "-"),
        "third": (HELPFUL[1], "s", "-"),
        "not": (HELPFUL[2], "^", "-"),
        "neutral": (HELPFUL[3], "D", "-"),
        "wrong": (HARMFUL[0], "v", "--"),
        "random": (HARMFUL[1], "X", "--"),
    }
    columns = 2
    lines = -(-len(found["test"]) // columns)
    with style():
        made = figure(9.5, 3.0 * lines)
        grid = made.subplots(lines, columns, sharey=True, squeeze=False)
        for panel in grid.flat[len(found["test"]) :]:
            panel.set_axis_off()
        for panel, (corpus, of_corpus) in zip(grid.flat, found["test"].items(), strict=False):
            ends = []
            for situation, one in of_corpus["4"].items():
                colour, marker, dashes = looks[situation]
                known = [key for key in CORRECTIONS if str(key) in one]
                gains = [0.0, *(100 * one[str(key)]["mean"] for key in known)]
                spread = [0.0, *(100 * one[str(key)]["sd"] for key in known)]
                places = [0, *known]
                if "end" in one and one["corrections"] > (known[-1] if known else 0):
                    places.append(one["corrections"])
                    gains.append(100 * one["end"]["mean"])
                    spread.append(100 * one["end"]["sd"])
                panel.plot(
                    places, gains, marker=marker, markersize=4, color=colour, linestyle=dashes
                )
                ends.append((places[-1], gains[-1], _WORDS[situation], colour))
                if situation == "all":
                    low = [gain - sd for gain, sd in zip(gains, spread, strict=True)]
                    high = [gain + sd for gain, sd in zip(gains, spread, strict=True)]
                    panel.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)
            panel.axhline(0, color=SOFT, linewidth=1)
            panel.set_title(f"{_NAMES.get(corpus, corpus)}, households of 4", color=INK)
            panel.set_xlabel("corrections")
            last = max(end[0] for end in ends)
            ends = [(last, y, words, colour) for _, y, words, colour in ends]
            name_lines(panel, ends, least=2.4, size=8)
        for panel in grid[:, 0]:
            panel.set_ylabel("gain in UAR, points")
        return save(made, path)
