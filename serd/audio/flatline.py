"""A stream that is open, delivers, and is dead: nothing but zeros, or one value for ever.

A muted or broken microphone, a driver that lost its device, a virtual device that nobody plays to:
all of them deliver blocks in time. A living analogue input never repeats one exact value for long,
because its own noise moves the last bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FlatLine:
    """Counts how long every channel has stood at one exact value. For one thread."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self.seconds = 0.0
        """Of sound, up to the last frame that was fed; 0 if that one differs from its neighbour."""

    def feed(self, frames: NDArray[np.float32], rate: int) -> None:
        """Take the next frames as the device delivered them.

        Args:
            frames: float32[n, channels].
            rate: Hertz.
        """
        if not len(frames):
            return
        last, self._last = self._last, frames[-1].copy()
        # Nearly always the first comparison answers: sound differs from one sample to the next.
        if bool((frames[0] == frames[-1]).all()) and bool((frames == frames[0]).all()):
            same = last is not None and np.array_equal(last, frames[0])
            self.seconds = (self.seconds if same else 0.0) + len(frames) / rate
        else:
            self.seconds = 0.0
