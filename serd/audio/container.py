"""What kind of recording some bytes are the beginning of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

NEEDED: Final = 4096
"""Bytes with which everything is recognised that can be; with fewer, most of it."""

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
    """Name what some bytes are the beginning of.

    Raw samples may begin with anything: only what they will never begin with by chance is a
    recording. Frames without a file around them (MP3, ADTS) have to be followed by another.

    Args:
        head: The beginning, best :data:`NEEDED` bytes of it.

    Returns:
        The kind, for people; None for raw samples, and for what nobody knows.
    """
    named = (name for at, word, name in _HEADS if head[at : at + len(word)] == word)
    return _iff(head) or next(named, None) or _frames(head)


def _iff(head: bytes) -> str | None:
    """WAV, AIFF and their kin, which say at byte 8 what they are."""
    if head[:4] in _RIFF:
        if head[8:12] in (b"WAVE", b""):
            return _RIFF[head[:4]]
        return "AVI" if head[8:11] == b"AVI" else "RIFF"
    return _FORM.get(head[8:12], "IFF") if head[:4] == b"FORM" else None


def _frames(head: bytes) -> str | None:
    """What consists of frames or packets in a row."""
    # ID3v2 of any version: its size has no high bits set.
    tagged = head[:3] == b"ID3" and len(head) >= 10 and head[3] < 0xFF and max(head[6:10]) < 0x80
    if tagged or _two_frames(head, _mpeg_length):
        return "MP3"
    if head[:1] == b"G" and head[188:189] == head[376:377] == b"G":
        return "MPEG transport stream"
    return "AAC (ADTS)" if _two_frames(head, _adts_length) else None


def _two_frames(head: bytes, length: Callable[[bytes], int]) -> bool:
    """Whether a frame begins here, and another where it ends, of the same kind."""
    first = length(head)
    if not first or len(head) < first + 4:
        return False
    second = head[first : first + 4]
    # The first 15 bits and the rate are the same in every frame.
    same = second[:1] == head[:1] and second[1] & 0xFE == head[1] & 0xFE
    return same and (second[2] ^ head[2]) & 0x0C == 0 and bool(length(head[first:]))


def _adts_length(frame: bytes) -> int:
    """Bytes of an ADTS frame; 0 if none begins here."""
    if len(frame) < 6 or frame[0] != 0xFF or frame[1] & 0xF6 != 0xF0 or (frame[2] >> 2) & 15 > 12:
        return 0
    length = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
    return length if length >= 7 else 0


def _mpeg_length(frame: bytes) -> int:
    """Bytes of a frame of MPEG audio (MP3 and its sisters); 0 if none begins here."""
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
