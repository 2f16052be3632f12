"""Nothing from outside reaches a terminal as a command, or a log as a line of its own."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import serd
from serd import logs
from serd.cli.terminal import EventFormatter
from serd.config.schema import LogConfig
from serd.escaping import escape_controls
from tests.events.making import event
from tests.system.node import SAMPLE, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\nserd: all is well\r\u202e"
"""Sets the title, clears the screen, colours, and pretends to be another line."""

COMMANDS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    said = escape_controls(text)
    assert said.isprintable() or not COMMANDS.search(said)
    assert "\n" not in said
    assert escape_controls(said) == said
    assert not COMMANDS.search(escape_controls(text, lines=True).replace("\t", ""))
    assert json.loads(escape_controls(json.dumps(text, ensure_ascii=False))) == text


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("Küche", "寝室", "Ванная 🛁", "a\\u001b", "it's 20 °C"):
        assert escape_controls(text) == text


def test_an_event_of_a_hostile_node() -> None:
    lines = EventFormatter()
    lines.add_node("kitchen")
    hostile = msgspec.structs.replace(event(), node=EVIL, emotion="sad\x1b[8m")
    assert not COMMANDS.search(lines.format_event(hostile, 120).plain)


def test_files_with_names_that_are_no_names(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    name = EVIL.replace("/", "")
    good, bad = folder / f"{name}.ogg", folder / f"{name}bad.wav"
    good.write_bytes(SAMPLE.read_bytes())
    bad.write_bytes(b"no sound")
    latin = os.fsencode(folder) + b"/\xe4\x1b.wav"
    Path(os.fsdecode(latin)).write_bytes(b"no sound either")
    for more in ((), ("--json",)):
        done = run_serd("classify", str(good), str(bad), os.fsdecode(latin), *more, home=tmp_path)
        assert done.returncode == 66
        for stream in (done.stdout, done.stderr):
            assert not COMMANDS.search(stream), stream
            assert "\nserd: all is well" not in stream
    assert json.loads(done.stdout.splitlines()[0])["path"] == str(good)


def test_keys_and_values_of_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text('"\\e[2Jkey": 1\nnode: "\\e]0;x\\a"\n"a\\nserd: all is well": 1\n')
    done = run_serd("--config", str(path), "config", "validate", home=tmp_path)
    assert done.returncode == 78
    assert not COMMANDS.search(done.stderr), done.stderr
    named = run_serd("--config", str(tmp_path / "\x1b[2J.yaml"), "config", "show", home=tmp_path)
    assert named.returncode == 78
    assert not COMMANDS.search(named.stderr), named.stderr


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    yield stream
    logging.basicConfig(force=True)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_the_log(kind: str, written: io.StringIO) -> None:
    settings = msgspec.convert({"format": kind}, LogConfig)
    logs.configure(settings, stream=written)
    logging.getLogger("serd.x").warning("no device answers to %s", EVIL)
    logging.getLogger("serd.x").warning("a fault", exc_info=ValueError(EVIL))
    text = written.getvalue()
    assert not COMMANDS.search(text), text
    assert not any(line.startswith("serd: all is well") for line in text.splitlines())
    assert len(text.splitlines()) == (3 if kind == "text" else 2)


def test_commands_print_in_one_place() -> None:
    """Whatever a command prints goes through `echo`, which escapes it."""
    folder = Path(serd.__file__).parent / "cli"
    for path in folder.glob("*.py"):
        if path.name != "terminal.py":
            assert "click.echo(" not in path.read_text(), path
            assert "click.secho(" not in path.read_text(), path
