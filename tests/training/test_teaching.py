"""A teacher must pass on neither memorised labels nor anything about test speakers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from serd.errors import InputError, UsageError
from tests.training.recipes import tiny_recipe
from training import dataset as materials
from training import run as runs
from training import teach as teaching
from training.corpora import Clip
from training.prepare import Prepared
from training.recipe.teaching import Head, Hints, Teaching
from training.teacher import FOLDERS, Teacher, find_teacher, statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.recipe import Recipe


@pytest.fixture
def recipe() -> Recipe:
    head = Head(width=16, epochs=3, batch=8, heads=1)
    teacher = Teaching(teacher="nobody/tiny", licence="none", layers=(0, 2), groups=2, head=head)
    return msgspec.structs.replace(tiny_recipe(steps=20), teaching=teacher)


@pytest.fixture
def material(recipe: Recipe, synthetic_corpora: Path, tmp_path: Path) -> materials.Dataset:
    return materials.load_dataset(recipe, synthetic_corpora, cache=tmp_path / "cache", jobs=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny, untrained speech encoder."""
    torch = pytest.importorskip("torch", reason="needs PyTorch (the extra `teacher`)")
    pytest.importorskip("transformers", reason="needs transformers (the extra `teacher`)")
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        num_mel_bins=80,
        max_source_positions=1500,
    )
    folder = tmp_path_factory.mktemp("teachers") / "tiny"
    WhisperEncoder(config).save_pretrained(folder)
    return folder


def clip(corpus: str, speaker: int, number: int, sex: str) -> Prepared:
    emotion = ("happy", "sad")[number % 2]
    path = Path(f"{corpus}-{speaker}-{number}.wav")
    named = Clip(path=path, corpus=corpus, speaker=str(speaker), emotion=emotion, sex=sex)
    return Prepared(clip=named, digest=str(path), duration_s=1, peak=1, loudest=1, copies=())


def many_clips() -> list[Prepared]:
    return [
        clip(corpus, speaker, number, "fm"[speaker % 2])
        for corpus, speakers in (("ravdess", 8), ("crema_d", 12))
        for speaker in range(speakers)
        for number in range(3)
    ]


def test_groups_consist_of_whole_speakers_and_are_balanced() -> None:
    clips = many_clips()
    dealt = teaching.speaker_groups(clips, 4)
    assert dealt == teaching.speaker_groups(clips[::-1], 4)
    sexes = {one.clip.voice: one.clip.sex for one in clips}
    assert set(dealt) == set(sexes)
    for kind in ("ravdess/", "crema_d/"):
        sizes = Counter(group for voice, group in dealt.items() if voice.startswith(kind))
        assert set(sizes) == {0, 1, 2, 3}
        assert max(sizes.values()) - min(sizes.values()) <= 1
    women = Counter(group for voice, group in dealt.items() if sexes[voice] == "f")
    assert max(women.values()) - min(women.values()) <= 1
    with pytest.raises(UsageError, match="dealt into 21 groups"):
        teaching.speaker_groups(clips, 21)


def test_no_head_predicts_for_a_speaker_that_it_was_trained_on(recipe: Recipe) -> None:
    clips = many_clips()
    # The embedding of a clip is its index in the list, so that a head can identify the clip.
    embeddings = np.arange(len(clips), dtype=np.float32)[:, np.newaxis]
    predicted: list[str] = []

    def fit(
        clips_of_head: Sequence[Prepared], of: NDArray[np.float32], _: Recipe
    ) -> teaching.Classify:
        trained_on = {one.clip.voice for one in clips_of_head}
        assert [clips[int(place)] for place in of[:, 0]] == list(clips_of_head)

        def predict(of: NDArray[np.float32]) -> NDArray[np.float32]:
            voices = [clips[int(place)].clip.voice for place in of[:, 0]]
            assert not trained_on & set(voices)
            # The head was trained on all other speakers.
            assert trained_on | set(voices) == {one.clip.voice for one in clips}
            predicted.extend(voices)
            return np.repeat(of, 8, axis=1)

        return predict

    result = teaching.cross_fit(clips, embeddings, recipe, fit)
    assert Counter(predicted) == Counter(one.clip.voice for one in clips)
    np.testing.assert_array_equal(result[:, 0], embeddings[:, 0])


