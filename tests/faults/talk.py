"""Speech for serd's standard input, utterance by utterance."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Self

import numpy as np
import soundfile as sf

from serd.audio import SAMPLE

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

    This is faster than real time: serd reads a pipe as fast as it can, and every utterance becomes
    one event.
    """

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        self._utterance = utterance().tobytes()
        self._talking = threading.Event()
        self._thread: threading.Thread | None = None
        self.said = 0
        """Number of utterances written completely."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_talking()
        self.end()
        os.close(self.reading)

    def say(self, times: int = 1) -> None:
        """Write utterances; blocks while serd is slower."""
        for _ in range(times):
            rest = memoryview(self._utterance)
            while rest:
                rest = rest[os.write(self._writing, rest) :]
            self.said += 1

    def start_talking(self) -> None:
        """Write about four utterances a second in the background, until :meth:`stop_talking`."""
        self._talking.set()
        self._thread = threading.Thread(target=self._keep_talking, name="talk")
        self._thread.start()

    def _keep_talking(self) -> None:
        pause = threading.Event()
        with contextlib.suppress(BrokenPipeError):
            while self._talking.is_set():
                self.say()
                pause.wait(0.25)

    def stop_talking(self) -> None:
        """End :meth:`start_talking` after the current utterance."""
        self._talking.clear()
        if self._thread is not None:
            # If serd no longer reads, the writer blocks on a full pipe: make room for it.
            while self._thread.is_alive():
                self._thread.join(0.2)
                if self._thread.is_alive():
                    _drain(self.reading)
            self._thread = None

    def end(self) -> None:
        """End the audio: serd then exits too."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1


def _drain(fd: int) -> None:
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        os.read(fd, 1 << 20)
    os.set_blocking(fd, True)
