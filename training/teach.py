"""Knowledge distillation: soft targets and hints from a teacher's embeddings of each training clip.

On the embeddings (:mod:`training.teacher`) small heads learn the labels. A head has memorised the
clips that it was trained on, so its answers to them would add nothing to the labels. Therefore the
heads are cross-fitted: the training speakers are dealt into groups, and each group is answered for
by heads that were trained on the others. Validation and test speakers get no targets; one more head
is trained to measure the teacher on validation speakers, and discarded.

The loss is that of Hinton, Vinyals and Dean (2015, arXiv:1503.02531): labels, and beside them the
teacher's answers at a raised temperature.

Hints are the principal components of the embeddings (FitNets: Romero and others, 2014,
arXiv:1412.6550). A student that also has to predict these from its pooled features did better on
speakers that it had never heard (docs/training.md). They need no cross-fitting, because the encoder
never saw the labels. The layer that predicts them is discarded after training.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serd.errors import UsageError
from training.batches import heard_classes, labels_of, target
from training.evaluate import metrics
from training.network import POOLED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.network import Model
    from training.prepare import Prepared
    from training.recipe import Head, Hints, Recipe
    from training.teacher import Teacher

Answers: TypeAlias = NDArray[np.float32]
"""Probabilities ``[clips, classes]``."""
Pupil: TypeAlias = Callable[[NDArray[np.float32]], Answers]
"""A trained head: from what the teacher hears to probabilities."""
Fit: TypeAlias = "Callable[[Sequence[Prepared], NDArray[np.float32], Recipe], Pupil]"
"""Trains a head on clips and what the teacher hears in them."""


def teach(
    recipe: Recipe,
    teacher: Teacher,
    training: Sequence[Prepared],
    validation: Sequence[Prepared],
    *,
    cache: Path,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Answers, NDArray[np.float16] | None, dict[str, Any]]:
    """A teacher's answers to the training clips, what it hears in them, and how good it is.

    Args:
        recipe: Its ``teaching`` says how.
        teacher: Who listens.
        training: Clips that are taught.
        validation: Clips by which the teacher is measured.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the number of clips that have become ready.

    Returns:
        Answers ``[clips, classes]``; hints ``[clips, copies, components]``, if the recipe wants
        them (:mod:`training.teach`); a report.
    """
    assert recipe.teaching is not None
    listen = functools.partial(
        teacher.listen,
        longest_s=recipe.preparation.longest_s,
        cache=cache,
        jobs=jobs,
        progress=progress,
    )
    heard = listen([one.clip for one in (*training, *validation)])
    of_training, of_validation = heard[: len(training)], heard[len(training) :]
    answers = cross_fit(training, of_training, recipe, fit_head)
    report = {
        "teacher": recipe.teaching.teacher,
        "licence": recipe.teaching.licence,
        "weights_sha256": teacher.sha256,
        "training": figures(training, answers, recipe),
    }
    hints = None
    if recipe.teaching.hints is not None:
        # The first speed is the clip as it is.
        copies = [
            listen([one.clip for one in training], speed=speed)
            for speed in recipe.preparation.speeds[1:]
        ]
        hints = components([of_training, *copies], recipe.teaching.hints)
    if validation:
        judged = fit_head(training, of_training, recipe)(of_validation)
        report["validation"] = figures(validation, judged, recipe)
    return answers, hints, report


def deal(clips: Sequence[Prepared], count: int) -> dict[str, int]:
    """Deal voices into groups, each corpus and sex in turn, always in the same way.

    Args:
        clips: Whose voices to deal.
        count: Groups.

    Returns:
        For each voice its group.

    Raises:
        UsageError: There are fewer voices than groups.
    """
    voices = {one.clip.voice: (one.clip.corpus, one.clip.sex or "?") for one in clips}
    if len(voices) < count:
        raise UsageError(f"{len(voices)} training speakers cannot be dealt into {count} groups")

    def place(voice: str) -> tuple[object, ...]:
        return voices[voice], hashlib.sha256(f"group/{voice}".encode()).hexdigest()

    return {voice: number % count for number, voice in enumerate(sorted(voices, key=place))}


def cross_fit(
    clips: Sequence[Prepared], heard: NDArray[np.float32], recipe: Recipe, fit: Fit
) -> Answers:
    """Answers to training clips by heads that have not heard their speakers.

    Args:
        clips: Clips of the training speakers, and of nobody else.
        heard: What the teacher hears in them, ``[clips, n]``.
        recipe: Its ``teaching`` says how many groups.
        fit: Trains a head.
    """
    assert recipe.teaching is not None
    dealt = deal(clips, recipe.teaching.groups)
    group = np.array([dealt[one.clip.voice] for one in clips])
    answers = np.empty((len(clips), len(labels_of(recipe))), dtype=np.float32)
    for number in range(recipe.teaching.groups):
        asked = np.flatnonzero(group == number)
        others = np.flatnonzero(group != number)
        head = fit([clips[int(place)] for place in others], heard[others], recipe)
        answers[asked] = head(heard[asked])
    return answers


def fit_head(clips: Sequence[Prepared], heard: NDArray[np.float32], recipe: Recipe) -> Pupil:
    """Train heads of several seeds and average their probabilities; the usual :data:`Fit`."""
    assert recipe.teaching is not None
    settings = recipe.teaching.head
    targets = np.stack(
        [target(one, recipe, settings.votes_weight.get(one.clip.corpus, 0.0)) for one in clips]
    )
    taking_part = np.stack([heard_classes(one, recipe) for one in clips])
    repeats = np.array([settings.repeats.get(one.clip.corpus, 1) for one in clips])
    order = np.repeat(np.arange(len(clips)), repeats)
    mean, sd = heard.mean(axis=0), heard.std(axis=0) + np.float32(1e-3)
    heads = [
        _train(
            (heard - mean) / sd,
            targets,
            taking_part,
            order,
            settings=settings,
            seed=recipe.seed + number,
        )
        for number in range(settings.heads)
    ]

    def answer(heard: NDArray[np.float32]) -> Answers:
        return np.asarray(np.mean([head((heard - mean) / sd) for head in heads], axis=0))

    return answer


def figures(clips: Sequence[Prepared], answers: Answers, recipe: Recipe) -> dict[str, Any]:
    """How good answers are, for each corpus: clips, accuracy, UAR, mean confidence."""
    from training.evaluate.classification import said

    labels = labels_of(recipe)
    by_corpus: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(clips):
        by_corpus[one.clip.corpus].append(place)
    found = {}
    for corpus, places in by_corpus.items():
        truth = [clips[place].clip.emotion for place in places]
        emotions = sorted(set(truth))
        heard = [
            said(dict(zip(labels, answers[place].tolist(), strict=True)), emotions)
            for place in places
        ]
        found[corpus] = {
            "clips": len(places),
            "accuracy": metrics.accuracy(truth, heard),
            "uar": metrics.uar(truth, heard),
            "confidence": float(answers[places].max(axis=1).mean()),
        }
    return found


def _train(
    heard: NDArray[np.float32],
    targets: NDArray[np.float32],
    taking_part: NDArray[np.float32],
    order: NDArray[np.int64],
    *,
    settings: Head,
    seed: int,
) -> Pupil:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Dropout(settings.dropout[0]),
        nn.Linear(heard.shape[1], settings.width),
        nn.BatchNorm1d(settings.width),
        nn.ReLU(),
        nn.Dropout(settings.dropout[1]),
        nn.Linear(settings.width, targets.shape[1]),
    )
    # The last batch of an epoch is left out if it is not full: of one clip there is no variance.
    batch = min(settings.batch, len(order))
    steps = len(order) // batch
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=settings.rate, total_steps=steps * settings.epochs
    )
    x, y = torch.from_numpy(heard.astype(np.float32)), torch.from_numpy(targets)
    silenced = torch.from_numpy(-1e9 * (1.0 - taking_part))
    for _ in range(settings.epochs):
        shuffled = torch.from_numpy(random.permutation(order))
        for first in range(0, steps * batch, batch):
            drawn = shuffled[first : first + batch]
            loss = nn.functional.cross_entropy(net(x[drawn]) + silenced[drawn], y[drawn])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()

    def answer(heard: NDArray[np.float32]) -> Answers:
        with torch.inference_mode():
            found = net(torch.from_numpy(heard.astype(np.float32))).softmax(dim=1)
        return np.asarray(found.numpy())

    return answer


class Lesson(NamedTuple):
    """By a clip's path, what its teacher says of it."""

    answers: dict[str, NDArray[np.float32]]
    """Class probabilities, ``[classes]``."""
    hints: dict[str, NDArray[np.float16]]
    """What it hears in each copy, ``[copies, components]`` (:mod:`training.teach`); empty if the
    recipe does without."""


