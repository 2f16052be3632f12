"""The program ffmpeg: how it is found and started, and what its messages mean.

It runs as a child process, never through a shell, and may use only the protocols that serd allows,
so neither a URL nor what it points to can make it read a local file. It only decodes: its output
has the rate and the channels of its input, and serd resamples it like a microphone.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from serd.audio.format import NotPcmError, PcmStream, read_header
from serd.child_process import PATH, PIECE, Child, environment
from serd.config.secrets import scheme, scrubbed
from serd.errors import InputError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

REMEDY: Final = "sudo apt install ffmpeg"

PROTOCOLS: Final = {
    "rtsp": "rtp,udp,tcp",
    "rtsps": "rtp,srtp,udp,tcp,tls",
    "http": "http,https,tcp,tls,httpproxy,crypto,data",
    "https": "http,https,tcp,tls,httpproxy,crypto,data",
    "udp": "udp",
    "rtp": "rtp,udp",
    "srt": "srt",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tcp,tls",
}
"""The protocols that ffmpeg may use for each URL scheme, including in playlists that it fetches."""

FORMATS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "aac", "mp3", "flac", "ogg", "wav", "w64",
    "aiff", "au", "caf", "amr", "amrnb", "amrwb", "ac3", "eac3", "ape", "tta", "wv", "mpc", "mpc8",
    "avi", "flv", "live_flv", "mpegts", "mpeg", "dsf", "iff", "voc", "rm", "dts", "dtshd", "truehd",
    "shn", "tak", "xwma", "g722", "gsm", "loas", "nut", "nistsphere", "ircam", "svx", "swf", "dv",
    "mxf", "qcp", "sox", "sds", "wtv", "mlp", "oma", "ea", "xa", "wsaud", "wsvqa", "aea", "act",
)  # fmt: skip
"""Container formats allowed for recordings: none that refers to other files, as playlists do."""

_QUIET: Final = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error")
_OUT: Final = ("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-flags", "+bitexact",
               "-fflags", "+bitexact", "-flush_packets", "1", "-f", "wav", "pipe:1")  # fmt: skip

START_S: Final = 60.0
"""Seconds without sound after which a recording is abandoned: enough for a slow SD card."""

ANALYSE_US: Final = 3_000_000
"""Maximum length of a stream, in microseconds, that ffmpeg analyses to find out its format."""


def find(program: str = "ffmpeg") -> str:
    """The path of ffmpeg, or of one of its programs.

    Raises:
        UnavailableError: It is not installed.
    """
    found = shutil.which(program, path=os.environ.get("PATH") or PATH)
    if found is None:
        raise UnavailableError(f"the program {program} is not installed", remedy=REMEDY)
    return found


def installed() -> bool:
    """Whether ffmpeg is installed."""
    with contextlib.suppress(UnavailableError):
        return bool(find())
    return False


def open_url(url: str) -> Child:
    """Start an ffmpeg that writes a live stream's first audio track to its standard output, as WAV.

    The URL is passed through a pipe, as a list with one entry, because every user of the machine
    can see the command line.

    Args:
        url: A URL with an allowed scheme, including the login.

    Raises:
        UnavailableError: ffmpeg is not installed or cannot be started.
    """
    program = find()
    reading, writing = os.pipe()
    try:
        os.write(writing, script(url).encode())
        os.close(writing)
        command = [
            program, *_QUIET,
            "-fflags", "+nobuffer", "-f", "concat", "-safe", "0",
            "-protocol_whitelist", f"pipe,{PROTOCOLS[scheme(url)]}",
            "-i", f"pipe:{reading}",
            "-c:a", "pcm_s16le", *_OUT,
        ]  # fmt: skip
        return start(command, pass_fds=(reading,))
    finally:
        os.close(reading)


def script(url: str) -> str:
    """A URL and its options, in the format of ffmpeg's concat demuxer.

    Raises:
        ValueError: The URL has several lines.
    """
    if any(sign in url for sign in "\r\n\0"):
        raise ValueError("a URL has no line breaks")
    options = {"analyzeduration": str(ANALYSE_US)}
    kind = scheme(url)
    if kind in {"rtsp", "rtsps"}:
        # TCP if the camera supports it, because UDP loses packets and firewalls drop it. No video.
        options |= {"rtsp_flags": "prefer_tcp", "allowed_media_types": "audio"}
    elif kind == "udp":
        options |= {"overrun_nonfatal": "1"}
    quoted = url.replace("'", r"'\''")
    lines = ["ffconcat version 1.0", f"file '{quoted}'"]
    return "\n".join([*lines, *(f"option {key} {value}" for key, value in options.items())]) + "\n"


def start(
    command: Sequence[str | bytes], *, stdin: int | None = None, pass_fds: Sequence[int] = ()
) -> Child:
    """Start ffmpeg.

    Raises:
        UnavailableError: It cannot be started.
    """
    try:
        return Child(command, env=environment(), stdin=stdin, pass_fds=pass_fds)
    except OSError as error:
        raise UnavailableError(f"ffmpeg cannot be started: {error.strerror}") from error


def reason(said: str, url: str = "") -> str | None:
    """Explain ffmpeg's messages, as the end of a sentence, without secrets.

    Args:
        said: Its standard error.
        url: The URL it was to open, whose secrets are removed.

    Returns:
        The explanation; None if there were no messages.
    """
    text = said.casefold()
    for words, meaning in _MEANINGS:
        if any(word in text for word in words):
            return meaning
    lines = [line.strip() for line in scrubbed(said, url).splitlines() if line.strip()]
    if not lines:
        return None
    # "[mov,mp4 @ 0x55d2] moov atom not found": drop the prefix.
    last = lines[-1]
    if last.startswith("[") and "] " in last:
        last = last.partition("] ")[2]
    for name in ("pipe:", "file:"):
        if last.startswith(name):
            last = last.rpartition(": ")[2]
    plain = "".join(sign if sign.isprintable() else "?" for sign in last).rstrip(".")
    return f"ffmpeg says: {plain[:200]}"


LOGIN_REFUSED: Final = "the login was refused"
NO_AUDIO: Final = "it has no sound track"

_MEANINGS: Final = (
    (("401 unauthorized", "403 forbidden", "authorization failed", "access denied"), LOGIN_REFUSED),
    (("connection rejected: rejected", "badsecret"), LOGIN_REFUSED),
    # A camera without audio refuses to play when only its audio is requested.
    (("matches no streams", "does not contain any stream", "method play failed: 4"), NO_AUDIO),
    (("404 not found",), "there is no such stream on that host (404)"),
    (("connection refused",), "the connection was refused: nothing listens there"),
    (("no route to host", "network is unreachable"), "the host cannot be reached"),
    (("failed to resolve hostname", "name or service not known"), "the host's name is unknown"),
    (("connection timed out", "operation timed out"), "the host does not answer"),
    (("connection reset by peer", "broken pipe"), "the host has closed the connection"),
    (("not on whitelist", "not on the whitelist"), "it leads to a protocol that is not allowed"),
    (("5xx server error", "503 service"), "the host reports an error of its own (5xx)"),
    (("invalid data found when processing input", "moov atom not found"),
     "it is no sound that ffmpeg can decode, or it is damaged"),
)  # fmt: skip
"""ffmpeg's messages, in lower case, and their meaning; the first match counts."""


