from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from serd.model.emotions import EMOTIONS
from serd.model.mfcc import MfccFrontEnd
from training.batches import (
    Batches,
    clean_features,
    loss_mask,
    measure_features,
    sampling_weights,
    target,
)
from training.corpora import Clip
from training.prepare import Prepared
from training.recipe import Recipe, load_recipe
from training.recipe.augmentation import Augmentation
from training.recipe.corpora import CorpusUse
from training.recipe.teaching import Teaching

if TYPE_CHECKING:
    from numpy.typing import NDArray


def prepared(
    corpus: str, number: int, emotion: str, votes: dict[str, float] | None = None
) -> Prepared:
    random = np.random.default_rng([number, len(corpus)])
    return Prepared(
        clip=Clip(
            path=Path(f"{corpus}-{number}.wav"),
            corpus=corpus,
            speaker=f"{number % 4}",
            emotion=emotion,
            votes=votes,
        ),
        digest=f"{corpus}{number}",
        duration_s=1.0,
        peak=0.5,
        loudest=2.0,
        copies=tuple(random.random((frames, 64)).astype(np.float16) for frames in (60, 70, 230)),
    )


@pytest.fixture
def clips() -> list[Prepared]:
    ravdess = [prepared("ravdess", number, EMOTIONS[number % 8]) for number in range(16)]
    crema_d = [prepared("crema_d", number, "sad") for number in range(27)]
    return [*ravdess, *crema_d, *(prepared("crema_d", 50 + n, "neutral") for n in range(3))]


@pytest.fixture
def recipe() -> Recipe:
    """The default recipe with a teacher and the two corpora of the clips."""
    corpora = {
        "ravdess": CorpusUse(share=0.4),
        "crema_d": CorpusUse(share=0.6, masked={"neutral": ["calm"]}),
    }
    return msgspec.structs.replace(
        load_recipe("default"),
        corpora=corpora,
        start=None,
        home=None,
        teaching=Teaching(teacher="somebody/large", licence="MIT"),
    )


def test_a_batch_depends_only_on_seed_and_step(clips: list[Prepared], recipe: Recipe) -> None:
    features = measure_features(clips, recipe.features)
    batches = Batches(clips, recipe, features)
    first = batches.batch(7)
    assert first.features.shape == (32, 188, 64)
    assert first.targets.shape == first.mask.shape == (32, 8)
    ahead = list(Batches(clips, recipe, features).from_step(5, 8))
    assert len(ahead) == 3
    np.testing.assert_array_equal(ahead[2].features, first.features)
    np.testing.assert_array_equal(ahead[2].targets, first.targets)
    other = Batches(clips, msgspec.structs.replace(recipe, seed=2), features).batch(7)
    assert not np.array_equal(other.features, first.features)


def test_unaugmented_features_equal_the_daemons(clips: list[Prepared]) -> None:
    recipe = msgspec.structs.replace(load_recipe("default"), augmentation=Augmentation())
    features = measure_features(clips, recipe.features)
    front_end = MfccFrontEnd(features)
    wanted = [front_end.finish_mel(clip.power()) for clip in clips]
    np.testing.assert_array_equal(clean_features(clips, features), np.stack(wanted))
    values = np.stack(wanted).reshape(-1, 64)
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-2)
    np.testing.assert_allclose(values.std(axis=0), 1.0, atol=1e-2)


def test_sampling_follows_corpus_shares_and_favours_rare_classes(
    clips: list[Prepared], recipe: Recipe
) -> None:
    chances = sampling_weights(clips, recipe)
    crema = np.array([clip.clip.corpus == "crema_d" for clip in clips])
    assert chances.sum() == pytest.approx(1.0)
    assert chances[crema].sum() == pytest.approx(recipe.corpora["crema_d"].share)
    assert chances[-1] / chances[20] == pytest.approx((27 / 3) ** 0.5)


def test_classes_can_be_balanced_and_speakers_weighted(
    clips: list[Prepared], recipe: Recipe
) -> None:
    def chances(**changes: object) -> NDArray[np.float64]:
        use = msgspec.structs.replace(recipe.corpora["crema_d"], **changes)
        changed = msgspec.structs.replace(recipe, corpora=recipe.corpora | {"crema_d": use})
        return sampling_weights(clips, changed)

    even = chances(balance=1.0)
    assert even[16:43].sum() == pytest.approx(even[43:].sum())
    unbalanced = chances(balance=0.0)
    assert unbalanced[16] == pytest.approx(unbalanced[-1])
    by_speaker = chances(speakers={"1": 3.0, "2": 1.0})
    speakers = np.array([clip.clip.speaker for clip in clips])
    crema = np.array([clip.clip.corpus == "crema_d" for clip in clips])
    sums = {name: by_speaker[crema & (speakers == name)].sum() for name in "0123"}
    assert sums["1"] == pytest.approx(3.0 * sums["2"])
    assert sums["0"] == sums["3"] == 0.0


