"""Makes sure that serd records from the microphone chosen on the add-on's page.

When a microphone is unplugged, PulseAudio moves its recordings to another source, and leaves them
there when it comes back. Nobody wants the microphone of another room to be recorded instead, so
this watches where serd's recording is and asks for a restart when it is elsewhere: a recording that
names its source fails while that source is missing, and serd waits for it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

APPLICATION: Final = "serd.addon"
"""The ``application.id`` of serd's recording at the sound server."""

_INTERVAL_S: Final = 5.0


def same_device(chosen: str, names: Iterable[str]) -> str:
    """Find a microphone under its present name.

    A sound card that was replugged may come back with another profile, which is the end of its
    name: ``alsa_input.usb-Maker_Device-00.mono-fallback``.

    Args:
        chosen: Its name when it was chosen.
        names: The sources that exist now.

    Returns:
        The name of the same device; ``chosen`` itself if there is none.
    """
    present = sorted(names)
    if chosen in present:
        return chosen
    device, dot, _ = chosen.rpartition(".")
    if not dot or not device.startswith("alsa_input.") or chosen.endswith(".monitor"):
        return chosen
    same = [name for name in present if name.rpartition(".")[0] == device]
    return same[0] if same else chosen


class MicrophoneWatch:
    """Watches, on its own thread, which source serd records from.

    Args:
        chosen: Name of the source.
        on_change: Called on that thread when the recording has to be restarted: the source has
            another name now (see :attr:`name`), or serd records from another one.
    """

    def __init__(self, chosen: str, on_change: Callable[[], None]) -> None:
        self._chosen = chosen
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serd-addon-microphone", daemon=True)
        self.name = chosen
        """The source's present name."""

    def start(self) -> None:
        """Set :attr:`name`, then go on watching in the background."""
        self._check(first=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self._check()

    def _check(self, *, first: bool = False) -> None:
        import pulsectl  # noqa: PLC0415 - only the add-on has it

        try:
            with pulsectl.Pulse("serd-addon") as pulse:
                self._compare(pulse, first=first)
        except pulsectl.PulseError as error:  # it is restarting; serd waits for it, too
            log.debug("the sound server does not answer: %s", error)

    def _compare(self, pulse: Any, *, first: bool) -> None:
        sources = {source.index: source.name for source in pulse.source_list()}
        name = same_device(self._chosen, sources.values())
        changed, self.name = name != self.name, name
        recorded = {
            sources.get(output.source)
            for output in pulse.source_output_list()
            if output.proplist.get("application.id") == APPLICATION
        }
        others = recorded - {name, None}
        if first or not (changed or others):
            return
        if others:
            log.warning("the sound server recorded from %s instead of %s; restarting the recording",
                        ", ".join(map(str, others)), name)  # fmt: skip
        else:
            log.info("the chosen microphone is called %s now", name)
        self._on_change()
