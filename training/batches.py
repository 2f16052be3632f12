"""Batches of training clips: drawn, placed, augmented, and finished by the daemon's front end.

Batch number ``step`` of a seed does not depend on the batches before it, so a run that resumes
from a checkpoint gives the same weights as one that was never interrupted.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from serd.model.mfcc import MfccFrontEnd
from training.augment import augment, excerpt, warp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from serd.model.metadata import FeatureParameters
    from training.augment import Power
    from training.prepare import Prepared
    from training.recipe import Recipe


class Batch(NamedTuple):
    """The input of one training step."""

    features: NDArray[np.float32]
    """``[batch, frames, coefficients]``."""
    targets: NDArray[np.float32]
    """``[batch, classes]``, rows sum to 1."""
    mask: NDArray[np.float32]
    """``[batch, classes]``: 1 where the class takes part in the loss, else 0."""
    soft_targets: NDArray[np.float32]
    """``[batch, classes]``: probabilities of a teacher at the recipe's temperature; rows sum to 1,
    or to 0 where there is no teacher."""
    hints: NDArray[np.float32]
    """``[batch, components]``: of the teacher's embeddings (:mod:`training.teach`)."""
    hint_mask: NDArray[np.float32]
    """``[batch]``: 0 where there is no hint, else 1."""


class Batches:
    """Draws batches from the training clips.

    Args:
        prepared: Training clips.
        recipe: Sampling and augmentation.
        features: Front end with the measured mean and sd.
        soft_targets: A teacher's class probabilities by the id of the clip; None: no teacher.
        hints: ``[copies, components]`` by the id of the clip; one copy serves for all.
        sounds: Mel power of sounds without speech, if the recipe uses them.
    """

    def __init__(
        self,
        prepared: Sequence[Prepared],
        recipe: Recipe,
        features: FeatureParameters,
        *,
        soft_targets: Mapping[str, NDArray[np.float32]] | None = None,
        hints: Mapping[str, NDArray[np.float16]] | None = None,
        sounds: Sequence[Power] = (),
    ) -> None:
        self._sounds = sounds if recipe.sounds is not None else ()
        self._clips = list(prepared)
        self._recipe = recipe
        self._front_end = MfccFrontEnd(features)
        self._chances = np.cumsum(sampling_weights(prepared, recipe))
        self._targets = np.stack([target(one, recipe) for one in prepared])
        self._masks = np.stack([loss_mask(one, recipe) for one in prepared])
        self._soft_targets = np.zeros_like(self._targets)
        if soft_targets is not None and recipe.distillation is not None:
            nothing = np.zeros(self._targets.shape[1], dtype=np.float32)
            soft = np.stack([soft_targets.get(one.clip.id, nothing) for one in prepared])
            self._soft_targets = soften(soft, recipe.distillation.temperature, self._masks)
        self._hints = [(hints or {}).get(one.clip.id) for one in prepared]
        self.components = next((some.shape[1] for some in self._hints if some is not None), 0)
        """Of a hint; 0 without hints."""

    def batch(self, step: int) -> Batch:
        """Batch number ``step``."""
        recipe, params = self._recipe, self._front_end.params
        random = np.random.default_rng([recipe.seed, step])
        count = recipe.optimiser.batch
        drawn = np.searchsorted(self._chances, random.random(count) * self._chances[-1])
        power = np.zeros((count, params.frames, params.mel_bands), dtype=np.float32)
        starts, lengths = np.zeros((2, count), dtype=np.int64)
        hints, hint_mask = (
            np.zeros((count, self.components), np.float32),
            np.zeros(count, np.float32),
        )
        no_speech = np.zeros(count, dtype=np.bool_)
        if self._sounds and recipe.sounds is not None:
            no_speech = random.random(count) < recipe.sounds.share
        for row, number in enumerate(drawn):
            if no_speech[row] and recipe.sounds is not None:
                spoken = excerpt(self._sounds, *recipe.sounds.frames, random)
            else:
                clip = self._clips[number]
                copy = int(random.integers(len(clip.copies)))
                spoken = clip.power(copy)
                if (of_clip := self._hints[number]) is not None:
                    hints[row], hint_mask[row] = of_clip[copy if len(of_clip) > 1 else 0], 1.0
            spoken = warp(spoken, recipe.augmentation.warp, random)
            # A long clip is cropped anywhere, a short one placed anywhere.
            surplus = len(spoken) - params.frames
            first = int(random.integers(surplus + 1)) if surplus > 0 else 0
            spoken = spoken[first : first + params.frames]
            starts[row] = random.integers(params.frames - len(spoken) + 1)
            lengths[row] = len(spoken)
            power[row, starts[row] : starts[row] + lengths[row]] = spoken
        power = augment(
            power,
            starts,
            lengths,
            settings=recipe.augmentation,
            features=params,
            random=random,
            recordings=self._sounds,
            as_noise=recipe.sounds.as_noise if recipe.sounds is not None else 0.0,
        )
        finished = [self._front_end.finish_mel(clip, offset=0) for clip in power]
        targets, mask = self._targets[drawn], self._masks[drawn]
        soft = self._soft_targets[drawn]
        # For a sound without speech all classes are equally right.
        targets[no_speech], mask[no_speech], soft[no_speech] = 1.0 / targets.shape[1], 1.0, 0.0
        return Batch(np.stack(finished), targets, mask, soft, hints, hint_mask)

    def from_step(self, first: int, last: int) -> Iterator[Batch]:
        """Batches ``first`` to ``last - 1``, prefetched by a thread."""
        ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=4)
        stop = threading.Event()

        def make() -> None:
            try:
                for step in range(first, last):
                    item = self.batch(step)
                    while not stop.is_set():
                        try:
                            ready.put(item, timeout=0.5)
                            break
                        except queue.Full:
                            continue
                    if stop.is_set():
                        return
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                ready.put(error)

        threading.Thread(target=make, daemon=True, name="batches").start()
        try:
            for _ in range(first, last):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()


