"""Can the figures for Prometheus be served, and who may read them?"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from serd.doctor.finding import Finding, fail, failed, ok, warn
from serd.errors import ConfigError
from serd.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.config import Config


def check_metrics(config: Config, *, running_here: bool) -> Iterator[Finding]:
    """The library, the port, and whom it is open to.

    Args:
        config: The configuration.
        running_here: Whether a daemon runs, which then has the port.
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
            f"on {settings.host}, port {settings.port}: whoever can reach it can read them",
            "let a firewall pass only Prometheus, or set metrics.host: 127.0.0.1",
        )