@pytest.mark.slow
def test_only_training_clips_get_soft_targets(
    material: materials.Dataset, recipe: Recipe, encoder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    run = runs.Run(tmp_path / "run", recipe)
    seen: list[tuple[str, int, int]] = []
    taught = run.teach(
        material,
        source=str(encoder),
        cache=cache,
        jobs=1,
        progress=lambda *what: seen.append(what),
    )
    assert taught is not None
    training, validation = material.side("train"), material.side("validation")
    assert set(taught.answers) == {one.clip.id for one in training}
    for row in taught.answers.values():
        assert row.shape == (8,)
        assert row.sum() == pytest.approx(1.0, abs=1e-5)
    assert taught.hints == {}
    # No embeddings of test clips are cached either.
    assert len(list(cache.glob("teacher-*/*/*.npy"))) == len(training) + len(validation)
    assert seen[-1] == ("listen", len(training) + len(validation), len(training) + len(validation))
    report = run.read("teaching.json")
    assert report["teacher"] == "nobody/tiny"
    assert report["training"]["ravdess"]["clips"] == len(training)
    assert report["validation"]["ravdess"]["clips"] == len(validation)
    assert len(report["weights_sha256"]) == 64
    # The second time, the answers are read from the run's folder, without the teacher.
    again = run.teach(material, source="/no/such/teacher", cache=cache, jobs=1)
    assert again is not None
    for path, row in taught.answers.items():
        np.testing.assert_array_equal(again.answers[path], row)


@pytest.mark.tensorflow
def test_a_teacher_changes_the_weights_and_its_library_is_recorded(
    material: materials.Dataset, recipe: Recipe, encoder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    run = runs.Run(tmp_path / "run", recipe)
    taught = run.teach(material, source=str(encoder), cache=tmp_path / "cache", jobs=1)
    run.train(material, taught=taught)
    with_it = run.weights()
    other = runs.Run(tmp_path / "alone", recipe)
    other.train(material)
    assert any(
        not np.array_equal(one, two) for one, two in zip(with_it, other.weights(), strict=True)
    )
    assert "torch" in run.read("run.json")["versions"]


@pytest.mark.tensorflow
def test_every_copy_gets_a_hint_and_hints_change_the_weights(
    material: materials.Dataset, recipe: Recipe, encoder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    cache = tmp_path / "cache"
    assert recipe.teaching is not None
    hinting = msgspec.structs.replace(recipe.teaching, hints=Hints(components=4, weight=2.0))
    with_hints = msgspec.structs.replace(recipe, teaching=hinting)
    seen: list[tuple[str, int, int]] = []
    weights = {}
    for name, chosen in (("with", with_hints), ("without", recipe)):
        run = runs.Run(tmp_path / name, chosen)
        taught = run.teach(
            material,
            source=str(encoder),
            cache=cache,
            jobs=1,
            progress=lambda *what: seen.append(what),
        )
        assert taught is not None
        if name == "with":
            training, validation = material.side("train"), material.side("validation")
            assert set(taught.hints) == {one.clip.id for one in training}
            assert {hint.shape for hint in taught.hints.values()} == {(3, 4)}
            # Test speakers are not embedded at any speed, validation speakers only at the original
            # speed, to measure the teacher.
            embedded = 3 * len(training) + len(validation)
            assert seen[-1] == ("listen", embedded, embedded)
            assert len(list(cache.glob("teacher-*/*/*.npy"))) == embedded
            every = np.stack(list(taught.hints.values())).astype(np.float32)
            np.testing.assert_allclose(every[:, 0].mean(axis=0), 0.0, atol=0.05)
            np.testing.assert_allclose(every[:, 0].std(axis=0), 1.0, atol=0.1)
            # A copy at another speed has another hint.
            assert not np.array_equal(every[:, 1], every[:, 0])
        run.train(material, taught=taught)
        weights[name] = run.weights()
    # The hint predictor is not part of the network.
    shapes = [[weight.shape for weight in some] for some in weights.values()]
    assert shapes[0] == shapes[1]
    assert not np.array_equal(weights["with"][0], weights["without"][0])


def test_principal_components_separate_clips_and_keep_copies_close() -> None:
    pytest.importorskip("torch", reason="needs PyTorch (the extra `teacher`)")
    from training.teach import principal_components

    random = np.random.default_rng(5)
    # The forty values depend on three free ones, one of them dominant; a copy is slightly shifted.
    free = random.normal(size=(200, 3)) * (9.0, 2.0, 1.0)
    mixing = random.normal(size=(3, 40))
    embeddings = [
        (free + shift) @ mixing + random.normal(0, 0.01, (200, 40)) for shift in (0.0, 0.1)
    ]
    components = principal_components(
        [one.astype(np.float32) for one in embeddings], Hints(components=3)
    )
    assert components.shape == (200, 2, 3)
    original, copy = components.astype(np.float64).swapaxes(0, 1)
    np.testing.assert_allclose(np.cov(original.T), np.eye(3), atol=0.05)
    np.testing.assert_allclose(
        copy - original, np.broadcast_to(copy[0] - original[0], (200, 3)), atol=0.3
    )
    # The free values can be recovered from the components.
    solution, *_ = np.linalg.lstsq(original, free, rcond=None)
    assert np.abs(original @ solution - free).std(axis=0).max() < 0.3
    assert np.abs(components).max() <= 4.0
    # There are no more components than values.
    few = principal_components(
        [one[:, :2].astype(np.float32) for one in embeddings], Hints(components=64)
    )
    assert few.shape == (200, 2, 2)


def test_embeddings_do_not_depend_on_the_batch(encoder: Path) -> None:
    from training.teacher import _encoder

    clips = [
        np.sin(np.arange(size, dtype=np.float32) * pitch)
        for size, pitch in ((9000, 0.1), (20000, 0.3), (15900, 0.5), (9000, 0.9))
    ]
    teacher = _encoder(str(encoder))
    together = statistics(teacher, clips, (0, 1, 2))
    assert {one.shape for one in together} == {(2 * 3 * 16,)}
    for samples, embedding in zip(clips, together, strict=True):
        (alone,) = statistics(teacher, [samples], (0, 1, 2))
        np.testing.assert_allclose(embedding, alone, atol=0.02)
    assert not np.allclose(together[0], together[3], atol=0.02)
    # The positional embeddings have their full size again.
    assert teacher.embed_positions.num_embeddings == teacher.config.max_source_positions == 1500


def test_half_precision_barely_changes_the_embeddings(encoder: Path) -> None:
    """Compared with the encoder as its authors run it: 30 s in float32, including silent frames."""
    import torch
    from transformers import WhisperFeatureExtractor

    from training.teacher import _encoder

    samples = np.random.default_rng(2).normal(0, 0.1, 480_000).astype(np.float32)
    teacher = _encoder(str(encoder))
    (embedding,) = statistics(teacher, [samples], (1,))
    mel = WhisperFeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        states = teacher(mel.input_features, output_hidden_states=True).hidden_states[1][0]
    reference = torch.stack([states.mean(dim=0), states.std(dim=0, correction=0)]).flatten().numpy()
    np.testing.assert_allclose(embedding, reference, atol=0.02)


def test_a_missing_teacher_or_layer_is_reported(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no teacher at"):
        Teacher(tmp_path, (1,))
    with pytest.raises(UsageError, match="layers 0 to 2"):
        Teacher(encoder, (3,))


def test_a_cached_teacher_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_teacher("openai/whisper-base") == "openai/whisper-base"
    (FOLDERS / "whisper-base").mkdir(parents=True)
    assert find_teacher("openai/whisper-base") == str(FOLDERS / "whisper-base")
    assert find_teacher("openai/whisper-base", "elsewhere") == "elsewhere"


@pytest.mark.tensorflow
def test_hints_of_the_original_speed_serve_for_all_copies(
    material: materials.Dataset, recipe: Recipe, encoder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    cache = tmp_path / "cache"
    assert recipe.teaching is not None
    hinting = msgspec.structs.replace(recipe.teaching, hints=Hints(components=4, at_speeds=False))
    run = runs.Run(tmp_path / "run", msgspec.structs.replace(recipe, teaching=hinting))
    assert run.recipe.embedded_speeds == (1.0,)
    taught = run.teach(material, source=str(encoder), cache=cache, jobs=1)
    assert taught is not None
    assert {hint.shape for hint in taught.hints.values()} == {(1, 4)}
    sides = len(material.side("train")) + len(material.side("validation"))
    assert len(list(cache.glob("teacher-*/*/*.npy"))) == sides
    run.train(material, taught=taught)
    assert (run.folder / "weights.npz").is_file()


def test_speech_without_labels_gets_a_mixture_of_the_answer_and_its_fixed_target(
    recipe: Recipe,
) -> None:
    use = recipe.corpora["ravdess"]
    ordinary = msgspec.structs.replace(use, target={"neutral": 0.8}, taught=0.25)
    both = msgspec.structs.replace(recipe, corpora={"ravdess": use, "ordinary": ordinary})
    assert use.asks_teacher
    assert ordinary.asks_teacher
    assert not msgspec.structs.replace(ordinary, taught=0.0).asks_teacher
    clips = [clip("ravdess", 1, 1, "f"), clip("ordinary", 2, 1, "m")]
    answers = np.tile(np.eye(8, dtype=np.float32)[4], (2, 1))
    mixed = teaching.with_fixed_targets(clips, answers, both)
    np.testing.assert_array_equal(mixed[0], answers[0])
    assert mixed[1].sum() == pytest.approx(1.0)
    assert mixed[1, recipe.classes.index("neutral")] == pytest.approx(0.75 * 0.8)
    assert mixed[1, 4] == pytest.approx(0.25 + 0.75 * 0.2 / 7)


def test_each_utterance_of_a_recording_has_its_own_embedding(
    encoder: Path, tmp_path: Path, synthetic_corpora: Path
) -> None:
    import soundfile

    from training.prepare import utterances

    some = sorted((synthetic_corpora / "ravdess").rglob("*.wav"))[:2]
    parts, rate = [], 0
    for path in some:
        samples, rate = soundfile.read(path, dtype="float32")
        parts += [samples, np.zeros(2 * rate, dtype=np.float32)]
    recording = tmp_path / "recording.wav"
    soundfile.write(recording, np.concatenate(parts), rate)
    count = len(utterances(recording)[1])
    assert count == 2
    clips = [
        Clip(
            path=recording,
            corpus="ordinary",
            speaker="x",
            emotion="neutral",
            cut="utterances",
            key=f"recording.wav#{number}",
        )
        for number in range(count)
    ]
    teacher = Teacher(encoder, (0, 2))
    first, second = teacher.embed(clips, longest_s=4.0, cache=tmp_path / "cache")
    assert not np.allclose(first, second)
    again = teacher.embed(clips[::-1], longest_s=4.0, cache=tmp_path / "cache")
    np.testing.assert_array_equal(again, [second, first])
    assert len(list(tmp_path.glob("cache/*/*/*.npy"))) == count
