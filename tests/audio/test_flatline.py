from __future__ import annotations

import numpy as np
import pytest

from serd.audio.level import FlatLine

RATE = 48_000


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_constant_value_counts_as_flat(value: float, channels: int) -> None:
    line = FlatLine()
    for _ in range(100):
        line.feed(np.full((480, channels), value, np.float32), RATE)
    assert line.seconds == pytest.approx(1.0)


def test_a_change_of_one_bit_in_one_channel_is_not_flat() -> None:
    line = FlatLine()
    line.feed(np.zeros((480, 2), np.float32), RATE)
    alive = np.zeros((480, 2), np.float32)
    alive[100, 1] = 1 / 32768
    line.feed(alive, RATE)
    assert line.seconds == 0.0


def test_a_jump_between_blocks_restarts_the_count() -> None:
    line = FlatLine()
    line.feed(np.zeros((480, 1), np.float32), RATE)
    line.feed(np.full((240, 1), 0.5, np.float32), RATE)
    assert line.seconds == pytest.approx(0.005)
    line.feed(np.empty((0, 1), np.float32), RATE)
    assert line.seconds == pytest.approx(0.005)


def test_different_constants_on_two_channels_are_flat_too() -> None:
    line = FlatLine()
    line.feed(np.tile(np.array([[0.1, -0.1]], np.float32), (480, 1)), RATE)
    assert line.seconds == pytest.approx(0.01)
