"""Whether a room's microphone has to stay closed: the mute switch as it is remembered, quiet hours.

The daemon asks this of its own journal; commands that would open a microphone beside it (`check`,
`meter`, `demo`) ask it before they do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from serd.errors import SerdError
from serd.quiet_hours import QuietTimes

if TYPE_CHECKING:
    from collections.abc import Callable

    from serd.config import Config

MUTE_KEY: Final = "mute"
"""Under this the journal keeps the mute switch."""


def remembered_mute(get: Callable[[str], str | None], config: Config, *, alone: bool) -> bool:
    """The mute switch as it was last set for a node.

    A lone node keeps it under a key without its name too, so that it outlives a new name. Of
    several nodes one that has no switch yet begins muted if the lone one was: rather deaf than
    open against somebody's will.

    Args:
        get: Reads a value that the journal keeps.
        config: Of the node.
        alone: Whether it is the only one of its process.
    """
    own = get(f"{MUTE_KEY}:{config.node}")
    if own is None:
        own = get(MUTE_KEY)
        if not alone and own != "ON":
            own = None
    return config.mute if own is None else own == "ON"


def why_closed(config: Config, *, alone: bool = True, live: bool = True) -> str | None:
    """Why a daemon with this configuration would keep the microphone closed now.

    Args:
        config: Of one node.
        alone: Whether it is the only one.
        live: Whether the source is heard now; a recording plays in quiet hours too.

    Returns:
        The end of a sentence that begins with the node's name; None if it may be open, as far as
        this user can tell.
    """
    if live and QuietTimes(config.quiet_hours).now():
        return "is in quiet hours"
    from serd.events.history import History  # noqa: PLC0415 - SQLite, for who asks

    path = Path(config.journal.path)
    try:
        if not path.exists():
            return "is muted" if config.mute else None
        with History(path) as history:
            return "is muted" if remembered_mute(history.meta, config, alone=alone) else None
    except (SerdError, OSError):
        return f"may be muted: its switch is kept in {path}, which this user cannot read"
