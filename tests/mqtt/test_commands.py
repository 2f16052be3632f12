"""Commands: ON and OFF are obeyed in any case; everything else is ignored with a warning."""

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
    """Records its calls; can be blocked."""

    def __init__(self) -> None:
        self.calls: list[bool] = []
        self.threads: set[str] = set()
        self.entered = threading.Event()
        self.released = threading.Event()
        self.released.set()
        self.changed = threading.Condition()
        self.fail = False

    def __call__(self, on: bool) -> None:
        self.entered.set()
        assert self.released.wait(TIMEOUT_S)
        with self.changed:
            self.calls.append(on)
            self.threads.add(threading.current_thread().name)
            self.changed.notify_all()
        if self.fail:
            raise OSError("the microphone is gone")

    def wait(self, *expected: bool) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.calls == list(expected), TIMEOUT_S), (
                self.calls
            )


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def commands(switch: Switch) -> Iterator[Commands]:
    running = Commands([mute_command(TOPIC, switch)])
    running.start()
    yield running
    switch.released.set()
    running.stop(TIMEOUT_S)


def test_on_and_off_are_obeyed(commands: Commands, switch: Switch) -> None:
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
def test_case_and_white_space_do_not_matter(
    commands: Commands, switch: Switch, on: bytes, off: bytes
) -> None:
    assert commands.receive(TOPIC, on, retained=False)
    switch.wait(True)
    assert commands.receive(TOPIC, off, retained=False)
    switch.wait(True, False)
    assert commands.ignored == 0


@given(st.binary())
def test_only_on_and_off_are_switch_payloads(payload: bytes) -> None:
    expected = {b"on": True, b"off": False}.get(payload.strip().lower())
    assert parse_switch(payload) is expected


def test_parsing_a_word() -> None:
    assert parse_word(b" Normal\n") == "normal"
    assert parse_word(b"\xe4") is None
    assert parse_word(b"x" * 65) is None


@given(st.binary() | st.sampled_from([b" LOW", b"Normal\n", b"hIgH\t"]))
def test_only_three_words_are_sensitivities(payload: bytes) -> None:
    word = payload.strip().lower()
    expected = word.decode() if word in {b"low", b"normal", b"high"} else None
    assert parse_sensitivity(payload) == expected


def test_a_sensitivity_is_obeyed_and_anything_else_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[str] = []
    topic = "serd/attic/sensitivity/set"
    running = Commands([sensitivity_command(topic, calls.append)])
    running.start()
    for payload in (b"bold", b"", b"0.5", b'"low"', b"lowhigh"):
        assert not running.receive(topic, payload, retained=False)
    assert not running.receive(topic, b"low", retained=True)
    assert running.receive(topic, b" High\n", retained=False)
    wait_until(lambda: calls == ["high"])
    running.stop(TIMEOUT_S)
    assert running.ignored == 6
    assert "'bold' is none of low, normal and high" in caplog.text


def test_encode_switch_is_the_inverse_of_parse_switch() -> None:
    assert [parse_switch(encode_switch(on)) for on in (True, False)] == [True, False]


def test_retained_command_is_not_obeyed(
    commands: Commands, switch: Switch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not commands.receive(TOPIC, b"OFF", retained=True)
    assert "without the retain flag" in caplog.text
    assert commands.receive(TOPIC, b"ON", retained=False)
    switch.wait(True)


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_the_warning_for_ignored_commands_is_repeated_after_a_minute(
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
    assert "\x1b" not in first[0]  # no terminal escape sequences
    assert len(first[0]) < 250
    assert commands.ignored == 51
    clock.now += 61
    warnings.flush()  # nothing more arrives, but the count is still reported
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


def test_invented_topics_do_not_flood_the_log(
    commands: Commands, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        commands.receive(f"serd/attic/{number}\x1b[2J", b"ON", retained=False)
    (text,) = warned(caplog)
    assert "\x1b" not in text


def test_the_number_of_distinct_warnings_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    warnings = RepeatedWarnings(logging.getLogger("serd"), clock=clock)
    for number in range(1000):
        warnings.warn(str(number), f"kind {number}")
    assert len(caplog.records) == 65  # 64 kinds, and one for all others
    clock.now += 61
    warnings.warn("new", "a kind of its own again")
    assert warned(caplog)[65:] == ["a kind of its own again"]


def test_waiting_commands_are_kept_in_order_and_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A command of which every message counts, beside the mute switch."""

    def read(payload: bytes) -> int:
        try:
            return int(payload)
        except ValueError:
            raise ValueError("is no number") from None

    calls: list[int] = []
    done = threading.Event()

    def obey(number: int) -> None:
        calls.append(number)
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
    assert calls == [6, 7, 8, 9]
    assert commands.ignored == 7
    assert "faster than they can be carried out" in warned(caplog)[0]


def test_a_slow_switch_does_not_block_and_gets_the_latest_command(
    commands: Commands, switch: Switch
) -> None:
    switch.released.clear()
    commands.receive(TOPIC, b"ON", retained=False)
    assert switch.entered.wait(TIMEOUT_S)
    for payload in (b"OFF", b"ON", b"OFF", b"ON", b"OFF"):
        commands.receive(TOPIC, payload, retained=False)  # returns although the switch is blocked
    switch.released.set()
    switch.wait(True, False)


def test_a_switch_that_failed_is_called_again(
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
