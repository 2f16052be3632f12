"""``serd discovery``: what Home Assistant has been told of a node."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

import click

from serd.cli.invocation import Group, Invocation, pass_invocation
from serd.errors import ConfigError, UnavailableError, UsageError

if TYPE_CHECKING:
    from serd.mqtt.link import Link
    from serd.mqtt.topics import Topics

_PATIENCE_S: Final = 5.0


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
    from serd.mqtt.access import Access
    from serd.mqtt.discovery import discovery_topic
    from serd.mqtt.link import Link
    from serd.mqtt.topics import KINDS, Topics

    try:
        if node is None and config.sources:
            names = ", ".join(single.node for single in config.each())
            raise UsageError("there are several nodes here", remedy=f"name one of: {names}")
        topics = Topics(config.mqtt.base_topic, node or config.node)
    except ConfigError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
    emptied = [discovery_topic(topics, config.mqtt.discovery_prefix)]
    if purge:
        emptied += [getattr(topics, kind) for kind in KINDS if kind != "emotion"]
    access = Access(config.mqtt)
    link = Link(access, f"serd-discovery-{os.getpid()}")
    link.open()
    try:
        running = _runs(link, topics)
        for topic in emptied:
            _empty(link, topic)
    finally:
        link.close()
    click.echo(f"{topics.node} is no longer announced to Home Assistant at {access.address}")
    if running:
        click.echo(
            f"serd: {topics.node} is running and will announce itself again: stop it, or set "
            "mqtt.discovery: false for it",
            err=True,
        )


def _runs(link: Link, topics: Topics) -> bool:
    """Whether the broker says that the node is online."""
    link.subscribe([topics.status])
    deadline = time.monotonic() + _PATIENCE_S
    while link.subscription is None and time.monotonic() < deadline:
        link.step(_PATIENCE_S)
    # What is retained comes right after the answer to the subscription.
    link.step(0.2)
    return any(message.payload == b"online" for message in link.received)


def _empty(link: Link, topic: str) -> None:
    """Remove a retained message, and wait until the broker has done so."""
    receipt = link.publish(topic, b"", qos=1, retain=True)
    deadline = time.monotonic() + _PATIENCE_S
    while not receipt.is_published():
        if time.monotonic() > deadline:
            raise UnavailableError(f"the broker does not acknowledge: {topic} may not be removed")
        link.step(_PATIENCE_S)
