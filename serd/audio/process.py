"""Sources that read from a child process: ffmpeg for a URL, or the program in ``audio.command``."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from serd.audio import ffmpeg
from serd.audio.channels import channel_stats
from serd.audio.container import recognise
from serd.audio.format import SAMPLE_RATE, NotPcmError, PcmFormat, PcmStream, read_header
from serd.audio.intake import Intake
from serd.audio.level import FlatLine
from serd.audio.rawcheck import RawCheck
from serd.audio.source import Block, EndOfSource, SourceContext, SourceStats
from serd.child_process import Child, ending, environment
from serd.config import secrets
from serd.config.secrets import masked, scrubbed, with_login
from serd.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from serd.config import AudioConfig

log = logging.getLogger(__name__)

CONNECT_S: Final = 10.0
"""Seconds to wait for the first audio. A longer wait would delay finding a host that has just come
back, which takes a new connection."""

STALL_S: Final = 5.0
"""Seconds without data after which the program, or its peer, counts as dead."""

CLOSE_S: Final = 2.0
"""Seconds to wait for a reader in another thread when closing."""

LEAD_S: Final = 10.0
"""Seconds of audio that may arrive faster than real time, as servers send a burst at the start. A
recording that arrives all at once is read in real time after that."""

LOGIN_S: Final = 60.0
"""Seconds until a refused login is retried: many cameras lock out frequent attempts."""

SOUND_VARIABLES: Final = ("ALSA_", "PULSE_", "PIPEWIRE_", "JACK_")
"""Prefixes of environment variables by which programs find the sound system."""


class ChildSource(SourceContext):
    """Audio from the standard output of a child process, at its native rate and channels.

    Like a microphone, it can be closed and opened again any number of times; positions continue,
    and the time in between counts as lost. A pipe never overflows: when serd is delayed, the
    program waits.

    Args:
        settings: The section ``audio``.
    """

    live = True
    steady = True

    def __init__(self, settings: AudioConfig) -> None:
        self.settings = settings
        self._intake = Intake(gain_db=settings.gain_db, channel=settings.channel)
        self._flat = FlatLine()
        self._lock = threading.RLock()
        """Held while the child is read, started or ended."""
        self._closed = threading.Event()
        self._closed.set()
        self._child: Child | None = None
        self._pcm = PcmStream(PcmFormat(rate=settings.rate_hz))
        self._check: RawCheck | None = None
        self._data = b""
        self._opens = 0
        self._fresh = False
        self._arrived: float | None = None
        self._pending = 0.0
        self._waited = 0.0
        self._ahead = 0.0
        self._heard_at = 0.0

    @property
    def name(self) -> str:
        """Name for messages, without secrets."""
        raise NotImplementedError

    def _start(self) -> Child:
        """Start the program.

        Raises:
            UnavailableError: It cannot be started.
        """
        raise NotImplementedError

    def _failure(self, child: Child) -> UnavailableError:
        """The exception to raise when the program has ended by itself."""
        raise NotImplementedError

    @property
    def stats(self) -> SourceStats:
        """The current counters."""
        pcm = self._pcm.format
        return SourceStats(
            blocks=self._intake.blocks,
            samples=self._intake.samples,
            opens=self._opens,
            rate=pcm.rate if self._opens else 0,
            channels=pcm.channels if self._opens else 0,
            flat_s=self._flat.seconds,
            gain_db=self._intake.gain_db,
            **channel_stats(self._intake.channels),
        )

    def open(self) -> None:
        """Start the program, and wait for the first audio.

        Raises:
            UnavailableError: There is none; the message says why, if known.
        """
        self.close()
        with self._lock:
            self._closed.clear()
            self._child = self._start()
            try:
                self._pcm = PcmStream(self._begin(self._child))
            except BaseException:
                self.close()
                raise
            self._pending = self._intake.pending
            try:
                self._intake.start(
                    rate=self._pcm.format.rate, channels=self._pcm.format.channels, name=self.name
                )
            except BaseException:
                self.close()
                raise
            self._fresh = True
            self._waited = self._ahead = 0.0
            self._heard_at = time.monotonic()
            self._opens += 1

    def _begin(self, child: Child) -> PcmFormat:
        """Read until the format is known; data after the header is left in ``_data``."""
        self._data = b""
        deadline = time.monotonic() + CONNECT_S
        while True:
            data = child.read(max(0.0, deadline - time.monotonic()))
            if self._closed.is_set():
                raise UnavailableError(f"{self.name} was closed while it was opened")
            if data is None:
                raise UnavailableError(
                    f"{self.name} has delivered nothing for {CONNECT_S:.0f} s", remedy=self._remedy
                )
            if not data:
                if not self._complete(child):
                    raise self._failure(child)
                return PcmFormat(rate=self.settings.rate_hz)  # without sound; read() tells its end
            self._data += data
            pcm = self._format()
            if pcm is not None:
                return pcm

    _remedy: str | None = None
    """The remedy if nothing arrives."""

    def _format(self) -> PcmFormat | None:
        """The format of ``_data``, whose header is removed; None if more data is needed."""
        try:
            header = read_header(self._data)
        except NotPcmError as error:
            raise UnavailableError(f"{self.name} delivers {error}") from error
        if header is None:
            return None
        self._data = self._data[header[1] :]
        return header[0]

    def read(self, timeout: float, batch: int = 0) -> Block | None:
        """Give the next block; see :meth:`serd.audio.source.Source.read`."""
        give_up = time.monotonic() + timeout
        with self._lock:
            while True:
                child = self._child
                if self._closed.is_set() or child is None:
                    raise EndOfSource
                if self._ahead > LEAD_S and not self._pause(give_up):
                    return None
                ended = self._collect(child, give_up, batch)
                if self._closed.is_set():
                    raise EndOfSource
                if self._data:
                    block = self._take()
                    if block is not None:
                        return block
                elif ended:
                    raise self._ended(child)
                elif time.monotonic() >= give_up:
                    return None

    def _complete(self, _child: Child) -> bool:
        """Whether the end of the output is the end of the sound, and no fault."""
        return False

    def _ended(self, child: Child) -> Exception:
        if self._complete(child):
            log.info("%s has ended", self.name)
            return EndOfSource()
        return self._failure(child)

    def _pause(self, give_up: float) -> bool:
        """Wait until the audio is no longer ahead of time. Returns False at ``give_up``."""
        until = min(give_up, time.monotonic() + self._ahead - LEAD_S)
        if self._closed.wait(max(0.0, until - time.monotonic())):
            raise EndOfSource
        now = time.monotonic()
        self._lapse(now)
        return self._ahead <= LEAD_S

    def _lapse(self, now: float) -> None:
        """Update how far the audio is ahead of the clock, which may differ from the sender's."""
        self._ahead = max(0.0, self._ahead - 1.02 * (now - self._heard_at))
        self._heard_at = now

    def _collect(self, child: Child, give_up: float, batch: int) -> bool:
        """Read a batch, or what arrives in time. Returns True at the end of the output.

        Raises:
            UnavailableError: Nothing has arrived for too long.
        """
        pcm = self._pcm.format
        needed = max(1, -(-batch * pcm.rate // SAMPLE_RATE)) * pcm.frame_bytes
        while len(self._data) < needed:
            begun = time.monotonic()
            data = child.read(max(0.0, give_up - begun))
            if data is None:
                # Only time spent waiting here counts: if serd itself was stopped (a debugger,
                # SIGSTOP), that is not the program's fault.
                self._waited += max(0.0, min(time.monotonic() - begun, give_up - begun))
                if self._waited >= STALL_S and not self._data:
                    self._waited = 0.0
                    raise UnavailableError(
                        f"{self.name} has delivered nothing for {STALL_S:.0f} s",
                        remedy=self._remedy,
                    )
                return False
            if not data:
                return True
            self._waited = 0.0
            self._data += data
        return False

    def _take(self) -> Block | None:
        """Make a block from the data read so far."""
        now = time.monotonic()
        data, self._data = self._data, b""
        if self._check is not None and self._check.feed(data, now):
            self._check = None
        pcm = self._pcm.format
        frames = self._pcm.push(data)
        if not len(frames):
            return None
        self._lapse(now)
        self._ahead += len(frames) / pcm.rate
        if self._fresh:
            self._fresh = False
            if self._arrived is not None:
                begun = now - len(frames) / pcm.rate
                unheard = (begun - self._arrived) * SAMPLE_RATE + self._pending
                self._intake.skip(max(1, round(unheard)))
        self._arrived = now
        self._flat.feed(frames, pcm.rate)
        return self._intake.push(frames, now, in_range=pcm.in_range)

    def close(self) -> None:
        """End the program, and with it the connection and any waiting ``read()``."""
        self._closed.set()
        child = self._child
        if child is not None:
            child.interrupt()
        if not self._lock.acquire(timeout=CLOSE_S):
            log.warning("%s does not let go", self.name)
            return
        try:
            child, self._child = self._child, None
            if child is not None:
                child.end()
        finally:
            self._lock.release()


class NetworkSource(ChildSource):
    """A live network stream, fetched by ffmpeg: a camera, an internet radio.

    Args:
        settings: The section ``audio``, whose ``source`` is a URL with an allowed scheme.
    """

    def __init__(self, settings: AudioConfig) -> None:
        super().__init__(settings)
        self._name = masked(settings.source)
        self._url = settings.source
        self._remedy = "does the host run, and send sound? `serd check` tries it"

    @property
    def name(self) -> str:
        """The URL, without secrets."""
        return self._name

    def _start(self) -> Child:
        # Read again each time, so that correcting the file does not require a restart.
        self._url = with_login(
            self.settings.source, self.settings.username, read_password(self.settings)
        )
        try:
            return ffmpeg.open_url(self._url)
        except UnavailableError as error:
            raise UnavailableError(
                f"{self.name} cannot be heard: {error.message}", remedy=error.remedy
            ) from error

    def _failure(self, child: Child) -> UnavailableError:
        child.wait(1.0)
        why = ffmpeg.reason(child.said, self._url)
        if why == ffmpeg.LOGIN_REFUSED:
            return UnavailableError(
                f"{self.name} cannot be heard: {why}",
                remedy="correct the login in audio.source, or audio.username and "
                "audio.password_file",
                retry_s=LOGIN_S,
            )
        if why == ffmpeg.NO_AUDIO:
            remedy = "switch the sound on in the camera's settings, or take another of its streams"
            return UnavailableError(f"{self.name} cannot be heard: {why}", remedy=remedy)
        if why is None:
            return UnavailableError(f"{self.name} has ended", remedy=self._remedy)
        return UnavailableError(f"{self.name} cannot be heard: {why}", remedy=self._remedy)


def read_password(settings: AudioConfig) -> str | None:
    """The password for the URL; None if there is none.

    Raises:
        UnavailableError: Its file cannot be read, or contains no password.
    """
    if settings.password_file is None:
        return settings.password
    try:
        return secrets.read_password("audio.password_file", settings.password_file)
    except ConfigError as error:  # it may be corrected while serd waits
        raise UnavailableError(error.message, remedy=error.remedy) from None


class ProgramSource(ChildSource):
    """The standard output of a program: raw 16-bit mono samples, or a WAV stream.

    Args:
        settings: The section ``audio``, whose ``command`` is the program and its arguments.
    """

    def __init__(self, settings: AudioConfig) -> None:
        super().__init__(settings)
        self._retry = settings.on_end != "stop"
        self._remedy = "run the command by hand, and see whether it writes sound"
        self._began = 0.0

    @property
    def name(self) -> str:
        """The program, without its arguments."""
        return f"the program {scrubbed(self.settings.command[0])}"

    def _start(self) -> Child:
        try:
            return Child(self.settings.command, env=environment(more=SOUND_VARIABLES))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UnavailableError(
                f"{self.name} cannot be started: {why}",
                remedy="write its whole path into audio.command, or install it",
            ) from error

    def _format(self) -> PcmFormat | None:
        kind = recognise(self._data)
        if kind is not None and kind.startswith("WAV"):
            return super()._format()
        if kind is not None:
            raise UnavailableError(
                f"{self.name} writes {kind}, not raw samples or WAV",
                remedy="let it write WAV, or let ffmpeg convert it: "
                "audio.command: [sh, -c, 'PROGRAM | ffmpeg -loglevel error -i - -f wav -']",
            )
        if len(self._data) < 12 and b"RIFF".startswith(self._data[:4]):
            return None
        rate = self.settings.rate_hz
        self._check = RawCheck(rate, self.name)
        return PcmFormat(rate=rate)

    def _failure(self, child: Child) -> UnavailableError:
        code = child.wait(1.0)
        how = "has closed its output" if code is None else ending(code)
        lines = scrubbed(child.said).split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        said = "".join(sign if sign.isprintable() else "?" for sign in said)[:200]
        return UnavailableError(
            f"{self.name} {how}{f': {said}' if said else ''}", remedy=self._remedy
        )

    def _complete(self, _child: Child) -> bool:
        return not self._retry and _child.wait(1.0) == 0
