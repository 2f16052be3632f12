"""Learning from corrections, compared with plain gradient descent on the same objective."""

from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from serd.model.adaptation import (
    FLOOR,
    MOST,
    Adaptation,
    Example,
    fit,
    log_scores,
    strength,
    temperature,
)
from serd.model.emotions import EMOTIONS
from serd.model.metadata import ScoreStatistics

Floats = npt.NDArray[np.float64]

CLASSES = len(EMOTIONS)
STANDARD = ScoreStatistics(
    mean={name: 0.1 * place - 0.3 for place, name in enumerate(EMOTIONS)},
    spread={name: 1.5 + 0.1 * place for place, name in enumerate(EMOTIONS)},
)


def some_scores(seed: int, count: int) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(CLASSES, 0.4), count)


def some_examples(seed: int, count: int, *, unnamed: float = 0.3) -> list[Example]:
    rng = np.random.default_rng(seed + 1)
    examples = []
    for scores in some_scores(seed, count):
        predicted = int(scores.argmax())
        corrected = int(rng.choice([place for place in range(CLASSES) if place != predicted]))
        denial_only = rng.random() < unnamed
        examples.append(
            Example(
                scores=tuple(scores),
                emotion=None if denial_only else corrected,
                denied=predicted,
                passed=int(rng.integers(5)),
            )
        )
    return examples


def by_descent(examples: list[Example], held: float, steps: int = 20_000) -> Floats:
    """The same optimum by plain gradient descent on the loss given in the module's docstring."""
    mean = np.array([STANDARD.mean[name] for name in EMOTIONS])
    spread = np.array([STANDARD.spread[name] for name in EMOTIONS])
    delta = np.zeros((CLASSES + 1, CLASSES))
    inputs = []
    for example in examples:
        logs = np.array([math.log(max(score, FLOOR)) for score in example.scores])
        logs -= logs.mean()
        phi = np.append((logs - mean) / (spread * math.sqrt(CLASSES)), 1.0)
        inputs.append((logs, phi))
    logs = np.array([one for one, _ in inputs])
    phi = np.array([one for _, one in inputs])
    for _ in range(steps):
        odds = np.exp(logs + phi @ delta)
        now = odds / odds.sum(axis=1, keepdims=True)
        slope = np.empty_like(now)
        for row, example in enumerate(examples):
            if example.emotion is not None:
                slope[row] = now[row]
                slope[row, example.emotion] -= 1.0
            else:
                # Of -log(1 - p[denied]).
                share = now[row, example.denied] / (1.0 - now[row, example.denied])
                slope[row] = -now[row] * share
                slope[row, example.denied] = now[row, example.denied]
        delta -= 0.02 * (phi.T @ slope + held * delta)
    return delta


@pytest.mark.parametrize("count", [1, 7, 40])
@pytest.mark.slow
def test_the_fit_matches_plain_gradient_descent(count: int) -> None:
    examples = some_examples(3, count)
    fitted = fit(examples, EMOTIONS, STANDARD, held=4.0)
    assert fitted is not None
    assert fitted.corrections == count
    assert np.abs(fitted.delta - by_descent(examples, 4.0)).max() < 2e-3


def test_without_examples_there_is_no_adaptation() -> None:
    assert fit([], EMOTIONS, STANDARD) is None


@pytest.mark.parametrize("standard", [STANDARD, None])
def test_a_correction_changes_similar_utterances_and_hardly_any_others(
    standard: ScoreStatistics | None,
) -> None:
    scores = np.full(CLASSES, 0.02)
    scores[4], scores[2] = 0.6, 0.26  # angry, happy
    far = np.full(CLASSES, 0.004)
    far[3] = 0.972  # sad
    example = Example(scores=tuple(scores), emotion=2, denied=4)
    fitted = fit([example] * 5, EMOTIONS, standard)
    assert fitted is not None
    assert probabilities(fitted, scores).argmax() == 2
    assert probabilities(fitted, far)[3] > 0.9


