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
speakers that it had never heard (docs/experiments.md). They need no cross-fitting, because the
encoder never saw the labels. The layer that predicts them is discarded after training.
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
from training.batches import loss_mask, target
from training.evaluate import metrics
from training.files import read_arrays, write_whole
from training.network import POOLED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.network import Model
    from training.prepare import Prepared
    from training.recipe import Recipe
    from training.recipe.teaching import Head, Hints
    from training.teacher import Teacher

Probabilities: TypeAlias = NDArray[np.float32]
"""Probabilities ``[clips, classes]``."""
Classify: TypeAlias = Callable[[NDArray[np.float32]], Probabilities]
"""A trained head: from embeddings to probabilities."""
Fit: TypeAlias = "Callable[[Sequence[Prepared], NDArray[np.float32], Recipe], Classify]"
"""Trains a head on clips and their embeddings."""


def teach(
    recipe: Recipe,
    teacher: Teacher,
    training: Sequence[Prepared],
    validation: Sequence[Prepared],
    *,
    cache: Path,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Probabilities, NDArray[np.float16] | None, dict[str, Any]]:
    """Soft targets and hints for the training clips, and how good the teacher is.

    Args:
        recipe: With ``teaching``.
        teacher: The encoder.
        training: Clips that get targets.
        validation: Clips on which the teacher is measured.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the number of clips that were added.

    Returns:
        Probabilities ``[clips, classes]``; hints ``[clips, copies, components]`` or None;
        a report.
    """
    assert recipe.teaching is not None
    embed = functools.partial(
        teacher.embed,
        longest_s=recipe.preparation.longest_s,
        cache=cache,
        jobs=jobs,
        progress=progress,
    )
    embeddings = embed([one.clip for one in (*training, *validation)])
    of_training, of_validation = embeddings[: len(training)], embeddings[len(training) :]
    answers = cross_fit(training, of_training, recipe, fit_head)
    labelled = [one.clip.corpus in recipe.acted for one in training]
    report = {
        "teacher": recipe.teaching.teacher,
        "licence": recipe.teaching.licence,
        "weights_sha256": teacher.sha256,
        "training": teacher_figures(
            [one for one, known in zip(training, labelled, strict=True) if known],
            answers[labelled],
            recipe,
        ),
    }
    answers = with_fixed_targets(training, answers, recipe)
    hints = None
    if recipe.teaching.hints is not None:
        # The first speed is the clip unchanged.
        copies = [
            embed([one.clip for one in training], speed=speed)
            for speed in recipe.embedded_speeds[1:]
        ]
        hints = principal_components([of_training, *copies], recipe.teaching.hints)
    if validation:
        judged = fit_head(training, of_training, recipe)(of_validation)
        report["validation"] = teacher_figures(validation, judged, recipe)
    return answers, hints, report


def with_fixed_targets(
    clips: Sequence[Prepared], answers: Probabilities, recipe: Recipe
) -> Probabilities:
    """The teacher's answers, mixed with the target of the corpora that have a fixed one.

    Nobody has labelled these clips. The teacher says which of them sound emotional after all; the
    fixed target keeps the others from being learned as emotional where the teacher errs.

    Args:
        clips: The clips.
        answers: ``[clips, classes]``.
        recipe: With the weights.
    """
    mixed = answers.copy()
    for place, one in enumerate(clips):
        use = recipe.corpora[one.clip.corpus]
        if use.target:
            weight = np.float32(use.taught)
            mixed[place] = weight * answers[place] + (1.0 - weight) * target(one, recipe)
    return mixed


