from __future__ import annotations

import re
from pathlib import Path

import yaml

from serd.config.keys import KEYS
from serd.config.loading import load
from tools.docs.configuration import markdown

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date_with_the_schema() -> None:
    assert PAGE.read_text() == markdown(), "run `make docs`"


def test_every_key_has_a_row() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", markdown(), re.MULTILINE)
    assert {row for row in rows if row in KEYS} == set(KEYS)


def test_every_table_row_has_all_columns() -> None:
    for line in markdown().splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line


def test_its_examples_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    examples = re.findall(r"```yaml\n(.*?)```", markdown(), re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        path.write_text(example)
        (key,) = yaml.safe_load(example)
        assert getattr(load(path, env={}).config, key)
