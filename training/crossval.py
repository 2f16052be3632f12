"""Cross-validation: one recipe trained and measured for each fold and each seed.

Every pair of fold and seed is an ordinary run in a folder of its own, with the same stages as
``serd-train release``::

    runs/NAME-folds/
        fold1-seed1/      as training.run describes it, and beside that
            log.txt       progress with times
            times.json    seconds of each stage, and of one inference
            probes.json   if requested: training.probes
        fold2-seed1/ ...

A run that has its figures is not repeated, and one that was interrupted resumes from its
checkpoint. Runs share nothing but the caches, so they can be made anywhere in any order: by
processes of this machine, or by the workers of a Dask cluster that see the same folders.

Each run is a process of its own (``python -m training.crossval``: a :class:`Task` on stdin, exit
code 0 when done; an error is one line on stdout, with its traceback in ``log.txt``). TensorFlow's
threads and all random seeds belong to the process: a worker that had made another run before, or
whose other threads draw random numbers as Dask's do, would not give the same figures.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import msgspec

from serd.config import SpeechConfig
from serd.errors import SerdError, UsageError
from training.files import read_json, write_json
from training.recipe import Recipe  # noqa: TC001 - msgspec reads the annotation
from training.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from training.dataset import Dataset, Progress


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as it is sent to the process that makes it."""

    recipe: Recipe
    """With its fold and seed."""
    folder: str
    """Of the run."""
    root: str
    """Of the corpora."""
    cache: str
    teacher: str | None = None
    """Folder or name of the teacher, if it is not in the usual place."""
    threads: int = 1
    """Of TensorFlow."""
    probes: tuple[str, ...] = ()
    """Parts of :mod:`training.probes` to run with the model."""

    @property
    def trained(self) -> bool:
        """Whether its figures exist, or everything they are computed from."""
        made = "metrics.json" if self.recipe.home is None else "heard.json"
        return (Path(self.folder) / made).is_file()

    @property
    def steps(self) -> int:
        """Training steps of all stages."""
        return sum(stage.optimiser.steps for stage in self.recipe.stages.values())

    @property
    def steps_done(self) -> int:
        """How many of them are done, from the curves that the stages write."""
        if self.trained:
            return self.steps
        done = 0
        for stage in self.recipe.stages:
            # A stage that has not begun has no curves yet.
            with contextlib.suppress(OSError, ValueError, IndexError):
                curves = msgspec.json.decode(
                    (Path(self.folder) / stage / "curves.json").read_bytes()
                )
                done += int(curves[-1]["step"])
        return done

    @property
    def unprobed(self) -> tuple[str, ...]:
        """The probes that are still missing."""
        kept = Path(self.folder) / "probes.json"
        found = read_json(kept) if kept.is_file() else {}
        return tuple(part for part in self.probes if part not in found)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.trained and not self.unprobed


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a task."""

    folder: str
    seconds: float
    error: str | None = None
    """One line; details are in the folder's ``log.txt``."""


def plan(recipe: Recipe, *, folds: Sequence[int], seeds: Sequence[int], home: Path) -> list[Recipe]:
    """The recipe of each run, in the order of work: all folds of one seed before the next seed.

    When stopped half-way, all folds then have nearly the same number of runs.

    Args:
        recipe: The recipe.
        folds: From 1.
        seeds: Of everything random.
        home: Folder of the runs; checked for runs of another recipe before training starts.

    Raises:
        UsageError: A corpus has no such fold, or ``home`` holds runs of another recipe.
    """
    from training.dataset import check_fold
    from training.run import Run

    planned = [
        msgspec.structs.replace(recipe, fold=fold, seed=seed) for seed in seeds for fold in folds
    ]
    for one in planned:
        if not one.fold:
            raise UsageError("Fold 0 holds nobody out", remedy="folds begin with 1: --folds 1-5")
        check_fold(one)
        if folder_of(home, one).is_dir():
            Run(folder_of(home, one), one)
    return planned


def folder_of(home: Path, recipe: Recipe) -> Path:
    """The folder of the run of a fold and seed."""
    return home / f"fold{recipe.fold}-seed{recipe.seed}"


