"""Creation of the source that a configuration names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from serd.audio.file import FileSource
from serd.audio.microphone import Microphone
from serd.audio.process import NetworkSource, ProgramSource
from serd.audio.stdin import StdinSource

if TYPE_CHECKING:
    from serd.audio.source import Source
    from serd.config import AudioConfig


def check_source(settings: AudioConfig) -> None:
    """Check that a configured recording can be read; other sources are not checked.

    Raises:
        InputError: It is missing, unreadable, not audio, or holds no audio.
    """
    source = make_source(settings)
    if isinstance(source, FileSource):
        source.check()


def make_source(settings: AudioConfig, *, alone: bool = True) -> Source:
    """Create the source that the section ``audio`` names, without opening it.

    Args:
        settings: ``source`` is "mic", "-" for standard input, a URL or a path; or there is a
            ``command``.
        alone: Whether it is the only source in the process.
    """
    match settings.kind:
        case "mic":
            return Microphone(
                device=settings.device,
                gain_db=settings.gain_db,
                buffer_s=settings.buffer_s,
                channel=settings.channel,
            )
        case "stdin":
            managed = not alone or _under_service_manager()
            retry = managed if settings.on_end == "auto" else settings.on_end == "retry"
            return StdinSource(
                rate=settings.rate_hz,
                gain_db=settings.gain_db,
                channel=settings.channel,
                retry=retry,
                alone=alone,
            )
        case "network":
            return NetworkSource(settings)
        case "program":
            return ProgramSource(settings)
        case "file":
            return FileSource(
                settings.source,
                pace=settings.pace,
                gain_db=settings.gain_db,
                channel=settings.channel,
            )


def _under_service_manager() -> bool:
    """Whether a service manager restarts serd when it exits."""
    env = os.environ
    return "NOTIFY_SOCKET" in env or env.get("SYSTEMD_EXEC_PID") == str(os.getpid())
