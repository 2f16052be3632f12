"""A name that a recipe misspells is an error, not another training."""

from __future__ import annotations

from pathlib import Path

import pytest

from serd.errors import ConfigError
from training.recipe import load_recipe

DEFAULT = (Path(__file__).parents[2] / "training/recipes/default.yaml").read_text("utf-8")


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
