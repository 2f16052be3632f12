from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from serd.audio.format import NotPcmError, PcmFormat, PcmStream, Sample, read_header

TONE = np.sin(np.arange(600, dtype=np.float64) / 9) * 0.7
STEREO = np.stack([TONE, -TONE / 2], axis=1)


@pytest.mark.parametrize(
    ("container", "subtype", "endian"),
    [
        ("WAV", "PCM_U8", "LITTLE"),
        ("WAV", "PCM_16", "LITTLE"),
        ("WAV", "PCM_24", "LITTLE"),
        ("WAV", "PCM_32", "LITTLE"),
        ("WAV", "FLOAT", "LITTLE"),
        ("WAV", "DOUBLE", "LITTLE"),
        ("WAV", "PCM_16", "BIG"),
        ("WAV", "PCM_24", "BIG"),
        ("WAV", "FLOAT", "BIG"),
        ("WAVEX", "PCM_16", "LITTLE"),
        ("WAVEX", "FLOAT", "LITTLE"),
        ("RF64", "PCM_16", "LITTLE"),
    ],
)
def test_a_wav_stream_is_decoded_as_by_libsndfile(
    container: str, subtype: str, endian: str
) -> None:
    file = io.BytesIO()
    sf.write(file, STEREO, 22_050, format=container, subtype=subtype, endian=endian)
    data = file.getvalue()
    header = read_header(data)
    assert header is not None
    pcm, at = header
    assert (pcm.rate, pcm.channels) == (22_050, 2)
    stream = PcmStream(pcm)
    parts = [stream.push(data[place : place + 11]) for place in range(at, len(data), 11)]
    file.seek(0)
    expected, _ = sf.read(file, dtype="float32")
    np.testing.assert_array_equal(np.concatenate(parts)[: len(expected)], expected)


def test_an_incomplete_header_needs_more_data() -> None:
    file = io.BytesIO()
    sf.write(file, TONE, 8_000, format="WAV", subtype="PCM_16")
    data = file.getvalue()
    pcm, at = read_header(data) or (None, 0)
    assert pcm == PcmFormat(rate=8_000)
    for length in range(4, at):
        assert read_header(data[:length]) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"OggS" + bytes(100), "no WAV header"),
        (b"RIFF....AVI " + bytes(100), "no WAV header"),
        (b"RIFF....WAVEdata" + bytes(100), "without a format"),
        (b"RIFF....WAVEfmt \x04\0\0\0" + bytes(100), "cut short"),
        (b"RIFF....WAVEjunk\xff\xff\xff\x7f", "a part of 2147483647 bytes"),
        (
            b"RIFF....WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 8),
            r"compressed or unusual samples \(format 7",
        ),
        (
            b"RIFF....WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 0, 8000, 8000, 1, 16),
            "8000 Hz and 0 channels",
        ),
    ],
)
def test_invalid_headers_are_rejected_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(NotPcmError, match=reason):
        read_header(data)


@pytest.mark.parametrize(("sample", "width"), [("u8", 1), ("s24", 3), ("f64", 8)])
def test_the_size_of_a_frame_includes_all_channels(sample: Sample, width: int) -> None:
    pcm = PcmFormat(rate=16_000, channels=3, sample=sample)
    assert pcm.frame_bytes == 3 * width
    assert pcm.decode(bytes(6 * width)).shape == (2, 3)
