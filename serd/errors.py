"""The errors that serd raises on purpose, as a tree.

::

    SerdError                 exit 70   a bug, unless a subclass says otherwise
    ├── UsageError            exit 2    the command line asks for something that makes no sense
    ├── InputError            exit 66   an input file is missing or cannot be read
    ├── UnavailableError      exit 69   a device, broker or disk that is needed is not there
    ├── ConfigError           exit 78   the configuration is wrong
    └── ModelError            exit 78   the model file is not one that serd can use

Each carries a sentence for a person and, where there is one, a remedy. The command line prints
both on stderr and leaves with ``exit_code`` (the numbers are those of BSD's ``sysexits.h``); a
traceback is shown only with ``--debug``.
"""

from __future__ import annotations

import os
from typing import ClassVar

from serd.harmless import harmless


def shown(name: str | os.PathLike[str]) -> str:
    """A file's name for people: what would not print, or would move a terminal, is escaped."""
    return harmless(os.fspath(name))


class SerdError(Exception):
    """Base of every error that serd raises on purpose.

    Args:
        message: One sentence that says what is wrong, naming file, key or device and the value.
        remedy: What the person can do about it, if that is known.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class UsageError(SerdError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class InputError(SerdError):
    """An input file is missing, empty or not readable as audio."""

    exit_code = 66


class UnavailableError(SerdError):
    """Something outside serd that is needed is not there: device, broker, disk.

    Args:
        message: See :class:`SerdError`.
        remedy: See :class:`SerdError`.
        retry_s: Seconds before which another attempt makes no sense, or does harm.
    """

    exit_code = 69

    def __init__(self, message: str, *, remedy: str | None = None, retry_s: float = 0.0) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_s = retry_s


class ConfigError(SerdError):
    """The configuration is wrong: the message names file, key, value and what is allowed."""

    exit_code = 78


class ModelError(SerdError):
    """The model file is not one that serd can use; the message says what is wrong with it."""

    exit_code = 78