class FfmpegFile:
    """A recording decoded by ffmpeg: its first audio track, at its native rate and channels.

    Used like :class:`serd.audio.recording.AudioFile`. It is streamed. Not thread-safe.

    Args:
        path: The file; its name need not be UTF-8.

    Raises:
        InputError: ffmpeg is not installed, or cannot decode the file, or it holds no sound.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            # With "file:", no name is mistaken for an option or another protocol.
            self._child = start(
                [
                    find(), *_QUIET,
                    "-protocol_whitelist", "file", "-format_whitelist", ",".join(FORMATS),
                    "-i", b"file:" + os.fsencode(self.path.absolute()),
                    "-c:a", "pcm_f32le", *_OUT,
                ]
            )  # fmt: skip
        except UnavailableError as error:
            raise InputError(
                f"{self.path} can be read only through ffmpeg: {error.message}",
                remedy=error.remedy,
            ) from error
        self._ended = False
        self.problem: str | None = None
        """After all has been read: what was wrong with the rest of the file, if anything."""
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        data = b""
        while True:
            piece = self._child.read(START_S)
            if not piece:
                why = "nothing came for a minute" if piece is None else self._why()
                raise InputError(f"{self.path} is not audio that serd can read: {why}")
            data += piece
            try:
                header = read_header(data)
            except NotPcmError as error:
                raise InputError(f"{self.path}: ffmpeg gave {error}") from error
            if header is not None:
                break
        self._pcm, at = PcmStream(header[0]), header[1]
        self._frames = self._pcm.push(data[at:])
        self.rate, self.channels = header[0].rate, header[0].channels

    def _why(self) -> str:
        self._child.wait(1.0)
        return reason(self._child.said) or "ffmpeg found no sound in it"

    def read(self, frames: int) -> NDArray[np.float32]:
        """Read the next frames: ``frames`` of them, fewer before the end, none at the end.

        Returns:
            float32[n, channels]; they may not be finite or within [-1, 1].
        """
        parts, missing = [self._frames[:frames]], frames - len(self._frames)
        self._frames = self._frames[frames:]
        while missing > 0 and not self._ended:
            data = self._child.read(START_S)
            if data is None:
                self._ended, self.problem = True, "nothing came for a minute"
            elif not data:
                self._ended = True
                self._child.wait(1.0)
                self.problem = reason(self._child.said)
            else:
                fresh = self._pcm.push(data)
                parts.append(fresh[:missing])
                self._frames = fresh[missing:]
                missing -= len(parts[-1])
        return np.concatenate(parts)

    def close(self) -> None:
        """End ffmpeg."""
        self._child.end()


class PipeDecoder:
    """An ffmpeg that decodes the data from a file descriptor to a WAV stream. Not thread-safe.

    Args:
        source: File descriptor; a separate thread reads it as fast as ffmpeg accepts the data.
        head: Data that has already been read from it.

    Raises:
        UnavailableError: ffmpeg is not installed or cannot be started.
    """

    def __init__(self, source: int, head: bytes) -> None:
        program = find()
        reading, self._writing = os.pipe()
        try:
            self._child = start(
                [
                    program, *_QUIET,
                    "-protocol_whitelist", "pipe", "-format_whitelist", ",".join(FORMATS),
                    "-i", "pipe:0", "-c:a", "pcm_f32le", *_OUT,
                ],
                stdin=reading,
            )  # fmt: skip
        except UnavailableError:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(
            target=self._feed, args=(source, head), name="serd-feed", daemon=True
        )
        self._thread.start()

    def _feed(self, source: int, data: bytes) -> None:
        arrivals = select.poll()
        for descriptor in (source, self._ended):
            arrivals.register(descriptor, select.POLLIN)
        try:
            while data:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._writing, rest) :]
                if self._ended in dict(arrivals.poll()):  # what comes next is not for this ffmpeg
                    return
                data = os.read(source, PIECE)
        except OSError:  # ffmpeg has ended, so there is no point in going on
            return
        finally:
            os.close(self._writing)

    def read(self, timeout: float) -> bytes | None:
        """As :meth:`serd.child_process.Child.read`."""
        return self._child.read(timeout)

    def end(self) -> str | None:
        """End ffmpeg, and the thread that feeds it; to be called once.

        Returns:
            What was wrong with its input, if anything.
        """
        self._child.wait(1.0)
        said = self._child.said
        self._child.end()
        os.close(self._end)
        self._thread.join()
        os.close(self._ended)
        return reason(said)
