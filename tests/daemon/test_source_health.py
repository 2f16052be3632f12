"""Each change is logged once; a dead stream is reopened at growing intervals."""

from __future__ import annotations

import logging
from itertools import pairwise

import msgspec
import pytest

from serd.audio.source import SourceStats
from serd.daemon.source_health import FLAT_S, LONGEST_REVIVAL_S, SourceHealth
from serd.errors import UnavailableError

ALIVE = SourceStats(rate=48_000, opens=1)
DEAD = SourceStats(rate=48_000, opens=1, flat_s=FLAT_S)


class Watch:
    """A source's health, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.health = SourceHealth(clock=lambda: self.now)

    def look(self, stats: SourceStats, seconds: float = 1.0) -> bool:
        self.now += seconds
        return self.health.look(stats, "hw:1")


@pytest.fixture(autouse=True)
def _log_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_dead_stream_is_logged_once_and_reopened_at_growing_intervals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch()
    assert not watch.look(ALIVE)
    assert watch.look(DEAD)
    assert (
        watch.health.trouble == "the microphone 'hw:1' is open, but delivers nothing but one value"
    )
    opened = []
    for _ in range(6 * 3600):
        if watch.look(DEAD):
            watch.health.opened("hw:1", 48_000)
            opened.append(watch.now)
    pauses = [after - before for before, after in pairwise(opened)]
    assert all(pause <= LONGEST_REVIVAL_S + 2 for pause in pauses)
    assert all(pause >= LONGEST_REVIVAL_S / 2 for pause in pauses[6:])
    assert len(opened) >= 6 * 3600 / LONGEST_REVIVAL_S
    assert len(caplog.messages) == 1

    assert not watch.look(ALIVE)
    assert [watch.health.trouble] == [None]
    assert caplog.messages[1:] == ["the microphone hears something again"]


def test_each_reason_for_absence_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for reason in ("unplugged", "unplugged", "busy", "busy"):
        watch.health.failed(UnavailableError(reason))
        assert watch.health.trouble == reason
    watch.health.opened("hw:2", 44_100)
    assert [watch.health.trouble] == [None]
    assert caplog.messages == [
        "unplugged; trying again until it works",
        "busy; trying again until it works",
        "the source is there again: hw:2",
        "listening to hw:2 at 44100 Hz",
    ]


def test_repeated_overflows_are_logged_once_a_minute_with_totals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch()
    for second in range(1, 601):
        watch.look(msgspec.structs.replace(ALIVE, overflow_samples=480 * second,
                                           device_overflows=second))  # fmt: skip
    assert len(caplog.messages) == 10
    assert caplog.messages[0].startswith("sound was lost: since the start 480 samples")
    assert (
        "since the start 259680 samples because serd was too slow, and 541 times"
        in (caplog.messages[-1])
    )
    for _ in range(600):
        watch.look(msgspec.structs.replace(ALIVE, overflow_samples=288_000, device_overflows=600))
    assert len(caplog.messages) == 11  # what followed the last line is still logged, once


def test_after_a_recovery_the_intervals_start_anew() -> None:
    watch = Watch()

    def third_attempt() -> float:
        begun, attempts = watch.now, 0
        while attempts < 3:
            attempts += watch.look(DEAD)
        return watch.now - begun

    first = third_attempt()
    for _ in range(3600):
        watch.look(DEAD)
    watch.look(ALIVE)
    watch.now += 3600.0
    assert third_attempt() <= 3 * FLAT_S + 2
    assert first <= 3 * FLAT_S + 2
