from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf

from serd.audio import SAMPLE
from serd.audio.container import NEEDED, recognise

NOISE = np.random.default_rng(0).normal(0, 0.1, 8_000)

WITHOUT_SIGNATURE = {"RAW", "SD2", "HTK", "MAT4", "MPC2K", "SDS"}
"""Formats of libsndfile that start like raw samples, or are not audio files on their own."""


@pytest.mark.parametrize("container", sorted(set(sf.available_formats()) - WITHOUT_SIGNATURE))
def test_formats_written_by_libsndfile_are_recognised(container: str) -> None:
    file = io.BytesIO()
    sf.write(file, NOISE, 16_000, format=container, subtype=sf.default_subtype(container))
    assert recognise(file.getvalue()[:NEEDED]) is not None


@pytest.mark.parametrize(
    ("signature", "kind"),
    [
        (b"RIFF\0\0\0\0WAVE", "WAV"),
        (b"RIFX\0\0\0\0WAVE", "WAV (RIFX)"),
        (b"RF64\xff\xff\xff\xffWAVE", "WAV (RF64)"),
        (b"RIFF\0\0\0\0AVI ", "AVI"),
        (b"riff\x2e\x91\xcf\x11", "W64"),
        (b"caff\0\1", "CAF"),
        (b".snd\0\0", "AU"),
        (b"\0\0\0\x20ftypM4A \0", "MP4 or M4A"),
        (b"\x1aE\xdf\xa3\x01", "Matroska or WebM"),
        (b"0&\xb2u\x8ef\xcf\x11\xa6\xd9", "WMA (ASF)"),
        (b"ID3\x02\0\0\0\0\0\x10", "MP3"),
        (b"ID3\x03\0\0\0\0\0\x10", "MP3"),
        (b"ID3\x04\0\0\0\0\0\x10", "MP3"),
        (b"#EXTM3U\n", "playlist (M3U)"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_signatures_are_recognised(signature: bytes, kind: str) -> None:
    assert recognise(signature + bytes(200)) == kind


def adts(payload: int) -> bytes:
    length = payload + 7
    head = bytes([0xFF, 0xF1, 0x60, 0x40 | length >> 11, length >> 3 & 255, (length & 7) << 5, 0])
    return head + bytes(payload)


def test_a_frame_is_recognised_only_if_another_follows() -> None:
    assert recognise(adts(300) + adts(200)) == "AAC (ADTS)"
    assert recognise(adts(300) + bytes(400)) is None
    mp3 = bytes([0xFF, 0xFB, 0x90, 0x00]) + bytes(413)  # 128 kbit/s at 44.1 kHz: 417 bytes
    assert recognise(mp3 + mp3) == "MP3"
    assert recognise(mp3 + bytes(500)) is None
    packet = b"G" + bytes(187)
    assert recognise(packet * 4) == "MPEG transport stream"


def test_speech_noise_and_silence_are_not_taken_for_containers() -> None:
    speech, _ = sf.read(SAMPLE, dtype="int16")
    for start in range(0, len(speech) - 2_048, 1_009):
        assert recognise(speech[start : start + 2_048].tobytes()) is None
    rng = np.random.default_rng(1)
    for _ in range(2_000):
        assert recognise(rng.integers(0, 256, NEEDED, dtype=np.uint8).tobytes()) is None
    assert recognise(bytes(NEEDED)) is None
    assert recognise(b"") is None
