"""The model card matches the committed figures, and the figures can be reproduced."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serd.model.emotions import EMOTIONS
from serd.model.model_file import ModelFile
from training.corpora import read_corpus
from training.dataset import held_out
from training.packing import summary
from training.recipe import load_recipe
from training.report import QUOTE_BEGIN, QUOTE_END, Sources, card, load_sources, write_quote
from training.report.plots import digest
from training.report.readme import quote

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "training" / "results"
RELEASED = sorted(
    file.stem
    for file in (REPOSITORY / "training" / "recipes").glob("*.yaml")
    if (RESULTS / f"{file.stem}.json").is_file()
)
"""Names of the shipped models."""


@pytest.fixture(scope="module")
def sources() -> Sources:
    return load_sources(RESULTS / "default.json")


@pytest.fixture(scope="module")
def figures(sources: Sources) -> dict[str, Any]:
    return sources.release


@pytest.mark.parametrize("name", RELEASED)
def test_the_committed_card_matches_the_figures(name: str) -> None:
    page = "model-card.md" if name == "default" else f"model-card-{name}.md"
    written = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    assert written == card(load_sources(RESULTS / f"{name}.json"))


@pytest.mark.parametrize("name", RELEASED)
def test_the_pictures_were_drawn_from_the_same_figures(name: str) -> None:
    found = load_sources(RESULTS / f"{name}.json")
    text = card(found)
    pictures = sorted(set(re.findall(r"\((figures/[^)]+)\.png\)", text)))
    assert pictures
    for picture in pictures:
        assert (REPOSITORY / "docs" / f"{picture}.png").is_file()
        drawn = (REPOSITORY / "docs" / f"{picture}.svg").read_text(encoding="utf-8")
        assert f"figures {digest(found)}" in drawn


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*-folds.json")), ids=lambda file: file.stem)
def test_every_run_was_tested_on_the_speakers_of_its_fold(file: Path) -> None:
    summary = json.loads(file.read_text(encoding="utf-8"))
    assert summary["done"] == len(summary["runs"])
    for run in summary["runs"]:
        for corpus, use in summary["recipe"]["corpora"].items():
            if use.get("target"):
                continue  # ordinary speech: not acted, so there is no accuracy
            tested = sorted(run["figures"][corpus]["speaker_accuracy"])
            wanted = held_out(corpus, fold=run["fold"])
            assert tested == sorted(wanted)


def test_the_card_names_the_teacher_and_its_licence(sources: Sources) -> None:
    figures = sources.release
    teaching = {"share": 0.7, "groups": 4, "gain": 2.0, "temperature": 2.0, "layers": [2, 3]}
    of_side = {"clips": 3, "accuracy": 0.5, "uar": 0.25, "confidence": 0.75}
    report = {"teacher": "somebody/large", "licence": "MIT", "training": {"ravdess": of_side}}
    with_it = {"teaching": report, "recipe": figures["recipe"] | {"teaching": teaching}}
    text = card(msgspec.structs.replace(sources, release=figures | with_it))
    assert "`somebody/large`" in text
    assert "under this licence: MIT." in " ".join(text.split())
    assert "| RAVDESS | taught | 3 | 0.5000 | 0.2500 | 0.7500 |" in text
    without = msgspec.structs.replace(
        sources, release=figures | {"teaching": None, "pretraining": None}
    )
    assert "from labels alone" in " ".join(card(without).split())


def test_the_card_names_the_revision_of_each_stage(sources: Sources) -> None:
    run = sources.release["run"] | {"git": "0123456789abcdef", "git_clean": True}

    def words(before: dict[str, Any] | None) -> str:
        release = sources.release | {"run": run, "pretraining": before}
        return " ".join(card(msgspec.structs.replace(sources, release=release)).split())

    earlier = {"run": run | {"git": "fedcba9876543210", "git_clean": False}, "teaching": None}
    expected = "revision `0123456789ab` (the first stage: `fedcba987654`, with changes)."
    assert expected in words(earlier)
    assert "revision `0123456789ab`." in words({"run": run, "teaching": None})
    assert "revision `0123456789ab`." in words(None)


def test_the_card_names_the_room_of_the_front_end(sources: Sources) -> None:
    recipe = sources.release["recipe"]

    def words(
        reverb: dict[str, float] | None, heard: str | dict[str, float] = "same", places: int = 1
    ) -> str:
        features = recipe["features"] | {"reverb": reverb}
        changed = recipe | {"features": features, "training_reverb": heard}
        changed["placements"] = list(range(places))
        release = sources.release | {"recipe": changed}
        return " ".join(card(msgspec.structs.replace(sources, release=release)).split())

    room = {"rt60_s": 0.25, "tail_db": -6.0}
    assert "artificial room (tail of 0.25 s, -6 dB)." in words(room)
    assert "utterance, in training, in these tests and at home, the front" in words(room)
    assert "tests and at home, but not in training, the front" in words(room, "none")
    other = {"rt60_s": 0.5, "tail_db": -3.0}
    told = "utterance, in these tests and at home, the front end adds the same artificial room"
    assert f"{told} (tail of 0.25 s, -6 dB; in training 0.5 s, -3 dB)." in words(room, other)
    assert "of its outputs counts" not in words(room)
    assert "The network is run at 4 places of the utterance" in words(room, places=4)
    assert "artificial room" not in words(None)


@pytest.mark.parametrize("name", RELEASED)
def test_the_training_page_lists_the_sources_of_ordinary_speech(name: str) -> None:
    page = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    speakers = load_recipe(name).corpora["ordinary"].speakers
    listed = re.findall(r"^\| (`[a-z0-9_`, ]+) \| \[.*github\.com", page, re.MULTILINE)
    folders = {one for cell in listed for one in re.findall(r"`(\w+)`", cell)}
    assert set(speakers) <= folders
    if name == "default":
        assert set(speakers) == folders - {"esc10", "ravdess", "crema_d"}
        assert "thirteen sources of ordinary speech" in page
        assert len(speakers) == 13


def test_readme_quotes_the_figures(sources: Sources) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"{QUOTE_BEGIN}\n\n{quote(sources)}\n\n{QUOTE_END}" in text


def test_a_page_without_markers_is_not_changed(sources: Sources, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# something else\n", encoding="utf-8")
    assert not write_quote(sources, page)
    assert page.read_text(encoding="utf-8") == "# something else\n"


@pytest.mark.parametrize("name", RELEASED)
def test_the_shipped_model_is_the_one_that_was_measured(name: str) -> None:
    figures, model = load_sources(RESULTS / f"{name}.json").release, ModelFile.load(name)
    assert hashlib.sha256(model.network).hexdigest() == figures["model"]["network_sha256"]
    assert model.size == figures["model"]["bytes"] <= 400_000
    assert model.labels == (tuple(figures["recipe"]["labels"]) or EMOTIONS)
    assert model.info.temperature == figures["calibration"]["temperature"]
    assert model.info.abstain_threshold == figures["calibration"]["abstain_threshold"]
    assert model.info.evaluation == summary(figures)


@pytest.mark.parametrize("name", RELEASED)
def test_no_test_speaker_was_used_for_training_or_validation(name: str) -> None:
    figures = load_sources(RESULTS / f"{name}.json").release
    split = figures["run"]["split"]
    assert not set(split["test"]) & {*split["train"], *split["validation"]}
    assert not set(split["train"]) & set(split["validation"])
    recipe = figures["recipe"]
    for corpus, one in figures["test"].items():
        folds = [recipe["fold"]] if recipe["fold"] else range(1, 6)
        tested = {name for fold in folds for name in held_out(corpus, fold=fold)}
        assert set(one["speakers"]) <= tested


@pytest.mark.corpora
@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["emodb"])
def test_serd_classify_reproduces_the_figures_of_the_card(
    corpus: str, figures: dict[str, Any], real_corpora: Path, tmp_path: Path
) -> None:
    wanted = figures["cross_corpus"][corpus]
    clips = {
        str(clip.path): clip.emotion
        for clip in read_corpus(corpus, real_corpora).clips
        if clip.speaker in wanted["speakers"]
    }
    command = [sys.executable, "-m", "serd", "classify", "--whole", "--json", *clips]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["path"] for line in lines] == list(clips)
    hits: dict[str, list[bool]] = {}
    for line in lines:
        predicted = max(line["scores"], key=lambda name: line["scores"][name])
        if predicted == "calm" and "calm" not in wanted["classes"]:
            predicted = "neutral"
        hits.setdefault(clips[line["path"]], []).append(predicted == clips[line["path"]])
    correct = [hit for of_class in hits.values() for hit in of_class]
    assert len(correct) == wanted["clips"]
    assert sum(correct) / len(correct) == wanted["accuracy"]
    recalls = [sum(hits[name]) / len(hits[name]) for name in sorted(hits)]
    assert sum(recalls) / len(recalls) == wanted["uar"]