def warm_up(tasks: Sequence[Task], *, jobs: int, progress: Progress) -> None:
    """Fill the caches before the runs start, so that nothing is computed twice.

    Args:
        tasks: The unfinished tasks.
        jobs: Processes.
        progress: Called with the stage, the amount done, and the total.
    """
    from training.dataset import load_dataset

    seen = set()
    for task in tasks:
        recipe = msgspec.structs.replace(task.recipe, fold=1, seed=1)
        key = msgspec.json.encode(recipe)
        if key in seen:
            continue
        seen.add(key)
        dataset = load_dataset(
            recipe, Path(task.root), cache=Path(task.cache), jobs=jobs, progress=progress
        )
        alike = [
            other
            for other in tasks
            if msgspec.structs.replace(other.recipe, fold=1, seed=1) == recipe
            and not _has_targets(other)
        ]
        for folder, stage in recipe.stages.items():
            # Those of the main stage serve the refit stage, too.
            if stage.teaching is not None and alike and folder != "refit":
                _embed(stage, dataset, alike, jobs=jobs, progress=progress)


def _embed(
    stage: Recipe, dataset: Dataset, tasks: Sequence[Task], *, jobs: int, progress: Progress
) -> None:
    """Fill the cache of a teacher's embeddings for all folds of one stage."""
    from training.dataset import recipe_split
    from training.teacher import Teacher, find_teacher

    assert stage.teaching is not None
    part, asked = dataset.of_corpora(stage.corpora), set[str]()
    for fold in {task.recipe.fold for task in tasks}:
        split = recipe_split(msgspec.structs.replace(stage, fold=fold), part.corpora)
        asked |= {*split.train, *split.validation}
    clips = [
        one.clip
        for one in part.prepared
        if one.clip.voice in asked and stage.corpora[one.clip.corpus].asks_teacher
    ]
    speeds, done = stage.embedded_speeds, 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("listen", done, len(speeds) * len(clips))

    teacher = Teacher(find_teacher(stage.teaching.teacher, tasks[0].teacher), stage.teaching.layers)
    for speed in speeds:
        teacher.embed(
            clips,
            longest_s=stage.preparation.longest_s,
            speed=speed,
            cache=Path(tasks[0].cache),
            jobs=jobs,
            progress=step,
        )


def _has_targets(task: Task) -> bool:
    """Whether the teacher's targets of every stage of this run exist."""
    return all(
        (Path(task.folder) / folder / "teaching.npz").is_file()
        for folder, stage in task.recipe.stages.items()
        if stage.teaching is not None
    )


def run_all(
    tasks: Sequence[Task],
    *,
    jobs: int = 2,
    cluster: str | None = None,
    finished: Callable[[Outcome], None],
) -> None:
    """Do tasks in parallel, in their order; one that fails does not stop the others.

    Args:
        tasks: The tasks.
        jobs: Processes on this machine.
        cluster: Address of a Dask scheduler whose workers do it instead.
        finished: Called with each outcome.

    Raises:
        UsageError: The cluster cannot be reached, or ``dask`` is not installed.
    """
    from joblib import Parallel, delayed

    with _backend(cluster):
        # On a cluster, -1 means all of its workers.
        work = Parallel(
            n_jobs=jobs if cluster is None else -1,
            batch_size=1,
            pre_dispatch="n_jobs" if cluster is None else "all",
            return_as="generator_unordered",
        )
        for outcome in work(delayed(run_task)(task) for task in tasks):
            finished(outcome)


@contextlib.contextmanager
def _backend(cluster: str | None) -> Iterator[None]:
    if cluster is None:
        yield
        return
    from joblib import parallel_config

    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "--cluster needs Dask", remedy="in serd's source tree: pip install -e '.[cluster]'"
        ) from error
    try:
        client = Client(cluster, timeout=5)  # type: ignore[no-untyped-call,unused-ignore]
    except (OSError, ValueError) as error:
        raise UsageError(f"There is no Dask scheduler at {cluster}: {error}") from error
    with client, parallel_config(backend="dask"):
        yield


