"""``serd forget``: clear what a node has left on the broker."""

from __future__ import annotations

import click

from serd.cli.colour import echo
from serd.cli.invocation import Command, Invocation, pass_invocation
from serd.errors import ConfigError, UsageError


@click.command(cls=Command)
@click.argument("node")
@pass_invocation
def forget(invocation: Invocation, node: str) -> None:
    """Forget a room: clear all that its node left on the broker.

    Home Assistant removes its device, and dashboards their tile. NODE is the name of the node. Stop
    it first: a node that runs comes back. Past events stay in the journal.
    """
    config = invocation.load().config
    from serd.config.validation import nearest
    from serd.mqtt.retained import forget as forget_node

    try:
        done = forget_node(config.mqtt, node)
    except ConfigError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
    if not done.removed:
        meant = nearest(node, done.others)
        hint = f"; did you mean {meant}?" if meant else ""
        echo(f"the broker at {done.address} keeps nothing of {node}{hint}")
        return
    echo(f"{node} is forgotten at {done.address}, and by Home Assistant")
    if done.online:
        echo(f"serd: {node} is running and will come back: stop it first", err=True)
