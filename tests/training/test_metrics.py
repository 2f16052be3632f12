from __future__ import annotations

import numpy as np
import pytest

from training.evaluate import metrics

TRUTH = ["sad", "sad", "sad", "sad", "happy", "happy", "calm"]
PREDICTED = ["sad", "sad", "sad", "calm", "happy", "sad", "sad"]


def test_uar_weights_classes_equally() -> None:
    assert metrics.accuracy(TRUTH, PREDICTED) == pytest.approx(4 / 7)
    assert metrics.recalls(TRUTH, PREDICTED) == {"calm": 0.0, "happy": 0.5, "sad": 0.75}
    assert metrics.uar(TRUTH, PREDICTED) == pytest.approx((0.0 + 0.5 + 0.75) / 3)


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    assert metrics.confusion(TRUTH, PREDICTED, ["sad", "happy", "calm"]) == [
        [3, 0, 1],
        [1, 1, 0],
        [1, 0, 0],
    ]


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.array([0.95] * 10 + [0.55] * 10)
    right = np.array([True] * 9 + [False] + [True] * 3 + [False] * 7)
    assert metrics.calibration_error(confidence, right) == pytest.approx(
        0.5 * abs(0.9 - 0.95) + 0.5 * abs(0.3 - 0.55)
    )


def test_error_by_chance_matches_a_simulation_and_shrinks_with_more_clips() -> None:
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        confidence = random.uniform(0.3, 1.0, size=300)
        drawn.append(metrics.calibration_error(confidence, random.random(300) < confidence))
    table = metrics.reliability(confidence, random.random(300) < confidence)
    assert metrics.error_by_chance(table) == pytest.approx(np.mean(drawn), rel=0.1)
    more = {key: [10 * one for one in values] for key, values in table.items()}
    assert metrics.error_by_chance(more) == pytest.approx(
        metrics.error_by_chance(table) / np.sqrt(10)
    )


def test_abstaining_keeps_the_most_confident_predictions() -> None:
    confidence = np.array([0.9, 0.3, 0.8, 0.4])
    right = np.array([True, False, True, False])
    assert metrics.accuracy_at_coverage(confidence, right, 0.5) == 1.0
    assert metrics.accuracy_at_coverage(confidence, right, 1.0) == 0.5
    weights = np.full(4, 0.25)
    threshold = metrics.threshold_for_coverage(confidence, 0.5, weights)
    assert (confidence >= threshold).mean() == 0.5


def test_the_threshold_respects_the_weights_of_clips() -> None:
    confidence = np.array([0.9, 0.8, *[0.5] * 8, *[0.4] * 10])
    weights = np.array([0.25, 0.25, *[0.5 / 18] * 18])
    assert metrics.threshold_for_coverage(confidence, 0.5, weights) == 0.8


def test_the_temperature_of_the_logits_is_recovered() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 5)) * 2.0
    chances = metrics.softmax(logits)
    truth = np.array([random.choice(5, p=row) for row in chances])
    accepted = np.eye(5, dtype=bool)[truth]
    weights = np.full(4000, 1 / 4000)
    assert metrics.best_temperature(logits, accepted, weights) == pytest.approx(1.0, abs=0.06)
    assert metrics.best_temperature(logits * 2.0, accepted, weights) == pytest.approx(2.0, abs=0.1)


def test_similar_emotions_share_a_group() -> None:
    groups = {metrics.group_of(name) for name in ("neutral", "calm")}
    assert len(groups) == 1
    assert metrics.group_of("happy") == metrics.group_of("surprised") != metrics.group_of("sad")
    assert len({metrics.group_of(name) for name in ("angry", "fearful", "disgust")}) == 1
