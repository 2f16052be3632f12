from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.events.clock import parse_rfc3339, rfc3339
from tests.events.making import START_MS, ManualClock


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (951_782_400_999, "2000-02-29T00:00:00.999Z"),
        (1_772_352_900_250, "2026-03-01T08:15:00.250Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_timestamps_are_written_and_parsed_in_utc_with_milliseconds(ms: int, text: str) -> None:
    assert rfc3339(ms) == text
    assert parse_rfc3339(text) == ms


@given(st.integers(min_value=0, max_value=253_402_300_799_999))
def test_every_millisecond_from_1970_to_9999_round_trips(ms: int) -> None:
    assert parse_rfc3339(rfc3339(ms)) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-01T08:15:00Z",
        "2026-03-01T08:15:00.25Z",
        "2026-03-01 08:15:00.250Z",
        "2026-03-01T08:15:00.250+00:00",
        "2026-02-30T08:15:00.250Z",
        "2026-03-01T08:15:00.250Z\n",
    ],
)
def test_other_timestamp_formats_are_rejected(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message varies, only the type matters
        parse_rfc3339(text)


def test_a_monotonic_time_is_dated_by_the_current_wall_clock() -> None:
    manual = ManualClock()
    moment = manual.clock.monotonic()
    manual.advance(2.5)
    assert manual.clock.wall_ms_at(moment) == START_MS
    manual.wall += 3600  # NTP sets the clock: timestamps from now on follow it
    assert manual.clock.wall_ms_at(moment) == START_MS + 3_600_000
    assert manual.clock.timestamp() == rfc3339(START_MS + 3_602_500)