def run_task(task: Task) -> Outcome:
    """Make one run in a process of its own and wait for it."""
    began = time.monotonic()
    error = None
    if not task.done:
        # The same code as this process, whatever the working directory.
        here = str(Path(__file__).parents[1])
        paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        Path(task.folder).mkdir(parents=True, exist_ok=True)
        with (Path(task.folder) / "log.txt").open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-m", "training.crossval"],
                input=msgspec.json.encode(task),
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONPATH": paths},
                check=False,
            )
        if done.returncode:
            said = done.stdout.decode(errors="replace").strip()
            error = said or f"ended with {done.returncode}"
    return Outcome(folder=task.folder, seconds=round(time.monotonic() - began, 1), error=error)


def calibrate_all(
    planned: Sequence[Recipe], home: Path, root: Path, *, cache: Path, progress: Progress
) -> dict[str, Any]:
    """Calibrate every run on the predictions of the other folds, and measure it.

    Args:
        planned: The recipe of each run; every run has its ``heard.json``.
        home: Folder of the runs.
        root: Folder of the corpora.
        cache: Folder of the cache.
        progress: Called with the stage, the amount done, and the total.

    Returns:
        ``pooled``: by corpus the figures of all folds' test clips together, each clip scored by the
        network that had not heard its speaker; ``temperature`` and ``home``: fitted to all folds,
        for the model that is shipped.

    """
    from training.corpora import Clip
    from training.dataset import load_dataset
    from training.evaluate.classification import Answer, figures
    from training.evaluate.household import (
        answer_of,
        decision_of,
        fit_household,
        measure_household,
        with_measurements,
    )
    from training.evaluate.predictions import Predictions
    from training.run import Run

    predictions = {
        (recipe.fold, recipe.seed): read_json(folder_of(home, recipe) / "heard.json", Predictions)
        for recipe in planned
    }
    for recipe in planned:
        heard = predictions[recipe.fold, recipe.seed].network_sha256
        if heard not in ("", Run.open(folder_of(home, recipe)).network_sha256):
            raise UsageError(
                f"{folder_of(home, recipe) / 'heard.json'} is of an earlier network",
                remedy="remove it and call again",
            )
    pooled: dict[str, list[Answer]] = {}
    for number, recipe in enumerate(planned):
        assert recipe.home is not None
        progress("calibrate", number, len(planned))
        here = predictions[recipe.fold, recipe.seed]
        others = [one for (fold, _), one in predictions.items() if fold != recipe.fold]
        fitted = fit_household(others, recipe.home)
        run = Run.open(folder_of(home, recipe))
        run.set_calibration(fitted)
        run.evaluate(load_dataset(recipe, root, cache=cache), jobs=1)
        run.add_household_figures(measure_household(here, fitted, others, recipe.home.agree))
        decision = decision_of(
            here.labels,
            fitted.temperature,
            fitted.home,
            stated="even",
        )
        for clip in here.clips:
            said = answer_of(clip, decision)
            pooled.setdefault(clip.corpus, []).append(
                Answer(
                    clip=Clip(
                        path=Path(clip.name),
                        corpus=clip.corpus,
                        speaker=clip.speaker,
                        emotion=clip.emotion,
                    ),
                    scores=said.scores,
                    decision=said.emotion,
                )
            )
    first = planned[0]
    assert first.home is not None
    shipped = fit_household(list(predictions.values()), first.home)
    points = _mean_points([Run.open(folder_of(home, one)).read("metrics.json") for one in planned])
    return {
        "pooled": {
            corpus: figures(answers, coverage=first.coverage) for corpus, answers in pooled.items()
        },
        "temperature": shipped.temperature,
        "home": msgspec.to_builtins(with_measurements(shipped.home, points, first.home.corpora)),
    }


