from __future__ import annotations

import time

import pytest

from serd.config.schema import QuietHours
from serd.quiet_hours import QuietTimes


def quiet_at(clock: str, *spans: tuple[str, str]) -> bool:
    hours = [QuietHours(from_=begin, to=end) for begin, end in spans]
    return QuietTimes(hours, localtime=lambda: time.strptime(clock, "%H:%M")).now()


@pytest.mark.parametrize(
    ("clock", "quiet"),
    [("21:59", False), ("22:00", True), ("00:00", True), ("06:59", True), ("07:00", False)],
)
def test_over_midnight(clock: str, quiet: bool) -> None:
    assert quiet_at(clock, ("22:00", "07:00")) is quiet


@pytest.mark.parametrize(
    ("clock", "quiet"), [("11:59", False), ("12:00", True), ("13:29", True), ("13:30", False)]
)
def test_within_a_day(clock: str, quiet: bool) -> None:
    assert quiet_at(clock, ("22:00", "07:00"), ("12:00", "13:30")) is quiet


def test_none_and_all_day() -> None:
    assert not quiet_at("12:00")
    assert quiet_at("12:00", ("12:00", "12:00"))
    assert quiet_at("11:59", ("12:00", "12:00"))
