"""From the configuration to the source that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serd.audio.file import FileSource
from serd.audio.microphone import Microphone
from serd.audio.stdin import StdinSource

if TYPE_CHECKING:
    from serd.audio.source import Source
    from serd.config import AudioConfig


def check_source(settings: AudioConfig) -> None:
    """See whether a recording can be played, before anybody is told that it will be.

    Raises:
        InputError: It is missing, unreadable, not audio, or holds no audio.
    """
    source = make_source(settings)
    if isinstance(source, FileSource):
        source.length_s()


def make_source(settings: AudioConfig) -> Source:
    """Make the source that ``audio.source`` names, not yet opened.

    Args:
        settings: ``source`` is "mic", "-" for standard input, or a path.
    """
    if settings.source == "mic":
        return Microphone(
            device=settings.device, gain_db=settings.gain_db, buffer_s=settings.buffer_s
        )
    if settings.source == "-":
        return StdinSource(rate=settings.rate_hz, gain_db=settings.gain_db)
    return FileSource(settings.source, pace=settings.pace, gain_db=settings.gain_db)
