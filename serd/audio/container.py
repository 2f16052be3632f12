"""Container formats: recognition by their first bytes, and location of the audio in them.

Files are concatenated with ``cat``, recorders lose power before they write their header, and radio
streams are saved piece by piece. A decoder stops after the first part of such a file. :func:`parts`
scans a file without decoding it: where its parts start, and how long each should be.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import struct
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typing_extensions import Buffer

NEEDED: Final = 4096
"""Bytes needed to recognise every known format; fewer are enough for most."""

_HEADS: Final = (
    (0, b"fLaC", "FLAC"), (0, b"OggS", "Ogg"), (0, b"caff", "CAF"),
    (0, b".snd", "AU"), (0, b"dns.", "AU"), (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"), (0, b"0&\xb2u\x8ef\xcf\x11", "WMA (ASF)"),
    (4, b"ftyp", "MP4 or M4A"), (4, b"moov", "MP4 or M4A"), (4, b"mdat", "MP4 or M4A"),
    (4, b"wide", "MP4 or M4A"), (0, b"wvpk", "WavPack"), (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "True Audio"), (0, b"#!AMR", "AMR"), (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"FLV\x01", "Flash video"), (0, b"Creative Voice File", "VOC"), (0, b".RMF", "RealMedia"),
    (0, b"DSD ", "DSF"), (0, b"NIST_1A", "NIST SPHERE"), (0, b"PVF1", "PVF"), (0, b"2BIT", "AVR"),
    (0, b" paf", "PAF"), (0, b"fap ", "PAF"), (0, b"Extended Instrument:", "XI"),
    (0, b"ALawSoundFile**", "WVE"), (0, b"\x64\xa3\x01\x00", "IRCAM"),
    (0, b"\x00\x01\xa3\x64", "IRCAM"),
    (0, b"\x64\xa3\x02\x00", "IRCAM"), (0, b"\x64\xa3\x03\x00", "IRCAM"),
    (0, b"\x00\x02\xa3\x64", "IRCAM"), (0, b"MATLAB 5", "MATLAB"),
    (0, b"\x00\x00\x01\xba", "MPEG program stream"), (0, b"#EXTM3U", "playlist (M3U)"),
    (0, b"[playlist]", "playlist (PLS)"), (0, b"<?xml", "XML text"), (0, b"<html", "web page"),
    (0, b"<!DOCTYPE", "web page"), (0, b"\x7f\xfe\x80\x01", "DTS"),
)  # fmt: skip
_RIFF: Final = {b"RIFF": "WAV", b"RIFX": "WAV (RIFX)", b"RF64": "WAV (RF64)", b"BW64": "WAV (BW64)"}
_FORM: Final = {b"AIFF": "AIFF", b"AIFC": "AIFF (compressed)", b"8SVX": "8SVX", b"16SV": "16SV"}

_KBITS: Final = (
    (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # MPEG 1, layer 1
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),  # layer 2
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # layer 3
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),  # MPEG 2, layer 1
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # layers 2 and 3
)


def recognise(head: bytes) -> str | None:
    """Recognise a format by the first bytes of a recording.

    Raw samples may start with any bytes, so only what cannot occur by chance counts as a recording.
    Bare frames (MP3, ADTS) have to be followed by a second one.

    Args:
        head: The first bytes, preferably :data:`NEEDED` of them.

    Returns:
        The name of the format; None for raw samples and unknown formats.
    """
    named = (name for at, word, name in _HEADS if head[at : at + len(word)] == word)
    return _iff(head) or next(named, None) or _frames(head)


def _iff(head: bytes) -> str | None:
    """WAV, AIFF and related formats, which are identified at byte 8."""
    if head[:4] in _RIFF:
        if head[8:12] in (b"WAVE", b""):
            return _RIFF[head[:4]]
        return "AVI" if head[8:11] == b"AVI" else "RIFF"
    return _FORM.get(head[8:12], "IFF") if head[:4] == b"FORM" else None


def _frames(head: bytes) -> str | None:
    """Formats that consist of consecutive frames or packets."""
    # ID3v2 of any version: its size has no high bits set.
    tagged = head[:3] == b"ID3" and len(head) >= 10 and head[3] < 0xFF and max(head[6:10]) < 0x80
    if tagged or _two_frames(head, _mpeg_length):
        return "MP3"
    if head[:1] == b"G" and head[188:189] == head[376:377] == b"G":
        return "MPEG transport stream"
    return "AAC (ADTS)" if _two_frames(head, _adts_length) else None


def _two_frames(head: bytes, length: Callable[[bytes], int]) -> bool:
    """Whether a frame starts here, and another of the same kind where it ends."""
    first = length(head)
    if not first or len(head) < first + 4:
        return False
    second = head[first : first + 4]
    # The first 15 bits and the rate are the same in every frame.
    same = second[:1] == head[:1] and second[1] & 0xFE == head[1] & 0xFE
    return same and (second[2] ^ head[2]) & 0x0C == 0 and bool(length(head[first:]))


def _adts_length(frame: bytes) -> int:
    """Length of an ADTS frame in bytes; 0 if there is none."""
    if len(frame) < 6 or frame[0] != 0xFF or frame[1] & 0xF6 != 0xF0 or (frame[2] >> 2) & 15 > 12:
        return 0
    length = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
    return length if length >= 7 else 0


def _mpeg_length(frame: bytes) -> int:
    """Length of an MPEG audio frame (MP3 and others) in bytes; 0 if there is none."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return 0
    version, layer = (frame[1] >> 3) & 3, 4 - ((frame[1] >> 1) & 3)
    kbits, rate, padding = frame[2] >> 4, (frame[2] >> 2) & 3, (frame[2] >> 1) & 1
    if version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return 0
    table = layer - 1 if version == 3 else 3 if layer == 1 else 4
    hertz = (44_100, 48_000, 32_000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = _KBITS[table][kbits] * 1000
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    samples = 72 if layer == 3 and version != 3 else 144
    return samples * bits // hertz + padding


_UNKNOWN_SIZE: Final = 0x7FFF_F000
"""Sizes from here on mean that a recorder did not know the size, because it wrote into a pipe."""

_SAMPLE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # AU's encodings
_PLAIN: Final = (1, 3, 6, 7, 0xFFFE)  # WAV formats in which all frames have one size


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a file that can be decoded independently."""

    start: int
    """Offset of its first byte."""
    end: int
    """Offset after its last byte."""
    head: bytes = b""
    """Header to prepend to it."""
    frames: int | None = None
    """Number of frames according to its header; None if unknown."""
    mpeg: bool = False
    """Whether it is MP3, which libsndfile decodes only from a named file."""
    open_ended: bool = False
    """Whether it lacks the end marker of its format."""


def parts(path: Path) -> list[Part]:
    """The parts of a recording, in order.

    Args:
        path: A regular file, not empty.

    Returns:
        A single part, the whole file, if the format is unknown or nothing is unusual.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # a file system that cannot, or a file without a size
            return [Part(start=0, end=path.stat().st_size)]
    with mapped as data:
        look = _FORMATS.get(data[:4]) or (_mp3 if _begins_mp3(data, 0) else None)
        found: list[Part] = []
        if look is not None:
            # A truncated header says nothing; the decoder will report what is wrong.
            with contextlib.suppress(struct.error, IndexError):
                found += look(data)
        return found or [Part(start=0, end=len(data))]


def _chunks(data: mmap.mmap, at: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of each chunk, up to the first that is not a chunk."""
    while at + 8 <= len(data):
        name = data[at : at + 4]
        if not name.isascii() or not name.decode("ascii").isprintable():
            # Some writers omit the padding byte after a chunk of odd length.
            at -= 1
            name = data[at : at + 4]
            if at < 12 or not name.isascii() or not name.decode("ascii").isprintable():
                return
        size = struct.unpack(order + "I", data[at + 4 : at + 8])[0]
        yield name, at + 8, size
        at += 8 + size + size % 2


def _wav(data: mmap.mmap) -> Iterator[Part]:
    """Each ``data`` chunk is a part, with its own header."""
    at: int | None = 0
    while at is not None:
        order = ">" if data[at : at + 4] == b"RIFX" else "<"
        about: dict[bytes, bytes] = {}
        following = None
        for name, begin, size in _chunks(data, at + 12, order):
            if _begins_wav(data, begin - 8):
                following = begin - 8
                break
            if name in (b"fmt ", b"fact", b"ds64"):
                about[name] = data[begin : begin + size]
            elif name == b"data" and len(about.get(b"fmt ", b"")) >= 16:
                part = _data(data, (begin, size), order, about)
                if part is not None:
                    yield part
                    if part.end >= len(data):
                        return
                    if _begins_wav(data, part.end):  # the size of a long chunk is stored elsewhere
                        following = part.end
                        break
        at = following


def _begins_wav(data: mmap.mmap, at: int) -> bool:
    magic = data[at : at + 4] in (b"RIFF", b"RIFX", b"RF64", b"BW64")
    return magic and data[at + 8 : at + 12] == b"WAVE"


def _data(
    data: mmap.mmap, place: tuple[int, int], order: str, about: dict[bytes, bytes]
) -> Part | None:
    """The part in a ``data`` chunk with this start and size; None if it is empty."""
    begin, size = place
    if size == 0xFFFF_FFFF and len(about.get(b"ds64", b"")) >= 16:
        size = struct.unpack("<Q", about[b"ds64"][8:16])[0]
    unknown = size >= _UNKNOWN_SIZE and begin + size > len(data)
    if size == 0:
        # Either empty, or the size was never filled in: then no chunk follows.
        if begin >= len(data) or next(_chunks(data, begin, order), None) is not None:
            return None
        unknown = True
    form = about[b"fmt "]
    kind, align = struct.unpack(f"{order}H10xH", form[:14])
    plain = kind in _PLAIN
    end = len(data) if unknown else min(begin + size, len(data))
    length = min(end - begin, 0xFFFF_FF00)
    inner = b"WAVE" + _chunk(b"fmt ", form, order)
    if b"fact" in about and not plain:
        inner += _chunk(b"fact", about[b"fact"], order)
    inner += b"data" + struct.pack(order + "I", length)
    head = (b"RIFX" if order == ">" else b"RIFF") + struct.pack(order + "I", len(inner) + length)
    return Part(
        start=begin,
        end=end,
        head=head + inner,
        frames=size // align if align and plain and not unknown else None,
    )


def _chunk(name: bytes, content: bytes, order: str) -> bytes:
    return name + struct.pack(order + "I", len(content)) + content + b"\0" * (len(content) % 2)


def _aiff(data: mmap.mmap) -> Iterator[Part]:
    at = 0
    while data[at : at + 4] == b"FORM" and data[at + 8 : at + 11] == b"AIF":
        end = at + 8 + struct.unpack(">I", data[at + 4 : at + 8])[0]
        frames = None
        for name, begin, size in _chunks(data, at + 12, ">"):
            if name == b"COMM" and size >= 18:
                frames = struct.unpack(">I", data[begin + 2 : begin + 6])[0] or None
                break
        yield Part(start=at, end=min(end, len(data)), frames=frames)
        at = end + end % 2 if data[end : end + 4] != b"FORM" else end


def _au(data: mmap.mmap) -> Iterator[Part]:
    at = 0
    while data[at : at + 4] == b".snd" and at + 24 <= len(data):
        head, size, encoding, _, channels = struct.unpack(">5I", data[at + 4 : at + 24])
        frames, end = None, len(data)
        width = _SAMPLE_BYTES.get(encoding, 0) * channels
        if 0 < size < _UNKNOWN_SIZE:
            frames = size // width if width else None
            end = at + head + size
        yield Part(start=at, end=min(end, len(data)), frames=frames)
        at = end


def _ogg(data: mmap.mmap) -> Iterator[Part]:
    """Each link of a chain is a part: it begins with a page that begins a stream."""
    at = start = 0
    begun, ended = False, True  # whether the headers are over, and the last page was a last page
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            lost = data.find(b"OggS", at)
            if lost < 0:
                break
            at = lost
        flags, segments = data[at + 5 : at + 6], data[at + 26 : at + 27]
        if not segments:
            ended = False
            break
        length = 27 + segments[0] + sum(data[at + 27 : at + 27 + segments[0]])
        first = bool(flags[0] & 2)
        if first and begun:
            yield Part(start=start, end=at, open_ended=not ended)
            start = at
        begun = not first
        ended = bool(flags[0] & 4) and at + length <= len(data)
        at += length
    yield Part(start=start, end=len(data), open_ended=not ended)


def _flac(data: mmap.mmap) -> Iterator[Part]:
    start = 0
    while start >= 0:
        following = start
        while (following := data.find(b"fLaC", following + 4)) >= 0:
            # A stream starts with 34 bytes of STREAMINFO; the odds of a coincidence are 1 in 2^60.
            if data[following + 4 : following + 8] in (b"\0\0\0\x22", b"\x80\0\0\x22"):
                break
        yield Part(start=start, end=following if following >= 0 else len(data))
        start = following


def _mp3(data: mmap.mmap) -> Iterator[Part]:
    """If a Xing header contains the length of a part, another part may follow.

    Without one, the decoder infers the length from the first frame, and stops there. A part whose
    bit rate varies therefore gets one.
    """
    at = 0
    while at < len(data):
        start = at
        while data[at : at + 3] == b"ID3":
            at += 10 + sum(
                (byte & 0x7F) << shift
                for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=False)
            )
        head = data[at : at + 200]
        tag = max(head.find(b"Xing"), head.find(b"Info"))
        flags = struct.unpack(">I", head[tag + 4 : tag + 8])[0] if 0 < tag < 180 else 0
        end, frames = len(data), None
        if flags & 1:
            samples = 1152 if head[1] & 8 else 576
            frames = samples * struct.unpack(">I", head[tag + 8 : tag + 12])[0] or None
        if flags & 3 == 3:
            # Written at the end of a recording; 0 if that was never reached.
            size = struct.unpack(">I", head[tag + 12 : tag + 16])[0]
            end = at + size if size > tag else len(data)
        # The tags of this part may follow, and then another part.
        following = end
        while data[following : following + 3] == b"TAG":
            following += 128
        if len(data) - following < 400 or not _begins_mp3(data, following):
            made = b""
            if frames is None:
                begin = at + (_mpeg_length(data[at : at + 4]) if tag > 0 else 0)
                made = _xing(data, begin)
                start = begin if made else start
            yield Part(start=start, end=len(data), frames=frames, mpeg=True, head=made)
            return
        yield Part(start=start, end=following, frames=frames, mpeg=True)
        at = following


def _xing(data: mmap.mmap, at: int) -> bytes:
    """A Xing header for the MP3 frames from here on; empty if their bit rate does not vary.

    Layout: http://gabriel.mp3-tech.org/mp3infotag.html, "Xing header".
    """
    first, count, rates = data[at : at + 4], 0, set()
    while at < len(data):
        frame = data[at : at + 4]
        length = _mpeg_length(frame)
        if length and frame[1] & 0xFE == first[1] & 0xFE and not (frame[2] ^ first[2]) & 0x0C:
            count += 1
            rates.add(frame[2] >> 4)
            at += length
        elif (at := data.find(b"\xff", at + 1)) < 0:
            break
    if len(rates) < 2 or first[1] & 6 != 2:  # constant, or not layer 3
        return b""
    mono = first[3] >> 6 == 3
    side = (17 if mono else 32) if first[1] & 8 else (9 if mono else 17)
    content = bytes(side) + b"Xing" + struct.pack(">III", 3, count, len(data))
    heads = (
        bytes((0xFF, first[1] | 1, kbits << 4 | first[2] & 0x0C, first[3]))
        for kbits in range(1, 15)
    )
    head = next(one for one in heads if _mpeg_length(one) >= 4 + len(content))
    return (head + content).ljust(_mpeg_length(head), b"\0")


def _begins_mp3(data: mmap.mmap, at: int) -> bool:
    """Whether a tag or a frame starts there."""
    head = data[at : at + 3]
    return head == b"ID3" or (len(head) == 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


_FORMATS: Final[dict[bytes, Callable[[mmap.mmap], Iterator[Part]]]] = {
    b"RIFF": _wav, b"RIFX": _wav, b"RF64": _wav, b"BW64": _wav,
    b"FORM": _aiff, b".snd": _au, b"OggS": _ogg, b"fLaC": _flac,
}  # fmt: skip
"""Scanners by the first four bytes of a file."""


class View(io.RawIOBase):
    """A part of a file, as a file object.

    Args:
        path: The file.
        part: The part.
    """

    def __init__(self, path: Path, part: Part) -> None:
        self._file = path.open("rb")
        self._part = part
        self._at = 0
        self._length = len(part.head) + part.end - part.start

    def readable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """As :meth:`io.IOBase.seek`."""
        base = (0, self._at, self._length)[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The current position."""
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        """As :meth:`io.RawIOBase.readinto`."""
        wanted = memoryview(buffer).cast("B")
        head = self._part.head
        if self._at < len(head):
            piece = head[self._at : self._at + len(wanted)]
        else:
            inside = self._at - len(head)
            self._file.seek(self._part.start + inside)
            left = self._part.end - self._part.start - inside
            piece = self._file.read(max(0, min(len(wanted), left)))
        wanted[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()
