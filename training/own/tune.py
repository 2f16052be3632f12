"""Training on with somebody's own recordings: runs with parts held out, then one with everything.

1. For each fold of the recordings, training goes on from the base model without that fold, the
   network is made int8, and hears what was held out; so does the base model.
2. What the base model knows of homes is carried over: prior, evidence, and the thresholds together
   with the temperature and bias that they were chosen with. A network fitted to a few voices would
   otherwise take much of other speech for emotions; for the same reason the recipe keeps most of
   the base model's weights.
3. If there is enough ordinary speech to choose thresholds by, and enough was held out, thresholds,
   temperature and biases are fitted again, as for the shipped model
   (:mod:`training.evaluate.household`). Where clips are held out and not speakers, the temperature
   is never lower than the base model's: how confident a network may be about voices that it knows
   says nothing about others.
4. The last run holds out nothing; its network is what is packed.
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
"""Held-out utterances for a calibration of one's own, and :data:`ENOUGH_OF_CLASS` of each class."""
ENOUGH_OF_CLASS = 5
ENOUGH_ORDINARY_H = 0.25
"""Hours of ordinary speech for thresholds of one's own."""
RATES = {"low": 2.0, "normal": 5.0, "high": 15.0}
"""False emotional events an hour that the thresholds allow, as for the shipped model."""


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

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
    """Train on, measure and pack.

    Args:
        folder: That of the recipe; everything is written there.
        recipe: Of ``serd-train new``.
        found: The recordings.
        everyday: Recordings of ordinary speech, by which thresholds are chosen; None: there are
            none.
        jobs: Processes that decode.
        threads: Of TensorFlow.
        progress: Hears of it.
    """
    assert recipe.start is not None
    folds = load_held_out_folds(Path(recipe.corpora[CORPUS].folds or ""))
    held_out = folds.test_clips or folds.test_speakers
    base = load_start_model(recipe.start.model)
    runs = folder / WORK / "runs" / _key(recipe, found)
    asked = folder_recordings(everyday) if everyday is not None else []
    ours: list[ClipScores] = []
    theirs: list[ClipScores] = []
    speech: list[RecordingScores] = []
    for number in range(1, len(held_out) + 1):
        one = msgspec.structs.replace(recipe, fold=number)
        material = _material(one, found)
        run = Run(runs / f"fold{number}", one)
        label = f"without part {number} of {len(held_out)}"
        run.train(material, threads=threads, progress=_named(progress, label))
        run.quantise(material)
        test = material.side("test")
        ours += hear(run.model, test, recipe)
        theirs += hear(base, test, recipe)
        share = asked[number - 1 :: len(held_out)]
        if share:
            speech += predict(run.model, [], share, jobs=jobs).recordings
        progress("hold out in turn", number, len(held_out))
    settled = settle(recipe, base, ours, speech, strangers=bool(folds.test_speakers))
    last = Run(runs / "all", recipe)
    material = _material(recipe, found)
    last.train(material, threads=threads, progress=_named(progress, "with everything"))
    last.quantise(material)
    result = {
        "name": recipe.name,
        "recordings": str(found.folder),
        "held_out": "clips" if folds.test_clips else "speakers",
        "folds": len(held_out),
        "own": _figures(ours, settled.decision(recipe.classes), found, recipe),
        "base": _figures(theirs, _decision_of_base(base), found, recipe)
        | {"name": f"{base.info.name} {base.info.version}"},
        "settled": msgspec.to_builtins(settled),
        "unmeasured": len(found.prepared) - len(ours),
        "left_out": found.corpus.left_out,
    }
    model = folder / f"{recipe.name}.tflite"
    packed = _pack(last, recipe, base, material=material, settled=settled, result=result)
    part = model.with_suffix(".part")
    part.write_bytes(packed)
    part.replace(model)
    return Tuned(model=model, figures=result)


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration, and what the model assumes of homes."""

    temperature: float
    abstain_threshold: float
    home: Home | None
    fitted: bool
    """Whether temperature and bias were fitted on what was held out; else the base model's."""
    thresholds: str
    """``chosen`` by ordinary speech, ``carried over`` from the base model, or ``one``."""
    ordinary_hours: float = 0.0

    def decision(self, labels: Sequence[str]) -> Any:
        """What is made of the network's output."""
        return decision_of(
            labels,
            self.temperature,
            self.home,
            stated="even",
            min_confidence=self.abstain_threshold if self.home is None else None,
        )


