"""Fine-tuning with the user's own recordings: runs with parts held out, then one with everything.

1. For each fold of the recordings, training continues from the base model without that fold; the
   int8 network and the base model classify what was held out.
2. The household settings of the base model are carried over: prior, evidence, and the thresholds
   together with the temperature and bias for which they were chosen. A network fitted to a few
   voices would otherwise mistake much of other speech for emotions; for the same reason the recipe
   keeps most of the base model's weights.
3. If there is enough ordinary speech to choose thresholds by, and enough was held out, thresholds,
   temperature and biases are fitted again, as for the shipped model
   (:mod:`training.evaluate.household`). Where clips are held out and not speakers, the temperature
   is never lower than the base model's: how confident a network may be about voices that it knows
   says nothing about others.
4. The last run holds out nothing; its network is packed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from serd.model.interpreter import Interpreter
from serd.model.metadata import ORDINARY, SENSITIVITIES, Home, ModelInfo
from serd.model.model_file import ModelFile, pack
from training.batches import clean_features
from training.dataset import Dataset, load_held_out_folds, make_split, no_progress
from training.evaluate.calibration import fit_temperature_and_bias
from training.evaluate.classification import Answer, figures
from training.evaluate.household import (
    decision_of,
    events_of,
    hours,
    sentences,
    threshold_for,
)
from training.evaluate.predictions import (
    ClipScores,
    Predictions,
    RecordingScores,
    folder_recordings,
    predict,
)
from training.network import load_start_model
from training.own.plan import CORPUS, WORK
from training.packing import corpus_entries
from training.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.dataset import Progress
    from training.own.plan import Survey
    from training.prepare import Prepared
    from training.recipe import Recipe

ENOUGH = 30
"""Held-out utterances needed for a new calibration, with :data:`ENOUGH_OF_CLASS` of each class."""
ENOUGH_OF_CLASS = 5
ENOUGH_ORDINARY_H = 0.25
"""Hours of ordinary speech needed for new thresholds."""
RATES = {"low": 2.0, "normal": 5.0, "high": 15.0}
"""False emotional events an hour that the thresholds allow."""


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """The result of fine-tuning."""

    model: Path
    """The packed model."""
    figures: dict[str, Any]
    """``own`` and ``base``: :func:`training.evaluate.classification.figures` on what was held out;
    ``settled``: what was fitted and what was carried over; ``held_out``: speakers or clips."""


def tune(
    folder: Path,
    recipe: Recipe,
    found: Survey,
    *,
    everyday: Path | None = None,
    jobs: int = 2,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Tuned:
    """Fine-tune, measure and pack.

    Args:
        folder: That of the recipe; everything is written there.
        recipe: Of ``serd-train new``.
        found: The recordings.
        everyday: Folder of ordinary speech to choose thresholds by; None: none.
        jobs: Processes that decode.
        threads: Of TensorFlow.
        progress: Called with the stage, the amount done, and the total.
    """
    assert recipe.start is not None
    assert recipe.start.model is not None
    folds = load_held_out_folds(Path(recipe.corpora[CORPUS].folds or ""))
    held_out = folds.test_clips or folds.test_speakers
    base = load_start_model(recipe.start.model)
    runs = folder / WORK / "runs" / _key(recipe, found)
    recordings = folder_recordings(everyday) if everyday is not None else []
    tuned_scores: list[ClipScores] = []
    base_scores: list[ClipScores] = []
    speech: list[RecordingScores] = []
    for number in range(1, len(held_out) + 1):
        one = msgspec.structs.replace(recipe, fold=number)
        dataset = _dataset(one, found)
        run = Run(runs / f"fold{number}", one)
        label = f"without part {number} of {len(held_out)}"
        run.train(dataset, threads=threads, progress=_named(progress, label))
        run.quantise(dataset)
        test = dataset.side("test")
        tuned_scores += score(run.model, test, recipe)
        base_scores += score(base, test, recipe)
        share = recordings[number - 1 :: len(held_out)]
        if share:
            speech += predict(run.model, [], share, jobs=jobs).recordings
        progress("hold out in turn", number, len(held_out))
    settled = calibrate_tuned(
        recipe, base, tuned_scores, speech, strangers=bool(folds.test_speakers)
    )
    last = Run(runs / "all", recipe)
    dataset = _dataset(recipe, found)
    last.train(dataset, threads=threads, progress=_named(progress, "with everything"))
    last.quantise(dataset)
    result = {
        "name": recipe.name,
        "recordings": str(found.folder),
        "held_out": "clips" if folds.test_clips else "speakers",
        "folds": len(held_out),
        "own": _figures(tuned_scores, settled.decision(recipe.classes), found, recipe),
        "base": _figures(base_scores, _decision_of_base(base), found, recipe)
        | {"name": f"{base.info.name} {base.info.version}"},
        "settled": msgspec.to_builtins(settled),
        "unmeasured": len(found.prepared) - len(tuned_scores),
        "left_out": found.corpus.left_out,
    }
    model = folder / f"{recipe.name}.tflite"
    packed = _pack(last, recipe, base, dataset=dataset, settled=settled, result=result)
    part = model.with_suffix(".part")
    part.write_bytes(packed)
    part.replace(model)
    return Tuned(model=model, figures=result)


class TunedCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration and household settings of the model."""

    temperature: float
    abstain_threshold: float
    home: Home | None
    fitted: bool
    """Whether temperature and bias were fitted to held-out utterances; else the base model's."""
    thresholds: str
    """``chosen`` by ordinary speech, ``carried over`` from the base model, or ``one``."""
    ordinary_hours: float = 0.0

    def decision(self, labels: Sequence[str]) -> Any:
        """The decision on the network's output."""
        return decision_of(
            labels,
            self.temperature,
            self.home,
            stated="even",
            min_confidence=self.abstain_threshold if self.home is None else None,
        )


