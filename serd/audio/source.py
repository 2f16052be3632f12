"""The interface of all audio sources, and the blocks of samples that they deliver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray


class EndOfSource(Exception):  # noqa: N818 - the end of a file is no error
    """All audio has been read, or the source has been closed."""


class Block(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A run of consecutive samples on its way from a source to the segmenter.

    For two blocks in a row, ``next.position == block.position + len(block) + next.lost``.
    """

    samples: NDArray[np.float32]
    """float32[n], n >= 1: mono at 16 kHz, finite, within [-1, 1], owned by the receiver."""

    position: int
    """Index of the first sample in the source's 16 kHz stream. Lost samples count too."""

    arrived: float
    """``time.monotonic()`` when the last input of this block was delivered to serd."""

    lost: int = 0
    """Samples at 16 kHz missing immediately before this block."""

    offset: float = 0.0
    """Mean of the source's samples, relative to full scale, before the high-pass removed it."""

    clipped: float = 0.0
    """Number of its samples (at 16 kHz, so it may be a fraction) that were at full scale when the
    source delivered them, or were driven beyond it by the gain."""

    def __len__(self) -> int:
        """Number of samples at 16 kHz."""
        return len(self.samples)

    @property
    def end(self) -> int:
        """Position after the last sample."""
        return self.position + len(self.samples)


class SourceStats(msgspec.Struct, frozen=True, kw_only=True):
    """A source's counters since it was created, not only since it was last opened."""

    blocks: int = 0
    """Blocks handed out."""

    samples: int = 0
    """Samples at 16 kHz handed out."""

    overflow_samples: int = 0
    """Frames at the device's rate that the ring buffer dropped because nobody read them."""

    device_overflows: int = 0
    """Number of times the driver reported lost input (not how much)."""

    buffered_samples: int = 0
    """Frames at the device's rate in the ring buffer."""

    opens: int = 0
    """Number of times the source was opened."""

    rate: int = 0
    """The source's native rate in hertz; 0 before the first ``open()``."""

    channels: int = 0
    """The source's native number of channels; 0 before the first ``open()``."""

    channel: int = 0
    """The selected channel, from 1; 0: the channels are mixed."""

    channel_dbfs: tuple[float, ...] = ()
    """RMS level of each channel since the source was last opened, without offset."""

    channels_dead: tuple[int, ...] = ()
    """Channels, from 1, whose value is constant while that of others is not."""

    channels_cancel: bool = False
    """Whether the channels would cancel out when mixed, so that only one is used."""

    gain_db: float = 0.0
    """The current gain in decibels."""

    flat_s: float = 0.0
    """Seconds for which a device has delivered nothing but one value, such as zeros. Always 0 for
    recordings and pipes, which may be silent."""


class Source(Protocol):
    """A source of audio.

    One thread opens and reads. ``close()`` may be called from any thread, at any time and more
    than once; a waiting ``read()`` then immediately raises :class:`EndOfSource`. After ``close()``,
    a source can be opened again.
    """

    @property
    def name(self) -> str:
        """Name of the device or file, for messages."""
        ...

    @property
    def live(self) -> bool:
        """Whether the audio is live (microphone, pipe) rather than a recording."""
        ...

    @property
    def steady(self) -> bool:
        """Whether it must deliver continuously, so that a long pause is a fault.

        A microphone always delivers something; a pipe need not.
        """
        ...

    @property
    def stats(self) -> SourceStats:
        """The current counters."""
        ...

    def open(self) -> None:
        """Start delivering.

        Raises:
            InputError: The file is missing or not audio.
            UnavailableError: The device or the audio library is not available.
        """
        ...

    def read(self, timeout: float, batch: int = 0) -> Block | None:
        """Wait at most ``timeout`` seconds for the next block.

        Args:
            timeout: Seconds.
            batch: Preferred number of samples at 16 kHz: a live source collects this many before it
                wakes the reader. The block may be shorter or longer.

        Returns:
            The block, or None if nothing has arrived yet.

        Raises:
            EndOfSource: All audio has been read, or the source has been closed.
            InputError: Nothing of the input can be read.
            UnavailableError: The device has stopped delivering.
        """
        ...

    def close(self) -> None:
        """Release the device or file. Never raises, never hangs."""
        ...


class SourceContext:
    """Makes a source a context manager: ``with FileSource(path) as source: ...``."""

    def open(self) -> None:
        """See :meth:`Source.open`."""
        raise NotImplementedError

    def close(self) -> None:
        """See :meth:`Source.close`."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
