"""What is wrong in a recipe is an error with its line, not another training or a late failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from serd.errors import ConfigError
from training.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
DEFAULT = (RECIPES / "default.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("written", "misspelt", "told"),
    [
        (
            "remembers: [ravdess, crema_d]",
            "remembers: [ravdess, cremad]",
            "start.remembers has cremad, which is not under corpora",
        ),
        (
            "repeats: { ravdess: 3 }",
            "repeats: { ravdes: 3 }",
            "start.pretraining.teaching.head.repeats has ravdes, which is not under start.pre",
        ),
        (
            "shares: { ravdess: 0.35,",
            "shares: { ravdes: 0.35,",
            "start.pretraining.shares has ravdes, which is not under corpora",
        ),
        (
            "corpora: [ravdess, crema_d, nemo]",
            "corpora: [ravdess, crema_d, nemoo]",
            "home.corpora has nemoo, which is not under corpora",
        ),
        (
            "masked: { neutral: [calm] }",
            "masked: { neutrl: [calm] }",
            "corpora.crema_d.masked has neutrl, which is not one of neutral, calm, happy",
        ),
        (
            "masked: { neutral: [calm] }",
            "masked: { neutral: [clam] }",
            "corpora.crema_d.masked has clam, which is not one of neutral, calm, happy",
        ),
        (
            "target: { neutral: 0.75, calm: 0.08 }",
            "target: { neutral: 0.75, clam: 0.08 }",
            "corpora.ordinary.target has clam, which is not one of neutral, calm, happy",
        ),
        (
            "seed: 1\n",
            "seed: 1\nlabels: [neutral, hapy]\n",
            "labels has hapy, which is not one of neutral, calm, happy",
        ),
    ],
)
def test_a_misspelt_name_is_an_error(
    tmp_path: Path, written: str, misspelt: str, told: str
) -> None:
    assert DEFAULT.count(written) == 1
    file = tmp_path / "mine.yaml"
    file.write_text(DEFAULT.replace(written, misspelt), encoding="utf-8")
    key = told.partition(" ")[0].rpartition(".")[2]
    line = DEFAULT[: DEFAULT.index(written)].count("\n") + 1 + (key == "labels")
    with pytest.raises(ConfigError) as caught:
        load_recipe(file)
    assert f"mine.yaml, line {line}: {told}" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "wrong", "told"),
    [
        (
            "cross_corpora: [emodb]",
            "cross_corpora: [emodb, nemo]",
            "cross_corpora has nemo, which is under corpora: it would be tested on speakers that",
        ),
        (
            "target: { neutral: 0.75, calm: 0.08 }",
            "target: { neutral: 0.75, calm: 0.8 }",
            "corpora.ordinary.target has shares that add up to 1.55, above 1",
        ),
        (
            "keep: [1.0, 1.0, 1.0,",
            "keep: [1.0, 1.0,",
            "start.keep has 8 numbers for a network of 9 layers: give one number, or 9",
        ),
        (
            "  frozen: 6\n",
            "  frozen: 9\n",
            "start.frozen is 9, and the network has 9 layers: leave at least the last one",
        ),
        (
            "corpora: [ravdess, crema_d, nemo]",
            "corpora: [ravdess, ordinary]",
            "home.corpora has ordinary, in which nobody acts an emotion",
        ),
        ("seed: 1\n", "seed: -1\n", "seed is '-1', which is not valid"),
        (
            "placements: [-4, -2, 2, 4]",
            "placements: [-4, 188]",
            "placements has 188, and the input has 188 frames",
        ),
        (
            "placements: [-4, -2, 2, 4]",
            "placements: [2, 2]",
            "placements is not 1 to 16 different numbers of frames",
        ),
        (
            "speeds: [1.0, 0.88,",
            "speeds: [0.88,",
            "preparation is not valid (speeds does not begin",
        ),
        (
            "frames: [40, 188]",
            "frames: [188, 40]",
            "sounds is not valid (frames is [188, 40]: the lower number comes first)",
        ),
        (
            "rates: { low: 2, normal: 6, high: 10 }",
            "rates: { low: 2, normal: 6 }",
            "home is not valid (rates lacks high)",
        ),
        (
            "rates: { low: 2, normal: 6, high: 10 }",
            "rates: { low: 2, normal: 6, high: 5 }",
            "home is not valid (rates must not fall from low to normal to high)",
        ),
        (
            "ordinary_share: 0.8",
            "ordinary_share: 1.0",
            "home is not valid (ordinary_share is 1: it must lie between 0 and 1)",
        ),
        (
            "habituation: { remembered: 200,",
            "habituation: { remembered: 5000,",
            "home.habituation is not valid (remembered is 5000: at most 2000)",
        ),
        (
            "corpora: [ravdess, crema_d, nemo]",
            "corpora: []",
            "home is not valid (corpora names none, so temperature could not be fitted)",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_at_once(
    tmp_path: Path, written: str, wrong: str, told: str
) -> None:
    assert DEFAULT.count(written) == 1
    file = tmp_path / "mine.yaml"
    file.write_text(DEFAULT.replace(written, wrong), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(file)
    assert "mine.yaml, line " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("reverb: { rt60_s: [0.0, 1.1] }", "rt60_s begins with 0: it must be above 0"),
        ("noise: { snr_db: [40.0, 3.0] }", "snr_db is [40, 3]: the lower number comes first"),
        ("band_limit: { low_hz: [0.0, 400.0] }", "low_hz begins with 0: it must be above 0"),
        ("equaliser: { tilt_db: [6.0, -6.0] }", "tilt_db is [6, -6]: the lower number comes"),
        ("gain_db: [6.0, -20.0]", "gain_db is [6, -20]: the lower number comes first"),
    ],
)
def test_a_span_that_cannot_be_drawn_from_is_an_error(
    tmp_path: Path, wrong: str, told: str
) -> None:
    text = (RECIPES / "ravdess-alone.yaml").read_text("utf-8")
    before = text[: text.index("\naugmentation:")]
    file = tmp_path / "mine.yaml"
    file.write_text(f"{before}\naugmentation:\n  {wrong}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(file)
    assert told in str(caught.value)