def calibrate_tuned(
    recipe: Recipe,
    base: ModelFile,
    scores: Sequence[ClipScores],
    speech: Sequence[RecordingScores],
    *,
    strangers: bool,
) -> TunedCalibration:
    """Fit what can be fitted, and carry over the rest.

    Args:
        recipe: Names the classes.
        base: The model that was begun with.
        scores: Of held-out utterances, by networks that were not trained on them.
        speech: Ordinary speech, likewise.
        strangers: Whether speakers were held out.
    """
    labels, info = recipe.classes, base.info
    counts = Counter(clip.emotion for clip in scores)
    recorded = [label for label in labels if counts[label]]
    bias = dict(info.home.bias) if info.home is not None else {}
    temperature = info.temperature
    length = hours([[one for one in speech if one.spoken]])
    enough = len(scores) >= ENOUGH and min(counts.values()) >= ENOUGH_OF_CLASS
    # Thresholds that are carried over belong to the calibration that they were chosen with.
    fit = enough and (info.home is None or length >= ENOUGH_ORDINARY_H)
    if fit:
        places = [labels.index(label) for label in recorded]
        restricted = [
            msgspec.structs.replace(clip, logs=tuple(clip.logs[place] for place in places))
            for clip in scores
        ]
        fitted = fit_temperature_and_bias(restricted, recorded)
        temperature = fitted.temperature
        if not strangers:
            temperature = max(temperature, info.temperature)
        usual = float(np.mean([bias.get(label, 0.0) for label in recorded]))
        bias |= {label: round(usual + odds, 3) for label, odds in fitted.bias.items()}
    home, thresholds = info.home, "one"
    if home is not None:
        home = msgspec.structs.replace(home, bias=bias)
        rates: dict[str, float | None] = dict.fromkeys(SENSITIVITIES)
        limits = {name: home.sensitivity[name].threshold for name in SENSITIVITIES}
        thresholds = "carried over"
        if length > 0:
            everyday = sentences([Predictions(labels=labels, recordings=tuple(speech))])
            events = events_of(everyday, decision_of(labels, temperature, home), home.agree)
            if length >= ENOUGH_ORDINARY_H:
                thresholds = "chosen"
                limits = {
                    name: threshold_for(events.strengths, length, RATES[name])
                    for name in SENSITIVITIES
                }
            rates = {
                name: round(float((events.strengths >= limits[name]).sum()) / length, 1)
                for name in SENSITIVITIES
            }
        home = _measured(home, labels, temperature, limits=limits, rates=rates, scores=scores)
    return TunedCalibration(
        temperature=round(temperature, 3),
        abstain_threshold=info.abstain_threshold,
        home=home,
        fitted=fit,
        thresholds=thresholds,
        ordinary_hours=round(length, 3),
    )


def _measured(
    home: Home,
    labels: Sequence[str],
    temperature: float,
    *,
    limits: dict[Any, float],
    rates: dict[str, float | None],
    scores: Sequence[ClipScores],
) -> Home:
    """Household settings with these thresholds and the figures measured at them."""
    decision = decision_of(labels, temperature, home)
    emotional = [clip for clip in scores if clip.emotion not in ORDINARY]
    decided = [
        decision.emotional(decision.decide(np.array(clip.logs, dtype=np.float32)).scores)
        for clip in emotional
    ]
    points = {}
    for name in SENSITIVITIES:
        told = [
            emotion == clip.emotion and strength >= limits[name]
            for clip, (emotion, strength) in zip(emotional, decided, strict=True)
        ]
        points[name] = msgspec.structs.replace(
            home.sensitivity[name],
            threshold=limits[name],
            events_per_hour=rates[name],
            recall=round(float(np.mean(told)), 3) if told else None,
        )
    return msgspec.structs.replace(home, sensitivity=points)


def score(
    model: ModelFile | Path, prepared: Sequence[Prepared], recipe: Recipe
) -> list[ClipScores]:
    """Scores of a packed network for utterances, before calibration.

    Args:
        model: The packed model.
        prepared: The utterances, as the daemon cuts them.
        recipe: Names the classes.
    """
    file = model if isinstance(model, ModelFile) else ModelFile.load(model)
    interpreter = Interpreter(file)
    features = clean_features(prepared, file.info.features) if prepared else np.zeros((0, 1, 1))
    scores = []
    for one, row in zip(prepared, features, strict=True):
        logits = interpreter.run(row).astype(np.float64)
        logs = logits - np.logaddexp.reduce(logits)
        order = [file.labels.index(label) for label in recipe.classes]
        scores.append(
            ClipScores(
                corpus=CORPUS,
                name=one.clip.name,
                speaker=one.clip.speaker,
                emotion=one.clip.emotion,
                logs=tuple(round(float(logs[place]), 4) for place in order),
            )
        )
    return scores


