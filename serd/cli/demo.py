"""``serd demo``: daemon, broker and subscriber in one terminal. `make run` calls it."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec.structs import replace

from serd import language
from serd.audio import SAMPLE
from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import EventPrinter, echo
from serd.config.schema import AudioConfig, MetricsConfig, MqttConfig
from serd.errors import ConfigError, SerdError, UnavailableError
from serd.language import many

if TYPE_CHECKING:
    from serd.config import Config
    from serd.config.loading import Loaded
    from serd.language import Catalogue
    from serd.mqtt.follower import Follower

_CONNECT_S: Final = 2.0
"""Seconds a broker has to answer before serd starts its own."""

_CAUGHT_UP_S: Final = 5.0
"""Seconds the last events may take from the broker to the terminal."""


@click.command(cls=Command)
@pass_invocation
def demo(invocation: Invocation) -> int:
    """Try serd here and now: daemon, broker and live predictions in one terminal.

    Listens to the microphone; without one, or while muted or in quiet hours, to a sample of
    synthetic speech in real time. Uses the configured broker or, if that does not work, one of its
    own on this machine. Its node is called NODE-demo and is not announced to Home Assistant, no
    hook runs, and in the end nothing of it stays on the broker.
    """
    loaded = invocation.load()
    from serd.audio.factory import check_source

    with ExitStack() as stack:
        config = _temporary(loaded.config)
        if config.audio.kind == "mic":
            config = _with_sound(config, _no_microphone(loaded.config), stack)
        check_source(config.audio)
        config = _with_broker(config, stack)
        return _run(replace(loaded, config=config))


def _temporary(config: Config) -> Config:
    """The configuration of the demo's node, which may run beside a real one.

    It has a name of its own, so that it does not disturb a service with the same configuration; it
    is not announced to Home Assistant and runs no hooks.
    """
    single = config.each()[0]
    return replace(
        single,
        node=f"{single.node[:59]}-demo",
        mqtt=replace(single.mqtt, discovery=False, client_id=None),
        metrics=MetricsConfig(),
        hooks=(),
    )


def _with_sound(config: Config, reason: str | None, stack: ExitStack) -> Config:
    """Use the microphone, or the sample if there is a reason not to."""
    from serd.doctor.machine import journal_in_use

    journal = Path(config.journal.path)
    folder = ""
    if reason is not None or journal_in_use(journal) or not _writable(journal):
        folder = stack.enter_context(_temporary_folder())
        config = replace(config, journal=replace(config.journal, path=f"{folder}/journal.db"))
    if reason is None:
        return config
    _say(f"{reason}, so this uses a sample of synthetic speech (40 s)")
    # The sample says nothing about this household: it stays out of the journal.
    audio = AudioConfig(source=str(SAMPLE))
    return replace(config, audio=audio, mute=False, quiet_hours=())


def _with_broker(config: Config, stack: ExitStack) -> Config:
    """Use the configured broker if it works, otherwise one of its own."""
    mqtt = config.mqtt
    if not mqtt.embedded:
        reason = _no_broker(config)
        if reason is None:
            return config
        _say(f"{reason}; so serd starts its own broker")
    from serd.mqtt.broker import EmbeddedBroker
    from serd.network import LOOPBACK, is_loopback

    try:
        own = mqtt.embedded or is_loopback(mqtt.host)
        broker = stack.enter_context(EmbeddedBroker(mqtt.port if own else 0))
    except UnavailableError:  # the port is taken
        broker = stack.enter_context(EmbeddedBroker(0))
    _say(f"broker: {LOOPBACK}:{broker.port}, for this machine only")
    mine = MqttConfig(host=LOOPBACK, port=broker.port, base_topic=mqtt.base_topic, discovery=False)
    return replace(config, mqtt=mine)


def _no_broker(config: Config) -> str | None:
    """Why the configured broker cannot be used; None if a message published there comes back."""
    from serd.mqtt.access import Access
    from serd.mqtt.link import Link, LinkError
    from serd.mqtt.topics import Topics

    topics = Topics(config.mqtt.base_topic, config.node)
    probe = f"{topics.base}/{topics.node}/check"
    link: Link | None = None
    try:
        access = Access(config.mqtt)
        link = Link(access, f"serd-{config.node}-check")
        link.open()
        link.subscribe([probe])
        back, _ = link.round_trip([(probe, b"check")], _CONNECT_S)
        if back:
            return None
    except (LinkError, ConfigError) as error:
        return error.message
    finally:
        if link is not None:
            link.close()
    return f"the access rules of {access.address} drop what serd publishes"


def _run(loaded: Loaded) -> int:
    """Run the daemon, and show what a subscriber receives, until one of them ends."""
    from serd.daemon.process import run_daemon
    from serd.mqtt.follower import Follower

    config = loaded.config
    connected = threading.Event()
    follower = Follower(
        config.mqtt,
        node=config.node,
        kinds=("status", "emotion"),
        on_connection=lambda there, _reason: connected.set() if there else None,
    )
    subscriber = _Subscriber(follower, language.chosen(config.language))
    thread = threading.Thread(target=subscriber.run, name="serd-demo", daemon=True)
    thread.start()
    try:
        if not connected.wait(_CAUGHT_UP_S):
            raise UnavailableError(f"the broker at {follower.address} does not accept subscribers")
        _say(f"live from {config.mqtt.base_topic}/{config.node}/emotion; Ctrl-C ends it")
        code = run_daemon(loaded, temporary="all")
        subscriber.offline.wait(_CAUGHT_UP_S)  # the node's last message, after its last event
    finally:
        follower.stop()
        thread.join(_CAUGHT_UP_S)
    if subscriber.failure is not None:
        raise subscriber.failure
    _say(f"{many(subscriber.shown, 'event', 'events')} shown")
    return code


class _Subscriber:
    """Prints the events that a follower receives, until the node has gone offline."""

    def __init__(self, follower: Follower, words: Catalogue) -> None:
        self._follower = follower
        self._words = words
        self._online: set[str] = set()
        self.offline = threading.Event()
        """Set when every node that was online has gone offline."""
        self.shown = 0
        """Events printed."""
        self.failure: SerdError | None = None
        """Why no more can be printed."""

    def run(self) -> None:
        """Print until the follower is stopped, or printing fails."""
        try:
            self._print()
        except SerdError as error:
            self.failure = error
            self.offline.set()

    def _print(self) -> None:
        from serd.mqtt.messages import EventMessage, StatusMessage

        printer = EventPrinter(self._words, {})
        for message in self._follower:
            if isinstance(message, EventMessage):
                printer.event(message.event)
                self.shown += 1
            elif isinstance(message, StatusMessage):
                if message.online:
                    self._online.add(message.node)
                elif message.node in self._online:
                    self._online.remove(message.node)
                    if not self._online:
                        self.offline.set()


def _say(sentence: str) -> None:
    echo(f"serd: {sentence}", err=True)
    sys.stderr.flush()


def _no_microphone(config: Config) -> str | None:
    """Why the microphone cannot or must not be used; None if it can."""
    from serd.audio.factory import make_source
    from serd.daemon.mute import why_closed
    from serd.doctor.broker import closed_by_broker

    single = config.each()[0]
    if reason := why_closed(single, alone=not config.sources) or closed_by_broker(single):
        return f"{single.node} {reason}"
    source = make_source(single.audio)
    try:
        source.open()
    except SerdError as error:
        return error.message
    finally:
        source.close()
    return None


def _writable(journal: Path) -> bool:
    """Whether a journal can be written there."""
    from serd.events.database import prepare

    try:
        prepare(journal)
    except SerdError:
        return False
    return os.access(journal, os.W_OK)


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="serd-demo-")
