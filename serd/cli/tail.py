"""``serd tail``: events as they arrive over MQTT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import click

from serd import language
from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import EventPrinter, echo
from serd.errors import ConfigError, SerdError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serd.config import Config
    from serd.events.event import Event
    from serd.events.state import RoomState
    from serd.language import Catalogue
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
"""Messages about a microphone's state."""


@click.command(cls=Command)
@click.option(
    "--node", default="+", show_default=True, metavar="NAME", help="Which node; + for all."
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line; the default into a pipe."
)
@click.option("--no-history", is_flag=True, help="Do not start with this machine's latest events.")
@pass_invocation
def tail(invocation: Invocation, node: str, as_json: bool, no_history: bool) -> int:
    """Follow events until Ctrl-C, reconnecting whenever the broker was away.

    On a terminal it starts with the latest events from this machine's journal, printed faintly.
    Use `serd correct` to correct a wrong emotion.
    """
    config = invocation.load().config
    from serd.mqtt.follower import Follower
    from serd.mqtt.topics import filters

    try:
        filters(config.mqtt.base_topic, node)
    except ConfigError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
    follower = Follower(
        config.mqtt, node=node, kinds=("status", "state", "emotion"), on_connection=_tell_connection
    )
    words = language.chosen(config.language)
    if as_json or not sys.stdout.isatty():
        output: Output = _JsonLines()
    else:
        titles = {single.node: single.name for single in config.each()}
        output = EventPrinter(words, titles, correctable=config.personal.enabled)
    try:
        if not no_history:
            for event in _latest(config, None if node == "+" else node):
                output.past(event)
        follow(follower, output, words)
    except KeyboardInterrupt:  # the normal way to end it
        echo(err=True)
    return 0


class Output(Protocol):
    """Where events are printed."""

    def past(self, event: Event) -> None:
        """Print an event from the journal."""

    def event(self, event: Event) -> None:
        """Print a new event."""

    def add_node(self, node: str, title: str | None = None) -> None:
        """Learn of a node and its friendly name."""


class _JsonLines:
    """JSON for programs: new events only."""

    def past(self, event: Event) -> None:
        pass

    def add_node(self, node: str, title: str | None = None) -> None:
        pass

    def event(self, event: Event) -> None:
        from serd.events.event import encode

        echo(encode(event).decode())


def follow(messages: Iterable[Message], output: Output, words: Catalogue | None = None) -> None:
    """Print events, and on standard error which nodes go and come back, and what was missed.

    Args:
        messages: From a follower.
        output: Where to print the events.
        words: Translates the nodes' states.
    """
    from serd.mqtt.messages import ClearedMessage, EventMessage, StateMessage, StatusMessage

    notices = _Notices(words)
    for message in messages:
        if isinstance(message, ClearedMessage):
            continue
        if isinstance(message, StateMessage):
            notices.state(message.node, message.state)
        output.add_node(message.node, notices.titles.get(message.node))
        if isinstance(message, EventMessage):
            notices.event(message.event)
            output.event(message.event)
        elif isinstance(message, StatusMessage):
            notices.status(message.node, online=message.online)


def _remember(known: dict[str, _T], node: str, value: _T) -> None:
    """Store something of a node. Publishers can invent nodes, so beyond a limit the oldest go."""
    known[node] = value
    if len(known) > _NODES_MAX:
        del known[next(iter(known))]


class _Notices:
    """Reports on standard error what changes about the nodes.

    Args:
        words: Translates the messages.
    """

    def __init__(self, words: Catalogue | None) -> None:
        self._tr = words.gettext if words else str
        self._online: dict[str, bool] = {}
        self._latest: dict[str, int] = {}
        self._microphones: dict[str, str] = {}
        self.titles: dict[str, str] = {}
        """Friendly names by node."""

    def _say(self, node: str, what: str) -> None:
        echo(f"serd: {self.titles.get(node, node)}{what}", err=True)

    def event(self, event: Event) -> None:
        missed = event.seq - self._latest.get(event.node, event.seq) - 1
        if missed > 0:
            many = "one event was" if missed == 1 else f"{missed} events were"
            self._say(event.node, f": {many} missed; `serd history` there has them")
        _remember(self._latest, event.node, max(event.seq, self._latest.get(event.node, 0)))

    def status(self, node: str, *, online: bool) -> None:
        # A node that is online is news only if it was offline.
        if self._online.get(node, True) != online:
            self._say(node, f" {self._tr('is online again' if online else 'is offline')}")
        _remember(self._online, node, online)

    def state(self, node: str, state: RoomState) -> None:
        from serd.events.state import MICROPHONE_STATES

        if state.name:
            _remember(self.titles, node, state.name)
        now = state.microphone
        if now not in MICROPHONE_STATES or not self._online.get(node):
            return
        # An open microphone is news only if it was closed.
        if self._microphones.get(node, "open") != now:
            self._say(node, f": {self._tr(_MICROPHONE[now])}")
        _remember(self._microphones, node, now)


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
