"""The interface to PortAudio: loading it, its list of devices, opening and closing streams.

PortAudio reads the list of devices once, when it is initialised. To see a microphone that was
plugged in later, it has to be terminated and initialised again, which kills every open stream. This
module keeps track of open streams, and refreshes the list by itself only if there are none. With
several microphones there nearly always is one. :func:`renew` then closes all of them briefly, but
only if a microphone is missing and a new device may have appeared.

A driver may never answer: that of an unplugged device, or a sound server that hangs. So PortAudio
is only called on threads that can be abandoned (:func:`with_deadline`).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from serd import stderr
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T", bound="Listener")
R = TypeVar("R")

log = logging.getLogger(__name__)

CLOSE_S: Final = 2.0
"""Seconds that a driver may take to close a stream."""

ANSWER_S: Final = 5.0
"""Seconds that listing devices or opening one may take. It normally takes well below one second."""

RENEW_S: Final = 600.0
"""Interval in seconds at which the list is renewed without any sign of a new device: devices that
the kernel does not know, such as those of a sound server, appear without a sign."""

_CARDS: Final = Path("/proc/asound/cards")
_NODES: Final = Path("/dev/snd")

_lock = threading.Lock()
"""Held while devices are listed or streams opened, but not while one is closed."""

_streams: dict[int, Any] = {}
"""Streams that are open, or that are stuck in closing."""

_closers: dict[int, threading.Thread] = {}
"""Threads that are closing streams, so that no stream is closed twice."""

_answering = threading.Lock()
"""Held briefly, to decide whether an answer came in time."""

_closing = threading.Lock()
"""Held briefly, to decide which thread closes a stream."""

_known: frozenset[str] = frozenset()
"""The kernel's sound devices when PortAudio read its list."""

_renewed_at = 0.0

_loaded: Any = None


_asking: threading.Thread | None = None
"""The thread that is waiting for an answer; there is at most one."""

_asked_at = 0.0


class Listener(Protocol):
    """Receives the callbacks of a stream, on PortAudio's thread."""

    def callback(self, frames: NDArray[np.float32], count: int, times: Any, status: Any) -> None:
        """Take a block, as in ``sounddevice.InputStream``."""
        ...

    def stopped(self) -> None:
        """Note that the stream has stopped, for whatever reason."""
        ...


def with_deadline(call: Callable[[], R], *, late: Callable[[R], object] | None = None) -> R:
    """Call PortAudio on a thread of its own, and wait for the result for a limited time.

    While such a thread has not finished, no further call is started, so there is at most one
    however often this is tried.

    Args:
        call: The call, which may never return.
        late: Receives a result that arrives after the deadline.

    Returns:
        The result. Exceptions of ``call`` are raised here.

    Raises:
        UnavailableError: There is no result yet.
    """
    global _asking, _asked_at
    done: list[R] = []
    failed: list[BaseException] = []
    given_up = False

    def ask() -> None:
        try:
            done.append(call())
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            failed.append(error)
        with _answering:
            too_late = given_up
        if too_late and done and late is not None:
            late(done[0])

    asking = threading.Thread(target=ask, name="serd-portaudio", daemon=True)
    with contextlib.ExitStack() as until_answered:
        while True:
            with _answering:
                before = _asking
                if before is None or not before.is_alive():
                    # sounddevice redirects standard error while PortAudio starts, and with it our
                    # log. Kept and started under the lock: no call overlaps with another.
                    until_answered.enter_context(stderr.kept())
                    asking.start()
                    _asking, _asked_at = asking, time.monotonic()
                    break
            before.join(max(0.2, _asked_at + ANSWER_S - time.monotonic()))
            if before.is_alive():
                raise _no_answer()
        asking.join(ANSWER_S)
        with _answering:
            given_up = not (done or failed)
    if given_up:
        if _loaded is not None:  # terminating PortAudio at exit would wait as well
            atexit.unregister(_loaded._exit_handler)  # noqa: SLF001
        raise _no_answer()
    if failed:
        raise failed[0]
    return done[0]


def _no_answer() -> UnavailableError:
    return UnavailableError(
        "the sound server or driver does not answer",
        remedy="serd goes on as soon as it does; see `systemctl --user status pulseaudio pipewire`",
    )


