"""When the microphone has to stay closed: the remembered mute switch, and quiet hours.

The daemon asks its own journal. Commands that would open a microphone beside a running daemon
(``serd check``, ``serd meter``, ``serd demo``) ask :func:`why_closed` first.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serd.errors import SerdError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serd.config import Config
    from serd.config.schema import QuietHours

log = logging.getLogger(__name__)

MINUTES_A_DAY: Final = 24 * 60

_LOCAL: Final = Path("/etc/localtime")
_ZONES: Final = Path("/usr/share/zoneinfo")


class TimeZone:
    """The machine's time zone, which may change while the process runs.

    The C library reads the zone file once, and again only on tzset(3); if ``TZ`` names the file,
    not even then.
    """

    def __init__(self) -> None:
        self._seen: tuple[int, ...] | None = None

    def follow(self) -> None:
        """Apply a change, for the whole process."""
        before, self._seen = self._seen, self._file()
        if before == self._seen:
            return
        if (named := os.environ.get("TZ")) is not None:
            os.environ["TZ"] = "UTC0"  # otherwise the C library sees no change
            time.tzset()
            os.environ["TZ"] = named
        time.tzset()
        if before is not None:
            log.info("the time zone is now %s (%s)", *time.strftime("%Z %z").split())

    def _file(self) -> tuple[int, ...]:
        """Identity of the zone file's present version; empty if there is no file."""
        named = os.environ.get("TZ", "").removeprefix(":")
        try:
            found = (_ZONES / named if named else _LOCAL).stat()
        except (OSError, ValueError):
            return ()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


_zone: Final = TimeZone()


class QuietTimes:
    """Quiet hours, by the machine's local time.

    Each call of :meth:`now` reads the wall clock, so it stays right when the clock is set, when
    daylight saving time begins or ends, and when the time zone changes. A span that ends when it
    begins lasts all day.

    Args:
        hours: As configured.
        localtime: Returns the local time; replaced in tests.
    """

    def __init__(
        self,
        hours: Sequence[QuietHours],
        *,
        localtime: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        self._spans = [(_minutes(span.from_), _minutes(span.to)) for span in hours]
        self._localtime = localtime

    def now(self) -> bool:
        """Whether the microphone has to be closed now."""
        _zone.follow()
        if not self._spans:
            return False
        local = self._localtime()
        minute = local.tm_hour * 60 + local.tm_min
        return any(
            (minute - begin) % MINUTES_A_DAY < ((end - begin) % MINUTES_A_DAY or MINUTES_A_DAY)
            for begin, end in self._spans
        )


def _minutes(clock: str) -> int:
    """Minutes since midnight, of a time such as 22:30."""
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


MUTE_KEY: Final = "mute"
"""The journal's key for the mute switch."""


def remembered_mute(get: Callable[[str], str | None], config: Config, *, alone: bool) -> bool:
    """Whether a node was last muted.

    A single node also stores the switch under a key without its name, so that it survives a
    rename, also back to an earlier name. When one node becomes several, those without a switch of
    their own start muted if the single one was. In doubt a node is muted: a microphone must not be
    opened against anyone's will.

    Args:
        get: Reads a value from the journal.
        config: Configuration of the node.
        alone: Whether it is the only node of the process.
    """
    own, single = get(f"{MUTE_KEY}:{config.node}"), get(MUTE_KEY)
    known = {own, single} if alone else {single if own is None and single == "ON" else own}
    return config.mute if known == {None} else "ON" in known


def why_closed(config: Config, *, alone: bool = True, live: bool = True) -> str | None:
    """Why a daemon with this configuration would keep the microphone closed now.

    Args:
        config: Configuration of one node.
        alone: Whether it is the only node.
        live: Whether the source is live; recordings are played in quiet hours too.

    Returns:
        The end of a sentence that begins with the node's name; None if the microphone may be
        open, as far as this user can see.
    """
    if live and QuietTimes(config.quiet_hours).now():
        return "is in quiet hours"
    from serd.events.history import History  # noqa: PLC0415 - loads SQLite

    path = Path(config.journal.path)
    try:
        if not path.exists():
            return "is muted" if config.mute else None
        with History(path) as history:
            return "is muted" if remembered_mute(history.meta, config, alone=alone) else None
    except (SerdError, OSError):
        return f"may be muted: its switch is kept in {path}, which this user cannot read"
