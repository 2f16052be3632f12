"""Commands received over MQTT: parsed strictly, carried out on a thread of their own.

There is one command, ``BASE/NODE/mute/set`` with exactly ``ON`` or ``OFF``. Everything else is
ignored, with one warning for each topic.

A *retained* command is ignored too. A broker replays it at every reconnection, so an ``OFF``
somebody left there months ago would open a microphone that was muted since, and an ``ON`` would
make serd deaf again after each broker restart. The mute state needs no such help: serd keeps it
itself, also across restarts. (A command that is sent with the retain flag while serd is connected
arrives as an ordinary one and is obeyed.)
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_SWITCH = {b"ON": True, b"OFF": False}
_SHOWN = 40
_TOPICS_REMEMBERED = 32


def parse_switch(payload: bytes) -> bool | None:
    """True for ``ON``, False for ``OFF``, None for anything else."""
    return _SWITCH.get(bytes(payload[:4]))


def encode_switch(on: bool) -> bytes:
    """``ON`` or ``OFF``."""
    return b"ON" if on else b"OFF"


class Commands:
    """Takes commands from the network thread and carries them out on its own.

    The callback may block (closing a microphone takes a while): only the latest command is kept
    waiting meanwhile, because a switch has no history. An exception in it is logged, not fatal.

    Args:
        topic: The topic of the mute command.
        on_mute: Called with True to mute and False to unmute, never on the network thread.
    """

    def __init__(self, topic: str, on_mute: Callable[[bool], None]) -> None:
        self._topic = topic
        self._on_mute = on_mute
        self._warned: set[str] = set()
        self._wanted: bool | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.ignored = 0
        """Messages that were no valid command."""

    def start(self) -> None:
        """Start the thread that carries commands out."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="serd-mqtt-commands", daemon=True
            )
            self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop after the command in progress; one that waits is dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def receive(self, topic: str, payload: bytes, *, retained: bool) -> bool:
        """Take a message as it came; returns at once.

        Returns:
            Whether it was a valid command.
        """
        if topic != self._topic:
            return self._ignore(topic, "no command has this topic")
        if retained:
            return self._ignore(
                topic, "a retained command is not obeyed; publish it without the retain flag"
            )
        wanted = parse_switch(payload)
        if wanted is None:
            shown = ascii(bytes(payload[:_SHOWN]))[1:]
            more = ", ..." if len(payload) > _SHOWN else ""
            return self._ignore(topic, f"{shown}{more} is neither ON nor OFF")
        with self._changed:
            self._wanted = wanted
            self._changed.notify_all()
        return True

    def _ignore(self, topic: str, reason: str) -> bool:
        self.ignored += 1
        # Bounded, so that a stranger who invents topics can fill neither log nor memory.
        if topic not in self._warned and len(self._warned) < _TOPICS_REMEMBERED:
            self._warned.add(topic)
            _log.warning("ignored a message on %s: %s (further ones are only counted)",
                         ascii(topic)[1:-1], reason)  # fmt: skip
        return False

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._wanted is not None)
                if self._stopping:
                    return
                wanted, self._wanted = self._wanted, None
            if wanted is None:
                continue
            try:
                self._on_mute(wanted)
            except Exception:  # noqa: BLE001 (whatever it is, the next command must still work)
                _log.exception("the command to %s failed", "mute" if wanted else "unmute")