def test_ordinary_speech_gets_the_target_of_its_corpus(recipe: Recipe) -> None:
    use = CorpusUse(share=0.2, target={"neutral": 0.7, "calm": 0.06})
    mixed = msgspec.structs.replace(recipe, corpora=recipe.corpora | {"ordinary": use})
    wanted = target(prepared("ordinary", 1, "neutral"), mixed)
    assert wanted[EMOTIONS.index("neutral")] == pytest.approx(0.7)
    assert wanted[EMOTIONS.index("angry")] == pytest.approx(0.04)
    assert wanted.sum() == pytest.approx(1.0)


def test_calm_is_masked_only_for_neutral_clips_of_crema_d(recipe: Recipe) -> None:
    calm = EMOTIONS.index("calm")
    assert loss_mask(prepared("crema_d", 1, "neutral"), recipe)[calm] == 0.0
    assert loss_mask(prepared("crema_d", 1, "neutral"), recipe).sum() == 7.0
    assert loss_mask(prepared("crema_d", 1, "sad"), recipe).sum() == 8.0
    assert loss_mask(prepared("ravdess", 1, "neutral"), recipe).sum() == 8.0


def test_votes_soften_a_target_by_the_recipes_weight(recipe: Recipe) -> None:
    clip = prepared("crema_d", 1, "sad", {"sad": 0.5, "neutral": 0.5})
    assert target(clip, recipe)[EMOTIONS.index("sad")] == 1.0
    use = msgspec.structs.replace(recipe.corpora["crema_d"], votes_weight=0.4)
    soft = msgspec.structs.replace(recipe, corpora=recipe.corpora | {"crema_d": use})
    wanted = target(clip, soft)
    assert wanted[EMOTIONS.index("sad")] == pytest.approx(0.8)
    assert wanted[EMOTIONS.index("neutral")] == pytest.approx(0.2)


def test_soft_targets_are_added_to_the_labels(clips: list[Prepared], recipe: Recipe) -> None:
    features = measure_features(clips, recipe.features)
    answer = np.array([0.64, 0.16, 0.04, 0.16, 0, 0, 0, 0], dtype=np.float32)
    soft_targets = {clip.clip.id: answer for clip in clips if clip.clip.corpus == "crema_d"}
    batch = Batches(clips, recipe, features, soft_targets=soft_targets).batch(0)
    plain = Batches(clips, recipe, features).batch(0)
    np.testing.assert_array_equal(batch.targets, plain.targets)
    assert not plain.soft_targets.any()
    # A temperature of 2 takes square roots: 0.8, 0.4, 0.2, 0.4; calm is dropped where masked.
    whole = np.array([0.8, 0.4, 0.2, 0.4, 0, 0, 0, 0]) / 1.8
    without = np.array([0.8, 0.0, 0.2, 0.4, 0, 0, 0, 0]) / 1.4
    kinds = []
    for row, mask in zip(batch.soft_targets, batch.mask, strict=True):
        wanted = [np.zeros(8), whole, without]
        kinds.append([np.allclose(row, one, atol=1e-6) for one in wanted].index(True))
        assert (kinds[-1] == 2) == (mask.sum() == 7)
    assert set(kinds) == {0, 1, 2}
    without_teacher = msgspec.structs.replace(recipe, teaching=None)
    untaught = Batches(clips, without_teacher, features, soft_targets=soft_targets).batch(0)
    assert not untaught.soft_targets.any()


def test_hints_belong_to_the_copy_that_was_drawn(
    clips: list[Prepared], recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = measure_features(clips, recipe.features)
    plain = Batches(clips, recipe, features).batch(0)
    copies = len(clips[0].copies)
    # Each hint encodes its clip and its copy.
    hints = {
        clip.clip.id: np.array([(number, copy) for copy in range(copies)], dtype=np.float16)
        for number, clip in enumerate(clips)
        if clip.clip.corpus == "crema_d"
    }
    drawn: list[tuple[str, int]] = []
    real = Prepared.power

    def power(one: Prepared, copy: int = 0) -> NDArray[np.float32]:
        drawn.append((one.clip.id, copy))
        return real(one, copy)

    monkeypatch.setattr(Prepared, "power", power)
    batch = Batches(clips, recipe, features, hints=hints).batch(0)
    remaining = iter(drawn)
    for hint, hinted, target_row in zip(batch.hints, batch.hint_mask, batch.targets, strict=True):
        if target_row.max() < 0.5:  # no speech: all classes are equally right
            assert not hinted
            continue
        path, copy = next(remaining)
        assert hinted == (path in hints)
        np.testing.assert_array_equal(hint, hints[path][copy] if path in hints else np.zeros(2))
    assert 0 < batch.hint_mask.sum() < len(batch.hint_mask)
    assert {copy for _, copy in drawn} == set(range(copies))
    # Hints do not change what is drawn.
    np.testing.assert_array_equal(plain.features, batch.features)
    assert plain.hints.shape == (len(batch.hints), 0)
    assert not plain.hint_mask.any()
