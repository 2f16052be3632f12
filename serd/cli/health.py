"""``serd health``: whether the daemon on this machine is healthy, for supervisors."""

from __future__ import annotations

import ipaddress
import json
import socket
from typing import Final

import click

from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import echo
from serd.errors import UnavailableError

_ANSWER_MAX: Final = 65_536
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - as written there


@click.command(cls=Command)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds the daemon has to answer.",
)
@pass_invocation
def health(invocation: Invocation, *, timeout: float) -> None:
    """Ask the running daemon whether it is healthy: it listens, or knows why it does not.

    It asks /healthz, so metrics.port must be set. Exit code 0 if all is well; otherwise 69, with
    the reason. Container health checks run this.
    """
    metrics = invocation.load().config.metrics
    if metrics.port == 0:
        raise UnavailableError(
            "the daemon cannot be asked: metrics.port is 0",
            remedy="set metrics.port (for example SERD_METRICS__PORT=7374) and restart the daemon",
        )
    host = _ANY.get(metrics.host, metrics.host)
    response = _ask(host, metrics.port, timeout)
    head, _, body = response.partition(b"\r\n\r\n")
    try:
        answer = json.loads(body)
        status, nodes = str(answer["status"]), dict(answer["nodes"])
    except (ValueError, KeyError, TypeError):
        raise UnavailableError(
            f"what answers at {host}, port {metrics.port} is not serd",
            remedy="give serd a metrics.port of its own",
        ) from None
    for name, node in nodes.items():
        echo(f"{name}: {node.get('said', '')}")
    # "starting" is not healthy, either: supervisors know how long a start may take.
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise UnavailableError(f"serd is unhealthy: {status}")


def _ask(host: str, port: int, timeout: float) -> bytes:
    """The response to ``GET /healthz``; an HTTP library would double the command's run time."""
    name = f"[{host}]" if _is_ipv6(host) else host
    question = f"GET /healthz HTTP/1.0\r\nHost: {name}:{port}\r\n\r\n"
    response = b""
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.sendall(question.encode())
            while len(response) < _ANSWER_MAX and (more := connection.recv(4096)):
                response += more
    except OSError as error:
        raise UnavailableError(
            f"no serd answers at {host}, port {port}: {error.strerror or error}",
            remedy="is it running, with the same metrics.host and metrics.port?",
        ) from None
    return response


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).version == 6
    except ValueError:
        return False
