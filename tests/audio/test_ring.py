from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serd.audio.ring import RingBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def ramp(start: int, count: int, channels: int = 1) -> NDArray[np.float32]:
    """Numbered frames (exact below 2**24); each channel has another multiple of the number."""
    numbers = np.arange(start, start + count, dtype=np.float32)
    return np.stack([numbers * (channel + 1) for channel in range(channels)], axis=1)


class Model:
    """A reference model of the ring: a list that drops its oldest frames when it is full."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.kept: list[int] = []
        self.written = 0
        self.lost = 0

    def write(self, count: int) -> None:
        self.kept += range(self.written, self.written + count)
        self.written += count
        surplus = max(0, len(self.kept) - self.capacity)
        self.lost += surplus
        self.kept = self.kept[surplus:]

    def read(self, limit: int | None) -> list[int]:
        count = len(self.kept) if limit is None else min(limit, len(self.kept))
        taken, self.kept = self.kept[:count], self.kept[count:]
        return taken


operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 50)),
        st.tuples(st.just("read"), st.one_of(st.none(), st.integers(0, 50))),
    ),
    max_size=60,
)


@settings(max_examples=500, deadline=None)
@given(capacity=st.integers(1, 20), channels=st.integers(1, 3), steps=operations)
@pytest.mark.slow
def test_the_ring_matches_its_reference_model(
    capacity: int, channels: int, steps: list[tuple[str, int | None]]
) -> None:
    ring, model = RingBuffer(capacity, channels), Model(capacity)
    lost_in_chunks = 0
    for what, count in steps:
        if what == "write":
            assert count is not None
            ring.write(ramp(model.written, count, channels), arrived=float(model.written + count))
            model.write(count)
        else:
            lost_before, chunk = model.lost, ring.read(count)
            expected = model.read(count)
            np.testing.assert_array_equal(
                chunk.frames, ramp(expected[0] if expected else 0, len(expected), channels)
            )
            if expected:
                assert chunk.start == expected[0]
            assert chunk.arrived == (float(model.written) if model.written else 0.0)
            lost_in_chunks += chunk.lost
            assert lost_in_chunks == lost_before
            assert ring.taken == chunk.start + len(expected)
        assert len(ring) == len(model.kept)
        assert ring.lost == model.lost
        assert ring.written == model.written


def test_later_writes_do_not_change_a_chunk() -> None:
    ring = RingBuffer(4, 1)
    ring.write(ramp(0, 4))
    chunk = ring.read()
    ring.write(ramp(4, 4))
    np.testing.assert_array_equal(chunk.frames, ramp(0, 4))


class LappedRing(RingBuffer):
    """A ring that is written to while the reader copies."""

    during_copy: Sequence[int] = ()
    half = False
    """Whether the last of these writes is still in progress."""

    def _copy_out(self, start: int, end: int) -> NDArray[np.float32]:
        frames = super()._copy_out(start, end)
        writes, self.during_copy = self.during_copy, ()
        for number, count in enumerate(writes, start=1):
            # The writer gets this far during the reader's copy. The frames that it overwrites may
            # or may not be copied intact; the worst case is that all of them are corrupt.
            if self.half and number == len(writes):
                self._claimed = self.written + count
            else:
                self.write(ramp(self.written, count))
            corrupt = max(0, self._claimed - self.capacity - start)
            frames[:corrupt] = np.nan
        return frames


@pytest.mark.parametrize("half", [False, True], ids=["write done", "write in progress"])
@pytest.mark.parametrize("laps", [[1], [3], [8], [20], [2, 3, 1]])
@pytest.mark.parametrize("limit", [None, 2, 5])
def test_frames_overwritten_during_the_copy_are_dropped_and_counted(
    laps: list[int], limit: int | None, *, half: bool
) -> None:
    ring = LappedRing(8, 1)
    ring.write(ramp(0, 7))
    ring.half, ring.during_copy = half, laps
    chunk = ring.read(limit)
    assert not np.isnan(chunk.frames).any()
    np.testing.assert_array_equal(chunk.frames, ramp(chunk.start, len(chunk.frames)))
    assert chunk.lost == chunk.start
    # Possibly with that write, which may be longer than the ring, still in progress.
    second = ring.read(limit)
    assert second.start - second.lost == chunk.start + len(chunk.frames)
    np.testing.assert_array_equal(second.frames, ramp(second.start, len(second.frames)))
    if half:
        ring.write(ramp(ring.written, laps[-1]))
    rest = ring.read()
    assert rest.start - rest.lost == second.start + len(second.frames)
    np.testing.assert_array_equal(rest.frames, ramp(rest.start, len(rest.frames)))
    # Every frame was either read or counted as lost, and the newest are all there.
    assert sum(len(part.frames) for part in (chunk, second, rest)) + ring.lost == ring.written
    assert rest.start + len(rest.frames) == ring.written


@pytest.mark.parametrize("capacity", [700, 40_000], ids=["laps", "fits"])
def test_concurrent_reading_and_writing(capacity: int) -> None:
    """Frames from a writer that never waits are read in order, and every loss is counted."""
    total, channels = 3_000_000, 2
    ring = RingBuffer(capacity, channels)
    chance = np.random.default_rng(1)
    sizes = chance.integers(1, 2 * 1440, 10_000)

    def writer() -> None:
        start = 0
        for size in np.resize(sizes, total):
            count = min(int(size), total - start)
            ring.write(ramp(start, count, channels), float(start + count))
            start += count
            if start == total:
                return

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=writer)
    try:
        thread.start()
        position = read = lost = 0
        while position < total:
            chunk = ring.read()
            assert chunk.start == position + chunk.lost
            np.testing.assert_array_equal(
                chunk.frames, ramp(chunk.start, len(chunk.frames), channels)
            )
            position = chunk.start + len(chunk.frames)
            assert not len(chunk.frames) or chunk.arrived == position
            read += len(chunk.frames)
            lost += chunk.lost
            ring.wait(0.001)
    finally:
        thread.join()
        sys.setswitchinterval(switch)
    assert read + lost == total
    assert ring.lost == lost
    assert ring.written == total
    assert len(ring) == 0


def test_wait_ends_when_something_is_written() -> None:
    ring = RingBuffer(10, 1)
    assert not ring.wait(0)
    assert not ring.wait(0.001)
    ring.write(ramp(0, 3))
    ring.write(ramp(3, 3))
    assert ring.wait(60)
    assert not ring.wait(0)

    thread = threading.Thread(target=lambda: ring.write(ramp(6, 1)))
    thread.start()
    assert ring.wait(60)
    thread.join()
    assert len(ring.read().frames) == 7


def test_wake_ends_a_wait_without_data() -> None:
    ring = RingBuffer(10, 1)
    thread = threading.Thread(target=ring.wake)
    thread.start()
    assert ring.wait(60)
    thread.join()
    assert len(ring) == 0


def test_wake_from_many_threads_never_fails() -> None:
    ring = RingBuffer(10, 1)
    errors: list[BaseException] = []

    def wake_often() -> None:
        try:
            for _ in range(2_000):
                ring.wake()
        except BaseException as error:  # noqa: BLE001 - whatever it is
            errors.append(error)

    threads = [threading.Thread(target=wake_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ring.wait(0.001)
    assert not errors


@pytest.mark.parametrize(("capacity", "channels"), [(0, 1), (1, 0), (-1, 1)])
def test_invalid_sizes_are_rejected(capacity: int, channels: int) -> None:
    with pytest.raises(ValueError, match="no ring"):
        RingBuffer(capacity, channels)


def test_a_wait_for_many_frames_ignores_smaller_writes() -> None:
    """The reader is woken only when enough frames are available."""
    ring = RingBuffer(100, 1)
    ring.write(np.zeros((10, 1), np.float32))
    assert ring.wait(0, 10)
    ring.wait(0)  # clears earlier wake-ups
    ring.wait(0, 30)
    ring.write(np.zeros((10, 1), np.float32))
    assert not ring.wait(0, 30)
    ring.write(np.zeros((10, 1), np.float32))
    assert ring.wait(60, 30)
    assert len(ring.read().frames) == 30
    ring.write(np.zeros((50, 1), np.float32))
    assert ring.wait(60, 1000)  # it never waits for more than half of the capacity
