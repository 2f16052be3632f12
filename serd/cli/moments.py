"""Moments as people write them: ``24h`` ago, a date, a time of today."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

import click

_AGO: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(s|min|m|h|d|w)(?:\s+ago)?")
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


def parse_moment(text: str, now: datetime) -> datetime:
    """Read a moment.

    Args:
        text: ``now``; how long ago, as in ``90s``, ``15m``, ``24h``, ``7d``, ``2w``; a time of
            today, as in ``14:30``; ``today`` or ``yesterday`` (its beginning); or a date, with or
            without a time (ISO 8601). What has no time zone is local.
        now: The present, local, without a time zone.

    Returns:
        The moment, with a time zone.

    Raises:
        ValueError: If it is none of these, or long before all history.
    """
    text = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    try:
        if text in words:
            moment = words[text]
        elif ago := _AGO.fullmatch(text):
            # An hour is an hour, also in the night in which the clocks change.
            moment = now.astimezone() - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
        elif clock := _CLOCK.fullmatch(text):
            hour, minute, second = (int(part or 0) for part in clock.groups())
            moment = midnight.replace(hour=hour, minute=minute, second=second)
        else:
            moment = datetime.fromisoformat(text.upper())
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is no moment; write 24h, 7d, 14:30, yesterday, 2026-03-01 or "
            "2026-03-01T08:15"
        ) from None


def as_milliseconds(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Callback of an option that takes a moment: milliseconds since 1970."""
    if value is None:
        return None
    try:
        moment = parse_moment(value, datetime.now())  # noqa: DTZ005 - local on purpose
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return round(moment.timestamp() * 1000)
