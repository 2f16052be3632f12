"""``serd demo``: everything at once, on whatever this machine has. `make run` calls it."""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from serd.cli.invocation import Command, Invocation, pass_invocation
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from serd.config.loading import Loaded
    from serd.mqtt.follower import Follower

_CONNECT_S: Final = 2.0
"""How long a broker may take to answer before serd brings its own."""

_CAUGHT_UP_S: Final = 5.0
"""How long the last events may take from the broker to the terminal."""

SAMPLE: Final = Path(__file__).parent.parent / "audio" / "data" / "sample.ogg"
"""Speech by synthetic voices, see examples/make_sample.py."""


@click.command(cls=Command)
@pass_invocation
def demo(invocation: Invocation) -> int:
    """Try serd here and now: daemon, broker and live predictions in one terminal.

    Listens to the microphone; without one, to a sample of synthetic speech, at the pace of speech.
    Uses the broker of the configuration; if none answers there, one of its own on this machine.
    """
    loaded = invocation.load()
    with ExitStack() as stack:
        if loaded.config.audio.source == "mic" and (reason := _no_microphone(loaded)):
            _say(f"{reason}, so you hear about a sample of synthetic speech (40 s)")
            invocation.override("audio.source", str(SAMPLE), "demo")
            # The sample is nobody's mood: it stays out of this machine's journal.
            folder = stack.enter_context(_temporary_folder())
            invocation.override("journal.path", f"{folder}/journal.db", "demo")
        mqtt = loaded.config.mqtt
        if mqtt.host == "embedded" or not _answers(mqtt.host, mqtt.port):
            from serd.mqtt.embedded import EmbeddedBroker

            wanted = mqtt.port if mqtt.host in {"embedded", "localhost", "127.0.0.1"} else 0
            broker = stack.enter_context(EmbeddedBroker(wanted))
            if mqtt.host != "embedded":
                _say(f"no broker answers at {mqtt.host}:{mqtt.port}, so serd brings its own")
            _say(f"broker: 127.0.0.1:{broker.port}, for this machine only")
            invocation.override("mqtt.host", "127.0.0.1", "demo")
            invocation.override("mqtt.port", broker.port, "demo")
        return _run(invocation.load())


def _run(loaded: Loaded) -> int:
    """Run the daemon, and show what a subscriber sees of it, until one of them ends."""
    from serd.daemon import run_daemon
    from serd.mqtt.follower import Follower

    config = loaded.config
    connected = threading.Event()
    follower = Follower(
        config.mqtt,
        node="+" if config.sources else config.node,
        kinds=("status", "emotion"),
        on_connection=lambda there, _reason: connected.set() if there else None,
    )
    screen = _Screen(follower)
    thread = threading.Thread(target=screen.run, name="serd-demo", daemon=True)
    thread.start()
    try:
        if not connected.wait(_CAUGHT_UP_S):
            raise UnavailableError(f"the broker at {follower.address} does not take subscribers")
        node = "+" if config.sources else config.node
        _say(f"live from {config.mqtt.base_topic}/{node}/emotion; Ctrl-C ends it")
        code = run_daemon(loaded)
        screen.offline.wait(_CAUGHT_UP_S)  # the node's last word, after its last event
    finally:
        follower.stop()
        thread.join(_CAUGHT_UP_S)
    _say(f"{screen.shown} events shown")
    return code


class _Screen:
    """Prints the events that a follower receives."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._online: set[str] = set()
        self.offline = threading.Event()
        """Set when every node that has been online has said goodbye."""
        self.shown = 0
        """Events printed."""

    def run(self) -> None:
        """Print until the follower is stopped."""
        from rich.console import Console

        from serd.cli.lines import EventLines
        from serd.mqtt.messages import EventMessage, StatusMessage

        console = Console(highlight=False)
        lines = EventLines(ascii_only=console.options.ascii_only)
        for message in self._follower:
            if isinstance(message, EventMessage):
                console.print(lines.line(message.event, console.width))
                self.shown += 1
            elif isinstance(message, StatusMessage):
                if message.online:
                    self._online.add(message.node)
                elif message.node in self._online:
                    self._online.remove(message.node)
                    if not self._online:
                        self.offline.set()


def _say(sentence: str) -> None:
    click.echo(f"serd: {sentence}", err=True)
    sys.stderr.flush()


def _no_microphone(loaded: Loaded) -> str | None:
    """Why the microphone cannot be used; None if it can."""
    from serd.audio.open import make_source

    source = make_source(loaded.config.audio)
    try:
        source.open()
    except UnavailableError as error:
        return error.message
    finally:
        source.close()
    return None


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S):
            return True
    except OSError:
        return False


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="serd-demo-")
