"""The files, headings, commands, options and keys that the docs mention exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from serd.cli.main import cli
from serd.config.keys import KEYS, SECTIONS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub generates for the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_link_targets_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configuration_keys_exist(page: Path) -> None:
    sections = "|".join(name for name in SECTIONS if name and "." not in name)
    text = without_code(page.read_text())
    for name in re.findall(rf"`((?:{sections})\.[a-z_.]+)`", text):
        if name.rpartition(".")[2] in {"db", "json", "md", "py", "safetensors", "tflite", "yaml"}:
            continue
        assert name in KEYS or name in SECTIONS, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    for line in re.findall(r"(?:`|^|/)serd ([^`\n]+)", page.read_text(), re.MULTILINE):
        words = line.split("|")[0].split("#")[0].split()
        command: click.Command = cli
        known: set[str] = set()
        plain = [word for word in words if not word.startswith("-")]
        for word in plain:
            if not isinstance(command, click.Group):
                break
            sub = command.get_command(click.Context(command), word)
            if sub is None:
                break
            command = sub
        if command is cli and plain:
            continue  # "serd speaks MQTT" at the start of a line is prose, not a command
        for some in (cli, command):
            known |= {name for one in some.params for name in one.opts}
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(words)):
            assert option in known | {"--help", "--version"}, f"serd {line}"