def keep(
    file: Path,
    clips: Sequence[Prepared],
    answers: NDArray[np.float32],
    hints: NDArray[np.float16] | None,
) -> None:
    """Write a lesson.

    Args:
        file: Where.
        clips: Those that are taught.
        answers: ``[clips, classes]``.
        hints: ``[clips, copies, components]``, if there are any.
    """
    arrays = {} if hints is None else {"hints": hints}
    names = np.array([_name(one) for one in clips])
    with file.open("wb") as opened:
        np.savez(opened, allow_pickle=False, names=names, answers=answers, **arrays)


def read(file: Path, clips: Sequence[Prepared]) -> Lesson:
    """The lesson of some clips; those that the file does not know are not taught."""
    with np.load(file) as kept:
        names, answers = kept["names"].tolist(), kept["answers"]
        hints = kept.get("hints")
    places = {name: place for place, name in enumerate(names)}
    known = {str(one.clip.path): places[_name(one)] for one in clips if _name(one) in places}
    return Lesson(
        answers={path: answers[place] for path, place in known.items()},
        hints={} if hints is None else {path: hints[place] for path, place in known.items()},
    )


def _name(one: Prepared) -> str:
    return f"{one.clip.corpus}/{one.clip.name}"


_FARTHEST = 4.0
"""Standard deviations beyond which a component is cut: a rare clip may not outshout the others."""
_ROUNDS = 4
"""Of the power iteration by which the components are found."""


