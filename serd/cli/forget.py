"""``serd forget`` and ``serd discovery``: clear what a node has left on the broker."""

from __future__ import annotations

import click

from serd.cli.command import Command, Group, Invocation, pass_invocation
from serd.cli.terminal import echo
from serd.errors import ConfigError, UsageError


@click.command(cls=Command)
@click.argument("node")
@pass_invocation
def forget(invocation: Invocation, node: str) -> None:
    """Forget a room: clear everything its node left on the broker.

    Home Assistant removes its device, and dashboards its tile. NODE is the node's name. Stop the
    node first, or it comes back. Past events stay in the journal.
    """
    config = invocation.load().config
    from serd.config.validation import nearest
    from serd.mqtt.retained import forget as forget_node

    try:
        done = forget_node(config.mqtt, node)
    except ConfigError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
    if not done.removed:
        suggestion = nearest(node, done.others)
        hint = f"; did you mean {suggestion}?" if suggestion else ""
        echo(f"the broker at {done.address} keeps nothing of {node}{hint}")
        return
    echo(f"{node} is forgotten at {done.address}, and by Home Assistant")
    if done.online:
        echo(f"serd: {node} is running and will come back: stop it first", err=True)


@click.group(cls=Group)
def discovery() -> None:
    """Manage the announcements to Home Assistant."""


@discovery.command()
@click.argument("node", required=False)
@click.option(
    "--purge",
    is_flag=True,
    help="Also remove what else the node left on the broker: status, state, telemetry.",
)
@pass_invocation
def remove(invocation: Invocation, node: str | None, purge: bool) -> None:
    """Withdraw a node's announcement, so that Home Assistant forgets its device.

    NODE is the node's name; default: the node configured here. Stop the node first: a running node
    announces itself again when it next connects.
    """
    config = invocation.load().config
    from serd.mqtt.retained import forget as forget_node

    try:
        if node is None and config.sources:
            names = ", ".join(single.node for single in config.each())
            raise UsageError("there are several nodes here", remedy=f"name one of: {names}")
        done = forget_node(config.mqtt, node or config.node, announcement_only=not purge)
    except ConfigError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
    echo(f"{done.node} is no longer announced to Home Assistant at {done.address}")
    if done.online:
        echo(
            f"serd: {done.node} is running and will announce itself again: stop it, or set "
            "mqtt.discovery: false for it",
            err=True,
        )
