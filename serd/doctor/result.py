"""The result of a check, and the exit code that follows from all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from serd.errors import ConfigError, ModelError, SerdError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

Status = Literal["ok", "warn", "fail", "skip"]
"""Works; works, but not well; does not work; could not be checked."""


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``serd check``."""

    check: str
    """What was checked, in one or two words."""
    status: Status
    message: str
    """What was found, one sentence without a full stop."""
    remedy: str | None = None
    """What helps."""
    configured: bool = False
    """Whether a failure is caused by the configuration or by a file it names."""


def ok(check: str, message: str) -> CheckResult:
    """It works."""
    return CheckResult(check=check, status="ok", message=message)


def skip(check: str, message: str) -> CheckResult:
    """It could not be checked, because of something else."""
    return CheckResult(check=check, status="skip", message=message)


def warn(check: str, message: str, remedy: str) -> CheckResult:
    """It works, but not as well as it could."""
    return CheckResult(check=check, status="warn", message=message, remedy=remedy)


def fail(check: str, message: str, remedy: str, *, configured: bool = False) -> CheckResult:
    """It does not work."""
    return CheckResult(
        check=check, status="fail", message=message, remedy=remedy, configured=configured
    )


def failed(check: str, error: SerdError, remedy: str) -> CheckResult:
    """It does not work, as an error explains.

    Args:
        check: What was checked.
        error: What is wrong, perhaps with a remedy.
        remedy: Used if the error has none.
    """
    return fail(
        check,
        error.message,
        error.remedy or remedy,
        configured=isinstance(error, ConfigError | ModelError),
    )


def exit_code(results: Iterable[CheckResult]) -> int:
    """0 if nothing failed; 78 if the configuration or the model is among the causes; else 69."""
    failures = [result for result in results if result.status == "fail"]
    if not failures:
        return 0
    if any(result.configured for result in failures):
        return ConfigError.exit_code
    return UnavailableError.exit_code