def _mean_points(results: Sequence[dict[str, Any]]) -> dict[Any, Any]:
    """Figures of all runs at each sensitivity: events over all hours, mean recalls."""
    points: dict[Any, Any] = {}
    for name in results[0]["household"]["points"]:
        of_runs = [result["household"]["points"][name] for result in results]
        events, length = (sum(one[key] for one in of_runs) for key in ("events", "hours"))
        corpora = {corpus for one in of_runs for corpus in one["told"]}
        points[name] = {
            "per_hour": events / max(length, 1e-9),
            "told": {
                corpus: {
                    "right": fmean(
                        one["told"][corpus]["right"] for one in of_runs if corpus in one["told"]
                    )
                }
                for corpus in corpora
            },
        }
    return points


_STAGES = ("train", "quantise", "refit", "evaluate")


def main() -> int:
    """Do the task from stdin; the exit code and one line on stdout report the outcome."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    try:
        _make(task)
    except SerdError as error:
        sys.stdout.write(error.message)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the other runs continue, the log has the traceback
        traceback.print_exc()
        sys.stdout.write(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _make(task: Task) -> None:
    from training.run import run_stages

    run = Run(Path(task.folder), task.recipe)
    times = _StageTimes(run.folder)
    times("begin", 0, 1)
    if not task.trained:
        run_stages(
            run,
            _STAGES,
            Path(task.root),
            cache=Path(task.cache),
            teacher=task.teacher,
            jobs=1,
            threads=task.threads,
            progress=times,
        )
        times("done", 1, 1)
        times.keep(inference_ms(run.model))
    if task.unprobed:
        _probe(run, task, times)


def _probe(run: Run, task: Task, times: _StageTimes) -> None:
    from training.probes import PARTS, run_probes

    file = run.folder / "probes.json"
    for part in PARTS:
        if part not in task.unprobed:
            continue
        found = run_probes(
            run.model,
            run.recipe,
            Path(task.root),
            parts=[part],
            # The detector of the default configuration.
            engines=(SpeechConfig().engine,),
            cache=Path(task.cache),
            progress=times,
        )
        before = read_json(file) if file.is_file() else {}
        write_json(file, before | found)


class _StageTimes:
    """Progress callback that writes a log and adds up the seconds of each stage.

    A resumed run has the seconds of all attempts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "times.json"
        self._known: dict[str, Any] = {}
        if self._file.is_file():
            self._known = read_json(self._file)
        self._seconds: dict[str, float] = self._known.get("seconds", {})
        self._stage = ""
        self._last = time.monotonic()
        self._tenth = -1
        self._parent = os.getppid()

    def __call__(self, what: str, done: int, whole: int) -> None:
        if os.getppid() != self._parent:
            raise SystemExit("who asked for this run is gone")
        stage = what.split(" ", maxsplit=1)[0]
        now = time.monotonic()
        # The time before the first report of a stage belongs to it.
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now
        tenth = 10 * done // max(1, whole)
        if stage != self._stage or tenth != self._tenth:
            self._stage, self._tenth = stage, tenth
            _log(self._folder, f"{what}: {done} of {whole}")
            self._write({})

    def keep(self, milliseconds: float) -> None:
        """Store the seconds together with the time of one inference."""
        self._write({"inference_ms": round(milliseconds, 3)})

    def _write(self, content: dict[str, Any]) -> None:
        seconds = {stage: round(value, 2) for stage, value in self._seconds.items()}
        self._known |= content | {"seconds": seconds}
        write_json(self._file, self._known)


def inference_ms(model: Path, *, rounds: int = 200) -> float:
    """Median milliseconds of one inference on one thread of this machine, at one place.

    Args:
        model: A packed model.
        rounds: Timed inferences.
    """
    import numpy as np

    from serd.model.interpreter import Interpreter
    from serd.model.model_file import ModelFile

    file = ModelFile.load(str(model))
    interpreter = Interpreter(file, threads=1)
    shape = (1, file.info.features.frames, file.info.features.coefficients)
    nothing = np.zeros(shape, dtype=np.int8)
    times = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        interpreter.run_int8(nothing)
        times.append(time.perf_counter_ns() - began)
    return float(np.median(times)) / 1e6


def _log(folder: Path, text: str) -> None:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    with contextlib.suppress(OSError), (folder / "log.txt").open("a", encoding="utf-8") as file:
        file.write(f"{now} {text}\n")


if __name__ == "__main__":
    sys.exit(main())
