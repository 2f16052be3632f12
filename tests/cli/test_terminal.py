"""tail, history, classify and run on a real terminal, at common widths."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from serd.audio import SAMPLE
from serd.events.event import encode
from serd.events.journal import Journal
from tests.broker import Recorder, mosquitto
from tests.mqtt.samples import journalled, new_event
from tests.terminal import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from serd.events.event import Event

pytestmark = [pytest.mark.slow, pytest.mark.broker]


def numbered(number: int, node: str, emotion: str = "happy") -> Event:
    return msgspec.structs.replace(new_event(number, node=node), seq=number, emotion=emotion)


def event_lines(screen: list[str]) -> list[str]:
    return [line for line in screen if re.match(r"\d\d:\d\d:\d\d ", line)]


@pytest.mark.parametrize("columns", [80, 140])
def test_tail_survives_a_broker_restart(columns: int, tmp_path: Path) -> None:
    with Journal(tmp_path / ".local" / "state" / "serd" / "journal.db") as journal:
        journalled(journal, 3)
    with (
        mosquitto(tmp_path) as broker,
        terminal(tmp_path, columns, "tail", "--set", f"mqtt.port={broker.port}") as window,
    ):
        broker.wait_log("Sending SUBACK to serd-follower")
        with Recorder(broker.port) as other:
            other.publish("serd/attic/emotion", encode(numbered(1, "attic")))
            other.publish("serd/hall/emotion", encode(numbered(7, "hall", "angry")))
            screen = window.wait(lambda lines: len(event_lines(lines)) == 5)
        assert "serd: connected" in screen
        newest = event_lines(screen)[-1]
        assert re.match(r"\d\d:\d\d:\d\d  hall +angry      30% █", newest)
        # The level is aligned with the right edge.
        assert len(newest) == columns
        assert newest.endswith(" -32 dB")
        assert all(len(line) <= columns for line in screen)

        broker.restart(kill=True)
        window.wait("trying again until it works")
        window.wait(lambda lines: lines.count("serd: connected") == 2)
        broker.wait_log("Sending SUBACK to serd-follower")
        with Recorder(broker.port) as other:
            other.publish("serd/hall/emotion", encode(numbered(10, "hall", "calm")))
            screen = window.wait(lambda lines: len(event_lines(lines)) == 6)
        assert "serd: hall: 2 events were missed; `serd history` there has them" in screen
        assert re.match(r"\d\d:\d\d:\d\d  hall +calm ", event_lines(screen)[-1])
        coloured = window.screen(colours=True)
        assert any("\x1b[1m\x1b[31m" in line and "angry" in line for line in coloured)
        window.press("C-c")
        screen = window.wait("exit 0")
        assert "Traceback" not in "\n".join(screen)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_tail_without_colour(env: dict[str, str], tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path) as broker,
        terminal(tmp_path, 80, "tail", "--set", f"mqtt.port={broker.port}", env=env) as window,
    ):
        broker.wait_log("Sending SUBACK to serd-follower")
        with Recorder(broker.port) as other:
            other.publish("serd/attic/emotion", encode(numbered(1, "attic")))
            window.wait(" happy ")
        shown = "\n".join(window.screen(colours=True))
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)


@pytest.mark.parametrize("columns", [80, 140])
def test_history(columns: int, tmp_path: Path) -> None:
    with Journal(tmp_path / ".local" / "state" / "serd" / "journal.db") as journal:
        journalled(journal, 5)
        journalled(journal, 5, node="kitchen")
    arguments = ("history", "--since", "2020-01-01")
    with terminal(tmp_path, columns, *arguments) as window:
        screen = window.wait("exit 0")
    lines = [line for line in screen if line.startswith("2026-01-01 00:00:")]
    assert len(lines) == 10
    assert {len(line) for line in lines} == {columns}
    assert {line[21:28] for line in lines} == {"attic  ", "kitchen"}
    assert {line[30:35] for line in lines} == {"happy"}


def test_classify_prints_aligned_lines_as_history_does(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / "recordings of the family" / "in the kitchen" / name
        folder.mkdir(parents=True)
        shutil.copy(SAMPLE, folder / "talk.ogg")
    german = {"LANGUAGE": "", "LC_ALL": "", "LANG": "de_DE.UTF-8", "LC_MESSAGES": "de_DE.UTF-8"}
    with terminal(tmp_path, 80, "classify", "recordings of the family", env=german) as window:
        screen = window.wait("exit 0")
    rows = [line for line in screen if "talk.ogg" in line]
    assert {line.split()[0] for line in rows} == {"a/talk.ogg", "b/talk.ogg"}
    assert all(len(line) <= 80 and line.endswith("dB") for line in rows)
    assert len({line.index("%") for line in rows}) == 1
    assert any("wütend" in line for line in rows)
    assert not any("━" in line for line in screen)  # the progress bar has been erased


def test_run_shows_events_unless_quiet(tmp_path: Path) -> None:
    run = ("run", "--source", str(SAMPLE), "--pace", "fast", "--set", "mqtt.port=1")
    with terminal(tmp_path, 80, *run) as window:
        screen = window.wait(lambda lines: sum(line.endswith("dB") for line in lines) > 3)
        assert all(len(line) <= 80 for line in screen)
        window.press("C-c")
        window.wait("exit 0")
    with terminal(tmp_path, 80, *run, "--quiet") as window:
        window.wait("Ctrl-C to leave")
        window.press("C-c")
        assert not any(line.endswith("dB") for line in window.wait("exit 0"))
