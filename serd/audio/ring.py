"""The buffer between the audio callback, which must never wait, and the thread that reads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Chunk(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one read took out of the ring: consecutive frames."""

    frames: NDArray[np.float32]
    """float32[n, channels], n >= 0; a copy that belongs to the reader."""

    start: int
    """Index of the first frame, counted from the first that was ever written."""

    lost: int
    """Frames just before ``start`` that were overwritten before they could be read."""

    arrived: float
    """The writer's time stamp of the newest frame in the ring when the read began."""


class RingBuffer:
    """A lock-free ring of frames for one writer and one reader; when full, the oldest go.

    The writer owns two counters, the reader one, and each is only ever stored by its owner. They
    count frames since the beginning and never wrap; a frame's place is its number modulo the
    capacity. A write announces (``_claimed``) what it is about to overwrite, copies, and then
    publishes (``_head``). A read copies and looks at ``_claimed`` again afterwards: frames that a
    writer may have been overwriting meanwhile (numpy lets go of the GIL while it copies) are
    thrown away and counted as lost. CPython stores and loads an attribute in one step and in
    program order, which is all that this needs.

    The reader sleeps on a bare lock used as a binary semaphore. Only the reader ever acquires it;
    the writer merely releases it, which neither waits nor allocates. A ``threading.Event`` would
    have the callback acquire the event's inner lock, and a poll would cost either wake-ups in
    silence or latency in speech.

    Args:
        capacity: Frames, at least 1.
        channels: At least 1.
    """

    def __init__(self, capacity: int, channels: int) -> None:
        if capacity < 1 or channels < 1:
            raise ValueError(f"no ring of {capacity} frames of {channels} channels")
        self.capacity = capacity
        self.channels = channels
        self._memory = np.zeros((capacity, channels), np.float32)
        self._claimed = 0
        self._head: tuple[int, float] = (0, 0.0)  # frames written, and when: one store for both
        self._taken = 0
        self._wanted = 0
        self._lost = 0
        self._bell = threading.Lock()
        self._bell.acquire()

    # The writer's side.

    def write(self, frames: NDArray[np.float32], arrived: float = 0.0) -> None:
        """Append frames. Never waits; allocates nothing but two small integers.

        Args:
            frames: float32[n, channels], any n.
            arrived: Time stamp of the last of them, in seconds of any clock.
        """
        written = self._head[0]
        end = written + len(frames)
        self._claimed = end
        skip = len(frames) - self.capacity
        if skip > 0:
            frames = frames[skip:]
        place = (end - len(frames)) % self.capacity
        first = min(len(frames), self.capacity - place)
        self._memory[place : place + first] = frames[:first]
        if first < len(frames):
            self._memory[: len(frames) - first] = frames[first:]
        self._head = (end, arrived)
        if end - self._taken >= self._wanted:
            self.wake()

    def wake(self) -> None:
        """End the reader's wait, from any thread, whether or not there is something to read."""
        if self._bell.locked():
            try:  # noqa: SIM105 - cheaper than a context manager, and this runs in the callback
                self._bell.release()
            except RuntimeError:
                pass  # another thread rang in the same moment: it is open, as wished

    # The reader's side.

    def wait(self, timeout: float, frames: int = 0) -> bool:
        """Sleep until something was written since the last ``wait``, or ``wake`` was called.

        Args:
            timeout: Seconds at most; 0 or less does not wait.
            frames: Sleep until so many wait to be read, at most half the capacity.

        Returns:
            Whether the bell rang. It may have rung for what was already read.
        """
        self._wanted = min(frames, self.capacity // 2)
        # Looked at after it was said: whoever writes from now on rings for it.
        if self._wanted and len(self) >= self._wanted:
            return True
        if timeout <= 0:
            return self._bell.acquire(blocking=False)
        return self._bell.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))

    def read(self, limit: int | None = None) -> Chunk:
        """Take out the oldest frames that are left, all of them or at most ``limit``."""
        written, arrived = self._head
        start = max(self._taken, written - self.capacity)
        end = written if limit is None else min(written, start + limit)
        # A write longer than the ring gives up frames that it has not yet written: until it is
        # done, the place to go on from lies ahead of what there is.
        end = max(start, end)
        frames = self._copy_out(start, end)
        # Whatever a write has claimed since may be torn: half old, half new.
        safe = self._claimed - self.capacity
        if safe > start:
            frames = frames[safe - start :]
            start = safe
            end = max(end, start)
        lost = start - self._taken
        self._lost += lost
        self._taken = end
        return Chunk(frames=frames, start=start, lost=lost, arrived=arrived)

    def _copy_out(self, start: int, end: int) -> NDArray[np.float32]:
        out = np.empty((end - start, self.channels), np.float32)
        place = start % self.capacity
        first = min(len(out), self.capacity - place)
        out[:first] = self._memory[place : place + first]
        if first < len(out):
            out[first:] = self._memory[: len(out) - first]
        return out

    # For anybody.

    def __len__(self) -> int:
        """Frames that wait to be read."""
        return max(0, min(self.capacity, self._head[0] - self._taken))

    @property
    def taken(self) -> int:
        """Index of the frame that the reader wants next, the first being 0."""
        return self._taken

    @property
    def written(self) -> int:
        """Frames ever written."""
        return self._head[0]

    @property
    def lost(self) -> int:
        """Frames overwritten before they were read, to the frame."""
        return self._lost + max(0, self._head[0] - self.capacity - self._taken)