def components(heard: Sequence[NDArray[np.float32]], settings: Hints) -> NDArray[np.float16]:
    """Principal components of what a teacher hears, each with a standard deviation of 1.

    Args:
        heard: Of each speed ``[clips, n]``; the components are those of the first.
        settings: How many components; fewer if there are fewer clips or figures.

    Returns:
        ``[clips, speeds, components]``.
    """
    import torch

    mean, sd = heard[0].mean(axis=0), heard[0].std(axis=0) + np.float32(1e-3)
    original = (heard[0] - mean) / sd
    count = min(settings.components, *original.shape)
    torch.manual_seed(0)
    spare = min(count + 16, *original.shape)
    _, _, directions = torch.pca_lowrank(
        torch.from_numpy(original), q=spare, center=False, niter=_ROUNDS
    )
    turned = directions[:, :count].numpy()
    scale = (original @ turned).std(axis=0) + np.float32(1e-6)
    found = [((copy - mean) / sd) @ turned / scale for copy in heard]
    return np.stack(found, axis=1).clip(-_FARTHEST, _FARTHEST).astype(np.float16)


class Guess:
    """A linear layer that tells the hints from what the pupil pools; only there in training.

    Args:
        model: The pupil.
        count: Components.
    """

    def __init__(self, model: Model, count: int) -> None:
        import keras

        pooled = model.get_layer(POOLED).output
        layer = keras.layers.Dense(count, dtype="float32", name="guess")
        self.model: Model = keras.Model(model.input, [model.output, layer(pooled)])
        """From features to logits and the guessed hints."""
        self.variables: list[Any] = layer.trainable_variables
        """Of the layer alone."""


def errors(guessed: Any, hints: Any, hinted: Any) -> Any:
    """Mean squared errors of the guessed hints.

    Args:
        guessed: ``[batch, components]``.
        hints: The same.
        hinted: ``[batch]``: 0 where there is no hint, else 1.

    Returns:
        ``[batch]``.
    """
    import tensorflow as tf

    return tf.reduce_mean(tf.square(guessed - hints), axis=1) * hinted
