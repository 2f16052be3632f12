"""``serd tail``: events as they come over MQTT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import click

from serd.cli.colour import echo
from serd.cli.invocation import Command, Invocation, pass_invocation
from serd.errors import SerdError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serd.config import Config
    from serd.events.event import Event
    from serd.mqtt.messages import Message

_PAST_EVENTS: Final = 10
_NODES_MAX: Final = 2000

_T = TypeVar("_T")

_MICROPHONE: Final = {
    "open": "the microphone is open",
    "muted": "muted: the microphone is closed",
    "quiet": "quiet hours: the microphone is closed",
    "missing": "the microphone is missing",
}
"""What is said of a microphone's state."""


@click.command(cls=Command)
@click.option(
    "--node", default="+", show_default=True, metavar="NAME", help="Which node; + for all."
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, as also into a pipe."
)
@click.option(
    "--no-history", is_flag=True, help="Do not begin with the latest events of this machine."
)
@pass_invocation
def tail(invocation: Invocation, node: str, as_json: bool, no_history: bool) -> int:
    """Follow events, over any interruption of the broker, until Ctrl-C.

    On a terminal it begins with the latest events from this machine's journal, printed faintly.
    `serd correct` says what an utterance really was.
    """
    config = invocation.load().config
    from serd.mqtt.follower import Follower

    follower = Follower(
        config.mqtt, node=node, kinds=("status", "state", "emotion"), on_connection=_tell_connection
    )
    if as_json or not sys.stdout.isatty():
        screen: Screen = _Objects()
    else:
        here = {single.node for single in config.each()}
        screen = _Lines(here if config.personal.enabled else None)
    try:
        if not no_history:
            for event in _latest(config, None if node == "+" else node):
                screen.past(event)
        follow(follower, screen)
    except KeyboardInterrupt:  # the way to end it, and so no failure
        echo(err=True)
    return 0


class Screen(Protocol):
    """Where events are shown."""

    def past(self, event: Event) -> None:
        """Show an event of the past."""

    def event(self, event: Event) -> None:
        """Show an event that has just come."""

    def expect(self, node: str) -> None:
        """Know that there is such a node."""


class _Objects:
    """JSON for programs, which want what is new and nothing else."""

    def past(self, event: Event) -> None:
        pass

    def expect(self, node: str) -> None:
        pass

    def event(self, event: Event) -> None:
        from serd.events.event import encode

        echo(encode(event).decode())


class _Lines:
    """Coloured lines for people.

    Args:
        here: Nodes of this machine's configuration: after the first event it says how to correct
            it. None: it does not.
    """

    def __init__(self, here: set[str] | None = None) -> None:
        from rich.console import Console

        from serd.cli.lines import EventLines

        self._console = Console(highlight=False)
        self._lines = EventLines(ascii_only=self._console.options.ascii_only)
        self._here = here

    def past(self, event: Event) -> None:
        self._console.print(self._lines.line(event, self._console.width, dim=True))

    def expect(self, node: str) -> None:
        self._lines.expect(node)

    def event(self, event: Event) -> None:
        self._console.print(self._lines.line(event, self._console.width))
        if self._here is not None:
            where = "" if event.node in self._here else f" --node {event.node}"
            self._here = None
            text = (
                f"serd: wrong? `serd correct happy{where}` or `serd correct not{where}` teaches it"
            )
            echo(text, err=True)


def follow(messages: Iterable[Message], screen: Screen) -> None:
    """Show events, and say on standard error which nodes go and come back, and what was missed.

    Args:
        messages: What a follower hands out.
        screen: Where to show the events.
    """
    from serd.events.state import TOLD
    from serd.mqtt.messages import ClearedMessage, EventMessage, StateMessage, StatusMessage

    online: dict[str, bool] = {}
    latest: dict[str, int] = {}
    microphones: dict[str, str] = {}
    for message in messages:
        if isinstance(message, ClearedMessage):
            continue
        screen.expect(message.node)
        if isinstance(message, EventMessage):
            event = message.event
            missed = event.seq - latest.get(event.node, event.seq) - 1
            if missed > 0:
                many = "one event was" if missed == 1 else f"{missed} events were"
                echo(f"serd: {event.node}: {many} missed; `serd history` there has them", err=True)
            _remember(latest, event.node, max(event.seq, latest.get(event.node, 0)))
            screen.event(event)
        elif isinstance(message, StatusMessage):
            # That a node is there is no news unless it was away.
            if online.get(message.node, True) != message.online:
                state = "online again" if message.online else "offline"
                echo(f"serd: {message.node} is {state}", err=True)
            _remember(online, message.node, message.online)
        elif isinstance(message, StateMessage) and online.get(message.node):
            # That the microphone is open is no news unless it was not.
            now = message.state.microphone
            if now in TOLD and microphones.get(message.node, "open") != now:
                echo(f"serd: {message.node}: {_MICROPHONE[now]}", err=True)
            if now in TOLD:
                _remember(microphones, message.node, now)


def _remember(known: dict[str, _T], node: str, value: _T) -> None:
    """Keep something of a node; whoever may publish can invent nodes, so the oldest go."""
    known[node] = value
    if len(known) > _NODES_MAX:
        del known[next(iter(known))]


def _tell_connection(connected: bool, reason: str) -> None:
    if connected:
        echo("serd: connected", err=True)
    elif reason != "stopped":
        echo(f"serd: {reason}; trying again until it works", err=True)


def _latest(config: Config, node: str | None) -> list[Event]:
    """The latest events of this machine, the oldest first; none if there is no journal."""
    from serd.events.history import History

    try:
        with History(Path(config.journal.path)) as journal:
            newest = journal.query(node=node, limit=_PAST_EVENTS, newest_first=True)
            return list(newest)[::-1]
    except SerdError:
        return []
