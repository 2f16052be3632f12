"""Trains the systems, one split at a time, and keeps the result of each.

A result is a file in the run's folder. What is there, or in the committed results, with the same
settings, is not repeated: an interrupted run continues.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - the type of a struct's field

from serd.errors import UsageError
from training.baselines import SYSTEMS
from training.baselines.results import Protocol, Result, Task
from training.baselines.system import Source, settings_of
from training.dataset import make_split
from training.evaluate import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from training.baselines.system import Baseline, Labels, Numbers
    from training.corpora import Corpus

VALIDATION_SPEAKERS = 3
"""Training speakers set aside for a system that chooses its epoch, in speaker-independent folds."""
FOLDS = 5


def make_tasks(
    names: Sequence[str], protocols: Sequence[Protocol], seeds: int, folds: int = FOLDS
) -> list[Task]:
    """All trainings, quick systems first; slow ones in turn, so that each has a result early on."""
    numbered = [
        (round_, Task(system=name, protocol=protocol, number=number))
        for name in names
        for protocol in protocols
        for round_, number in enumerate(
            range(seeds) if protocol == "random" else range(1, folds + 1)
        )
    ]
    order = {name: place for place, name in enumerate(names)}

    def rank(entry: tuple[int, Task]) -> tuple[object, ...]:
        round_, task = entry
        slow = SYSTEMS[task.system].slow
        return slow, round_ if slow else 0, order[task.system], task.protocol, task.number

    return [task for _, task in sorted(numbered, key=rank)]


def check_names(names: Iterable[str]) -> list[str]:
    """The systems of these names, in the order of the table; all if no name is given.

    Raises:
        UsageError: A name is unknown.
    """
    wanted = list(names) or list(SYSTEMS)
    for name in wanted:
        if name not in SYSTEMS:
            raise UsageError(f"Unknown system {name!r}", remedy=f"there are: {', '.join(SYSTEMS)}")
    return [name for name in SYSTEMS if name in wanted]


def corpus_of(system: Baseline, corpus: Corpus) -> Corpus:
    """The corpus with the classes that the system distinguishes."""
    clips = tuple(clip for clip in corpus.clips if clip.emotion in system.about.emotions)
    return msgspec.structs.replace(corpus, clips=clips)


def run_all(
    tasks: Sequence[Task],
    corpus: Corpus,
    source: Source,
    folder: Path,
    *,
    systems: Mapping[str, Baseline] = SYSTEMS,
    known: Sequence[Result] = (),
    jobs: int = 1,
) -> list[Result]:
    """Train whatever has no result yet.

    Args:
        tasks: The trainings.
        corpus: RAVDESS, or a synthetic corpus in its layout.
        source: Of features.
        folder: For the results.
        systems: By name.
        known: Further results, which count like those in the folder.
        jobs: Processes.

    Returns:
        Results of all tasks, in their order.
    """
    from joblib import Parallel, delayed

    folder.mkdir(parents=True, exist_ok=True)
    done = {one.task: one for one in (*known, *kept(folder)) if valid(one, systems)}
    missing = [task for task in tasks if task not in done]
    if missing:
        quiet = msgspec.structs.replace(source, progress=lambda *_: None, jobs=1)
        for name in dict.fromkeys(task.system for task in missing):
            system = systems[name]
            # Once, on all cores; the worker processes then find it in the cache.
            system.prepare(corpus_of(system, corpus).clips, source)
        count = len(tasks) - len(missing)
        source.progress("baselines", count, len(tasks))
        work = (delayed(_run_one)(task, systems[task.system], corpus, quiet, folder)
                for task in missing)  # fmt: skip
        for result in Parallel(n_jobs=jobs, return_as="generator_unordered")(work):
            done[result.task] = result
            count += 1
            source.progress(
                f"baselines ({result.task.name}: {result.accuracy:.3f})", count, len(tasks)
            )
    return [done[task] for task in tasks]


def kept(folder: Path) -> list[Result]:
    """The results in a folder."""
    return [
        msgspec.json.decode(file.read_bytes(), type=Result)
        for file in sorted(folder.glob("*.json"))
    ]


def run_one(task: Task, system: Baseline, corpus: Corpus, source: Source) -> Result:
    """Train one system on one split and test it."""
    corpus = corpus_of(system, corpus)
    emotions = system.about.emotions
    x = system.prepare(corpus.clips, source)
    y = np.array([emotions.index(clip.emotion) for clip in corpus.clips], dtype=np.int64)
    if task.protocol == "random":
        sides, seed = random_split(system, y, task.number), system.about.seed + task.number
    else:
        sides, seed = speaker_split(system, corpus, y, task.number), task.number
    start = time.process_time()
    fitted = system.fit(
        x[sides.train],
        y[sides.train],
        validation=(x[sides.validation], y[sides.validation]),
        seed=seed,
    )
    predicted = np.asarray(fitted.predict(x[sides.test]))
    learned = np.asarray(fitted.predict(x[sides.train])) == y[sides.train]
    spent = (time.process_time() - start) / 60.0
    named = _names(emotions, y[sides.test]), _names(emotions, predicted)
    right = predicted == y[sides.test]
    return Result(
        task=task,
        settings=settings_of(system),
        seed=seed,
        accuracy=_round(metrics.accuracy(*named)),
        uar=_round(metrics.uar(*named)),
        train_accuracy=_round(float(learned.mean())),
        clips={side: len(places) for side, places in sides.named().items()},
        leaked=sides.leaked,
        speakers=_voices(corpus, sides),
        labels=list(emotions),
        confusion=metrics.confusion(*named, emotions),
        by_group=_shares(
            [
                (group, hit)
                for place, hit in zip(sides.test, right, strict=True)
                for group in (corpus.clips[place].sex, corpus.clips[place].intensity)
                if group is not None
            ]
        ),
        by_speaker=_shares(
            [(corpus.clips[p].speaker, hit) for p, hit in zip(sides.test, right, strict=True)]
        ),
        variants={
            name: _variant(predict(x[sides.test]), y[sides.test], emotions, name)
            for name, predict in fitted.variants.items()
        },
        curves={name: list(values) for name, values in fitted.curves.items()},
        minutes=round(spent, 2),
    )


def _run_one(task: Task, system: Baseline, corpus: Corpus, source: Source, folder: Path) -> Result:
    result = run_one(task, system, corpus, source)
    entry = folder / f"{task.system}-{task.protocol}-{task.number}.json"
    part = entry.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(msgspec.json.encode(result))
    part.replace(entry)
    return result


def valid(result: Result, systems: Mapping[str, Baseline] = SYSTEMS) -> bool:
    """Whether a result belongs to the present settings of its system."""
    system = systems.get(result.task.system)
    return system is not None and settings_of(system) == result.settings


def _variant(
    predicted: Numbers, truth: Labels, emotions: Sequence[str], name: str
) -> dict[str, float]:
    asked = np.ones(len(truth), dtype=bool)
    if name == "of three":
        # Only clips of these three classes.
        asked = np.isin(truth, [emotions.index(one) for one in ("happy", "sad", "angry")])
    pair = _names(emotions, truth[asked]), _names(emotions, np.asarray(predicted)[asked])
    return {"accuracy": _round(metrics.accuracy(*pair)), "uar": _round(metrics.uar(*pair))}


def _names(emotions: Sequence[str], places: Any) -> list[str]:
    return [emotions[int(place)] for place in places]


def _voices(corpus: Corpus, sides: Sides) -> dict[str, list[str]]:
    return {
        side: sorted({corpus.clips[place].voice for place in places})
        for side, places in sides.named().items()
    }


def _shares(hits: Iterable[tuple[str, Any]]) -> dict[str, float]:
    collected: dict[str, list[bool]] = defaultdict(list)
    for group, hit in hits:
        collected[group].append(bool(hit))
    return {group: _round(float(np.mean(each))) for group, each in sorted(collected.items())}


def _round(value: float) -> float:
    return round(value, 5)


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """Indices of clips in the corpus, for each side; in training a clip may occur twice."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    """Clips by which the epoch is chosen, if the system chooses."""
    test: NDArray[np.int64]

    def named(self) -> dict[str, NDArray[np.int64]]:
        """The sides by the keys of :class:`~training.baselines.results.Result`."""
        return {"train": self.train, "watched": self.validation, "test": self.test}

    @property
    def leaked(self) -> int:
        """Test items that are copies of training clips."""
        return int(np.isin(self.test, self.train).sum())


def random_split(system: Baseline, labels: Labels, number: int) -> Sides:
    """The author's own split: clips at random, speakers and sentences on both sides.

    The test clips are also the validation clips: none of the authors mentions a third part.

    Args:
        system: Its share of test clips, and the clips that it copies before the split.
        labels: Of all clips.
        number: 0: with the author's seed; 1, 2, ...: with the seeds that follow it.
    """
    from sklearn.model_selection import train_test_split

    seed = system.about.seed + number
    items = system.items(labels, seed)
    train, test = train_test_split(items, test_size=system.about.test_share, random_state=seed)
    return Sides(train=train, validation=test, test=test)


def speaker_split(system: Baseline, corpus: Corpus, labels: Labels, fold: int) -> Sides:
    """One of the fixed folds of a corpus: test speakers take no part in training or choosing.

    A system copies training clips only.

    Args:
        system: Whether it chooses an epoch, and the clips that it copies.
        corpus: The clips, in this order.
        labels: Of all clips.
        fold: 1-based.
    """
    apart = {corpus.name: VALIDATION_SPEAKERS} if system.chooses else {}
    split = make_split({corpus.name: corpus}, fold=fold, validation=apart)
    voices = np.array([clip.voice for clip in corpus.clips])
    train, validation, test = (
        np.flatnonzero(np.isin(voices, getattr(split, side)))
        for side in ("train", "validation", "test")
    )
    return Sides(train=train[system.items(labels[train], fold)], validation=validation, test=test)
