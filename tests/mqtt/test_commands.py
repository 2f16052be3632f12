"""Commands: ON and OFF are obeyed, in any case; everything else is harmless, and said so."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.logs import RepeatedWarnings
from serd.mqtt.commands import (
    Command,
    Commands,
    encode_switch,
    mute_command,
    parse_sensitivity,
    parse_switch,
    parse_word,
    sensitivity_command,
)
from tests.broker import wait_until

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
    running = Commands([mute_command(TOPIC, switch)])
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
    "payload", [b"", b" ", b"ON\0", b"OFFF", b"OF", b"O N", b"1", b"true", b'"ON"', b"\xff\xfe",
                b"ON" * 100_000, b" " * 100_000 + b"ON", b"O\xcc\x82N"],
)  # fmt: skip
def test_anything_else_is_ignored(commands: Commands, switch: Switch, payload: bytes) -> None:
    assert not commands.receive(TOPIC, payload, retained=False)
    assert commands.receive(TOPIC, b"OFF", retained=False)
    switch.wait(False)
    assert commands.ignored == 1


@pytest.mark.parametrize("on", [b"ON", b"on", b"On", b"oN", b" ON ", b"on\n", b"\tON\r\n"])
@pytest.mark.parametrize("off", [b"OFF", b"off", b"Off", b" off ", b"OFF\n"])
def test_any_case_and_white_space(
    commands: Commands, switch: Switch, on: bytes, off: bytes
) -> None:
    assert commands.receive(TOPIC, on, retained=False)
    switch.wait(True)
    assert commands.receive(TOPIC, off, retained=False)
    switch.wait(True, False)
    assert commands.ignored == 0


@given(st.binary())
def test_only_two_words_mean_something(payload: bytes) -> None:
    expected = {b"on": True, b"off": False}.get(payload.strip().lower())
    assert parse_switch(payload) is expected


def test_a_word_of_another_command() -> None:
    assert parse_word(b" Normal\n") == "normal"
    assert parse_word(b"\xe4") is None
    assert parse_word(b"x" * 65) is None


@given(st.binary() | st.sampled_from([b" LOW", b"Normal\n", b"hIgH\t"]))
def test_only_three_words_are_a_sensitivity(payload: bytes) -> None:
    word = payload.strip().lower()
    expected = word.decode() if word in {b"low", b"normal", b"high"} else None
    assert parse_sensitivity(payload) == expected


def test_a_sensitivity_is_obeyed_and_anything_else_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    topic = "serd/attic/sensitivity/set"
    running = Commands([sensitivity_command(topic, told.append)])
    running.start()
    for payload in (b"bold", b"", b"0.5", b'"low"', b"lowhigh"):
        assert not running.receive(topic, payload, retained=False)
    assert not running.receive(topic, b"low", retained=True)
    assert running.receive(topic, b" High\n", retained=False)
    wait_until(lambda: told == ["high"])
    running.stop(TIMEOUT_S)
    assert running.ignored == 6
    assert "'bold' is none of low, normal and high" in caplog.text


def test_encode_is_the_inverse() -> None:
    assert [parse_switch(encode_switch(on)) for on in (True, False)] == [True, False]


def test_retained_command_is_not_obeyed(
    commands: Commands, switch: Switch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not commands.receive(TOPIC, b"OFF", retained=True)
    assert "without the retain flag" in caplog.text
    assert commands.receive(TOPIC, b"ON", retained=False)
    switch.wait(True)


class Clock:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_every_ignored_command_is_warned_of_again_after_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    warnings = RepeatedWarnings(logging.getLogger("serd.mqtt.commands"), clock=clock)
    commands = Commands([mute_command(TOPIC, lambda _on: None)], warnings=warnings)
    for _ in range(50):
        commands.receive(TOPIC, b"\x1b[2Jrubbish" * 100, retained=False)
    commands.receive("serd/attic/else", b"x", retained=False)
    first = warned(caplog)
    assert len(first) == 2
    assert "\x1b" not in first[0]  # nothing that a terminal would obey
    assert len(first[0]) < 250
    assert commands.ignored == 51
    clock.now += 61
    warnings.flush()  # nobody sends any more: what was counted is told all the same
    assert warned(caplog)[2:] == [f"{first[0]} (49 times in the last 61 s)"]
    warnings.flush()
    commands.receive(TOPIC, b"Mute", retained=False)
    assert len(warned(caplog)) == 3  # within the minute: counted
    clock.now += 60
    commands.receive(TOPIC, b"Mute", retained=False)
    assert warned(caplog)[3] == (
        "ignored a message on serd/attic/mute/set: 'Mute' is neither ON nor OFF "
        "(2 times in the last 60 s)"
    )
    assert commands.ignored == 53


def test_invented_topics_fill_no_log(commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        commands.receive(f"serd/attic/{number}\x1b[2J", b"ON", retained=False)
    (text,) = warned(caplog)
    assert "\x1b" not in text


def test_invented_kinds_fill_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    warnings = RepeatedWarnings(logging.getLogger("serd"), clock=clock)
    for number in range(1000):
        warnings.warn(str(number), f"kind {number}")
    assert len(caplog.records) == 65  # 64 kinds, and one for all others
    clock.now += 61
    warnings.warn("new", "a kind of its own again")
    assert warned(caplog)[65:] == ["a kind of its own again"]


def test_commands_that_wait_are_kept_in_order_and_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A command whose every message counts, beside the switch; the switch is not held up twice."""

    def read(payload: bytes) -> int:
        try:
            return int(payload)
        except ValueError:
            raise ValueError("is no number") from None

    told: list[int] = []
    done = threading.Event()

    def obey(number: int) -> None:
        told.append(number)
        if number == 9:
            done.set()

    number = Command(topic="serd/attic/number", read=read, obey=obey, title="count", waiting=4)
    commands = Commands([mute_command(TOPIC, lambda _on: None), number])
    assert commands.topics == [TOPIC, number.topic]
    for count in range(10):  # not started yet: all of them wait
        assert commands.receive(number.topic, str(count).encode(), retained=False)
    assert not commands.receive(number.topic, b"ten", retained=False)
    commands.start()
    assert done.wait(TIMEOUT_S)
    commands.stop(TIMEOUT_S)
    assert told == [6, 7, 8, 9]
    assert commands.ignored == 7
    assert "faster than they can be carried out" in warned(caplog)[0]


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
    assert "the command to mute or unmute failed" in caplog.text


def test_stop_without_start() -> None:
    Commands([]).stop(1.0)
