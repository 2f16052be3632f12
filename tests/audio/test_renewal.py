"""PortAudio's list of devices is renewed for a new device while other microphones are open."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from serd.audio import devices, portaudio
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Stream:
    """An open stream; closing one twice would crash the real library."""

    def __init__(self, stopped: Callable[[], None]) -> None:
        self._stopped = stopped
        self.closed = 0
        self.may_close = threading.Event()
        self.may_close.set()

    def abort(self, *, ignore_errors: bool) -> None:
        self._stopped()

    def close(self, *, ignore_errors: bool) -> None:
        self.may_close.wait(20)
        self.closed += 1


class Sounddevice:
    """A fake of the library, with its frozen list of devices."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.plugged = ["Old"]
        self._list: list[str] = []
        self._initialized = 0
        self.starts = 0

    def _initialize(self) -> None:
        self._initialized += 1
        self.starts += 1
        self._list = list(self.plugged)

    def _terminate(self) -> None:
        self._initialized -= 1

    def _exit_handler(self) -> None:
        pass

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "max_input_channels": 1, "default_samplerate": 48_000.0, "hostapi": 0}
            for name in self._list
        ]

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "ALSA", "default_input_device": 0}]

    def InputStream(self, *, finished_callback: Callable[[], None], **_: Any) -> Stream:  # noqa: N802
        return Stream(finished_callback)


class FakeListener:
    def __init__(self) -> None:
        self.finished = threading.Event()

    def callback(self, *_: object) -> None:
        pass

    def stopped(self) -> None:
        self.finished.set()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sounddevice:
    library = Sounddevice()
    monkeypatch.setattr(portaudio, "_loaded", library)
    monkeypatch.setattr(portaudio, "load", lambda: library)
    monkeypatch.setattr(portaudio, "_streams", {})
    monkeypatch.setattr(portaudio, "_closers", {})
    monkeypatch.setattr(portaudio, "_CARDS", tmp_path / "cards")
    monkeypatch.setattr(portaudio, "_NODES", tmp_path)
    (tmp_path / "cards").write_text(" 0 [Old]\n")
    return library


def open_stream() -> tuple[Stream, FakeListener]:
    stream, listener = portaudio.open_stream(
        index=0,
        formats=[(48_000, 1)],
        block_s=0.02,
        listener=lambda _rate, _channels: FakeListener(),
    )
    return stream, listener


def test_open_streams_are_undisturbed_without_a_new_device(library: Sounddevice) -> None:
    assert devices.pick("Old").name == "Old"
    stream, listener = open_stream()
    with pytest.raises(UnavailableError, match="no input device answers to 'New'"):
        devices.pick("New")
    assert not listener.finished.is_set()
    assert stream.closed == 0
    assert library.starts == 1


def test_a_new_device_is_found_while_others_are_open(library: Sounddevice, tmp_path: Path) -> None:
    devices.pick("Old")
    opened = [open_stream() for _ in range(2)]
    library.plugged.append("New")
    with pytest.raises(UnavailableError):
        devices.pick("New")  # the kernel does not list it yet
    (tmp_path / "cards").write_text(" 0 [Old]\n 1 [New]\n")
    assert devices.pick("New").name == "New"
    assert library.starts == 2
    for stream, listener in opened:
        assert listener.finished.is_set()  # its reader reopens it
        assert portaudio.close_stream(stream, timeout=1.0)  # closing it again is allowed
        assert stream.closed == 1
    open_stream()
    with pytest.raises(UnavailableError):
        devices.pick("Newer")
    assert library.starts == 2  # a device that is already known does not count as new


def test_devices_unknown_to_the_kernel_are_looked_for_periodically(
    library: Sounddevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices.pick("Old")
    open_stream()
    library.plugged.append("Bluetooth")
    with pytest.raises(UnavailableError):
        devices.pick("Bluetooth")
    monkeypatch.setattr(portaudio, "RENEW_S", -1.0)
    assert devices.pick("Bluetooth").name == "Bluetooth"


def test_the_library_is_not_restarted_while_a_driver_hangs(
    library: Sounddevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portaudio, "CLOSE_S", 0.05)
    devices.pick("Old")
    stream, _ = open_stream()
    stream.may_close.clear()
    (tmp_path / "cards").write_text(" 1 [New]\n")
    with pytest.raises(UnavailableError):
        devices.pick("New")
    assert library.starts == 1
    closer = next(iter(portaudio._closers.values()))
    stream.may_close.set()
    closer.join(20)
    assert stream.closed == 1
    assert not portaudio._streams


def test_a_device_plugged_in_while_no_stream_is_open_is_found(library: Sounddevice) -> None:
    devices.pick("Old")
    stream, _ = open_stream()
    assert portaudio.close_stream(stream, timeout=1.0)
    library.plugged[:] = ["New"]
    assert devices.pick("New").name == "New"
    assert devices.pick(None).name == "New"


def test_calls_never_overlap() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    def caller() -> None:
        for _ in range(100):
            portaudio.with_deadline(call)

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert most == 1
