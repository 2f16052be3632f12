"""What a value may be: the notes of the schema's fields.

``Meta.extra`` may carry:

- ``allowed``: what a pattern means, in words;
- ``path``: a file name, in which a leading ``~`` is expanded;
- ``secret``: never shown.
"""

from __future__ import annotations

from typing import Final

from msgspec import Meta

MASK: Final = "********"
"""Stands for a secret wherever a configuration is shown."""

LONGEST_TEXT: Final = 4096
"""Characters of any text, which is also the longest path on Linux."""


def between(low: float, high: float, description: str, **extra: object) -> Meta:
    """A number within bounds."""
    return Meta(ge=low, le=high, description=description, extra=extra)


def text(description: str, **extra: object) -> Meta:
    """A line of text."""
    return Meta(min_length=1, max_length=LONGEST_TEXT, description=description, extra=extra)


def node_name(description: str) -> Meta:
    """The name of a node."""
    return Meta(
        pattern="^[a-zA-Z0-9_-]{1,64}$",
        description=description,
        extra={"allowed": "1 to 64 letters, digits, _ and -"},
    )


def title(description: str) -> Meta:
    """What people call something."""
    return Meta(min_length=1, max_length=64, description=description, extra={})


def topic(description: str) -> Meta:
    """Levels of a topic."""
    return Meta(
        pattern=r"^[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*$",
        max_length=128,
        description=description,
        extra={"allowed": "letters, digits, _, . and -, in levels separated by single slashes"},
    )


def clock(description: str) -> Meta:
    """A time of the day."""
    return Meta(
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$",
        description=description,
        extra={"allowed": "a time of the day such as 22:00"},
    )
