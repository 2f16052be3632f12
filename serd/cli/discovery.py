"""``serd discovery``: what Home Assistant has been told of a node."""

from __future__ import annotations

import click

from serd.cli.colour import echo
from serd.cli.invocation import Group, Invocation, pass_invocation
from serd.errors import ConfigError, UsageError


@click.group(cls=Group)
def discovery() -> None:
    """Manage what Home Assistant has been told."""


@discovery.command()
@click.argument("node", required=False)
@click.option(
    "--purge",
    is_flag=True,
    help="Also remove what else the node left on the broker: status, state, telemetry.",
)
@pass_invocation
def remove(invocation: Invocation, node: str | None, purge: bool) -> None:
    """Take a node's announcement back, so that Home Assistant forgets its device.

    NODE is the name of the node; without it, this one's. Stop the node first: while it runs it
    announces itself again with its next connection.
    """
    config = invocation.load().config
    from serd.mqtt.retained import forget

    try:
        if node is None and config.sources:
            names = ", ".join(single.node for single in config.each())
            raise UsageError("there are several nodes here", remedy=f"name one of: {names}")
        done = forget(config.mqtt, node or config.node, announcement_only=not purge)
    except ConfigError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
    echo(f"{done.node} is no longer announced to Home Assistant at {done.address}")
    if done.online:
        echo(
            f"serd: {done.node} is running and will announce itself again: stop it, or set "
            "mqtt.discovery: false for it",
            err=True,
        )
