"""The code blocks in docs/home-assistant.md, which the tests run verbatim."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, Final

import yaml

GUIDE: Final = Path(__file__).parents[2] / "docs" / "home-assistant.md"

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_ENTITY = re.compile(r"\b(?:event|sensor|binary_sensor|switch|select|button)\.serd_\w+")


def blocks(language: str) -> list[str]:
    """The text of each block in this language, in order."""
    return [textwrap.dedent(match[3]) for match in _BLOCK.finditer(_text()) if match[2] == language]


def automations() -> list[dict[str, Any]]:
    """All automations."""
    loaded = [yaml.safe_load(block) for block in blocks("yaml")]
    return [entry for block in loaded if isinstance(block, list) for entry in block]


def cards() -> list[dict[str, Any]]:
    """All dashboard cards."""
    loaded = [yaml.safe_load(block) for block in blocks("yaml")]
    return [block for block in loaded if isinstance(block, dict) and "type" in block]


def entities() -> set[str]:
    """Every serd entity that the guide names."""
    return set(_ENTITY.findall(_text()))


def table(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its header."""
    section = _text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows[2:]]


def _text() -> str:
    return GUIDE.read_text("utf-8")
