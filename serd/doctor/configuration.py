"""Checks of the configuration: is it valid, and does everything it names exist?"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from serd.child_process import environment
from serd.config.secrets import scrubbed
from serd.daemon.mute import QuietTimes
from serd.doctor.result import CheckResult, fail, failed, ok, warn
from serd.errors import ConfigError
from serd.mqtt.access import Access
from serd.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.config import Config
    from serd.config.loading import Loaded


def invalid(error: ConfigError) -> Iterator[CheckResult]:
    """One result for each problem of a configuration that cannot be loaded."""
    for line in error.message.splitlines():
        yield fail(
            "configuration",
            line,
            error.remedy
            or "correct it; docs/configuration.md lists every key, and "
            "`serd config validate` checks without running",
            configured=True,
        )


def check_configuration(loaded: Loaded) -> Iterator[CheckResult]:
    """Check the file, and who may read the secrets in it and in the files it names."""
    where = f"{loaded.path} is valid" if loaded.path else "no file; all defaults"
    yield ok("configuration", where)
    for warning in loaded.warnings:
        yield _secret(warning)
    try:
        Access(loaded.config.mqtt)
    except ConfigError as error:
        yield failed("secrets", error, "correct the file or the key that the message names")


def check_hooks(config: Config) -> Iterator[CheckResult]:
    """Check that the hooks' programs exist and are executable."""
    trouble = False
    for place, hook in enumerate(config.hooks):
        if shutil.which(hook.command[0], path=environment()["PATH"]) is not None:
            continue
        trouble = True
        program = scrubbed(hook.command[0])
        if Path(hook.command[0]).is_file():
            yield fail(
                "hooks",
                f"hooks[{place}]: {program} is not executable",
                f"chmod +x {program}",
                configured=True,
            )
        else:
            yield fail(
                "hooks",
                f"hooks[{place}]: there is no program {program}",
                "write its full path into the hook's command, or install it",
                configured=True,
            )
    if config.hooks and not trouble:
        yield ok("hooks", f"{len(config.hooks)} can be started")


def check_quiet_hours(config: Config) -> Iterator[CheckResult]:
    """Warn if it is quiet hours now."""
    if QuietTimes(config.quiet_hours).now():
        yield warn(
            "quiet hours",
            "quiet hours: the daemon keeps the microphone closed now",
            "wait until they end, or change quiet_hours",
        )


def _secret(warning: str) -> CheckResult:
    """Split a warning of the configuration into message and remedy."""
    message, _, remedy = warning.rpartition("; ")
    return warn("secrets", message or warning, remedy)


def check_metrics(config: Config, *, running_here: bool) -> Iterator[CheckResult]:
    """Check the metrics endpoint: the library, the port, and who can reach it.

    Args:
        config: The configuration.
        running_here: Whether a daemon runs here, which then uses the port.
    """
    settings = config.metrics
    if not settings.port:
        return
    if importlib.util.find_spec("prometheus_client") is None:
        yield fail(
            "metrics",
            f"metrics.port is {settings.port}, but the package prometheus-client is not installed",
            "pip install 'serd-emotion[metrics]', or set metrics.port: 0",
            configured=True,
        )
        return
    from serd.metrics.server import probe  # noqa: PLC0415 - optional

    try:
        if not running_here:
            probe(settings)
    except ConfigError as error:
        yield failed("metrics", error, "choose another metrics.port")
        return
    if is_loopback(settings.host):
        yield ok("metrics", f"on {settings.host}, port {settings.port}, for this machine only")
    else:
        yield warn(
            "metrics",
            f"on {settings.host}, port {settings.port}: anyone who can reach it can read them",
            "let only Prometheus through the firewall, or set metrics.host: 127.0.0.1",
        )
