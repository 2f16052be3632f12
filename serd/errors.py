"""The exceptions that serd raises deliberately.

::

    SerdError                 exit 70   a bug, unless a subclass states otherwise
    ├── UsageError            exit 2    the command line makes no sense
    ├── InputError            exit 66   an input file is missing or cannot be read
    ├── UnavailableError      exit 69   a device, broker or disk is missing
    ├── ConfigError           exit 78   the configuration is invalid
    └── ModelError            exit 78   the model file is unusable

Each carries a sentence for the user and, if there is one, a remedy. The command line prints both on
stderr and exits with ``exit_code`` (numbers from BSD's ``sysexits.h``); tracebacks appear only with
``--debug``.
"""

from __future__ import annotations

import os
from typing import ClassVar

from serd.escaping import escape_controls


def shown(name: str | os.PathLike[str]) -> str:
    """A file name for messages, with unprintable characters escaped."""
    return escape_controls(os.fspath(name))


class SerdError(Exception):
    """Base class of the exceptions that serd raises deliberately.

    Args:
        message: One sentence that says what is wrong, naming the file, key or device and the value.
        remedy: What the user can do about it, if known.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class UsageError(SerdError):
    """The command line makes no sense."""

    exit_code = 2


class InputError(SerdError):
    """An input file is missing, empty or unreadable."""

    exit_code = 66


class UnavailableError(SerdError):
    """A resource outside serd is not available: a device, broker or disk.

    Args:
        message: See :class:`SerdError`.
        remedy: See :class:`SerdError`.
        retry_s: Seconds to wait before another attempt; an earlier one is pointless or does harm.
    """

    exit_code = 69

    def __init__(self, message: str, *, remedy: str | None = None, retry_s: float = 0.0) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_s = retry_s


class ConfigError(SerdError):
    """The configuration is invalid; the message names file, key, value and what is allowed."""

    exit_code = 78


class ModelError(SerdError):
    """The model file is unusable; the message says what is wrong with it."""

    exit_code = 78