def settle(
    recipe: Recipe,
    base: ModelFile,
    heard: Sequence[ClipScores],
    speech: Sequence[RecordingScores],
    *,
    strangers: bool,
) -> Settled:
    """Fit what can be fitted, and carry over the rest.

    Args:
        recipe: Names the classes.
        base: The model that was begun with.
        heard: What was held out, by networks that had not heard it.
        speech: Ordinary speech, likewise.
        strangers: Whether speakers were held out.
    """
    labels, info = recipe.classes, base.info
    counts = Counter(clip.emotion for clip in heard)
    recorded = [label for label in labels if counts[label]]
    bias = dict(info.home.bias) if info.home is not None else {}
    temperature = info.temperature
    length = hours([one for one in speech if one.spoken])
    enough = len(heard) >= ENOUGH and min(counts.values()) >= ENOUGH_OF_CLASS
    # Thresholds that are carried over belong to the calibration that they were chosen with.
    fit = enough and (info.home is None or length >= ENOUGH_ORDINARY_H)
    if fit:
        places = [labels.index(label) for label in recorded]
        restricted = [
            msgspec.structs.replace(clip, logs=tuple(clip.logs[place] for place in places))
            for clip in heard
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
        home = _measured(home, labels, temperature, limits=limits, rates=rates, heard=heard)
    return Settled(
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
    heard: Sequence[ClipScores],
) -> Home:
    """A home with these thresholds, and with what was measured at them and nothing else."""
    decision = decision_of(labels, temperature, home)
    emotional = [clip for clip in heard if clip.emotion not in ORDINARY]
    said = [decision.decide(np.array(clip.logs, dtype=np.float32)) for clip in emotional]
    points = {}
    for name in SENSITIVITIES:
        told = [
            one.emotion == clip.emotion and one.confidence >= limits[name]
            for clip, one in zip(emotional, said, strict=True)
        ]
        points[name] = msgspec.structs.replace(
            home.sensitivity[name],
            threshold=limits[name],
            events_per_hour=rates[name],
            recall=round(float(np.mean(told)), 3) if told else None,
        )
    return msgspec.structs.replace(home, sensitivity=points)


def hear(model: ModelFile | Path, prepared: Sequence[Prepared], recipe: Recipe) -> list[ClipScores]:
    """What a packed network says of utterances, before calibration.

    Args:
        model: The packed model.
        prepared: The utterances, as the daemon cuts them.
        recipe: Names the classes.
    """
    file = model if isinstance(model, ModelFile) else ModelFile.load(model)
    interpreter = Interpreter(file)
    features = clean_features(prepared, file.info.features) if prepared else np.zeros((0, 1, 1))
    heard = []
    for one, row in zip(prepared, features, strict=True):
        logits = interpreter.run(row).astype(np.float64)
        logs = logits - np.logaddexp.reduce(logits)
        order = [file.labels.index(label) for label in recipe.classes]
        heard.append(
            ClipScores(
                corpus=CORPUS,
                name=one.clip.name,
                speaker=one.clip.speaker,
                emotion=one.clip.emotion,
                logs=tuple(round(float(logs[place]), 4) for place in order),
            )
        )
    return heard


def unmeasured(recipe: Recipe, found: Survey) -> list[str]:
    """Recordings that came after the folds were made: they are trained on and held out by none."""
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
    """Tells trainings of other recipes, folds or recordings apart."""
    folds = Path(recipe.corpora[CORPUS].folds or "").read_bytes()
    digest = hashlib.sha256(msgspec.json.encode(recipe) + folds)
    for one in sorted(found.prepared, key=lambda one: one.clip.name):
        digest.update(f"{one.clip.name} {one.clip.emotion} {one.digest}".encode())
    return digest.hexdigest()[:10]


def _material(recipe: Recipe, found: Survey) -> Dataset:
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
    heard: Sequence[ClipScores], decision: Any, found: Survey, recipe: Recipe
) -> dict[str, Any]:
    """Figures of what was held out, and how much of its neutral speech is told as an emotion."""
    by_name = {one.clip.name: one.clip for one in found.prepared}
    answers = []
    for clip in heard:
        row: NDArray[np.float32] = np.array(clip.logs, dtype=np.float32)
        said = decision.decide(row)
        answers.append(Answer(clip=by_name[clip.name], scores=said.scores, decision=said.emotion))
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
    material: Dataset,
    settled: Settled,
    result: dict[str, Any],
) -> bytes:
    entries = corpus_entries(material)
    known = {entry.name for entry in entries}
    own, before = result["own"], result["base"]
    measured = {
        f"{material.corpora[CORPUS].title} ({result['held_out']} held out)": {
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
            del figures_of["speakers"]  # they are not strangers
    info = ModelInfo(
        name=recipe.name,
        version=recipe.version,
        features=run.features(),
        temperature=settled.temperature,
        abstain_threshold=settled.abstain_threshold,
        home=settled.home,
        corpora=(*(one for one in base.info.corpora if one.name not in known), *entries),
        licence=recipe.licence,
        evaluation=measured,
        created=run.read("run.json")["date"],
    )
    return pack((run.folder / "network.tflite").read_bytes(), recipe.classes, info)