def test_a_denial_lowers_the_denied_emotion_and_keeps_the_likeliest_other() -> None:
    scores = np.array([0.1, 0.02, 0.12, 0.1, 0.5, 0.1, 0.04, 0.02])
    fitted = fit([Example(scores=tuple(scores), emotion=None, denied=4)] * 8, EMOTIONS, STANDARD)
    assert fitted is not None
    after = probabilities(fitted, scores)
    assert after[4] < 0.3
    others = [place for place in range(CLASSES) if place != 4]
    assert after[others].argmax() == scores[others].argmax()


def test_extreme_scores_give_finite_results() -> None:
    edge = np.zeros(CLASSES)
    edge[0] = 1.0
    fitted = fit(
        [
            Example(scores=tuple(edge), emotion=4, denied=0),
            Example(scores=tuple(edge), emotion=None, denied=0),
        ],
        EMOTIONS,
        STANDARD,
    )
    assert fitted is not None
    assert np.isfinite(fitted.delta).all()
    logs = np.full(CLASSES, -700.0)
    logs[0] = 0.0
    assert np.isfinite(fitted.shift(logs)).all()


def test_a_batch_is_shifted_like_its_rows() -> None:
    fitted = fit(some_examples(5, 12), EMOTIONS, STANDARD)
    assert fitted is not None
    logs = np.log(some_scores(9, 6) + 1e-6)
    together = fitted.shift(logs)
    assert together == pytest.approx(np.array([fitted.shift(row) for row in logs]))


def test_the_prior_is_stronger_the_more_utterances_were_left_uncorrected() -> None:
    def strength_of(count: int, passed: int) -> float:
        return strength([Example(scores=(1.0,), emotion=0, passed=passed)] * count)

    assert strength_of(20, 1) == pytest.approx(2 * 40 / 30)
    assert strength_of(100, 0) == 2.0  # the minimum
    assert strength_of(1, 0) == pytest.approx(2 * 20 / 11)
    assert strength_of(50, 20) == 8.0  # the maximum
    assert strength_of(1, 10_000) == strength_of(1, 20)  # capped: perhaps nobody was looking


def test_fitting_is_deterministic() -> None:
    examples = some_examples(7, 30)
    some, again = fit(examples[:10], EMOTIONS, STANDARD), fit(examples[:10], EMOTIONS, STANDARD)
    assert some is not None
    assert again is not None
    assert (some.delta == again.delta).all()


def test_the_maximum_number_of_corrections_fits_in_little_memory() -> None:
    examples = some_examples(1, MOST + 5)
    tracemalloc.start()
    begun = time.process_time()
    fitted = fit(examples, EMOTIONS, STANDARD)
    took = time.process_time() - begun
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{MOST} corrections: {took * 1000:.0f} ms of processor time, {peak / 1e6:.1f} MB")
    assert fitted is not None
    assert fitted.corrections == MOST
    assert peak < 16e6


def test_log_scores_are_floored_and_centred() -> None:
    logs = log_scores(np.array([1.0, 0.0, 0.0005]))
    assert logs.sum() == pytest.approx(0.0)
    assert logs[0] - logs[1] == pytest.approx(-math.log(FLOOR))
    assert logs[1] == logs[2]


def test_the_temperature_starts_at_one() -> None:
    assert temperature(0) == 1.0
    assert all(0.5 < temperature(count) <= 1.0 for count in (1, 10, 100, MOST))


@pytest.mark.parametrize(
    ("mean", "spread"),
    [
        ({"happy": 0.0}, {"happy": 1.0}),
        ({"happy": 0.0, "sad": 0.0}, {"happy": 1.0}),
        ({"happy": 0.0, "sad": 0.0}, {"happy": 1.0, "sad": 0.0}),
        ({"happy": 99.0, "sad": 0.0}, {"happy": 1.0, "sad": 1.0}),
        ({"happy": math.nan, "sad": 0.0}, {"happy": 1.0, "sad": 1.0}),
    ],
)
def test_invalid_score_statistics_are_rejected(
    mean: dict[str, float], spread: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match="personal"):
        ScoreStatistics(mean=mean, spread=spread).check(["happy", "sad"])


def probabilities(fitted: Adaptation, scores: Floats) -> Floats:
    shifted = fitted.shift(np.log(scores))
    odds = np.exp(shifted - shifted.max())
    return np.asarray(odds / odds.sum())
