"""Somebody who talks into serd's standard input, utterance by utterance."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Self

import numpy as np
import soundfile as sf

from tests.system.node import SAMPLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000


def utterance() -> NDArray[np.int16]:
    """A second and a half of the sample's speech, then enough silence to end the utterance."""
    speech, rate = sf.read(SAMPLE, dtype="int16", start=RATE * 5, frames=RATE * 3 // 2)
    assert rate == RATE
    return np.concatenate([speech, np.zeros(RATE * 6 // 10, np.int16)])


class Talk:
    """The writing end of a pipe; a context manager. ``Node(..., stdin=talk.reading)``.

    Nothing here is as slow as speech: serd reads a pipe as fast as it can, and every utterance is
    one event.
    """

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        self._utterance = utterance().tobytes()
        self._going_on = threading.Event()
        self._thread: threading.Thread | None = None
        self.said = 0
        """Utterances that were written whole."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hush()
        self.end()
        os.close(self.reading)

    def say(self, times: int = 1) -> None:
        """Say something; waits while serd is slower."""
        for _ in range(times):
            rest = memoryview(self._utterance)
            while rest:
                rest = rest[os.write(self._writing, rest) :]
            self.said += 1

    def murmur(self) -> None:
        """Go on and on in the background, at about the pace of speech, until :meth:`hush`."""
        self._going_on.set()
        self._thread = threading.Thread(target=self._murmur, name="talk")
        self._thread.start()

    def _murmur(self) -> None:
        pause = threading.Event()
        with contextlib.suppress(BrokenPipeError):
            while self._going_on.is_set():
                self.say()
                pause.wait(0.25)

    def hush(self) -> None:
        """End :meth:`murmur` after the present utterance."""
        self._going_on.clear()
        if self._thread is not None:
            # If serd no longer reads, the writer hangs in a full pipe: make room for it.
            while self._thread.is_alive():
                self._thread.join(0.2)
                if self._thread.is_alive():
                    _drain(self.reading)
            self._thread = None

    def end(self) -> None:
        """The end of all sound: serd then ends too."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1


def _drain(fd: int) -> None:
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        os.read(fd, 1 << 20)
    os.set_blocking(fd, True)
