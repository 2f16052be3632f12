"""A run: a folder that holds a recipe and everything that came of it.

::

    runs/NAME/
        recipe.json       what was asked for
        run.json          git revision, versions, seed, who trained, validated and tested
        features.json     the front end with the mean and sd of the training speakers
        teaching.json     who taught, and how well (only with a teacher)
        teaching.npz      the teacher's answers to the training clips, and hints
        curves.json       loss and validation accuracy along the way
        checkpoint.npz    where to go on if it was broken off
        weights.npz       the running mean of the weights at the end
        calibration.json  temperature and threshold
        heard.json        raw outputs for all test clips (training.evaluate.predictions)
        home.json         prior, bias and thresholds for a household (training.evaluate.household)
        refit/            the refit stage, if the recipe has one: a run of its own
        model.tflite      the packed model
        metrics.json      every figure on the test speakers
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from serd.errors import UsageError
from serd.model.metadata import Corpus as CorpusEntry
from serd.model.metadata import FeatureParameters, Home, ModelInfo
from serd.model.model_file import pack
from training import REPOSITORY, RESULTS
from training.batches import clean_features, measure_features
from training.dataset import load_dataset, no_progress
from training.evaluate.calibration import Calibration, calibrate
from training.evaluate.classification import Answer, classify_clips, figures
from training.evaluate.household import HouseholdFit, answer_of, decision_of
from training.evaluate.predictions import (
    Predictions,
    household_sounds,
    ordinary_recordings,
    pack_uncalibrated,
    predict,
)
from training.network import interpolated, load_start_model, own_soft_targets, start_weights
from training.packing import corpus_entries, provenance, summary
from training.prepare import CACHE
from training.quantise import convert, representative_clips
from training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from serd.model.decision import Decision
    from serd.model.model_file import ModelFile
    from training.corpora import Clip
    from training.dataset import Dataset, Progress
    from training.prepare import Prepared
    from training.teach import TeacherTargets


class Run:
    """One run's folder.

    Args:
        folder: Made if it is not there.
        recipe: What to do.

    Raises:
        UsageError: The folder holds a run of another recipe.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.recipe = recipe
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "recipe.json"
        if kept.is_file() and msgspec.json.decode(kept.read_bytes(), type=Recipe) != recipe:
            raise UsageError(
                f"{folder} holds a run of another recipe",
                remedy="name another folder with --run, or remove that one",
            )
        kept.write_bytes(msgspec.json.format(msgspec.json.encode(recipe)))

    @classmethod
    def open(cls, folder: Path) -> Run:
        """A run that was begun before.

        Raises:
            UsageError: There is none in that folder.
        """
        kept = folder / "recipe.json"
        if not kept.is_file():
            raise UsageError(f"There is no run in {folder}", remedy="begin one: serd-train train")
        return cls(folder, msgspec.json.decode(kept.read_bytes(), type=Recipe))

    @property
    def model(self) -> Path:
        """The packed model."""
        return self.folder / "model.tflite"

    def read(self, name: str) -> Any:
        """One of the folder's JSON files.

        Raises:
            UsageError: It has not been written yet.
        """
        file = self.folder / name
        if not file.is_file():
            raise UsageError(f"{self.folder} has no {name} yet")
        return msgspec.json.decode(file.read_bytes())

    def teach(
        self,
        material: Dataset,
        *,
        source: str | None = None,
        cache: Path = CACHE,
        jobs: int = 2,
        progress: Progress = no_progress,
    ) -> TeacherTargets | None:
        """Let the recipe's teacher answer to the training clips; taken from the folder if done.

        Args:
            material: Its test side is not touched.
            source: Folder of the teacher, or its name on the hub, if it is not where
                :func:`training.teacher.find_teacher` looks.
            cache: Folder of the cache.
            jobs: Processes.
            progress: Hears of it.

        Returns:
            What it teaches, or None if the recipe has no teacher.
        """
        from training import teach
        from training.teacher import Teacher, find_teacher

        wanted = self.recipe.teaching
        if wanted is None:
            return None
        kept = self.folder / "teaching.npz"
        training, validation = (
            [one for one in material.side(side) if not self.recipe.corpora[one.clip.corpus].target]
            for side in ("train", "validation")
        )
        if not kept.is_file():
            done = 0

            copies = len(self.recipe.preparation.speeds) if wanted.hints is not None else 1
            whole = copies * len(training) + len(validation)

            def step(count: int) -> None:
                nonlocal done
                done += count
                progress("listen", done, whole)

            answers, hints, report = teach.teach(
                self.recipe,
                Teacher(find_teacher(wanted.teacher, source), wanted.layers),
                training,
                validation,
                cache=cache,
                jobs=jobs,
                progress=step,
            )
            self._write("teaching.json", report)
            teach.write_targets(kept, training, answers, hints)
        return teach.read_targets(kept, training)

    def train(
        self,
        material: Dataset,
        *,
        threads: int = 1,
        taught: TeacherTargets | None = None,
        after: Run | None = None,
        progress: Progress = no_progress,
    ) -> None:
        """Train, or go on where it was broken off; does nothing if it is done.

        Args:
            material: Its training and validation sides are used.
            threads: Of TensorFlow.
            taught: What :meth:`teach` gave.
            after: A run whose weights it begins with, and whose features it keeps.
            progress: Hears of it.
        """
        from training.train import Trainer

        if (self.folder / "weights.npz").is_file():
            return
        training, validation = material.side("train"), material.side("validation")
        self._write("run.json", provenance(self.recipe, material))
        began = (
            load_start_model(self.recipe.start.model) if self.recipe.start and not after else None
        )
        if began is not None:
            features = began.info.features
        else:
            features = (
                after.features() if after else measure_features(training, self.recipe.features)
            )
        self._write("features.json", features)
        start = after.weights() if after else ()
        answers = taught.answers if taught else None
        if began is not None:
            start, answers = self._begin(began, training)
        trainer = Trainer(
            self.recipe,
            features,
            training,
            validation,
            self.folder,
            threads=threads,
            soft_targets=answers,
            hints=taught.hints if taught else None,
            sounds=material.sounds,
            start=start,
        )
        steps = self.recipe.optimiser.steps

        def watch(step: int, newest: dict[str, float]) -> None:
            self._write("curves.json", trainer.curves)
            seen = newest.get("validation_accuracy")
            note = f" validation {seen:.3f}" if seen is not None else ""
            progress(f"train (loss {newest['loss']:.3f}{note})", step, steps)

        model = trainer.run(watch)
        weights = [np.asarray(weight) for weight in model.get_weights()]
        if began is not None and self.recipe.start is not None:
            weights = interpolated(start, weights, self.recipe.start.keep)
        with (self.folder / "weights.npz").open("wb") as file:
            np.savez(file, *weights)

    def _begin(
        self, began: ModelFile, training: Sequence[Prepared]
    ) -> tuple[list[NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        """The weights to begin with, and what that network says of clips that it remembers."""
        from training.network import build_network
        from training.train import logits_of, set_up_tensorflow

        assert self.recipe.start is not None
        set_up_tensorflow(self.recipe.seed, 1)
        examples = representative_clips(training, self.recipe.representative_clips)
        weights = start_weights(
            began, self.recipe.network, clean_features(examples, began.info.features)
        )
        known = [one for one in training if one.clip.corpus in self.recipe.start.remembers]
        if not known:
            return weights, {}
        labels = self.recipe.classes
        network = build_network(self.recipe.network, began.info.features, len(labels))
        network.set_weights(weights)
        said = own_soft_targets(
            logits_of(network, clean_features(known, began.info.features)),
            np.array([labels.index(one.clip.emotion) for one in known]),
            began.info.temperature,
        )
        return weights, {str(one.clip.path): row for one, row in zip(known, said, strict=True)}

    def quantise(
        self, material: Dataset, *, jobs: int = 1, progress: Progress = no_progress
    ) -> None:
        """Convert to int8, calibrate on validation speakers, and pack, still without figures.

        Where the recipe sets no speakers aside the network's answers stay as they are: a
        cross-validation over all folds calibrates them (:mod:`training.evaluate.household`).
        """
        progress("quantise", 0, 1)
        self._convert(material, self.weights())
        calibration = Calibration(temperature=1, abstain_threshold=0)
        self._pack(material, calibration)
        if clips := [one.clip for one in material.side("validation")]:
            answers = classify_clips(self.model, clips, jobs=jobs)
            calibration = calibrate(answers, self.recipe.coverage)
        self._write("calibration.json", calibration)
        self._pack(material, calibration)
        if self.recipe.refit is not None and self._refitted:
            # What is shipped is the refitted network, whichever stage was done again.
            self._pack_last(material, calibration)
        progress("quantise", 1, 1)

    def refit(
        self,
        material: Dataset,
        *,
        source: str | None = None,
        cache: Path = CACHE,
        jobs: int = 2,
        threads: int = 1,
        progress: Progress = no_progress,
    ) -> None:
        """Go on training with the validation speakers, and convert and pack what comes of it.

        Does nothing if the recipe does not ask for it. Temperature and threshold stay as
        :meth:`quantise` found them, by a network that had not heard these speakers.

        Args:
            material: Its test side is not touched.
            source: See :meth:`teach`.
            cache: Folder of the cache.
            jobs: Processes.
            threads: Of TensorFlow.
            progress: Hears of it.
        """
        if self.recipe.refit is None:
            return
        calibration = msgspec.convert(self.read("calibration.json"), Calibration)
        everybody, last = (
            material.with_validation_speakers(),
            Run(self.folder / "refit", self.recipe.for_refit()),
        )
        taught = last.teach(everybody, source=source, cache=cache, jobs=jobs, progress=progress)
        last.train(everybody, threads=threads, taught=taught, after=self, progress=progress)
        progress("quantise", 0, 1)
        self._pack_last(material, calibration)
        progress("quantise", 1, 1)

    def evaluate(
        self, material: Dataset, *, jobs: int = 2, progress: Progress = no_progress
    ) -> dict[str, Any]:
        """Measure the packed model on the test speakers, and pack the figures into it.

        Returns:
            What ``metrics.json`` holds.
        """
        if self.recipe.refit is not None:
            material = material.with_validation_speakers()
        predictions = self.predict(material, jobs=jobs, progress=progress)
        if self.recipe.home is not None and not (self.folder / "home.json").is_file():
            return {}
        calibration = msgspec.convert(self.read("calibration.json"), Calibration)
        decision = decision_of(
            predictions.labels,
            calibration.temperature,
            self.home(),
            stated="even",
            min_confidence=calibration.abstain_threshold,
        )
        said = [answer_of(one, decision) for one in predictions.clips]
        answers = [
            Answer(clip=clip, scores=one.scores, decision=one.emotion)
            for clip, one in zip(self._asked(material), said, strict=True)
        ]
        result = {
            "model": {"name": self.recipe.name, "version": self.recipe.version},
            "training": [msgspec.to_builtins(entry) for entry in self._entries(material)],
            "recipe": msgspec.to_builtins(self.recipe),
            "run": self.read("run.json"),
            "teaching": self.read("teaching.json") if self.recipe.teaching else None,
            "refit": self.last.read("run.json") if self.recipe.refit else None,
            "calibration": msgspec.to_builtins(calibration),
            "home": msgspec.to_builtins(self.home()),
            "left_out": {
                name: corpus.left_out
                for name, corpus in {**material.corpora, **material.cross}.items()
            },
            "test": self._crossed(),
            "cross_corpus": {},
            "float32": self._float_figures(material, decision),
        }
        for name in (*self.recipe.acted, *self.recipe.cross_corpora):
            of_corpus = [answer for answer in answers if answer.clip.corpus == name]
            place = "test" if name in self.recipe.corpora else "cross_corpus"
            if of_corpus:
                result[place][name] = figures(of_corpus, coverage=self.recipe.coverage)
        self._pack(material, calibration, summary(result))
        network = (self.folder / "network.tflite").read_bytes()
        result["model"] |= {
            "bytes": self.model.stat().st_size,
            "network_sha256": hashlib.sha256(network).hexdigest(),
        }
        self._write("metrics.json", result)
        return result

    def predict(
        self, material: Dataset, *, jobs: int = 2, progress: Progress = no_progress
    ) -> Predictions:
        """What the packed network says of all that it is tested on; taken from the folder if done.

        Temperature, prior and bias are taken back, so that others can be tried.
        """
        kept = self.folder / "heard.json"
        if not kept.is_file():
            clips, done = self._asked(material), 0
            recordings = []
            if self.recipe.home is not None:
                tested = {voice.split("/")[1] for voice in material.split.test if _nobody(voice)}
                recordings = ordinary_recordings(material.root, tested)
                recordings += household_sounds(material.root)
            whole = len(clips) + len(recordings)

            def step(count: int) -> None:
                nonlocal done
                done += count
                progress("listen", done, whole)

            bare = self.folder / "bare.tflite"
            bare.write_bytes(pack_uncalibrated(self.model))
            predictions = predict(bare, clips, recordings, jobs=jobs, progress=step)
            bare.unlink()
            self._write("heard.json", predictions)
        return msgspec.json.decode(kept.read_bytes(), type=Predictions)

    def adopt(self, summary: Path) -> None:
        """Take over what a cross-validation of the same recipe chose, for a model of everybody.

        Args:
            summary: What ``serd-train folds`` wrote.

        Raises:
            UsageError: There is none, or it is of another recipe.
        """
        remedy = "cross-validate first: serd-train folds"
        try:
            found = msgspec.json.decode(summary.read_bytes())
        except FileNotFoundError as error:
            raise UsageError(f"There is no {summary}", remedy=remedy) from error
        # Keys that have come since, with their defaults, make no other recipe.
        kept = msgspec.convert(found["recipe"] | {"fold": 0, "seed": 0}, Recipe)
        if kept != msgspec.structs.replace(self.recipe, fold=0, seed=0):
            raise UsageError(f"{summary} is of another recipe", remedy=remedy)
        settled: dict[str, Any] | None = found.get("settled")
        if not settled:
            raise UsageError(f"{summary} is not complete", remedy=remedy)
        home = msgspec.convert(settled["home"], Home)
        self.settle(HouseholdFit(temperature=settled["temperature"], home=home))
        self._write("crossed.json", settled["pooled"])

    def settle(self, fitted: HouseholdFit) -> None:
        """Take over what was chosen on other folds."""
        threshold = fitted.home.sensitivity["normal"].threshold
        self._write(
            "calibration.json",
            Calibration(temperature=fitted.temperature, abstain_threshold=threshold),
        )
        self._write("home.json", fitted.home)

    def _crossed(self) -> dict[str, Any]:
        """For a model of everybody: what the cross-validation says of speakers not predictions."""
        if self.recipe.fold or not (self.folder / "crossed.json").is_file():
            return {}
        pooled: dict[str, Any] = self.read("crossed.json")
        return {name: pooled[name] for name in self.recipe.acted}

    def add_household_figures(self, figures: dict[str, Any]) -> None:
        """Keep what the model does in a home beside its other figures."""
        self._write("metrics.json", self.read("metrics.json") | {"household": figures})

    def home(self) -> Home | None:
        """What the model assumes of a home, if that has been chosen."""
        if not (self.folder / "home.json").is_file():
            return None
        return msgspec.convert(self.read("home.json"), Home)

    def _asked(self, material: Dataset) -> list[Clip]:
        """The acted clips that the model is tested on."""
        clips = [one.clip for one in material.side("test") if not _nobody(one.clip.voice)]
        for corpus in material.cross.values():
            clips += corpus.clips
        return clips

    @property
    def last(self) -> Run:
        """The run whose weights are shipped: that of the refit stage, or this one.

        Raises:
            UsageError: There is to be a refit stage, and it has not been made.
        """
        if self.recipe.refit is None:
            return self
        if not self._refitted:
            raise UsageError(f"{self.folder} has not been refitted", remedy="serd-train refit")
        return Run.open(self.folder / "refit")

    @property
    def _refitted(self) -> bool:
        return (self.folder / "refit" / "weights.npz").is_file()

    def features(self) -> FeatureParameters:
        """The front end with the measured mean and sd."""
        return msgspec.convert(self.read("features.json"), FeatureParameters)

    def weights(self) -> list[NDArray[np.float32]]:
        """The trained weights.

        Raises:
            UsageError: The run has not been trained to the end.
        """
        file = self.folder / "weights.npz"
        if not file.is_file():
            raise UsageError(f"{self.folder} is not trained to the end", remedy="serd-train train")
        with np.load(file) as kept:
            return [kept[name] for name in kept.files]

    def _float_figures(self, material: Dataset, decision: Decision) -> dict[str, Any]:
        """Accuracy and UAR of the network before quantisation, on the same clips."""
        from training.network import build_network
        from training.train import logits_of, set_up_tensorflow

        set_up_tensorflow(self.recipe.seed, 1)
        labels = self.recipe.classes
        model = build_network(self.recipe.network, self.features(), len(labels))
        model.set_weights(self.last.weights())
        test = [one for one in material.side("test") if not _nobody(one.clip.voice)]
        if not test:
            return {}
        logits = logits_of(model, clean_features(test, self.features()))
        said = [(one.clip, decision.decide(row)) for one, row in zip(test, logits, strict=True)]
        found: dict[str, Any] = {}
        for name in self.recipe.acted:
            answers = [
                Answer(clip=clip, scores=prediction.scores, decision=prediction.emotion)
                for clip, prediction in said
                if clip.corpus == name
            ]
            if not answers:
                continue
            every = figures(answers, coverage=self.recipe.coverage)
            found[name] = {key: every[key] for key in ("clips", "accuracy", "uar")}
        return found

    def _convert(self, material: Dataset, weights: Sequence[NDArray[np.float32]]) -> None:
        chosen = representative_clips(material.side("train"), self.recipe.representative_clips)
        examples = clean_features(chosen, self.features())
        if (most := self.recipe.input_range_sd) is not None:
            examples = np.clip(examples, -most, most)
        network = convert(
            weights, self.recipe.network, self.features(), len(self.recipe.classes), examples
        )
        (self.folder / "network.tflite").write_bytes(network)

    def _pack_last(self, material: Dataset, calibration: Calibration) -> None:
        everybody = material.with_validation_speakers()
        self._convert(everybody, self.last.weights())
        self._pack(everybody, calibration)

    def _pack(
        self,
        material: Dataset,
        calibration: Calibration,
        evaluation: dict[str, Any] | None = None,
    ) -> None:
        info = ModelInfo(
            name=self.recipe.name,
            version=self.recipe.version,
            features=self.features(),
            temperature=calibration.temperature,
            abstain_threshold=calibration.abstain_threshold,
            home=self.home(),
            corpora=self._entries(material),
            licence=self.recipe.licence,
            evaluation=evaluation or {},
            created=self.read("run.json")["date"],
        )
        network = (self.folder / "network.tflite").read_bytes()
        self.model.write_bytes(pack(network, self.recipe.classes, info))

    def _entries(self, material: Dataset) -> tuple[CorpusEntry, ...]:
        """What the network was trained on: if all of its weights were kept, what it began with."""
        start = self.recipe.start
        if start is not None and start.keep == 1.0:
            return load_start_model(start.model).info.corpora
        entries = corpus_entries(material)
        if start is None:
            return entries
        # What the network that it began with had predictions is still in it.
        known = {entry.name for entry in entries}
        began = load_start_model(start.model).info.corpora
        return (*(entry for entry in began if entry.name not in known), *entries)

    def _write(self, name: str, content: Any) -> None:
        text = msgspec.json.format(msgspec.json.encode(content))
        part = self.folder / f"{name}.part"
        part.write_bytes(text + b"\n")
        part.replace(self.folder / name)


def _nobody(voice: str) -> bool:
    """Whether a voice is a source of ordinary speech, in which nobody acts."""
    return voice.startswith("ordinary/")


def do(
    run: Run,
    stages: Sequence[str],
    root: Path,
    *,
    cache: Path = CACHE,
    teacher: str | None = None,
    jobs: int = 2,
    threads: int = 1,
    results: Path = REPOSITORY / RESULTS,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Do some of the stages of a run, in their order.

    Args:
        run: Whose.
        stages: Of ``teach``, ``train`` (which includes it), ``quantise``, ``refit`` and
            ``evaluate``.
        root: Folder of the corpora.
        cache: Folder of the cache.
        teacher: See ``source`` of :meth:`Run.teach`.
        jobs: Processes.
        threads: Of TensorFlow.
        results: Folder in which the cross-validation of a model of everybody is looked for.
        progress: Hears of it.

    Returns:
        The figures, if they were asked for.
    """
    material = load_dataset(run.recipe, root, cache=cache, jobs=jobs, progress=progress)
    if "teach" in stages or "train" in stages:
        taught = run.teach(material, source=teacher, cache=cache, jobs=jobs, progress=progress)
    if "train" in stages:
        run.train(material, threads=threads, taught=taught, progress=progress)
    if "quantise" in stages:
        run.quantise(material, jobs=jobs, progress=progress)
    if "refit" in stages:
        run.refit(
            material, source=teacher, cache=cache, jobs=jobs, threads=threads, progress=progress
        )
    if "evaluate" in stages:
        if not run.recipe.fold:
            run.adopt(results / f"{run.recipe.name}-folds.json")
        return run.evaluate(material, jobs=jobs, progress=progress)
    return {}
