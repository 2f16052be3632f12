"""What a check finds, and what that means for the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from serd.errors import ConfigError, ModelError, SerdError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

Status = Literal["ok", "warn", "fail", "skip"]
"""ok; works but not well; does not work; could not be looked at."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor."""

    check: str
    """What was looked at, in one or two words."""
    status: Status
    message: str
    """What was found, one sentence without a full stop."""
    remedy: str | None = None
    """What helps."""
    configured: bool = False
    """Whether the cause of a failure is the configuration, or a file that it names."""


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check=check, status="ok", message=message)


def skip(check: str, message: str) -> Finding:
    """It could not be looked at, because of something else."""
    return Finding(check=check, status="skip", message=message)


def warn(check: str, message: str, remedy: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(check=check, status="warn", message=message, remedy=remedy)


def fail(check: str, message: str, remedy: str, *, configured: bool = False) -> Finding:
    """It does not work."""
    return Finding(
        check=check, status="fail", message=message, remedy=remedy, configured=configured
    )


def failed(check: str, error: SerdError, remedy: str) -> Finding:
    """It does not work, and an error says why.

    Args:
        check: What was looked at.
        error: Says what is wrong, and perhaps a remedy.
        remedy: What helps if the error does not say it.
    """
    return fail(
        check,
        error.message,
        error.remedy or remedy,
        configured=isinstance(error, ConfigError | ModelError),
    )


def exit_code(findings: Iterable[Finding]) -> int:
    """0 if nothing failed; 78 if the configuration or the model is among the causes; else 69."""
    failures = [finding for finding in findings if finding.status == "fail"]
    if not failures:
        return 0
    if any(finding.configured for finding in failures):
        return ConfigError.exit_code
    return UnavailableError.exit_code
