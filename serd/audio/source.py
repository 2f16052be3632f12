"""What every source of audio looks like to the rest of serd: microphone, file or pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray


class EndOfSource(Exception):  # noqa: N818 - the end of a file is no error
    """All audio was read, or the source was closed: no further block will come."""


class Block(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A run of consecutive samples on its way from a source to the segmenter.

    For two blocks in a row, ``next.position == block.position + len(block) + next.lost``.
    """

    samples: NDArray[np.float32]
    """float32[n], n >= 1: mono at 16 kHz, finite, within [-1, 1], owned by the receiver."""

    position: int
    """Index of the first sample in the source's 16 kHz stream. Lost samples count too."""

    arrived: float
    """``time.monotonic()`` when the last input that went into this block was delivered to serd."""

    lost: int = 0
    """Samples at 16 kHz that are missing just before this block; 0 when nothing is."""

    offset: float = 0.0
    """Mean of what the source delivered, of full scale, before the high-pass took it away."""

    clipped: float = 0.0
    """How many of its samples (of 16 kHz; so a fraction at another rate) were at full scale when
    the source delivered them, or were driven beyond it by the gain."""

    def __len__(self) -> int:
        """Samples at 16 kHz."""
        return len(self.samples)

    @property
    def end(self) -> int:
        """Position of the sample after the last one."""
        return self.position + len(self.samples)


class SourceStats(msgspec.Struct, frozen=True, kw_only=True):
    """What a source has counted since it was made (not only since it was last opened)."""

    blocks: int = 0
    """Blocks handed out."""

    samples: int = 0
    """Samples at 16 kHz handed out."""

    overflow_samples: int = 0
    """Frames, at the device's own rate, that the ring buffer dropped because nobody read them."""

    device_overflows: int = 0
    """Times that the driver said it had lost input before serd saw it (not how much)."""

    buffered_samples: int = 0
    """Frames, at the device's own rate, that wait in the ring buffer now."""

    opens: int = 0
    """Times the source was opened; for a microphone, reopened ``opens - 1`` times."""

    rate: int = 0
    """The source's own rate in hertz; 0 before the first ``open()``."""

    channels: int = 0
    """The source's own number of channels; 0 before the first ``open()``."""

    channel: int = 0
    """The one of several channels that is listened to, from 1; 0: they are mixed."""

    channel_dbfs: tuple[float, ...] = ()
    """RMS level of each of several channels since the source was last opened, without offset."""

    channels_dead: tuple[int, ...] = ()
    """Channels, from 1, that stand at one value while others do not."""

    channels_cancel: bool = False
    """Whether the mix of all channels would cancel itself, and one alone is listened to."""

    gain_db: float = 0.0
    """The gain now, in decibels."""

    flat_s: float = 0.0
    """Seconds for which a device has now delivered one and the same value, such as zeros. Stays 0
    for what is no device: a recording may be silent."""


class Source(Protocol):
    """Where audio comes from.

    One thread opens and reads. ``close()`` may be called from any thread, at any time and more
    than once; a ``read()`` that is waiting then ends at once with :class:`EndOfSource`.
    ``open()`` after ``close()`` starts again.
    """

    @property
    def name(self) -> str:
        """For people: the device or file."""
        ...

    @property
    def live(self) -> bool:
        """Whether the audio is being heard now (microphone, pipe) and is not a recording."""
        ...

    @property
    def steady(self) -> bool:
        """Whether it has to deliver all the time, so that a long pause is a fault.

        A microphone hears something always; into a pipe nobody need write.
        """
        ...

    @property
    def stats(self) -> SourceStats:
        """The counters, at this moment."""
        ...

    def open(self) -> None:
        """Begin.

        Raises:
            InputError: The file is missing or not audio.
            UnavailableError: The device or the audio library is not there.
        """
        ...

    def read(self, timeout: float, batch: int = 0) -> Block | None:
        """Wait at most ``timeout`` seconds for the next block.

        Args:
            timeout: Seconds.
            batch: Samples at 16 kHz that the reader would rather have at once: a live source
                collects so many before it wakes the reader. A wish; more or fewer may come.

        Returns:
            The block, or None if nothing has arrived yet.

        Raises:
            EndOfSource: All audio was read, or the source was closed.
            InputError: The rest of the input cannot be read and nothing of it ever could.
            UnavailableError: The device has stopped delivering.
        """
        ...

    def close(self) -> None:
        """Let go of device or file. Never raises, never hangs."""
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
