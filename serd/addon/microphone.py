"""Sees to it that the microphone which was chosen is the one that is heard.

PulseAudio moves a recording to another source when its own is unplugged, and leaves it there when
it comes back. Whoever has chosen a microphone does not want to be heard in another room, so this
watches where serd's recording is and asks for a new one when it is elsewhere: a recording that
names its source fails while that is away, and serd waits for it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

APPLICATION: Final = "serd.addon"
"""By this id the sound server knows serd's recording."""

_LOOK_S: Final = 5.0


def same_device(chosen: str, names: Iterable[str]) -> str:
    """The name under which a microphone is there now.

    A sound card that was replugged may come back with another profile, which ends its name:
    ``alsa_input.usb-Maker_Device-00.mono-fallback``.

    Args:
        chosen: As it was called when it was chosen.
        names: Of the sources that are there.

    Returns:
        That of the same device; ``chosen`` itself if there is none.
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
    """Watches on a thread of its own.

    Args:
        chosen: Name of the source.
        on_change: Called, on that thread, with the name by which serd shall record from now on:
            when it has changed, or when the recording is somewhere else.
    """

    def __init__(self, chosen: str, on_change: Callable[[str], None]) -> None:
        self._chosen = chosen
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serd-addon-microphone", daemon=True)
        self.name = chosen
        """By which serd records."""

    def start(self) -> None:
        """Look once, so that :attr:`name` is right, then go on in the background."""
        self._look_patiently(first=True)
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self._look_patiently()

    def _look_patiently(self, *, first: bool = False) -> None:
        import pulsectl  # noqa: PLC0415 - only the add-on has it

        try:
            with pulsectl.Pulse("serd-addon") as pulse:
                self._look(pulse, first=first)
        except pulsectl.PulseError as error:  # the server restarts; serd waits for it, too
            log.debug("the sound server does not answer: %s", error)

    def _look(self, pulse: Any, *, first: bool) -> None:
        sources = {source.index: source.name for source in pulse.source_list()}
        name = same_device(self._chosen, sources.values())
        changed, self.name = name != self.name, name
        heard = {
            sources.get(output.source)
            for output in pulse.source_output_list()
            if output.proplist.get("application.id") == APPLICATION
        }
        elsewhere = heard - {name, None}
        if first or not (changed or elsewhere):
            return
        if elsewhere:
            log.warning("the sound server recorded from %s instead of %s; that is ended",
                        ", ".join(map(str, elsewhere)), name)  # fmt: skip
        else:
            log.info("the chosen microphone is called %s now", name)
        self._on_change(name)