def target(one: Prepared, recipe: Recipe, votes_weight: float | None = None) -> NDArray[np.float32]:
    """The target of a clip, before label smoothing: ``[classes]``, sums to 1.

    Args:
        one: The clip.
        recipe: Classes and weight of the votes.
        votes_weight: Overrides the recipe's.
    """
    labels = recipe.classes
    if fixed := recipe.corpora[one.clip.corpus].target:
        spread = (1.0 - sum(fixed.values())) / max(1, len(labels) - len(fixed))
        return np.array([fixed.get(label, spread) for label in labels], dtype=np.float32)
    wanted = np.zeros(len(labels), dtype=np.float32)
    wanted[labels.index(one.clip.emotion)] = 1.0
    weight = recipe.corpora[one.clip.corpus].votes_weight if votes_weight is None else votes_weight
    if one.clip.votes is not None and weight > 0.0:
        votes = np.array([one.clip.votes.get(label, 0.0) for label in labels], dtype=np.float32)
        wanted = (1.0 - weight) * wanted + weight * votes
    return wanted


def loss_mask(one: Prepared, recipe: Recipe) -> NDArray[np.float32]:
    """Which classes take part in the loss of a clip: ``[classes]`` of 0 and 1."""
    left_out = recipe.corpora[one.clip.corpus].masked.get(one.clip.emotion, [])
    return np.array([label not in left_out for label in recipe.classes], dtype=np.float32)


def soften(
    probabilities: NDArray[np.float32], temperature: float, mask: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Probabilities at another temperature, over the classes that take part in a clip's loss.

    Args:
        probabilities: ``[clips, classes]``; rows of zeros (no soft target) stay zero.
        temperature: Divides their logarithms.
        mask: ``[clips, classes]`` of 0 and 1.
    """
    raised = np.where(probabilities > 0, probabilities, 0.0) ** (1.0 / temperature) * mask
    total = raised.sum(axis=1, keepdims=True)
    return np.asarray(raised / np.where(total > 0, total, 1.0), dtype=np.float32)


def sampling_weights(prepared: Sequence[Prepared], recipe: Recipe) -> NDArray[np.float64]:
    """The probability with which each clip is drawn; sums to 1.

    Corpora have the shares that the recipe gives them. Inside a corpus a clip weighs one over how
    many share its class, to the power of ``balance``: by default half way between equally
    likely clips and equally likely classes. Speakers to whom the recipe gives shares have those.
    """
    counts = Counter((one.clip.corpus, one.clip.emotion) for one in prepared)
    spoken = Counter(one.clip.voice for one in prepared)
    weights = np.empty(len(prepared))
    for place, one in enumerate(prepared):
        use = recipe.corpora[one.clip.corpus]
        if use.speakers:
            weights[place] = use.speakers.get(one.clip.speaker, 0.0) / spoken[one.clip.voice]
        else:
            weights[place] = counts[one.clip.corpus, one.clip.emotion] ** -use.balance
    corpora = np.array([one.clip.corpus for one in prepared])
    for name, use in recipe.corpora.items():
        inside = corpora == name
        if inside.any():
            weights[inside] *= use.share / weights[inside].sum()
    return np.asarray(weights / weights.sum())


def clean_features(
    prepared: Sequence[Prepared], features: FeatureParameters
) -> NDArray[np.float32]:
    """The daemon's features, without augmentation: ``[clips, frames, coefficients]``."""
    front_end = MfccFrontEnd(features)
    return np.stack([front_end.finish_mel(one.power()) for one in prepared])


def measure_features(
    prepared: Sequence[Prepared], features: FeatureParameters
) -> FeatureParameters:
    """The front end with mean and sd of every coefficient over all frames of the clips."""
    import msgspec

    bare = msgspec.structs.replace(features, mean=(), sd=())
    total = np.zeros((2, features.coefficients))
    for one in prepared:
        values = clean_features([one], bare)[0].astype(np.float64)
        total += values.sum(axis=0), np.square(values).sum(axis=0)
    mean, square = total / (len(prepared) * features.frames)
    sd = np.sqrt(np.maximum(square - mean * mean, 1e-6))
    return msgspec.structs.replace(
        features,
        mean=tuple(round(float(value), 4) for value in mean),
        sd=tuple(round(float(value), 4) for value in sd),
    )
