"""Audio formats: the one that flows through serd, and PCM as it travels through pipes.

Every source delivers mono float32 at 16 kHz. What comes out of a pipe is raw samples, or a WAV
stream, whose header says what they are.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE: Final = 16_000
"""Hertz. Every source delivers mono float32 in [-1, 1] at this rate."""

FRAME_SAMPLES: Final = 480
"""Samples in a VAD frame: 30 ms, the longest that webrtcvad accepts."""

BLOCK_S: Final = 0.03
"""Seconds of audio in a block of a real-time source: one VAD frame."""

MIN_RATE: Final = 2_000
"""Hertz. Lower rates carry no intelligible speech, and would blow up when resampled."""

MAX_RATE: Final = 768_000
"""Hertz. The fastest audio converters; anything above is a broken header."""

FFMPEG_SUFFIXES: Final = (
    ".3g2", ".3gp", ".aac", ".ac3", ".amr", ".ape", ".asf", ".avi", ".dts", ".flv", ".m4a", ".m4b",
    ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp4", ".mpc", ".mpg", ".ra", ".tta", ".webm", ".wma",
    ".wmv", ".wv",
)  # fmt: skip
"""Suffixes of recordings that ffmpeg reads and libsndfile does not."""


Sample = Literal["u8", "s16", "s24", "s32", "f32", "f64"]
"""Encoding of a sample."""

WIDTHS: Final[dict[Sample, int]] = {"u8": 1, "s16": 2, "s24": 3, "s32": 4, "f32": 4, "f64": 8}
"""Bytes per sample."""

MANY_CHANNELS: Final = 256
"""Maximum number of channels; more indicate a broken header."""

LONGEST_HEADER: Final = 1 << 20
"""Maximum number of bytes before the samples; there may be pictures among them."""

_HEADS: Final = {b"RIFF": "<", b"RIFX": ">", b"RF64": "<", b"BW64": "<"}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS: Final[dict[tuple[int, int], Sample]] = {
    (_PCM, 8): "u8", (_PCM, 16): "s16", (_PCM, 24): "s24", (_PCM, 32): "s32",
    (_FLOAT, 32): "f32", (_FLOAT, 64): "f64",
}  # fmt: skip


class PcmFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The format of raw PCM."""

    rate: int
    """Hertz."""
    channels: int = 1
    sample: Sample = "s16"
    big_endian: bool = False

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame: one sample of every channel."""
        return WIDTHS[self.sample] * self.channels

    @property
    def in_range(self) -> bool:
        """Whether every sample is finite and within [-1, 1], because it was an integer."""
        return not self.sample.startswith("f")

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Decode whole frames.

        Args:
            data: A multiple of ``frame_bytes`` bytes.

        Returns:
            float32[n, channels]; integers are scaled to [-1, 1), floats are unchanged.
        """
        order = ">" if self.big_endian else "<"
        if self.sample == "s24":
            three = np.frombuffer(data, np.uint8).reshape(-1, 3)
            four = np.zeros((len(three), 4), np.uint8)  # the lowest byte of 32 bits stays 0
            if self.big_endian:
                four[:, 3:0:-1] = three
            else:
                four[:, 1:] = three
            samples = four.view("<i4")[:, 0].astype(np.float32)
            samples *= np.float32(2.0**-31)
        elif self.sample == "u8":
            samples = np.frombuffer(data, np.uint8).astype(np.float32)
            samples -= np.float32(128.0)
            samples *= np.float32(2.0**-7)
        elif self.in_range:
            bits = 8 * WIDTHS[self.sample]
            samples = np.frombuffer(data, f"{order}i{bits // 8}").astype(np.float32)
            samples *= np.float32(2.0 ** (1 - bits))
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                samples = np.frombuffer(data, f"{order}{self.sample[0]}{WIDTHS[self.sample]}")
                samples = samples.astype(np.float32)
        return samples.reshape(-1, self.channels)


class PcmStream:
    """Decodes a stream of bytes, in pieces of any size, to frames.

    Args:
        pcm: The format.
    """

    def __init__(self, pcm: PcmFormat) -> None:
        self.format = pcm
        self.rest = b""
        """The first bytes of an incomplete frame."""

    def push(self, data: bytes) -> NDArray[np.float32]:
        """Decode the next bytes.

        Returns:
            float32[n, channels], n >= 0: the frames that are now complete.
        """
        if self.rest:
            data = self.rest + data
        whole = len(data) - len(data) % self.format.frame_bytes
        self.rest = data[whole:]
        return self.format.decode(data[:whole])


class NotPcmError(ValueError):
    """A WAV header is unreadable, or the samples are compressed."""


def read_header(data: bytes) -> tuple[PcmFormat, int] | None:
    """Read the header of a WAV stream (RIFF, RIFX, RF64, BW64).

    The sizes in it are ignored, because a program that writes into a pipe does not know them.

    Args:
        data: The beginning of the stream.

    Returns:
        The format and the offset of the samples; None if more of the stream is needed.

    Raises:
        NotPcmError: serd cannot read the samples; the message says why.
    """
    order = _HEADS.get(data[:4])
    if order is None or (len(data) >= 12 and data[8:12] != b"WAVE"):
        raise NotPcmError("no WAV header")
    pcm = None
    at = 12
    while len(data) >= at + 8:
        name, size = data[at : at + 4], struct.unpack(f"{order}I", data[at + 4 : at + 8])[0]
        at += 8
        if name == b"data":
            if pcm is None:
                raise NotPcmError("a WAV header without a format")
            return pcm, at
        if name == b"fmt ":
            if len(data) < at + size:
                return None
            pcm = _format(data[at : at + size], order)
        if size > LONGEST_HEADER:
            raise NotPcmError(f"a WAV header with a part of {size} bytes")
        at += size + size % 2
        if at > LONGEST_HEADER:
            raise NotPcmError("a WAV header without an end")
    return None


def _format(chunk: bytes, order: str) -> PcmFormat:
    if len(chunk) < 16:
        raise NotPcmError("a WAV header whose format is cut short")
    code, channels, rate, _, _, bits = struct.unpack(f"{order}HHIIHH", chunk[:16])
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = struct.unpack(f"{order}H", chunk[24:26])[0]
    kind = _KINDS.get((code, bits))
    if kind is None:
        raise NotPcmError(f"WAV with compressed or unusual samples (format {code}, {bits} bits)")
    if not (MIN_RATE <= rate <= MAX_RATE and 1 <= channels <= MANY_CHANNELS):
        raise NotPcmError(f"a WAV header with {rate} Hz and {channels} channels")
    return PcmFormat(rate=rate, channels=channels, sample=kind, big_endian=order == ">")