def load() -> Any:
    """Import sounddevice, and with it PortAudio.

    Raises:
        UnavailableError: The PortAudio library is not installed or does not start.
    """
    global _loaded  # noqa: PLW0603 - a module is loaded once for all
    if _loaded is not None:
        return _loaded
    # Otherwise every listing complains where libjack is installed but no JACK server is running.
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    try:
        import sounddevice  # noqa: PLC0415 - loads PortAudio, which asks every sound card
    except OSError as error:
        raise UnavailableError(
            f"the PortAudio library cannot be loaded: {error}",
            remedy="sudo apt install libportaudio2",
        ) from error
    except Exception as error:  # sounddevice's own error, from a module that could not be imported
        raise UnavailableError(f"PortAudio does not start: {error}") from error
    _silence_libraries()
    _loaded = sounddevice
    return sounddevice


def query(*, refresh: bool = True) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """List devices.

    Args:
        refresh: Detect newly plugged devices, if no stream is open.

    Returns:
        PortAudio's devices (inputs and outputs), its host APIs, and the index of the default
        input device or -1.

    Raises:
        UnavailableError: See :func:`load` and :func:`with_deadline`.
    """

    def listed() -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
        with _lock:
            return _query(refresh=refresh)

    return with_deadline(listed)


def _query(*, refresh: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    first = _loaded is None
    sounddevice = load()
    try:
        if refresh and not first and not _streams:
            # Private names, but the only way, and the one recommended by the library's author.
            while sounddevice._initialized:  # noqa: SLF001
                sounddevice._terminate()  # noqa: SLF001
        if not sounddevice._initialized:  # noqa: SLF001
            sounddevice._initialize()  # noqa: SLF001
            first = True
        if first:
            _note_devices()
        devices = [dict(device) for device in sounddevice.query_devices()]
        apis = [dict(api) for api in sounddevice.query_hostapis()]
    except sounddevice.PortAudioError as error:
        raise UnavailableError(f"PortAudio cannot list the devices: {error.args[0]}") from error
    default = next(
        (api["default_input_device"] for api in apis if api["default_input_device"] >= 0), -1
    )
    return devices, apis, default


def open_stream(
    *, index: int, formats: list[tuple[int, int]], block_s: float, listener: Callable[[int, int], T]
) -> tuple[Any, T]:
    """Open a float32 input stream in the first of ``formats`` that the device accepts.

    Args:
        index: PortAudio's index of the device.
        formats: (rate in hertz, channels), best first.
        block_s: Seconds of audio per callback.
        listener: Creates the receiver of the callbacks, given rate and channels.

    Returns:
        The stream, not started, and its listener.

    Raises:
        UnavailableError: The device refuses all formats, is busy or gone, or does not answer.
    """
    return with_deadline(
        lambda: _open_stream(index=index, formats=formats, block_s=block_s, listener=listener),
        late=lambda opened: close_stream(opened[0], timeout=CLOSE_S),
    )


def _open_stream(
    *, index: int, formats: list[tuple[int, int]], block_s: float, listener: Callable[[int, int], T]
) -> tuple[Any, T]:
    sounddevice = load()
    reason = "it offers no input"
    with _lock:
        for rate, channels in formats:
            heard = listener(rate, channels)
            try:
                stream = sounddevice.InputStream(
                    device=index,
                    samplerate=rate,
                    channels=channels,
                    dtype="float32",
                    blocksize=round(rate * block_s),
                    latency="high",
                    callback=heard.callback,
                    finished_callback=heard.stopped,
                )
            except (sounddevice.PortAudioError, ValueError) as error:
                reason = f"{_reason(error)} at {rate} Hz, {channels} channel(s)"
                if _code(error) not in FORMAT_ERRORS:
                    break
                continue
            _streams[id(stream)] = stream
            return stream, heard
    raise UnavailableError(
        reason,
        remedy="another program may hold it, or it was unplugged: see `serd devices`",
    )


def start_stream(stream: Any) -> None:
    """Start an open stream.

    Raises:
        UnavailableError: The driver refuses.
    """
    sounddevice = load()
    try:
        with_deadline(stream.start)
    except sounddevice.PortAudioError as error:
        raise UnavailableError(_reason(error)) from error


def close_stream(stream: Any, *, timeout: float) -> bool:
    """Stop and close a stream, waiting at most ``timeout`` seconds.

    Closing waits for the driver, and drivers of unplugged devices may never answer. Such a stream
    is left to its thread, and the list of devices then cannot be refreshed until the process ends.

    Returns:
        Whether it is closed.
    """
    with _closing:
        closer = _closers.get(id(stream))
        if closer is None:
            if id(stream) not in _streams:
                return True  # another thread has closed it
            closer = threading.Thread(
                target=_close, args=(stream,), name="serd-close-stream", daemon=True
            )
            _closers[id(stream)] = closer
            closer.start()
    closer.join(timeout)
    if closer.is_alive():
        log.warning("the audio driver does not let go of its stream; leaving it behind")
        # Terminating PortAudio at exit would wait for the same driver.
        atexit.unregister(load()._exit_handler)  # noqa: SLF001
        return False
    return True


def _close(stream: Any) -> None:
    try:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
    except Exception as error:  # noqa: BLE001 - the stream is gone either way
        log.debug("closing the stream: %s", error)
    with _closing:
        _streams.pop(id(stream), None)
        _closers.pop(id(stream), None)


def renew() -> bool:
    """Refresh the list of devices while streams are open, if a new device may have appeared.

    All streams are closed for this. Their readers find them stopped, and reopen them as after any
    fault, losing about a second. It is done if the kernel knows a device that it did not know when
    the list was read, or if the last time is more than `RENEW_S` ago.

    Returns:
        Whether the list was refreshed.

    Raises:
        UnavailableError: See :func:`with_deadline`.
    """
    return with_deadline(_renew)


def _renew() -> bool:
    with _lock:
        waited = time.monotonic() - _renewed_at
        if _loaded is None or not _streams or not (_kernel_devices() - _known or waited > RENEW_S):
            return False
        log.info("sound devices have changed: every microphone is opened anew")
        closed = [close_stream(stream, timeout=CLOSE_S) for stream in list(_streams.values())]
        if not all(closed):
            return False
        _query(refresh=True)
        return True


def _note_devices() -> None:
    global _known, _renewed_at
    _known, _renewed_at = _kernel_devices(), time.monotonic()


def _kernel_devices() -> frozenset[str]:
    """The kernel's sound devices: its cards by number, and their device files."""
    try:
        cards = _CARDS.read_text(encoding="utf-8", errors="replace").splitlines()
        return frozenset(cards) | frozenset(os.listdir(_NODES))  # noqa: PTH208 - names only
    except OSError:
        return frozenset()


FORMAT_ERRORS = (-9994, -9996, -9997, -9998)
"""paSampleFormatNotSupported, paInvalidDevice, paInvalidSampleRate, paInvalidChannelCount: another
format may work. (Some drivers report a wrong channel count as paInvalidDevice.)"""


def _code(error: Exception) -> int:
    code = error.args[1] if len(error.args) > 1 else 0
    return code if isinstance(code, int) else 0


def _reason(error: Exception) -> str:
    """PortAudio's message, with that of the driver, if any."""
    text = str(error.args[0]) if error.args else str(error)
    host = error.args[2] if len(error.args) > 2 else None
    if isinstance(host, tuple) and len(host) > 2 and host[2]:
        text = f"{text}: {host[2]}"
    return " ".join(text.replace("Error opening InputStream: ", "").split())


def _silence_libraries() -> None:
    """Keep ALSA and JACK from writing to standard error.

    Both print every configuration that they try in vain, on a healthy Raspberry Pi a page of
    errors. Both accept a callback instead, which is called with a format and arguments from any
    thread. It is set to libc's ``getpid``, which ignores them, does nothing, and never needs
    Python.
    """
    nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
    for library, setters in (
        ("libasound.so.2", ("snd_lib_error_set_handler",)),
        ("libjack.so.0", ("jack_set_error_function", "jack_set_info_function")),
    ):
        try:
            handle = ctypes.CDLL(library)
            for setter in setters:
                function = getattr(handle, setter)
                function.restype, function.argtypes = None, [ctypes.c_void_p]
                function(nothing)
        except (OSError, AttributeError):
            continue
