"""Bad input: each case gives a correct result or a clear error, never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf

from serd.audio import SAMPLE
from tests.system.node import json_lines, run_serd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def speech() -> Samples:
    """The first sentence of the sample, with silence around it: 4 s at 16 kHz."""
    samples, rate = sf.read(SAMPLE, dtype="float32", stop=4 * 16_000)
    assert rate == 16_000
    return np.asarray(samples, np.float32)


@pytest.fixture(scope="module")
def expected(speech: Samples, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The utterances of the plain file."""
    home = tmp_path_factory.mktemp("plain")
    sf.write(home / "plain.wav", speech, 16_000, subtype="FLOAT")
    done = run_serd("classify", "--json", "plain.wav", home=home)
    assert done.returncode == 0, done.stderr
    rows = json_lines(done.stdout)
    assert rows, done.stderr
    return rows


def _resampled(speech: Samples, rate: int) -> Samples:
    import soxr

    return np.asarray(soxr.resample(speech, 16_000, rate), np.float32)


def _eight_channels(path: Path, speech: Samples) -> None:
    sf.write(path, np.repeat(speech[:, None], 8, axis=1), 16_000, subtype="PCM_16")


def _with_nan(path: Path, speech: Samples) -> None:
    broken = speech.copy()
    broken[100:110] = np.nan
    broken[200:205] = np.inf
    sf.write(path, broken, 16_000, subtype="FLOAT")


def _truncated(path: Path, speech: Samples) -> None:
    whole = path.with_suffix(".whole.wav")
    sf.write(whole, speech, 16_000, subtype="PCM_16")
    path.write_bytes(whole.read_bytes()[: 2 * 16_000 * 3])


GOOD: dict[str, tuple[str, Callable[[Path, Samples], None]]] = {
    "8 bit": ("a.wav", lambda p, s: sf.write(p, s, 16_000, subtype="PCM_U8")),
    "24 bit": ("a.wav", lambda p, s: sf.write(p, s, 16_000, subtype="PCM_24")),
    "double": ("a.wav", lambda p, s: sf.write(p, s, 16_000, subtype="DOUBLE")),
    "flac": ("a.flac", lambda p, s: sf.write(p, s, 16_000)),
    "mp3": ("a.mp3", lambda p, s: sf.write(p, s, 16_000)),
    "8 channels": ("a.wav", _eight_channels),
    "8 kHz": ("a.wav", lambda p, s: sf.write(p, _resampled(s, 8_000), 8_000)),
    "192 kHz": ("a.wav", lambda p, s: sf.write(p, _resampled(s, 192_000), 192_000)),
    "not a number": ("a.wav", _with_nan),
    "clipped": ("a.wav", lambda p, s: sf.write(p, 40 * s, 16_000, subtype="FLOAT")),
    "truncated": ("a.wav", _truncated),
    "odd name": ("ä ü \n '.wav", lambda p, s: sf.write(p, s, 16_000)),
}

SAME_SCORES = {"24 bit", "double", "flac", "8 channels", "192 kHz", "not a number", "odd name"}
"""Cases without relevant loss, so that the scores must be the same."""


@pytest.mark.parametrize("case", GOOD)
def test_unusual_audio_is_classified(
    case: str, speech: Samples, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    name, write = GOOD[case]
    write(tmp_path / name, speech)
    # This tests decoding, not whether silero takes clipped synthesised speech for a voice.
    done = run_serd("classify", "--json", name, "--set", "speech.confirm=none", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    rows = json_lines(done.stdout)
    assert rows, done.stderr
    for row in rows:
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)
    if case in SAME_SCORES:
        identical = 0
        for row, plain in zip(rows, expected, strict=True):
            bounds = (row["start_s"], row["end_s"])
            # Another resampling may change the detector's decision on one frame of 30 ms.
            assert bounds == pytest.approx((plain["start_s"], plain["end_s"]), abs=0.031)
            if bounds == (plain["start_s"], plain["end_s"]):
                assert row["scores"] == pytest.approx(plain["scores"], abs=0.1)
                identical += 1
        assert identical


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "a.wav"),
    "empty": (lambda p: p.write_bytes(b""), "a.wav"),
    "no audio in it": (lambda p: sf.write(p, np.zeros(0, np.float32), 16_000), "holds no audio"),
    "not audio": (lambda p: p.write_text("Dear diary,\n" * 100), "not audio that serd can read"),
    "a header only": (lambda p: p.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt "), "a.wav"),
    "garbage": (lambda p: p.write_bytes(bytes(range(256)) * 64), "a.wav"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("command", ["classify", "run"])
def test_files_without_audio_are_rejected(case: str, command: str, tmp_path: Path) -> None:
    make, sentence = BAD[case]
    make(tmp_path / "a.wav")
    arguments = ["classify", "a.wav"] if command == "classify" else ["run", "--source", "a.wav"]
    done = run_serd(*arguments, "--set", "mqtt.port=1", home=tmp_path)
    assert done.returncode == 66, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def _bad_models(tiny: bytes, float_network: bytes, other: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "empty": (b"", "empty"),
        "truncated": (tiny[: len(tiny) // 2], ""),
        "text": (b"not a model at all" * 100, ""),
        "bare network": (tiny[: tiny.rindex(b"PK\x03\x04") // 2], ""),
        "float": (float_network, ""),
        "another network": (other, ""),
    }


@pytest.mark.parametrize(
    "case", ["empty", "truncated", "text", "bare network", "float", "another network"]
)
@pytest.mark.parametrize("command", ["classify", "run", "model"])
def test_a_bad_model_is_rejected(
    case: str,
    command: str,
    tiny_model_path: Path,
    network: Callable[[str], bytes],
    tmp_path: Path,
) -> None:
    tiny = tiny_model_path.read_bytes()
    content, sentence = _bad_models(tiny, network("float32"), network("pictures"))[case]
    (tmp_path / "bad.tflite").write_bytes(content)
    setting = ["--set", "model.path=bad.tflite", "--set", "mqtt.port=1"]
    done = {
        "classify": lambda: run_serd("classify", str(SAMPLE), *setting, home=tmp_path),
        "run": lambda: run_serd("run", "--source", str(SAMPLE), *setting, home=tmp_path),
        "model": lambda: run_serd("model", "info", "bad.tflite", home=tmp_path),
    }[command]()
    assert done.returncode == 78, done.stderr
    assert "bad.tflite" in done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
