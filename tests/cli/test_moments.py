from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from serd.cli.command import parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 3, 29, 14, 30, 15)  # noqa: DTZ001 - local; clocks went forward this night


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A POSIX rule, so that no time zone database is needed.
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", "2026-03-29T14:30:15+02:00"),
        ("90s", "2026-03-29T14:28:45+02:00"),
        ("15m", "2026-03-29T14:15:15+02:00"),
        ("15 min ago", "2026-03-29T14:15:15+02:00"),
        ("1.5h", "2026-03-29T13:00:15+02:00"),
        ("24h", "2026-03-28T13:30:15+01:00"),
        ("7D", "2026-03-22T13:30:15+01:00"),
        ("2w", "2026-03-15T13:30:15+01:00"),
        ("9:05", "2026-03-29T09:05:00+02:00"),
        ("23:59:59", "2026-03-29T23:59:59+02:00"),
        ("today", "2026-03-29T00:00:00+01:00"),
        ("yesterday", "2026-03-28T00:00:00+01:00"),
        ("2026-03-01", "2026-03-01T00:00:00+01:00"),
        ("2026-07-01", "2026-07-01T00:00:00+02:00"),
        ("2026-03-01T08:15", "2026-03-01T08:15:00+01:00"),
        ("2026-03-01 08:15:30", "2026-03-01T08:15:30+01:00"),
        ("2026-03-01T08:15:00.250Z", "2026-03-01T08:15:00.250+00:00"),
        ("2026-03-01t08:15-05:00", "2026-03-01T08:15-05:00"),
    ],
)
def test_valid_times(text: str, moment: str) -> None:
    parsed = parse_moment(text, NOW)
    assert parsed == datetime.fromisoformat(moment)
    assert parsed.tzinfo is not None


@pytest.mark.parametrize(
    "text", ["", "soon", "24", "h", "-3h", "25:00", "12:60", "2026-02-30", "2026", "999999999w"]
)
def test_invalid_times(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time; write 24h, 7d, 14:30, yesterday,"):
        parse_moment(text, NOW)