def unmeasured(recipe: Recipe, found: Survey) -> list[str]:
    """Recordings that are newer than the folds: they are trained on, but no fold holds them out."""
    folds = load_held_out_folds(Path(recipe.corpora[CORPUS].folds or ""))
    if folds.test_clips:
        known = {name for fold in folds.test_clips for name in fold}
        alone = Counter(clip.emotion for clip in found.corpus.clips)
        return [
            clip.name
            for clip in found.corpus.clips
            if clip.name not in known and alone[clip.emotion] > 1
        ]
    speakers = {name for fold in folds.test_speakers for name in fold}
    return [clip.name for clip in found.corpus.clips if clip.speaker not in speakers]


def _key(recipe: Recipe, found: Survey) -> str:
    """Key that changes with recipe, base model, folds and recordings."""
    folds = Path(recipe.corpora[CORPUS].folds or "").read_bytes()
    digest = hashlib.sha256(msgspec.json.encode(recipe) + folds)
    if recipe.start is not None and recipe.start.model is not None:
        # The recipe has its name, which a newer model may take over.
        digest.update(load_start_model(recipe.start.model).sha256.encode())
    for one in sorted(found.prepared, key=lambda one: one.clip.name):
        digest.update(f"{one.clip.name} {one.clip.emotion} {one.digest}".encode())
    return digest.hexdigest()[:10]


def _dataset(recipe: Recipe, found: Survey) -> Dataset:
    corpora = {CORPUS: found.corpus}
    own = {CORPUS: load_held_out_folds(Path(recipe.corpora[CORPUS].folds or ""))}
    split = make_split(corpora, fold=recipe.fold, validation={}, own=own)
    return Dataset(
        corpora=corpora, cross={}, split=split, prepared=found.prepared, root=found.folder
    )


def _named(progress: Progress, part: str) -> Progress:
    def named(what: str, done: int, whole: int) -> None:
        progress(f"{part}: {what}", done, whole)

    return named


def _decision_of_base(base: ModelFile) -> Any:
    from serd.model.decision import Decision

    return Decision(base.labels, base.info, stated="even")


def _figures(
    scores: Sequence[ClipScores], decision: Any, found: Survey, recipe: Recipe
) -> dict[str, Any]:
    """Figures of held-out utterances, with the share of neutral speech mistaken for emotions."""
    by_name = {one.clip.name: one.clip for one in found.prepared}
    answers = []
    for clip in scores:
        row: NDArray[np.float32] = np.array(clip.logs, dtype=np.float32)
        prediction = decision.decide(row)
        answers.append(
            Answer(clip=by_name[clip.name], scores=prediction.scores, decision=prediction.emotion)
        )
    result = figures(answers, coverage=recipe.coverage)
    calm = [one for one in answers if one.clip.emotion in ORDINARY]
    moved = [one for one in answers if one.clip.emotion not in ORDINARY]
    result["ordinary"] = len(calm)
    result["ordinary_told_as_emotion"] = sum(
        one.decision not in {*ORDINARY, "uncertain"} for one in calm
    )
    result["emotional"] = len(moved)
    result["emotional_told_rightly"] = sum(one.decision == one.clip.emotion for one in moved)
    result["emotional_told_wrongly"] = sum(
        one.decision not in {*ORDINARY, "uncertain", one.clip.emotion} for one in moved
    )
    return result


def _pack(
    run: Run,
    recipe: Recipe,
    base: ModelFile,
    *,
    dataset: Dataset,
    settled: TunedCalibration,
    result: dict[str, Any],
) -> bytes:
    entries = corpus_entries(dataset)
    known = {entry.name for entry in entries}
    own, before = result["own"], result["base"]
    measured = {
        f"{dataset.corpora[CORPUS].title} ({result['held_out']} held out)": {
            "clips": own["clips"],
            "speakers": len(own["speakers"]),
            "accuracy": round(own["accuracy"], 4),
            "uar": round(own["uar"], 4),
            "accuracy_of_base": round(before["accuracy"], 4),
            "uar_of_base": round(before["uar"], 4),
            "base": before["name"],
        }
    }
    if result["held_out"] == "clips":
        for figures_of in measured.values():
            del figures_of["speakers"]  # the model knows them
    info = ModelInfo(
        name=recipe.name,
        version=recipe.version,
        features=run.packed_features(),
        placements=recipe.placements,
        temperature=settled.temperature,
        abstain_threshold=settled.abstain_threshold,
        home=settled.home,
        corpora=(*(one for one in base.info.corpora if one.name not in known), *entries),
        licence=recipe.licence,
        evaluation=measured,
        created=run.read("run.json")["date"],
    )
    return pack((run.folder / "network.tflite").read_bytes(), recipe.classes, info)
