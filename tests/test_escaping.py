"""Untrusted text cannot inject control sequences into a terminal, or lines into a log."""

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
from serd.audio import SAMPLE
from serd.cli.terminal import EventFormatter
from serd.config.schema import LogConfig
from serd.escaping import escape_controls
from tests.events.making import event
from tests.system.node import run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\nserd: all is well\r\u202e"
"""Sets the title, clears the screen, changes the colour and fakes a line."""

CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@given(st.text())
def test_no_control_characters_remain(text: str) -> None:
    escaped = escape_controls(text)
    assert escaped.isprintable() or not CONTROLS.search(escaped)
    assert "\n" not in escaped
    assert escape_controls(escaped) == escaped
    assert not CONTROLS.search(escape_controls(text, lines=True).replace("\t", ""))
    assert json.loads(escape_controls(json.dumps(text, ensure_ascii=False))) == text


def test_ordinary_text_is_unchanged() -> None:
    for text in ("Küche", "寝室", "Ванная 🛁", "a\\u001b", "it's 20 °C"):
        assert escape_controls(text) == text


def test_events_of_a_hostile_node_are_escaped() -> None:
    lines = EventFormatter()
    lines.add_node("kitchen")
    hostile = msgspec.structs.replace(event(), node=EVIL, emotion="sad\x1b[8m")
    assert not CONTROLS.search(lines.format_event(hostile, 120).plain)


def test_hostile_file_names_are_escaped(tmp_path: Path) -> None:
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
            assert not CONTROLS.search(stream), stream
            assert "\nserd: all is well" not in stream
    assert json.loads(done.stdout.splitlines()[0])["path"] == str(good)


def test_keys_values_and_path_of_a_configuration_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text('"\\e[2Jkey": 1\nnode: "\\e]0;x\\a"\n"a\\nserd: all is well": 1\n')
    done = run_serd("--config", str(path), "config", "validate", home=tmp_path)
    assert done.returncode == 78
    assert not CONTROLS.search(done.stderr), done.stderr
    named = run_serd("--config", str(tmp_path / "\x1b[2J.yaml"), "config", "show", home=tmp_path)
    assert named.returncode == 78
    assert not CONTROLS.search(named.stderr), named.stderr


@pytest.fixture
def log_output() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    yield stream
    logging.basicConfig(force=True)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_log_messages_are_escaped(kind: str, log_output: io.StringIO) -> None:
    settings = msgspec.convert({"format": kind}, LogConfig)
    logs.configure(settings, stream=log_output)
    logging.getLogger("serd.x").warning("no device answers to %s", EVIL)
    logging.getLogger("serd.x").warning("a fault", exc_info=ValueError(EVIL))
    text = log_output.getvalue()
    assert not CONTROLS.search(text), text
    assert not any(line.startswith("serd: all is well") for line in text.splitlines())
    assert len(text.splitlines()) == (3 if kind == "text" else 2)


def test_commands_print_only_through_echo() -> None:
    """`echo` escapes what it prints."""
    folder = Path(serd.__file__).parent / "cli"
    for path in folder.glob("*.py"):
        if path.name != "terminal.py":
            assert "click.echo(" not in path.read_text(), path
            assert "click.secho(" not in path.read_text(), path
