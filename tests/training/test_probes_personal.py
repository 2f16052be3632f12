"""Simulated households with synthetic scores: voices whose errors a constant shift corrects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serd.model.adaptation import Example, fit
from serd.model.decision import Decision
from serd.model.emotions import EMOTIONS
from serd.model.model_file import ModelFile
from training.corpora import Clip
from training.probes.personal import (
    Household,
    ScoredClips,
    Situation,
    at_home,
    curve,
    shares,
    standard_of,
)
from training.report.personal import in_page, lines

CLASSES = ("neutral", "happy", "sad", "angry")


def scored_voices(*, shift: float, speakers: int = 5, sentences: int = 10) -> ScoredClips:
    """Voices whose logit for anger is too high by ``shift``."""
    rng = np.random.default_rng(3)
    clips, scores = [], []
    for speaker in range(speakers):
        for sentence in range(sentences):
            for emotion in CLASSES:
                logits = rng.normal(0, 0.7, len(EMOTIONS))
                logits[EMOTIONS.index(emotion)] += 2.0
                logits[EMOTIONS.index("angry")] += shift
                odds = np.exp(logits)
                scores.append(odds / odds.sum())
                clips.append(
                    Clip(path=Path(f"{speaker}_{emotion}_{sentence}.wav"), corpus="made",
                         speaker=str(speaker), emotion=emotion, text=str(sentence))
                )  # fmt: skip
    return ScoredClips(clips, np.array(scores), EMOTIONS)


def test_corrections_reduce_a_constant_error_and_random_ones_gain_less() -> None:
    voices = scored_voices(shift=3.0, sentences=16)
    corrected = curve(voices, None, 4, "all", 4)
    assert corrected["corrections"] >= 20
    assert corrected["20"]["mean"] > 0.03
    assert corrected["20"]["worse"] == 0.0
    assert corrected["20"]["count"] >= 3
    random = curve(voices, None, 4, "random", 4)
    assert random["end"]["mean"] < corrected["end"]["mean"]


@pytest.mark.parametrize("situation", ["all", "third", "not", "wrong", "random", "neutral"])
def test_a_household_is_tested_on_half_of_its_sentences(situation: Situation) -> None:
    voices = scored_voices(shift=1.5)
    household = Household(voices, None, 1, situation, np.random.default_rng(1))
    assert len(set(voices.voices[household.tested])) == 1
    assert len(set(voices.texts[household.tested])) == 5
    assert household.answers[0].shape == (20, len(EMOTIONS))
    assert household.answers["end"].sum(axis=1) == pytest.approx(1.0)


def test_calm_counts_as_neutral_in_a_corpus_without_calm() -> None:
    voices = scored_voices(shift=0.0)
    scores = np.zeros((2, len(EMOTIONS)))
    scores[0, EMOTIONS.index("calm")] = scores[1, EMOTIONS.index("sad")] = 1.0
    assert list(voices.classes(scores)) == [EMOTIONS.index("neutral"), EMOTIONS.index("sad")]


def test_score_statistics_are_valid_for_the_models_classes() -> None:
    statistics = standard_of(EMOTIONS, scored_voices(shift=0.0).scores)
    statistics.check(EMOTIONS)
    assert abs(sum(statistics.mean.values())) < 0.01


def test_scores_of_recordings_become_those_that_the_daemon_publishes() -> None:
    file = ModelFile.load()
    assert file.info.home is not None
    outputs = np.random.default_rng(4).normal(size=(20, len(file.labels)), scale=3).astype("f4")
    recorded = Decision(file.labels, file.info, stated="even")
    published = Decision(file.labels, file.info)
    even, expected = (
        np.array([[one.decide(row).scores[name] for name in file.labels] for row in outputs])
        for one in (recorded, published)
    )
    assert np.abs(even - expected).max() > 0.1
    np.testing.assert_allclose(at_home(published, even), expected, atol=1e-9)


def test_a_higher_temperature_lowers_confidence_and_keeps_the_top_class() -> None:
    voices = scored_voices(shift=2.0)
    household = Household(voices, None, 4, "all", np.random.default_rng(1))
    assert household.corrections > 5
    adaptation = fit([Example(scores=tuple(voices.scores[0]), emotion=2)], EMOTIONS, None)
    assert adaptation is not None
    plain, flat = (
        shares(adaptation, voices.scores),
        shares(adaptation, voices.scores, temperature=3.0),
    )
    assert (plain.argmax(1) == flat.argmax(1)).all()
    assert flat.max(1).mean() < plain.max(1).mean()


def test_the_page_and_the_summary_lines_show_the_results() -> None:
    point = {"mean": 0.014, "sd": 0.02, "worse": 0.25, "much_worse": 0.1, "count": 12, "ece": 0.05,
             "ece_before": 0.04}  # fmt: skip
    one: dict[str, Any] = {"uar": 0.66, "corrections": 60.0, "5": point, "end": point}
    found: dict[str, Any] = {
        "model": {"name": "default", "version": "9"},
        "fold": 1,
        "temperature": {"0": 1.0},
        "test": {"crema_d": {"1": {"all": one}, "4": {"all": one, "not": one}}},
        "ordinary": {
            "sources": ["a", "b"],
            "corrections": {
                "0": {"events_per_hour": 300.0, "sd": 40.0},
                "5": {"events_per_hour": 100.0, "sd": 30.0},
            },
        },
    }
    page = in_page("# A\n<!-- probe: begin -->\nworn out\n<!-- probe: end -->\nB\n", found)
    assert "worn out" not in page
    assert page.endswith("<!-- probe: end -->\nB\n")
    assert '| CREMA-D, 4 people, only "not that" | 66.0 | +1.4 ± 2.0 (25%) | - |' in page
    assert "300 ± 40 without corrections, 100 ± 30 after 5" in page
    assert in_page(page, found) == page
    assert any("+1.4" in line for line in lines(json.loads(json.dumps(found))))
