"""Commands to nodes and about them, each sent over a connection of its own."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from serd.errors import UnavailableError
from serd.mqtt.access import Access
from serd.mqtt.commands import encode_switch, send
from serd.mqtt.link import Link
from serd.mqtt.retained import forget
from serd.mqtt.topics import Topics

if TYPE_CHECKING:
    from serd.config import MqttConfig
    from serd.mqtt.commands import CorrectRequest, CorrectResult

_PATIENCE_S: Final = 5.0
_AT_ONCE: Final = 4


class Switch(Protocol):
    """Sends commands."""

    def send(self, node: str, on: bool) -> None:
        """Tell a node to close (``on``) or open its microphone; blocks until the broker has it.

        Raises:
            SerdError: The broker cannot be reached, or does not take it.
        """

    def correct(self, node: str, request: CorrectRequest) -> CorrectResult:
        """Tell a node what an utterance really was; blocks until it answers.

        Raises:
            SerdError: As :meth:`send`, or the node does not answer.
        """

    def forget(self, node: str) -> None:
        """Clear what a node has left on the broker; blocks until that is done.

        Raises:
            SerdError: As :meth:`send`.
        """


class MqttSwitch:
    """Sends commands to the broker of the configuration.

    Args:
        settings: The configuration's ``mqtt`` section.

    Raises:
        ConfigError: Secrets or certificates cannot be used.
    """

    def __init__(self, settings: MqttConfig) -> None:
        self._access = Access(settings)
        self._settings = settings
        self._base = settings.base_topic
        self._at_once = threading.BoundedSemaphore(_AT_ONCE)

    def correct(self, node: str, request: CorrectRequest) -> CorrectResult:
        """As the protocol says."""
        with self._at_once:
            return send(self._access, Topics(self._base, node), request)

    def forget(self, node: str) -> None:
        """As the protocol says."""
        with self._at_once:
            forget(self._settings, node)

    def send(self, node: str, on: bool) -> None:
        """As the protocol says."""
        topic = Topics(self._base, node).mute_set
        with self._at_once:
            link = Link(self._access, f"serd-dashboard-{secrets.token_hex(4)}")
            link.open()
            try:
                # Not retained: a node ignores retained commands, which a broker would repeat.
                receipt = link.publish(topic, encode_switch(on), qos=1, retain=False)
                deadline = time.monotonic() + _PATIENCE_S
                while not receipt.is_published():
                    if receipt.refusal is not None:
                        raise UnavailableError(f"{topic} {receipt.refusal.reason}")
                    if time.monotonic() > deadline:
                        raise UnavailableError("the broker does not acknowledge the command")
                    link.step(_PATIENCE_S)
            finally:
                link.close()