def speaker_groups(clips: Sequence[Prepared], count: int) -> dict[str, int]:
    """Deal voices into groups, each corpus and sex in turn; the same voices give the same groups.

    Args:
        clips: Their voices are dealt.
        count: Groups.

    Returns:
        The group of each voice.

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
    clips: Sequence[Prepared], embeddings: NDArray[np.float32], recipe: Recipe, fit: Fit
) -> Probabilities:
    """Probabilities for training clips by heads that were not trained on their speakers.

    Args:
        clips: Clips of the training speakers only.
        embeddings: ``[clips, n]``.
        recipe: With the number of groups in ``teaching``.
        fit: Trains a head.
    """
    assert recipe.teaching is not None
    dealt = speaker_groups(clips, recipe.teaching.groups)
    group = np.array([dealt[one.clip.voice] for one in clips])
    answers = np.empty((len(clips), len(recipe.classes)), dtype=np.float32)
    for number in range(recipe.teaching.groups):
        asked = np.flatnonzero(group == number)
        others = np.flatnonzero(group != number)
        head = fit([clips[int(place)] for place in others], embeddings[others], recipe)
        answers[asked] = head(embeddings[asked])
    return answers


def fit_head(
    clips: Sequence[Prepared], embeddings: NDArray[np.float32], recipe: Recipe
) -> Classify:
    """Train heads of several seeds and average their probabilities; the usual :data:`Fit`."""
    assert recipe.teaching is not None
    settings = recipe.teaching.head
    targets = np.stack(
        [target(one, recipe, settings.votes_weight.get(one.clip.corpus, 0.0)) for one in clips]
    )
    included = np.stack([loss_mask(one, recipe) for one in clips])
    repeats = np.array([settings.repeats.get(one.clip.corpus, 1) for one in clips])
    order = np.repeat(np.arange(len(clips)), repeats)
    mean, sd = embeddings.mean(axis=0), embeddings.std(axis=0) + np.float32(1e-3)
    heads = [
        _train(
            (embeddings - mean) / sd,
            targets,
            included,
            order,
            settings=settings,
            seed=recipe.seed + number,
        )
        for number in range(settings.heads)
    ]

    def answer(embeddings: NDArray[np.float32]) -> Probabilities:
        return np.asarray(np.mean([head((embeddings - mean) / sd) for head in heads], axis=0))

    return answer


def teacher_figures(
    clips: Sequence[Prepared], answers: Probabilities, recipe: Recipe
) -> dict[str, Any]:
    """For each corpus: clips, accuracy, UAR, mean confidence."""
    from training.evaluate.classification import top_label

    labels = recipe.classes
    by_corpus: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(clips):
        by_corpus[one.clip.corpus].append(place)
    found = {}
    for corpus, places in by_corpus.items():
        truth = [clips[place].clip.emotion for place in places]
        emotions = sorted(set(truth))
        predicted = [
            top_label(dict(zip(labels, answers[place].tolist(), strict=True)), emotions)
            for place in places
        ]
        found[corpus] = {
            "clips": len(places),
            "accuracy": metrics.accuracy(truth, predicted),
            "uar": metrics.uar(truth, predicted),
            "confidence": float(answers[places].max(axis=1).mean()),
        }
    return found


def _train(
    embeddings: NDArray[np.float32],
    targets: NDArray[np.float32],
    included: NDArray[np.float32],
    order: NDArray[np.int64],
    *,
    settings: Head,
    seed: int,
) -> Classify:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Dropout(settings.dropout[0]),
        nn.Linear(embeddings.shape[1], settings.width),
        nn.BatchNorm1d(settings.width),
        nn.ReLU(),
        nn.Dropout(settings.dropout[1]),
        nn.Linear(settings.width, targets.shape[1]),
    )
    # An incomplete last batch is left out: a single clip has no variance.
    batch = min(settings.batch, len(order))
    steps = len(order) // batch
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=settings.rate, total_steps=steps * settings.epochs
    )
    x, y = torch.from_numpy(embeddings.astype(np.float32)), torch.from_numpy(targets)
    silenced = torch.from_numpy(-1e9 * (1.0 - included))
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

    def answer(embeddings: NDArray[np.float32]) -> Probabilities:
        with torch.inference_mode():
            found = net(torch.from_numpy(embeddings.astype(np.float32))).softmax(dim=1)
        return np.asarray(found.numpy())

    return answer


class TeacherTargets(NamedTuple):
    """Soft targets and hints, by the id of the clip."""

    answers: dict[str, NDArray[np.float32]]
    """Class probabilities, ``[classes]``."""
    hints: dict[str, NDArray[np.float16]]
    """Of each copy, ``[copies, components]``; empty if the recipe uses none."""


def write_targets(
    file: Path,
    clips: Sequence[Prepared],
    answers: NDArray[np.float32],
    hints: NDArray[np.float16] | None,
) -> None:
    """Write targets to a file.

    Args:
        file: The file.
        clips: The clips.
        answers: ``[clips, classes]``.
        hints: ``[clips, copies, components]``, if there are any.
    """
    arrays = {} if hints is None else {"hints": hints}
    names = np.array([one.clip.id for one in clips])
    write_whole(
        file,
        lambda opened: np.savez(opened, allow_pickle=False, names=names, answers=answers, **arrays),
    )


def read_targets(file: Path, clips: Sequence[Prepared]) -> TeacherTargets:
    """The targets of some clips; clips that the file does not contain get none.

    Raises:
        InputError: The file is damaged.
    """
    kept = read_arrays(file)
    names, answers, hints = kept["names"].tolist(), kept["answers"], kept.get("hints")
    places = {name: place for place, name in enumerate(names)}
    known = {one.clip.id: places[one.clip.id] for one in clips if one.clip.id in places}
    return TeacherTargets(
        answers={clip: answers[place] for clip, place in known.items()},
        hints={} if hints is None else {clip: hints[place] for clip, place in known.items()},
    )


_FARTHEST = 4.0
"""Standard deviations at which a component is clipped, so that rare clips do not dominate."""
_ROUNDS = 4
"""Power iterations to find the components."""


def principal_components(
    embeddings: Sequence[NDArray[np.float32]], settings: Hints
) -> NDArray[np.float16]:
    """Principal components of embeddings, each with a standard deviation of 1.

    Args:
        embeddings: For each speed ``[clips, n]``; the components are those of the first.
        settings: Number of components; fewer if there are fewer clips or dimensions.

    Returns:
        ``[clips, speeds, components]``.
    """
    import torch

    mean, sd = embeddings[0].mean(axis=0), embeddings[0].std(axis=0) + np.float32(1e-3)
    original = (embeddings[0] - mean) / sd
    count = min(settings.components, *original.shape)
    torch.manual_seed(0)
    spare = min(count + 16, *original.shape)
    _, _, directions = torch.pca_lowrank(
        torch.from_numpy(original), q=spare, center=False, niter=_ROUNDS
    )
    turned = directions[:, :count].numpy()
    scale = (original @ turned).std(axis=0) + np.float32(1e-6)
    found = [((copy - mean) / sd) @ turned / scale for copy in embeddings]
    return np.stack(found, axis=1).clip(-_FARTHEST, _FARTHEST).astype(np.float16)


class HintPredictor:
    """A linear layer that predicts the hints from the pooled features; used only in training.

    Args:
        model: The student.
        count: Components.
    """

    def __init__(self, model: Model, count: int) -> None:
        import keras

        pooled = model.get_layer(POOLED).output
        layer = keras.layers.Dense(count, dtype="float32", name="guess")
        self.model: Model = keras.Model(model.input, [model.output, layer(pooled)])
        """From features to logits and predicted hints."""
        self.variables: list[Any] = layer.trainable_variables
        """Of the added layer."""


def hint_losses(predicted: Any, hints: Any, hint_mask: Any) -> Any:
    """Mean squared errors of the predicted hints.

    Args:
        predicted: ``[batch, components]``.
        hints: Likewise.
        hint_mask: ``[batch]``: 0 where there is no hint, else 1.

    Returns:
        ``[batch]``.
    """
    import tensorflow as tf

    return tf.reduce_mean(tf.square(predicted - hints), axis=1) * hint_mask
