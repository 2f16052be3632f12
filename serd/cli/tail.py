"""``serd tail``: events as they come over MQTT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import click

from serd import language
from serd.cli.colour import echo
from serd.cli.invocation import Command, Invocation, pass_invocation
from serd.errors import SerdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    words = language.chosen(config.language)
    if as_json or not sys.stdout.isatty():
        screen: Screen = _Objects()
    else:
        titles = {single.node: single.name for single in config.each()}
        screen = TerminalLines(words, titles, correctable=config.personal.enabled)
    try:
        if not no_history:
            for event in _latest(config, None if node == "+" else node):
                screen.past(event)
        follow(follower, screen, words)
    except KeyboardInterrupt:  # the way to end it, and so no failure
        echo(err=True)
    return 0


class Screen(Protocol):
    """Where events are shown."""

    def past(self, event: Event) -> None:
        """Show an event of the past."""

    def event(self, event: Event) -> None:
        """Show an event that has just come."""

    def expect(self, node: str, title: str | None = None) -> None:
        """Know that there is such a node, and what people call it."""


class _Objects:
    """JSON for programs, which want what is new and nothing else."""

    def past(self, event: Event) -> None:
        pass

    def expect(self, node: str, title: str | None = None) -> None:
        pass

    def event(self, event: Event) -> None:
        from serd.events.event import encode

        echo(encode(event).decode())


class TerminalLines:
    """Coloured lines for people.

    Args:
        words: In whose language emotions are told.
        titles: The nodes of this machine's configuration, and what people call them.
        correctable: After the first event it says how to correct it.
    """

    def __init__(
        self, words: Catalogue, titles: Mapping[str, str | None], *, correctable: bool = False
    ) -> None:
        from rich.console import Console

        from serd.cli.lines import EventLines

        self._console = Console(highlight=False)
        self._lines = EventLines(ascii_only=self._console.options.ascii_only, words=words)
        self._titles = titles
        self._correctable = correctable

    def past(self, event: Event) -> None:
        """See :class:`Screen`."""
        self.expect(event.node)
        self._console.print(self._lines.line(event, self._console.width, dim=True))

    def expect(self, node: str, title: str | None = None) -> None:
        """See :class:`Screen`."""
        self._lines.expect(node, title or self._titles.get(node))

    def event(self, event: Event) -> None:
        """See :class:`Screen`."""
        self._console.print(self._lines.line(event, self._console.width))
        if self._correctable:
            self._correctable = False
            where = "" if event.node in self._titles else f" --node {event.node}"
            text = (
                f"serd: wrong? `serd correct happy{where}` or `serd correct not{where}` teaches it"
            )
            echo(text, err=True)


def follow(messages: Iterable[Message], screen: Screen, words: Catalogue | None = None) -> None:
    """Show events, and say on standard error which nodes go and come back, and what was missed.

    Args:
        messages: What a follower hands out.
        screen: Where to show the events.
        words: In whose language the nodes' states are told.
    """
    from serd.mqtt.messages import ClearedMessage, EventMessage, StateMessage, StatusMessage

    notices = _Notices(words)
    for message in messages:
        if isinstance(message, ClearedMessage):
            continue
        if isinstance(message, StateMessage):
            notices.state(message.node, message.state)
        screen.expect(message.node, notices.titles.get(message.node))
        if isinstance(message, EventMessage):
            notices.event(message.event)
            screen.event(message.event)
        elif isinstance(message, StatusMessage):
            notices.status(message.node, online=message.online)


def _remember(known: dict[str, _T], node: str, value: _T) -> None:
    """Keep something of a node; whoever may publish can invent nodes, so the oldest go."""
    known[node] = value
    if len(known) > _NODES_MAX:
        del known[next(iter(known))]


class _Notices:
    """Says on standard error what is news of the nodes.

    Args:
        words: In whose language.
    """

    def __init__(self, words: Catalogue | None) -> None:
        self._tr = words.gettext if words else str
        self._online: dict[str, bool] = {}
        self._latest: dict[str, int] = {}
        self._microphones: dict[str, str] = {}
        self.titles: dict[str, str] = {}
        """What people call the nodes."""

    def _say(self, node: str, what: str) -> None:
        echo(f"serd: {self.titles.get(node, node)}{what}", err=True)

    def event(self, event: Event) -> None:
        missed = event.seq - self._latest.get(event.node, event.seq) - 1
        if missed > 0:
            many = "one event was" if missed == 1 else f"{missed} events were"
            self._say(event.node, f": {many} missed; `serd history` there has them")
        _remember(self._latest, event.node, max(event.seq, self._latest.get(event.node, 0)))

    def status(self, node: str, *, online: bool) -> None:
        # That a node is there is no news unless it was away.
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
        # That the microphone is open is no news unless it was not.
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
