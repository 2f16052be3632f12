"""A run: the stages of training by a recipe, whose results its folder keeps."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from serd.errors import UsageError
from serd.model.metadata import ModelInfo
from serd.model.model_file import pack
from serd.model.placement import Placements
from training import REPOSITORY, RESULTS
from training.batches import clean_features, measure_features
from training.dataset import load_dataset, no_progress
from training.evaluate.calibration import Calibration, calibrate
from training.evaluate.classification import Answer, classify_clips, figures
from training.evaluate.household import answer_of, decision_of
from training.evaluate.predictions import (
    Predictions,
    household_sounds,
    ordinary_recordings,
    pack_uncalibrated,
    predict,
)
from training.files import read_json, write_whole
from training.network import interpolated, load_start_model, start_weights
from training.packing import provenance, summary, trained_corpora
from training.prepare import CACHE
from training.quantise import convert, representative_clips
from training.run_folder import RunFolder
from training.teacher import load_before_tensorflow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from serd.model.decision import Decision
    from serd.model.metadata import FeatureParameters
    from training.corpora import Clip
    from training.corpora.ordinary import Recording
    from training.dataset import Dataset, Progress
    from training.prepare import Prepared
    from training.teach import TeacherTargets


class _Origin(NamedTuple):
    """What training starts from."""

    features: FeatureParameters
    weights: list[NDArray[np.float32]]
    temperature: float = 1.0


class Run(RunFolder):
    """One run and its stages."""

    def teach(
        self,
        dataset: Dataset,
        *,
        source: str | None = None,
        cache: Path = CACHE,
        jobs: int = 2,
        progress: Progress = no_progress,
    ) -> TeacherTargets | None:
        """Soft targets of the recipe's teacher for the training clips, computed once.

        Args:
            dataset: Its test side is not used.
            source: Folder of the teacher, or its name on the hub, if it is not where
                :func:`training.teacher.find_teacher` looks.
            cache: Folder of the cache.
            jobs: Processes.
            progress: Called with the stage, the amount done, and the total.

        Returns:
            The targets, or None if the recipe has no teacher.
        """
        from training import teach
        from training.teacher import Teacher, find_teacher

        wanted = self.recipe.teaching
        if wanted is None:
            return None
        kept = self.folder / "teaching.npz"
        training, validation = (
            [one for one in dataset.side(side) if self.recipe.corpora[one.clip.corpus].asks_teacher]
            for side in ("train", "validation")
        )
        if not kept.is_file():
            done = 0

            copies = len(self.recipe.embedded_speeds) if wanted.hints is not None else 1
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
            self.write("teaching.json", report)
            teach.write_targets(kept, training, answers, hints)
        return teach.read_targets(kept, training)

    def pretrain(
        self,
        dataset: Dataset,
        *,
        source: str | None = None,
        cache: Path = CACHE,
        jobs: int = 2,
        threads: int = 1,
        progress: Progress = no_progress,
    ) -> None:
        """Train the stage that training starts from; does nothing if the recipe has none.

        Args:
            dataset: Its test side is not used.
            source: See :meth:`teach`.
            cache: Folder of the cache.
            jobs: Processes.
            threads: Of TensorFlow.
            progress: Called with the stage, the amount done, and the total.
        """
        wanted = self.recipe.pretraining
        if wanted is None:
            return
        first, part = Run(self.folder / "pretraining", wanted), dataset.of_corpora(wanted.corpora)
        taught = first.teach(part, source=source, cache=cache, jobs=jobs, progress=progress)
        first.train(part, threads=threads, taught=taught, progress=progress)

    def train(
        self,
        dataset: Dataset,
        *,
        threads: int = 1,
        taught: TeacherTargets | None = None,
        after: Run | None = None,
        progress: Progress = no_progress,
    ) -> None:
        """Train, or resume from the checkpoint; does nothing if training is complete.

        Args:
            dataset: Its training and validation sides are used.
            threads: Of TensorFlow.
            taught: The result of :meth:`teach`.
            after: A run whose weights it starts from, and whose features it keeps.
            progress: Called with the stage, the amount done, and the total.
        """
        from training.train import Trainer, remembered_answers

        if (self.folder / "weights.npz").is_file():
            return
        training, validation = dataset.side("train"), dataset.side("validation")
        origins = provenance(self.recipe, dataset)
        if (self.folder / "checkpoint.npz").is_file():
            begun = self.read("run.json")
            now = msgspec.json.decode(msgspec.json.encode(origins))
            if any(
                begun.get(key, now[key]) != now[key] for key in ("split", "clips", "clips_sha256")
            ):
                raise UsageError(
                    f"{self.folder} was begun with other clips than the corpora hold now",
                    remedy="put them back, or remove that folder to begin again",
                )
        self.write("run.json", origins)
        origin = self._origin(training, after)
        features = self.recipe.in_training(origin.features if origin else self.recipe.features)
        if origin is None:
            features = measure_features(training, features)
        self.write("features.json", features)
        start = origin.weights if origin else ()
        answers = taught.answers if taught else None
        kept: tuple[float, ...] = ()
        if origin is not None and self.recipe.start is not None and not after:
            kept = self.recipe.start.shares(self.recipe.network.layers)
            remembered = remembered_answers(
                self.recipe, features, start, origin.temperature, training
            )
            answers = remembered | (answers or {})
        trainer = Trainer(
            self.recipe,
            features,
            training,
            validation,
            self.folder,
            threads=threads,
            soft_targets=answers,
            hints=taught.hints if taught else None,
            sounds=dataset.sounds,
            start=start,
        )
        steps = self.recipe.optimiser.steps

        def validated(step: int, newest: dict[str, float]) -> None:
            self.write("curves.json", trainer.curves)
            seen = newest.get("validation_accuracy")
            note = f" validation {seen:.3f}" if seen is not None else ""
            progress(f"train (loss {newest['loss']:.3f}{note})", step, steps)

        model = trainer.run(validated)
        weights = [np.asarray(weight) for weight in model.get_weights()]
        if kept:
            weights = interpolated(start, weights, kept)
        write_whole(self.folder / "weights.npz", lambda file: np.savez(file, *weights))

    def _origin(self, training: Sequence[Prepared], after: Run | None) -> _Origin | None:
        """The network that training starts from, or None for random weights."""
        start = self.recipe.start
        if after is not None:
            return _Origin(features=after.features(), weights=after.weights())
        if start is None:
            return None
        if start.model is None:
            before = Run.open(self.folder / "pretraining")
            return _Origin(features=before.features(), weights=before.weights())
        from training.train import set_up_tensorflow

        # Before the first computation: after it, TensorFlow's threads cannot be limited any more.
        set_up_tensorflow(self.recipe.seed, 1)
        model = load_start_model(start.model)
        if model.labels != self.recipe.classes:
            raise UsageError(
                f"{model.source} has the classes {', '.join(model.labels)}, and the recipe "
                f"{', '.join(self.recipe.classes)}",
                remedy="give the recipe the labels of the model, in its order",
            )
        examples = representative_clips(training, self.recipe.representative_clips)
        return _Origin(
            features=model.info.features,
            weights=start_weights(
                model,
                self.recipe.network,
                clean_features(examples, self.recipe.in_training(model.info.features)),
            ),
            temperature=model.info.temperature,
        )

    def quantise(
        self, dataset: Dataset, *, jobs: int = 1, progress: Progress = no_progress
    ) -> None:
        """Convert to int8, calibrate on validation speakers, and pack, still without figures.

        Without validation speakers in the recipe the scores stay uncalibrated: a
        cross-validation over all folds calibrates them (:mod:`training.evaluate.household`).
        """
        progress("quantise", 0, 1)
        self._convert(dataset, self.weights())
        calibration = Calibration(temperature=1, abstain_threshold=0)
        self._pack(dataset, calibration)
        if clips := [one.clip for one in dataset.side("validation")]:
            answers = classify_clips(self.model, clips, jobs=jobs)
            calibration = calibrate(answers, self.recipe.coverage)
        self.write("calibration.json", calibration)
        self._pack(dataset, calibration)
        if self.recipe.refit is not None and self.refitted:
            # The refitted network is what is shipped, whichever stage was repeated.
            self._pack_last(dataset, calibration)
        progress("quantise", 1, 1)

    def refit(
        self,
        dataset: Dataset,
        *,
        source: str | None = None,
        cache: Path = CACHE,
        jobs: int = 2,
        threads: int = 1,
        progress: Progress = no_progress,
    ) -> None:
        """Continue training with the validation speakers included, then convert and pack.

        Does nothing without ``refit`` in the recipe. Temperature and threshold stay as
        :meth:`quantise` fitted them, with a network that had not heard these speakers.

        Args:
            dataset: Its test side is not used.
            source: See :meth:`teach`.
            cache: Folder of the cache.
            jobs: Processes.
            threads: Of TensorFlow.
            progress: Called with the stage, the amount done, and the total.
        """
        if self.recipe.refit is None:
            return
        calibration = self.calibration()
        everybody, last = (
            dataset.with_validation_speakers(),
            Run(self.folder / "refit", self.recipe.for_refit()),
        )
        taught = last.teach(everybody, source=source, cache=cache, jobs=jobs, progress=progress)
        last.train(everybody, threads=threads, taught=taught, after=self, progress=progress)
        progress("quantise", 0, 1)
        self._pack_last(dataset, calibration)
        progress("quantise", 1, 1)

    def evaluate(
        self, dataset: Dataset, *, jobs: int = 2, progress: Progress = no_progress
    ) -> dict[str, Any]:
        """Measure the packed model on the test speakers, and pack the figures into it.

        Returns:
            The content of ``metrics.json``; empty if the recipe is for homes and the run has not
            been calibrated by a cross-validation yet.

        Raises:
            UsageError: The refit stage is missing, or the corpora have changed since the network
                was tested.
        """
        shipped = self.last
        if self.recipe.refit is not None:
            dataset = dataset.with_validation_speakers()
        predictions = self.predict(dataset, jobs=jobs, progress=progress)
        if self.recipe.home is not None and not (self.folder / "home.json").is_file():
            return {}
        calibration = self.calibration()
        home = self.household()
        decision = decision_of(
            predictions.labels,
            calibration.temperature,
            home,
            stated="even",
            min_confidence=calibration.abstain_threshold if home is None else None,
        )
        decisions = [answer_of(one, decision) for one in predictions.clips]
        answers = [
            Answer(clip=clip, scores=one.scores, decision=one.emotion)
            for clip, one in zip(self._test_clips(dataset), decisions, strict=True)
        ]
        result = {
            "model": {"name": self.recipe.name, "version": self.recipe.version},
            "training": [
                msgspec.to_builtins(entry) for entry in trained_corpora(self.recipe, dataset)
            ],
            "recipe": msgspec.to_builtins(self.recipe),
            "run": self.read("run.json"),
            "teaching": self.read("teaching.json") if self.recipe.teaching else None,
            "pretraining": self._pretraining_report(),
            "refit": shipped.read("run.json") if self.recipe.refit else None,
            "calibration": msgspec.to_builtins(calibration),
            "home": msgspec.to_builtins(self.household()),
            "left_out": {
                name: corpus.left_out
                for name, corpus in {**dataset.corpora, **dataset.cross}.items()
            },
            "test": self._crossval_figures(),
            "cross_corpus": {},
            "float32": self._float_figures(dataset, decision),
        }
        for name in (*self.recipe.acted, *self.recipe.cross_corpora):
            of_corpus = [answer for answer in answers if answer.clip.corpus == name]
            place = "test" if name in self.recipe.corpora else "cross_corpus"
            if of_corpus:
                result[place][name] = figures(of_corpus, coverage=self.recipe.coverage)
        self._pack(dataset, calibration, summary(result))
        result["model"] |= {
            "bytes": self.model.stat().st_size,
            "network_sha256": self.network_sha256,
        }
        self.write("metrics.json", result)
        return result

    @property
    def network_sha256(self) -> str:
        """Of the int8 network."""
        return hashlib.sha256((self.folder / "network.tflite").read_bytes()).hexdigest()

    def _pretraining_report(self) -> dict[str, Any] | None:
        """Provenance of the stage that training starts from, and its teacher."""
        wanted = self.recipe.pretraining
        if wanted is None:
            return None
        before = Run.open(self.folder / "pretraining")
        return {
            "run": before.read("run.json"),
            "teaching": before.read("teaching.json") if wanted.teaching else None,
        }

    def predict(
        self, dataset: Dataset, *, jobs: int = 2, progress: Progress = no_progress
    ) -> Predictions:
        """Raw scores of the packed network for everything it is tested on, computed once.

        Temperature, prior and bias are not applied.

        Raises:
            UsageError: They were computed for other clips than those of the data set.
        """
        kept, clips = self.folder / "heard.json", self._test_clips(dataset)
        recordings: list[Recording] = []
        if self.recipe.home is not None:
            tested = {voice.split("/")[1] for voice in dataset.split.test if _is_ordinary(voice)}
            recordings += ordinary_recordings(dataset.root, tested)
        if kept.is_file():
            found = read_json(kept, Predictions)
            if found.network_sha256 in ("", self.network_sha256):
                found.check_same(clips, recordings, kept)
                return found
        done = 0
        if self.recipe.home is not None:
            recordings += household_sounds(dataset.root)
        whole = len(clips) + len(recordings)

        def step(count: int) -> None:
            nonlocal done
            done += count
            progress("listen", done, whole)

        bare = self.folder / "bare.tflite"
        bare.write_bytes(pack_uncalibrated(self.model))
        predictions = predict(bare, clips, recordings, jobs=jobs, progress=step)
        bare.unlink()
        self.write("heard.json", predictions)
        return read_json(kept, Predictions)

    def _crossval_figures(self) -> dict[str, Any]:
        """Figures of the cross-validation, for a model trained on all speakers."""
        if self.recipe.fold or not (self.folder / "crossed.json").is_file():
            return {}
        pooled: dict[str, Any] = self.read("crossed.json")
        return {name: pooled[name] for name in self.recipe.acted}

    def add_household_figures(self, figures: dict[str, Any]) -> None:
        """Add the household figures to ``metrics.json``."""
        self.write("metrics.json", self.read("metrics.json") | {"household": figures})

    def _test_clips(self, dataset: Dataset) -> list[Clip]:
        """The acted clips for testing."""
        clips = [one.clip for one in dataset.side("test") if not _is_ordinary(one.clip.voice)]
        for corpus in dataset.cross.values():
            clips += corpus.clips
        return clips

    @property
    def last(self) -> Run:
        """The run whose weights are shipped: that of the refit stage, or this one.

        Raises:
            UsageError: The recipe has a refit stage that is not complete.
        """
        if self.recipe.refit is None:
            return self
        if not self.refitted:
            raise UsageError(f"{self.folder} has not been refitted", remedy="serd-train refit")
        return Run.open(self.folder / "refit")

    def _float_figures(self, dataset: Dataset, decision: Decision) -> dict[str, Any]:
        """Accuracy and UAR of the network before quantisation, on the same clips."""
        from training.network import build_network
        from training.train import logits_of, set_up_tensorflow

        set_up_tensorflow(self.recipe.seed, 1)
        labels = self.recipe.classes
        model = build_network(self.recipe.network, self.packed_features(), len(labels))
        model.set_weights(self.last.weights())
        test = [one for one in dataset.side("test") if not _is_ordinary(one.clip.voice)]
        if not test:
            return {}
        placements = Placements(self.recipe.placements, self.packed_features())
        inputs = [list(placements.of(row)) for row in clean_features(test, self.packed_features())]
        logits = np.mean(
            [
                logits_of(model, np.stack([of_clip[place] for of_clip in inputs]))
                for place in range(len(placements))
            ],
            axis=0,
        )
        decisions = [
            (one.clip, decision.decide(row)) for one, row in zip(test, logits, strict=True)
        ]
        found: dict[str, Any] = {}
        for name in self.recipe.acted:
            answers = [
                Answer(clip=clip, scores=prediction.scores, decision=prediction.emotion)
                for clip, prediction in decisions
                if clip.corpus == name
            ]
            if not answers:
                continue
            every = figures(answers, coverage=self.recipe.coverage)
            found[name] = {key: every[key] for key in ("clips", "accuracy", "uar")}
        return found

    def _convert(self, dataset: Dataset, weights: Sequence[NDArray[np.float32]]) -> None:
        chosen = representative_clips(dataset.side("train"), self.recipe.representative_clips)
        features = self.packed_features()
        examples = clean_features(chosen, features)
        if (most := self.recipe.input_range_sd) is not None:
            examples = np.clip(examples, -most, most)
        network = convert(
            weights, self.recipe.network, features, len(self.recipe.classes), examples
        )
        (self.folder / "network.tflite").write_bytes(network)

    def _pack_last(self, dataset: Dataset, calibration: Calibration) -> None:
        everybody = dataset.with_validation_speakers()
        self._convert(everybody, self.last.weights())
        self._pack(everybody, calibration)

    def _pack(
        self,
        dataset: Dataset,
        calibration: Calibration,
        evaluation: dict[str, Any] | None = None,
    ) -> None:
        info = ModelInfo(
            name=self.recipe.name,
            version=self.recipe.version,
            features=self.packed_features(),
            placements=self.recipe.placements,
            temperature=calibration.temperature,
            abstain_threshold=calibration.abstain_threshold,
            home=self.household(),
            corpora=trained_corpora(self.recipe, dataset),
            licence=self.recipe.licence,
            evaluation=evaluation or {},
            created=self.read("run.json")["date"],
        )
        network = (self.folder / "network.tflite").read_bytes()
        self.model.write_bytes(pack(network, self.recipe.classes, info))


def _is_ordinary(voice: str) -> bool:
    """Whether a voice is a source of ordinary speech, without acted emotions."""
    return voice.startswith("ordinary/")


def run_stages(
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
    """Run some stages of a run, in their order: the one path that every command takes.

    Args:
        run: The run.
        stages: Of ``teach``, ``train`` (which includes it), ``quantise``, ``refit`` and
            ``evaluate``.
        root: Folder of the corpora.
        cache: Folder of the cache.
        teacher: See ``source`` of :meth:`Run.teach`.
        jobs: Processes.
        threads: Of TensorFlow.
        results: Folder with the cross-validation, for a model trained on all speakers.
        progress: Called with the stage, the amount done, and the total.

    Returns:
        The figures, if ``evaluate`` is one of the stages.
    """
    taught_stages = [stage for stage in run.recipe.stages.values() if stage.teaching is not None]
    if taught_stages and not {"teach", "train", "refit"}.isdisjoint(stages):
        load_before_tensorflow()
    dataset = load_dataset(run.recipe, root, cache=cache, jobs=jobs, progress=progress)
    if "teach" in stages or "train" in stages:
        taught = run.teach(dataset, source=teacher, cache=cache, jobs=jobs, progress=progress)
    if "train" in stages:
        run.pretrain(
            dataset, source=teacher, cache=cache, jobs=jobs, threads=threads, progress=progress
        )
        run.train(dataset, threads=threads, taught=taught, progress=progress)
    if "quantise" in stages:
        run.quantise(dataset, jobs=jobs, progress=progress)
    if "refit" in stages:
        run.refit(
            dataset, source=teacher, cache=cache, jobs=jobs, threads=threads, progress=progress
        )
    if "evaluate" in stages:
        if not run.recipe.fold:
            run.adopt_crossval(results / f"{run.recipe.name}-folds.json")
        return run.evaluate(dataset, jobs=jobs, progress=progress)
    return {}
