"""Commands: exactly ON and OFF are obeyed, everything else is harmless."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.mqtt.commands import Commands, encode_switch, parse_switch

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC = "serd/attic/mute/set"
TIMEOUT_S = 20.0


class Switch:
    """Remembers what it was told; may be held up."""

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.threads: set[str] = set()
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.news = threading.Condition()
        self.fail = False

    def __call__(self, on: bool) -> None:
        self.entered.set()
        assert self.go_on.wait(TIMEOUT_S)
        with self.news:
            self.told.append(on)
            self.threads.add(threading.current_thread().name)
            self.news.notify_all()
        if self.fail:
            raise OSError("the microphone is gone")

    def wait(self, *expected: bool) -> None:
        with self.news:
            assert self.news.wait_for(lambda: self.told == list(expected), TIMEOUT_S), self.told


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def commands(switch: Switch) -> Iterator[Commands]:
    running = Commands(TOPIC, switch)
    running.start()
    yield running
    switch.go_on.set()
    running.stop(TIMEOUT_S)


def test_on_and_off(commands: Commands, switch: Switch) -> None:
    assert commands.receive(TOPIC, b"ON", retained=False)
    switch.wait(True)
    assert commands.receive(TOPIC, b"OFF", retained=False)
    switch.wait(True, False)
    assert switch.threads == {"serd-mqtt-commands"}


@pytest.mark.parametrize(
    "payload", [b"", b"on", b"On", b"ON ", b" ON", b"ON\n", b"ON\0", b"OFFF", b"OF", b"1", b"true",
                b'"ON"', b"\xff\xfe", b"ON" * 100_000, b"O\xcc\x82N"],
)  # fmt: skip
def test_anything_else_is_ignored(commands: Commands, switch: Switch, payload: bytes) -> None:
    assert not commands.receive(TOPIC, payload, retained=False)
    assert commands.receive(TOPIC, b"OFF", retained=False)
    switch.wait(False)
    assert commands.ignored == 1


@given(st.binary())
def test_only_two_payloads_mean_something(payload: bytes) -> None:
    expected = {b"ON": True, b"OFF": False}.get(payload)
    assert parse_switch(payload) is expected


def test_encode_is_the_inverse() -> None:
    assert [parse_switch(encode_switch(on)) for on in (True, False)] == [True, False]


def test_retained_command_is_not_obeyed(
    commands: Commands, switch: Switch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not commands.receive(TOPIC, b"OFF", retained=True)
    assert "without the retain flag" in caplog.text
    assert commands.receive(TOPIC, b"ON", retained=False)
    switch.wait(True)


def test_one_warning_for_a_topic(commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        commands.receive(TOPIC, b"\x1b[2Jrubbish" * 100, retained=False)
    commands.receive("serd/attic/else", b"x", retained=False)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    text = warnings[0].getMessage()
    assert "\x1b" not in text  # nothing that a terminal would obey
    assert len(text) < 250
    assert commands.ignored == 51


def test_invented_topics_fill_no_log(commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        commands.receive(f"serd/attic/{number}", b"ON", retained=False)
    assert len(caplog.records) <= 32


def test_a_slow_switch_blocks_nobody_and_gets_the_latest(
    commands: Commands, switch: Switch
) -> None:
    switch.go_on.clear()
    commands.receive(TOPIC, b"ON", retained=False)
    assert switch.entered.wait(TIMEOUT_S)
    for payload in (b"OFF", b"ON", b"OFF", b"ON", b"OFF"):
        commands.receive(TOPIC, payload, retained=False)  # returns though the switch is held up
    switch.go_on.set()
    switch.wait(True, False)


def test_a_failing_switch_is_asked_again(
    commands: Commands, switch: Switch, caplog: pytest.LogCaptureFixture
) -> None:
    switch.fail = True
    commands.receive(TOPIC, b"ON", retained=False)
    switch.wait(True)
    switch.fail = False
    commands.receive(TOPIC, b"OFF", retained=False)
    switch.wait(True, False)
    assert "the command to mute failed" in caplog.text


def test_stop_without_start() -> None:
    Commands(TOPIC, lambda _on: None).stop(1.0)
