"""What the schema's fields are made of: ranges, patterns and defaults that depend on the machine.

``Meta.extra`` of a field may carry:

- ``allowed``: what its pattern means, in words;
- ``path``: a file name, in which a leading ``~`` is expanded;
- ``secret``: never shown.
"""

from __future__ import annotations

import os
import re
import socket
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Meta

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT: Final = 4096
"""Longest text in characters; also the longest path on Linux."""

_NODE_CHARACTERS: Final = "a-zA-Z0-9_-"

NODE_NAME: Final = f"[{_NODE_CHARACTERS}]{{1,64}}"
"""Pattern of a node name. Home Assistant accepts no other characters in a discovery topic."""

NODE_NAME_WORDS: Final = "1 to 64 letters, digits, _ and -"

TOPIC: Final = r"[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*"
"""Pattern of the first levels of a topic."""

TOPIC_WORDS: Final = "letters, digits, _, . and -, in levels separated by single slashes"

MAX_TOPIC: Final = 128
"""Longest base topic in characters."""

_TRANSLITERATED: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "o"}
)


def between(low: float, high: float, description: str, **extra: object) -> Meta:
    """A number within bounds."""
    return Meta(ge=low, le=high, description=description, extra=extra)


def text(description: str, **extra: object) -> Meta:
    """A line of text."""
    return Meta(min_length=1, max_length=MAX_TEXT, description=description, extra=extra)


def title(description: str) -> Meta:
    """A name for people."""
    return Meta(min_length=1, max_length=64, description=description, extra={})


def node_name(description: str) -> Meta:
    """The name of a node."""
    return _pattern(NODE_NAME, NODE_NAME_WORDS, description)


def topic(description: str) -> Meta:
    """The first levels of a topic."""
    return _pattern(TOPIC, TOPIC_WORDS, description, max_length=MAX_TOPIC)


def clock(description: str) -> Meta:
    """A time of day."""
    return _pattern("([01][0-9]|2[0-3]):[0-5][0-9]", "a time of the day such as 22:00", description)


def language_tag(description: str) -> Meta:
    """A language tag."""
    return _pattern(
        "[a-zA-Z]{2,3}([_-][a-zA-Z0-9]{2,8})?", "a language such as en or de", description
    )


def _pattern(
    pattern: str, allowed: str, description: str, *, max_length: int | None = None
) -> Meta:
    return Meta(
        pattern=f"^{pattern}$",
        max_length=max_length,
        description=description,
        extra={"allowed": allowed},
    )


def default_node() -> str:
    """The default node name, made from the host name.

    Returns:
        The host name up to its first dot, each run of characters that a node name cannot contain
        replaced by one ``-``, at most 64 characters; ``serd`` if nothing is left.
    """
    name = re.sub(f"[^{_NODE_CHARACTERS}]+", "-", socket.gethostname().split(".")[0]).strip("-")
    return name[:64] or "serd"


def node_name_from(title: str) -> str:
    """Suggest a node name for what people call a place, such as ``kueche`` for Küche."""
    spelt = unicodedata.normalize("NFC", title).lower().translate(_TRANSLITERATED)
    plain = unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-")[:64]


def default_journal_path(env: Mapping[str, str] | None = None) -> str:
    """The default path of the journal.

    Args:
        env: Environment variables; the process's own if None.

    Returns:
        ``journal.db`` in systemd's ``$STATE_DIRECTORY`` (its first entry), else in ``serd`` under
        ``$XDG_STATE_HOME``, else under ``~/.local/state`` (XDG Base Directory Specification 0.8).
    """
    env = os.environ if env is None else env
    if state := env.get("STATE_DIRECTORY", "").split(":")[0]:
        return str(Path(state) / "journal.db")
    # The specification says that a relative path here is invalid and must be ignored.
    home = Path(env.get("XDG_STATE_HOME", ""))
    if not home.is_absolute():
        home = Path(env.get("HOME") or Path.home()) / ".local" / "state"
    return str(home / "serd" / "journal.db")
