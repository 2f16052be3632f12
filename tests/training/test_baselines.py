"""The published systems on made-up speech: quick, and with nothing to learn but that they run."""

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
    """Six actors of made-up speech, a clip of each class."""
    whole = read_corpus("ravdess", synthetic_corpora)
    once = tuple(clip for clip in whole.clips if clip.name.split("-")[5] == "01")
    return msgspec.structs.replace(whole, clips=once)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def ravdess() -> tuple[Corpus, np.ndarray[Any, Any]]:
    """The size of RAVDESS, without sound: 24 actors, half as many neutral clips."""
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


def small(name: str, tmp_path: Path) -> Baseline:
    """A system with one epoch to learn in."""
    system = SYSTEMS[name]
    if name == "serd":
        recipe = tmp_path / "tiny.yaml"
        recipe.write_bytes(msgspec.yaml.encode(tiny_recipe(steps=3)))
        return replace(system, recipe=str(recipe))  # type: ignore[type-var]
    return replace(system, epochs=1) if hasattr(system, "epochs") else system  # type: ignore[type-var]


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "transfer"])
def test_every_system_trains_and_answers_with_its_own_classes(
    name: str, corpus: Corpus, source: Source, tmp_path: Path
) -> None:
    system = small(name, tmp_path)
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


def test_the_transfer_system_listens_with_a_frozen_encoder(
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
    heard = msgspec.structs.replace(source, teacher=str(tmp_path / "tiny"))
    assert system.prepare(corpus.clips, heard).shape == (48, 2 * 2 * 16)
    task = Task(system="transfer", protocol="random", number=0)
    assert 0.0 <= run_one(task, system, corpus, heard).accuracy <= 1.0


def test_the_networks_are_as_large_as_their_authors_say() -> None:
    assert Ann().build(18_816).count_params() == pytest.approx(2.42e6, abs=0.005e6)
    assert Cnn2d().build(128, 147, 1).count_params() == pytest.approx(1.02e6, abs=0.005e6)
    assert Cnn1dAugmented().build(128, 147).count_params() == pytest.approx(1.15e6, abs=0.005e6)


def test_published_figures_are_those_of_their_authors() -> None:
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
def test_no_speaker_is_on_two_sides_of_a_fold(
    name: str, fold: int, ravdess: tuple[Corpus, np.ndarray[Any, Any]]
) -> None:
    whole, _ = ravdess
    system = SYSTEMS[name]
    corpus = corpus_of(system, whole)
    labels = np.array([system.about.emotions.index(clip.emotion) for clip in corpus.clips])
    sides = speaker_split(system, corpus, labels, fold)
    speakers = [
        {corpus.clips[place].speaker for place in side}
        for side in (sides.train, sides.validation, sides.test)
    ]
    assert speakers[2] == set(load_folds("ravdess")[fold - 1])
    assert speakers[0].isdisjoint(speakers[1] | speakers[2])
    assert speakers[1].isdisjoint(speakers[2])
    assert len(speakers[1]) == (3 if system.chooses else 0)
    assert set().union(*speakers) == {clip.speaker for clip in corpus.clips}
    assert sides.leaked == 0
    assert len(set(sides.test)) == len(sides.test)  # a test clip counts once


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_random_split_is_the_authors(
    name: str, ravdess: tuple[Corpus, np.ndarray[Any, Any]]
) -> None:
    from sklearn.model_selection import train_test_split

    whole, _ = ravdess
    system = SYSTEMS[name]
    corpus = corpus_of(system, whole)
    labels = np.array([system.about.emotions.index(clip.emotion) for clip in corpus.clips])
    share, seed = (0.1, 9) if name == "mlp-3" else (0.2, 42 if name.endswith("-mfcc") else 1)
    first, second = (random_split(system, labels, number) for number in (0, 1))
    items = system.items(labels, seed)
    train, test = train_test_split(items, test_size=share, random_state=seed)
    assert (first.train.tolist(), first.test.tolist()) == (train.tolist(), test.tolist())
    assert first.test.tolist() != second.test.tolist()
    assert len(first.test) == -(-len(items) * round(10 * share) // 10)
    assert first.validation.tolist() == first.test.tolist()
    # And it does what is wrong with it: everybody is on both sides.
    speakers = [{corpus.clips[p].speaker for p in side} for side in (first.train, first.test)]
    assert speakers[0] >= speakers[1]


def test_oversampling_fills_the_neutral_class_and_leaks(
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


def test_copies_are_shifted_and_masked_but_the_first_is_not() -> None:
    x = np.ones((3, 4, 128, 147), np.float32) * np.arange(1, 5, dtype=np.float32)[:, None, None]
    made = augmented(x, np.random.default_rng(1))
    assert made.shape == (15, 128, 147)
    assert (made[:6] == 1.0).all()  # the clips, and the copies by 0 half-tones
    for number, copy in ((2, made[6:9]), (3, made[9:12]), (4, made[12:15])):
        assert set(np.unique(copy)) == {0.0, float(number)}
    assert (x == np.arange(1, 5)[:, None, None]).all()
    spectrogram = np.ones((128, 147), np.float32)
    mask(spectrogram, np.random.default_rng(2))
    frames, bands = (~spectrogram.any(axis=axis) for axis in (0, 1))
    assert 15 <= frames.sum() <= 4 * 49
    assert 5 <= bands.sum() <= 4 * 14


def test_slow_systems_come_last_and_share_the_time() -> None:
    tasks = make_tasks(list(SYSTEMS), ("random", "speakers"), seeds=2)
    assert len(tasks) == len(set(tasks)) == 12 * (2 + 5)
    slow = [SYSTEMS[task.system].slow for task in tasks]
    assert slow == sorted(slow)
    first = [task for task in tasks if SYSTEMS[task.system].slow][:10]
    assert len({task.system for task in first}) == 5
    assert {(task.protocol, task.number) for task in first} == {("random", 0), ("speakers", 1)}


def test_names_are_checked() -> None:
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


def test_what_is_done_is_not_done_again(corpus: Corpus, source: Source, tmp_path: Path) -> None:
    systems = {"majority": Counting()}
    Counting.trained.clear()
    tasks = make_tasks(["majority"], ("random", "speakers"), seeds=3, folds=2)

    def run(tasks: list[Task], known: tuple[Result, ...] = ()) -> list[Result]:
        folder = tmp_path / "runs"
        return run_all(tasks, corpus, source, folder, systems=systems, known=known)

    first = run(tasks[:2])
    assert len(Counting.trained) == 2
    every = run(tasks)  # broken off, and gone on with
    assert len(Counting.trained) == len(tasks) == 5
    assert every[:2] == first
    assert [one.task for one in every] == tasks
    assert run(tasks) == every
    assert len(Counting.trained) == 5
    # In a fresh checkout the committed figures count; of other settings they do not.
    for file in (tmp_path / "runs").iterdir():
        file.unlink()
    stale = msgspec.structs.replace(every[0], settings="another")
    assert len(run(tasks, known=(stale, *every[1:]))) == 5
    assert len(Counting.trained) == 6
    assert [one.task for one in kept(tmp_path / "runs")] == [tasks[0]]


def test_other_settings_are_another_result() -> None:
    assert settings_of(MlpMfcc()) != settings_of(MlpMfcc(epochs=3))
    assert settings_of(SYSTEMS["serd"]) == settings_of(SYSTEMS["serd"])


def test_the_same_seed_gives_the_same_result(corpus: Corpus, source: Source) -> None:
    task = Task(system="cnn1d-mfcc", protocol="random", number=0)
    once, again = (run_one(task, Cnn1dMfcc(epochs=2), corpus, source) for _ in range(2))
    assert msgspec.structs.replace(once, minutes=0.0) == msgspec.structs.replace(again, minutes=0.0)
    other = run_one(msgspec.structs.replace(task, number=1), Cnn1dMfcc(epochs=2), corpus, source)
    assert other.curves != once.curves


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


def test_figures_are_kept_task_by_task_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "baselines.json"
    assert read_figures(file) is None
    old = write_figures(file, [result("tree", "random", 0, 0.3)], None, "RAVDESS", 1439)
    new = [result("tree", "random", 0, 0.4), result("tree", "random", 1, 0.2)]
    write_figures(file, new, old, "RAVDESS", 1439)
    found = read_figures(file)
    assert found is not None
    assert [(one.task.number, one.accuracy) for one in found.results] == [(0, 0.4), (1, 0.2)]
    assert len(json.loads(file.read_text())["results"]) == 2


def test_the_table_says_what_was_reached_how_often_and_what_is_missing() -> None:
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


def test_the_committed_page_is_made_of_the_committed_figures() -> None:
    figures = read_figures(REPOSITORY / "training" / "results" / "baselines.json")
    assert figures is not None
    page = (REPOSITORY / "docs" / "baselines.md").read_text(encoding="utf-8")
    assert page == render(figures), "serd-train baselines --table"
    assert {one.task.system for one in figures.results} <= set(SYSTEMS)


def test_no_committed_fold_has_a_speaker_on_two_sides() -> None:
    figures = read_figures(REPOSITORY / "training" / "results" / "baselines.json")
    assert figures is not None
    folds = load_folds("ravdess")
    for one in figures.results:
        if one.task.protocol == "speakers":
            sides = [set(one.speakers[side]) for side in ("train", "watched", "test")]
            assert not sides[0] & (sides[1] | sides[2])
            assert not sides[1] & sides[2]
            assert sides[2] == {f"ravdess/{name}" for name in folds[one.task.number - 1]}


def test_the_command_trains_goes_on_and_writes_page_and_pictures(
    synthetic_corpora: Path, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from training.cli.main import main

    places: list[str | Path] = [
        "--run",
        tmp_path / "runs",
        "--results",
        tmp_path / "baselines.json",
    ]
    places += ["--out", tmp_path / "docs" / "baselines.md"]
    where: list[str | Path] = [
        "--corpora",
        synthetic_corpora,
        "--cache",
        tmp_path / "cache",
        "--jobs",
        "1",
    ]

    def run(*arguments: str | Path) -> str:
        done = CliRunner().invoke(main, ["baselines", *map(str, (*arguments, *places))])
        assert done.exit_code == 0, done.output
        return done.output

    run("--only", "majority", "--protocol", "random", "--seeds", "1", *where)
    said = run("--only", "majority", "--protocol", "random", "--seeds", "2", *where)
    assert "baselines: 1 of 2" in said  # the first was there
    page = tmp_path / "docs" / "baselines.md"
    assert page.read_text().count("| `majority` | Hoopes, 2024 | 13.3 |") == 1
    for ending in ("png", "svg"):
        assert (tmp_path / "docs" / "figures" / f"baselines-accuracy.{ending}").stat().st_size
    before = page.read_text()
    page.unlink()
    run("--table")  # without corpora
    assert page.read_text() == before
    refused = CliRunner().invoke(main, ["baselines", "--only", "forest"])
    assert refused.exit_code == UsageError("").exit_code
    assert "forest" in refused.output
