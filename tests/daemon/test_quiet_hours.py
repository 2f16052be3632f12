from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serd.config.schema import QuietHours
from serd.daemon.mute import QuietTimes

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONES = Path("/usr/share/zoneinfo")


def quiet_at(clock: str, *spans: tuple[str, str]) -> bool:
    hours = [QuietHours(from_=begin, to=end) for begin, end in spans]
    return QuietTimes(hours, localtime=lambda: time.strptime(clock, "%H:%M")).now()


@pytest.mark.parametrize(
    ("clock", "quiet"),
    [("21:59", False), ("22:00", True), ("00:00", True), ("06:59", True), ("07:00", False)],
)
def test_quiet_hours_across_midnight(clock: str, quiet: bool) -> None:
    assert quiet_at(clock, ("22:00", "07:00")) is quiet


@pytest.mark.parametrize(
    ("clock", "quiet"), [("11:59", False), ("12:00", True), ("13:29", True), ("13:30", False)]
)
def test_quiet_hours_within_a_day(clock: str, quiet: bool) -> None:
    assert quiet_at(clock, ("22:00", "07:00"), ("12:00", "13:30")) is quiet


def test_no_quiet_hours_and_all_day() -> None:
    assert not quiet_at("12:00")
    assert quiet_at("12:00", ("12:00", "12:00"))
    assert quiet_at("11:59", ("12:00", "12:00"))


@pytest.fixture
def zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that sets this process's time zone."""
    if not (ZONES / "Europe/Berlin").exists():
        pytest.skip("no time zones here (apt install tzdata)")
    path = tmp_path / "localtime"
    path.write_bytes((ZONES / "Europe/Berlin").read_bytes())
    monkeypatch.setenv("TZ", f":{path}")
    time.tzset()
    yield path
    monkeypatch.undo()
    time.tzset()


def quiet_in(zone: Path, moment: str, begin: str, end: str) -> bool:
    """Whether it is quiet at a time in UTC, in the machine's time zone."""
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    hours = [QuietHours(from_=begin, to=end)]
    return QuietTimes(hours, localtime=lambda: time.localtime(at)).now()


@pytest.mark.parametrize(
    ("moment", "span", "quiet"),
    [
        # In Berlin the clock goes from 2:00 to 3:00 at 01:00 UTC.
        ("2026-03-28T21:30", ("22:30", "06:00"), True),
        ("2026-03-29T03:59", ("22:30", "06:00"), True),
        ("2026-03-29T04:00", ("22:30", "06:00"), False),
        ("2026-03-29T00:59", ("02:30", "03:30"), False),
        ("2026-03-29T01:00", ("02:30", "03:30"), True),  # there is no 2:30: it begins at 3:00
        ("2026-03-29T01:30", ("02:30", "03:30"), False),
        ("2026-03-29T01:00", ("01:30", "02:30"), False),
        # It goes back from 3:00 to 2:00 at 01:00 UTC.
        ("2026-10-24T20:30", ("22:30", "06:00"), True),
        ("2026-10-25T04:59", ("22:30", "06:00"), True),
        ("2026-10-25T05:00", ("22:30", "06:00"), False),
        ("2026-10-25T00:30", ("02:15", "02:45"), True),  # occurs twice, quiet both times
        ("2026-10-25T00:50", ("02:15", "02:45"), False),
        ("2026-10-25T01:30", ("02:15", "02:45"), True),
    ],
)
def test_quiet_hours_when_summer_time_begins_and_ends(
    zone: Path, moment: str, span: tuple[str, str], quiet: bool
) -> None:
    assert quiet_in(zone, moment, *span) is quiet


def test_a_change_of_time_zone_takes_effect_at_once(zone: Path) -> None:
    moment, night = "2026-06-01T12:00", ("22:00", "23:30")
    assert not quiet_in(zone, moment, *night)  # 14:00
    fresh = zone.with_name("fresh")
    fresh.write_bytes((ZONES / "Asia/Magadan").read_bytes())
    fresh.replace(zone)
    assert quiet_in(zone, moment, *night)  # 23:00
    zone.write_bytes((ZONES / "Europe/Berlin").read_bytes())  # the same file, other content
    os.utime(zone, (1, 1))
    assert not quiet_in(zone, moment, *night)
    zone.unlink()
    assert not quiet_in(zone, moment, *night)  # UTC: 12:00
