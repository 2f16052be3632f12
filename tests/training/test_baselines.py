"""The published systems on synthetic speech: tests that they train and predict, not how well."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serd.errors import UsageError
from serd.model.emotions import EMOTIONS
from tests.training.recipes import tiny_recipe
from training.baselines import SYSTEMS, ciutacu
from training.baselines.ciutacu import Cnn1dMfcc, MlpMfcc
from training.baselines.hoopes import Ann, Cnn1dAugmented, Cnn2d, Majority, augmented, mask
from training.baselines.page import CLOSE, render
from training.baselines.results import Figures, Result, Task, read_figures, write_figures
from training.baselines.runner import (
    check_names,
    corpus_of,
    kept,
    make_tasks,
    random_split,
    run_all,
    run_one,
    speaker_split,
)
from training.baselines.system import Baseline, Source, settings_of
from training.corpora import Clip, Corpus, read_corpus
from training.dataset import load_folds

pytest.importorskip("tensorflow")
pytest.importorskip("librosa")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.tensorflow

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(synthetic_corpora: Path) -> Corpus:
    """Six actors of synthetic speech, one clip of each class."""
    whole = read_corpus("ravdess", synthetic_corpora)
    once = tuple(clip for clip in whole.clips if clip.name.split("-")[5] == "01")
    return msgspec.structs.replace(whole, clips=once)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def ravdess() -> tuple[Corpus, np.ndarray[Any, Any]]:
    """A corpus as large as RAVDESS, without audio: 24 actors, half as many neutral clips."""
    clips = [
        Clip(
            path=Path(f"{actor:02d}-{emotion}-{take}.wav"),
            corpus="ravdess",
            speaker=f"{actor:02d}",
            emotion=emotion,
            sex="m" if actor % 2 else "f",
        )
        for actor in range(1, 25)
        for emotion in EMOTIONS
        for take in range(4 if emotion == "neutral" else 8)
    ]
    corpus = Corpus(name="ravdess", title="", licence="", source="", clips=tuple(clips))
    return corpus, np.array([EMOTIONS.index(clip.emotion) for clip in clips])


def small_system(name: str, tmp_path: Path) -> Baseline:
    """A system that trains for one epoch."""
    system = SYSTEMS[name]
    if name == "serd":
        recipe = tmp_path / "tiny.yaml"
        recipe.write_bytes(msgspec.yaml.encode(tiny_recipe(steps=3)))
        return replace(system, recipe=str(recipe))  # type: ignore[type-var]
    return replace(system, epochs=1) if hasattr(system, "epochs") else system  # type: ignore[type-var]


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "transfer"])
def test_every_system_trains_and_predicts_its_own_classes(
    name: str, corpus: Corpus, source: Source, tmp_path: Path
) -> None:
    system = small_system(name, tmp_path)
    result = run_one(Task(system=name, protocol="speakers", number=1), system, corpus, source)
    tested = [clip for clip in corpus_of(system, corpus).clips if clip.speaker in {"02", "05"}]
    assert result.clips["test"] == len(tested)
    assert sum(map(sum, result.confusion)) == len(tested)
    assert [sum(row) for row in result.confusion] == [
        sum(clip.emotion == label for clip in tested) for label in system.about.emotions
    ]
    assert result.labels == list(system.about.emotions)
    assert result.speakers["test"] == ["ravdess/02", "ravdess/05"]
    assert bool(result.clips["watched"]) is system.chooses
    assert set(result.by_group) == {"f", "m", "normal"}
    assert set(result.variants) == ({"float32", "of three"} if name == "serd" else set())


def test_the_transfer_system_trains_on_encoder_embeddings(
    corpus: Corpus, source: Source, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (the extra `teacher`)")
    pytest.importorskip("transformers", reason="needs transformers (the extra `teacher`)")
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from training.baselines.hoopes import Transfer

    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32,
        num_mel_bins=80, max_source_positions=1500,
    )  # fmt: skip
    WhisperEncoder(config).save_pretrained(tmp_path / "tiny")
    system = Transfer(epochs=1, layers=(1, 2))
    with_teacher = msgspec.structs.replace(source, teacher=str(tmp_path / "tiny"))
    assert system.prepare(corpus.clips, with_teacher).shape == (48, 2 * 2 * 16)
    task = Task(system="transfer", protocol="random", number=0)
    assert 0.0 <= run_one(task, system, corpus, with_teacher).accuracy <= 1.0


def test_networks_have_the_published_number_of_parameters() -> None:
    assert Ann().build(18_816).count_params() == pytest.approx(2.42e6, abs=0.005e6)
    assert Cnn2d().build(128, 147, 1).count_params() == pytest.approx(1.02e6, abs=0.005e6)
    assert Cnn1dAugmented().build(128, 147).count_params() == pytest.approx(1.15e6, abs=0.005e6)


def test_published_accuracy_of_every_system() -> None:
    published = {name: system.about.published for name, system in SYSTEMS.items()}
    assert published == {
        "majority": 0.133,
        "tree": 0.306,
        "ann": 0.45,
        "cnn2d": 0.42,
        "cnn1d-augmented": 0.51,
        "transfer": None,
        "mlp-mfcc": None,
        "cnn1d-mfcc": 0.60,
        "lstm-mfcc": 0.51,
        "mlp-3": 0.793,
        "dense-7": 0.57,
        "serd": None,
    }


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_train_validation_and_test_speakers_of_a_fold_are_disjoint(
    name: str, fold: int, ravdess: tuple[Corpus, np.ndarray[Any, Any]]
) -> None:
    ravdess_corpus, _ = ravdess
    system = SYSTEMS[name]
    corpus = corpus_of(system, ravdess_corpus)
    labels = np.array([system.about.emotions.index(clip.emotion) for clip in corpus.clips])
    split = speaker_split(system, corpus, labels, fold)
    speakers = [
        {corpus.clips[place].speaker for place in part}
        for part in (split.train, split.validation, split.test)
    ]
    assert speakers[2] == set(load_folds("ravdess")[fold - 1])
    assert speakers[0].isdisjoint(speakers[1] | speakers[2])
    assert speakers[1].isdisjoint(speakers[2])
    assert len(speakers[1]) == (3 if system.chooses else 0)
    assert set().union(*speakers) == {clip.speaker for clip in corpus.clips}
    assert split.leaked == 0
    assert len(set(split.test)) == len(split.test)  # no test clip is repeated


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_random_split_equals_that_of_the_authors(
    name: str, ravdess: tuple[Corpus, np.ndarray[Any, Any]]
) -> None:
    from sklearn.model_selection import train_test_split

    ravdess_corpus, _ = ravdess
    system = SYSTEMS[name]
    corpus = corpus_of(system, ravdess_corpus)
    labels = np.array([system.about.emotions.index(clip.emotion) for clip in corpus.clips])
    share, seed = (0.1, 9) if name == "mlp-3" else (0.2, 42 if name.endswith("-mfcc") else 1)
    first, second = (random_split(system, labels, number) for number in (0, 1))
    items = system.items(labels, seed)
    train, test = train_test_split(items, test_size=share, random_state=seed)
    assert (first.train.tolist(), first.test.tolist()) == (train.tolist(), test.tolist())
    assert first.test.tolist() != second.test.tolist()
    assert len(first.test) == -(-len(items) * round(10 * share) // 10)
    assert first.validation.tolist() == first.test.tolist()
    # The flaw of a random split: every test speaker is also in the training set.
    speakers = [{corpus.clips[p].speaker for p in part} for part in (first.train, first.test)]
    assert speakers[0] >= speakers[1]


def test_oversampling_balances_the_neutral_class_and_leaks_copies(
    ravdess: tuple[Corpus, np.ndarray[Any, Any]],
) -> None:
    _, labels = ravdess
    items = ciutacu.oversample(labels, 42)
    assert len(items) == 1536
    assert Counter(labels[items].tolist()) == dict.fromkeys(range(8), 192)
    copied = [place for place, count in Counter(items.tolist()).items() if count > 1]
    assert {EMOTIONS[labels[place]] for place in copied} == {"neutral"}
    assert random_split(Cnn1dMfcc(), labels, 0).leaked > 0
    assert random_split(Ann(), labels, 0).leaked == 0


def test_shifted_copies_are_masked_and_unshifted_ones_are_not() -> None:
    x = np.ones((3, 4, 128, 147), np.float32) * np.arange(1, 5, dtype=np.float32)[:, None, None]
    copies = augmented(x, np.random.default_rng(1))
    assert copies.shape == (15, 128, 147)
    assert (copies[:6] == 1.0).all()  # the clips, and their copies that are not shifted
    for number, copy in ((2, copies[6:9]), (3, copies[9:12]), (4, copies[12:15])):
        assert set(np.unique(copy)) == {0.0, float(number)}
    assert (x == np.arange(1, 5)[:, None, None]).all()
    spectrogram = np.ones((128, 147), np.float32)
    mask(spectrogram, np.random.default_rng(2))
    frames, bands = (~spectrogram.any(axis=axis) for axis in (0, 1))
    assert 15 <= frames.sum() <= 4 * 49
    assert 5 <= bands.sum() <= 4 * 14


def test_slow_systems_run_last_and_take_turns() -> None:
    tasks = make_tasks(list(SYSTEMS), ("random", "speakers"), seeds=2)
    assert len(tasks) == len(set(tasks)) == 12 * (2 + 5)
    slow = [SYSTEMS[task.system].slow for task in tasks]
    assert slow == sorted(slow)
    first = [task for task in tasks if SYSTEMS[task.system].slow][:10]
    assert len({task.system for task in first}) == 5
    assert {(task.protocol, task.number) for task in first} == {("random", 0), ("speakers", 1)}


def test_system_names_are_validated_and_ordered() -> None:
    assert check_names([]) == list(SYSTEMS)
    assert check_names(["tree", "majority"]) == ["majority", "tree"]
    with pytest.raises(UsageError, match="forest"):
        check_names(["forest"])


class Counting(Majority):
    """Counts how often it is trained."""

    trained: list[int] = []  # noqa: RUF012

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        self.trained.append(1)
        return super().fit(*args, **kwargs)


def test_finished_tasks_are_not_repeated(corpus: Corpus, source: Source, tmp_path: Path) -> None:
    systems = {"majority": Counting()}
    Counting.trained.clear()
    tasks = make_tasks(["majority"], ("random", "speakers"), seeds=3, folds=2)

    def run(tasks: list[Task], known: tuple[Result, ...] = ()) -> list[Result]:
        folder = tmp_path / "runs"
        return run_all(tasks, corpus, source, folder, systems=systems, known=known)

    first = run(tasks[:2])
    assert len(Counting.trained) == 2
    everything = run(tasks)  # the finished tasks are reused
    assert len(Counting.trained) == len(tasks) == 5
    assert everything[:2] == first
    assert [one.task for one in everything] == tasks
    assert run(tasks) == everything
    assert len(Counting.trained) == 5
    # A fresh checkout reuses the committed figures, but not those made with other settings.
    for file in (tmp_path / "runs").iterdir():
        file.unlink()
    stale = msgspec.structs.replace(everything[0], settings="another")
    assert len(run(tasks, known=(stale, *everything[1:]))) == 5
    assert len(Counting.trained) == 6
    assert [one.task for one in kept(tmp_path / "runs")] == [tasks[0]]


def test_the_settings_key_changes_with_the_settings() -> None:
    assert settings_of(MlpMfcc()) != settings_of(MlpMfcc(epochs=3))
    assert settings_of(SYSTEMS["serd"]) == settings_of(SYSTEMS["serd"])


def test_the_same_seed_gives_the_same_result(corpus: Corpus, source: Source) -> None:
    task = Task(system="cnn1d-mfcc", protocol="random", number=0)
    first, second = (run_one(task, Cnn1dMfcc(epochs=2), corpus, source) for _ in range(2))
    assert msgspec.structs.replace(first, minutes=0.0) == msgspec.structs.replace(
        second, minutes=0.0
    )
    other = run_one(msgspec.structs.replace(task, number=1), Cnn1dMfcc(epochs=2), corpus, source)
    assert other.curves != first.curves


def result(system: str, protocol: Any, number: int, accuracy: float) -> Result:
    return Result(
        task=Task(system=system, protocol=protocol, number=number),
        settings=settings_of(SYSTEMS[system]),
        seed=1,
        accuracy=accuracy,
        uar=accuracy - 0.01,
        train_accuracy=1.0,
        clips={"train": 1151, "watched": 288, "test": 288},
        leaked=0,
        speakers={"train": [], "watched": [], "test": []},
        labels=list(SYSTEMS[system].about.emotions),
        confusion=[[1]],
        by_group={"f": 0.3, "m": 0.2},
        by_speaker={"01": 0.3, "02": 0.1},
        variants={},
        curves={},
        minutes=0.5,
    )


def test_new_figures_replace_old_ones_of_the_same_task(tmp_path: Path) -> None:
    file = tmp_path / "baselines.json"
    assert read_figures(file) is None
    old = write_figures(file, [result("tree", "random", 0, 0.3)], None, "RAVDESS", 1439)
    new = [result("tree", "random", 0, 0.4), result("tree", "random", 1, 0.2)]
    write_figures(file, new, old, "RAVDESS", 1439)
    figures = read_figures(file)
    assert figures is not None
    assert [(one.task.number, one.accuracy) for one in figures.results] == [(0, 0.4), (1, 0.2)]
    assert len(json.loads(file.read_text())["results"]) == 2


def test_the_table_shows_means_counts_and_missing_runs() -> None:
    figures = Figures(
        corpus="RAVDESS (speech)",
        clips=1439,
        versions={"python": "3"},
        results=[
            *(result("tree", "random", number, 0.30 + 0.02 * number) for number in range(3)),
            *(result("tree", "speakers", fold, 0.25) for fold in (1, 2)),
            result("ann", "random", 0, 0.45 - CLOSE - 0.01),
        ],
    )
    page = render(figures)
    assert "| `tree` | Hoopes, 2024 | 30.6 | 32.0 ± 2.0 | 3 | 25.0 ± 0.0 | 24.0 ± 0.0 | 2 |" in page
    assert "| `ann` | Hoopes, 2024 | 45.0 | 42.0 | 1 | not run yet | not run yet |  |" in page
    assert "| `cnn2d` | Hoopes, 2024 | 42.0 | not run yet |" in page
    assert "3.0 points below the published 45.0 %" in page
    assert page.count("**Not reached.**") == 1


def test_the_committed_page_matches_the_committed_figures() -> None:
    figures = read_figures(REPOSITORY / "training" / "results" / "baselines.json")
    assert figures is not None
    page = (REPOSITORY / "docs" / "baselines.md").read_text(encoding="utf-8")
    assert page == render(figures), "out of date: run serd-train baselines --table"
    assert {one.task.system for one in figures.results} <= set(SYSTEMS)


def test_speakers_are_disjoint_in_every_committed_fold() -> None:
    figures = read_figures(REPOSITORY / "training" / "results" / "baselines.json")
    assert figures is not None
    folds = load_folds("ravdess")
    for one in figures.results:
        if one.task.protocol == "speakers":
            parts = [set(one.speakers[part]) for part in ("train", "watched", "test")]
            assert not parts[0] & (parts[1] | parts[2])
            assert not parts[1] & parts[2]
            assert parts[2] == {f"ravdess/{name}" for name in folds[one.task.number - 1]}


def test_the_command_trains_resumes_and_writes_the_page_and_figures(
    synthetic_corpora: Path, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from training.cli.main import main

    outputs: list[str | Path] = [
        "--run",
        tmp_path / "runs",
        "--results",
        tmp_path / "baselines.json",
    ]
    outputs += ["--out", tmp_path / "docs" / "baselines.md"]
    corpora: list[str | Path] = [
        "--corpora",
        synthetic_corpora,
        "--cache",
        tmp_path / "cache",
        "--jobs",
        "1",
    ]

    def run(*arguments: str | Path) -> str:
        result = CliRunner().invoke(main, ["baselines", *map(str, (*arguments, *outputs))])
        assert result.exit_code == 0, result.output
        return result.output

    run("--only", "majority", "--protocol", "random", "--seeds", "1", *corpora)
    output = run("--only", "majority", "--protocol", "random", "--seeds", "2", *corpora)
    assert "baselines: 1 of 2" in output  # the first run is reused
    page = tmp_path / "docs" / "baselines.md"
    assert page.read_text().count("| `majority` | Hoopes, 2024 | 13.3 |") == 1
    for ending in ("png", "svg"):
        assert (tmp_path / "docs" / "figures" / f"baselines-accuracy.{ending}").stat().st_size
    before = page.read_text()
    page.unlink()
    run("--table")  # without corpora
    assert page.read_text() == before
    rejected = CliRunner().invoke(main, ["baselines", "--only", "forest"])
    assert rejected.exit_code == UsageError("").exit_code
    assert "forest" in rejected.output
