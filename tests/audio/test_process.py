"""Programs and URLs as sources; the senders are real (tests/streams.py)."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serd.audio import process as stream
from serd.audio.factory import make_source
from serd.audio.process import NetworkSource, ProgramSource
from serd.audio.source import EndOfSource
from serd.config import AudioConfig
from serd.errors import UnavailableError
from tests import streams
from tests.faults.talk import utterance

if TYPE_CHECKING:
    from serd.audio.source import Source

WRITES = "import sys, time; w = sys.stdout.buffer.write; f = sys.stdout.buffer.flush; "


@pytest.fixture(autouse=True)
def long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not fail these tests."""
    monkeypatch.setattr(stream, "CONNECT_S", 60.0)
    monkeypatch.setattr(stream, "STALL_S", 60.0)


def program(code: str, **settings: object) -> ProgramSource:
    return ProgramSource(
        AudioConfig(command=(sys.executable, "-c", WRITES + code), **settings)  # type: ignore[arg-type]
    )


def loudest_of(source: Source, seconds: float) -> float:
    """Read this many seconds; return the loudest sample."""
    samples = 0
    loudest = 0.0
    while samples < seconds * 16_000:
        block = source.read(60.0, 1_600)
        assert block is not None
        samples += len(block)
        loudest = max(loudest, float(np.abs(block.samples).max()))
    return loudest


def read_to_end(source: Source, timeout: float = 60.0) -> None:
    """Read until an exception ends it."""
    while True:
        source.read(timeout)


def test_raw_samples_of_a_program_are_read_at_the_configured_rate(tmp_path: Path) -> None:
    raw = tmp_path / "a.raw"
    raw.write_bytes(np.repeat(utterance(), 2).tobytes())
    with program(f"w(open({str(raw)!r}, 'rb').read()); f(); time.sleep(600)", rate_hz=32_000) as it:
        assert loudest_of(it, 2.0) > 0.05
        assert it.stats.rate == 32_000
        assert it.name == f"the program {sys.executable}"


def test_the_rate_of_a_wav_stream_is_taken_from_its_header(tmp_path: Path) -> None:
    wav = streams.speech(tmp_path)
    with program(f"w(open({str(wav)!r}, 'rb').read()); f(); time.sleep(600)", rate_hz=8_000) as it:
        assert loudest_of(it, 4.0) > 0.05
        assert (it.stats.rate, it.stats.channels) == (16_000, 1)


def test_a_program_that_exits_is_a_fault_and_can_be_restarted() -> None:
    source = program("w(b'ab' * 16_000); f(); sys.stderr.write('cable\\n'); exit(3)")
    for opens in (1, 2):
        source.open()
        with pytest.raises(UnavailableError, match=r"left with 3: cable"):
            read_to_end(source)
        source.close()
        assert source.stats.opens == opens
    assert source.stats.samples == 32_000


def test_a_program_may_end_the_source_if_so_configured() -> None:
    with program("w(b'ab' * 16_000); f()", on_end="stop") as source, pytest.raises(EndOfSource):
        read_to_end(source)
    assert source.stats.samples == 16_000


def test_a_program_may_also_end_the_source_before_any_sound() -> None:
    with program("", on_end="stop") as source, pytest.raises(EndOfSource):
        source.read(5.0)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/no/such/program",), "cannot be started: No such file"),
        ((sys.executable, "-c", "exit(1)"), "left with 1"),
        ((sys.executable, "-c", "import os; os.write(1, b'OggS' + bytes(9000))"), "writes Ogg"),
    ],
)
def test_why_a_program_delivers_no_audio_is_reported(command: tuple[str, ...], reason: str) -> None:
    source = make_source(AudioConfig(command=command))
    with pytest.raises(UnavailableError, match=reason):
        source.open()
    source.close()


def test_a_program_that_delivers_nothing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    source = program("w(bytes(3_200)); f(); time.sleep(600)")
    source.open()
    monkeypatch.setattr(stream, "STALL_S", 0.3)
    with pytest.raises(UnavailableError, match="has delivered nothing for"):
        read_to_end(source, 0.1)
    source.close()
    monkeypatch.setattr(stream, "CONNECT_S", 0.3)
    with pytest.raises(UnavailableError, match="has delivered nothing for"):
        program("time.sleep(600)").open()


def test_closing_ends_the_program_and_a_blocked_read() -> None:
    source = program("w(bytes(3_200)); f(); time.sleep(600)")
    source.open()
    child = source._child
    assert child is not None
    while source.read(0.05) is not None:
        pass
    threading.Timer(0.05, source.close).start()
    with pytest.raises(EndOfSource):
        source.read(600.0)
    source.close()
    assert not Path(f"/proc/{child.pid}").exists()


def test_closing_ends_an_attempt_to_open() -> None:
    source = program("time.sleep(600)")
    threading.Timer(0.3, source.close).start()
    with pytest.raises(UnavailableError, match="was closed"):
        source.open()


def test_time_while_it_was_closed_is_counted_as_lost() -> None:
    source = program("w(bytes(32_000)); f(); time.sleep(600)")
    source.open()
    first = source.read(60.0, 16_000)
    assert first is not None
    source.close()
    closed = time.monotonic()
    source.open()
    second = source.read(60.0)
    assert second is not None
    assert second.lost >= 1
    assert second.position == first.end + second.lost
    assert second.lost <= (time.monotonic() - closed + 5.0) * 16_000
    source.close()


def test_audio_that_arrives_faster_than_real_time_is_throttled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "LEAD_S", 3.0)
    with program("exec('while True: w(bytes(32_000))')") as source:
        begun = time.monotonic()
        samples = 0
        while time.monotonic() - begun < 1.0:
            samples += len(source.read(0.1) or ())
    assert 3.0 < samples / 16_000 < 3.0 + 3.0 + (time.monotonic() - begun)


@pytest.mark.slow
def test_the_audio_of_a_camera_is_received(tmp_path: Path) -> None:
    with streams.rtsp(tmp_path) as camera:
        for path, rate in {"l16": 16_000, "pcmu": 8_000, "opus": 48_000, "camera": 8_000}.items():
            with NetworkSource(AudioConfig(source=f"rtsp://127.0.0.1:{camera.port}/{path}")) as it:
                assert it.stats.rate == rate
                assert loudest_of(it, 2.5) > 0.02
        for path, reason in {"video": "no sound track", "nothing": "no such stream"}.items():
            with pytest.raises(UnavailableError, match=reason):
                NetworkSource(AudioConfig(source=f"rtsp://127.0.0.1:{camera.port}/{path}")).open()


def test_a_login_appears_in_no_command_line_and_no_message(tmp_path: Path) -> None:
    password = "p@ss/w0rd#1"
    secret = tmp_path / "password"
    secret.write_text(password + "\n")
    with streams.rtsp(tmp_path, password=password) as camera:
        url = f"rtsp://camera@127.0.0.1:{camera.port}/l16"
        with NetworkSource(AudioConfig(source=url, password_file=str(secret))) as source:
            assert loudest_of(source, 0.5) > 0
            child = source._child
            assert child is not None
            shown = Path(f"/proc/{child.pid}/cmdline").read_text()
            shown += Path(f"/proc/{child.pid}/environ").read_text()
        assert "ffmpeg" in shown
        for part in ("p@ss", "w0rd", "p%40ss"):
            assert part not in shown + source.name
        secret.write_text("wr0ngpass\n")
        with pytest.raises(UnavailableError, match="login was refused") as refused:
            NetworkSource(AudioConfig(source=url, password_file=str(secret))).open()
        assert refused.value.retry_s >= 60  # many cameras lock out clients that retry often
        assert "wr0ng" not in str(refused.value)
    with pytest.raises(UnavailableError, match="connection was refused") as absent:
        NetworkSource(AudioConfig(source=url, password_file=str(secret))).open()
    assert "wr0ng" not in str(absent.value)
    secret.write_text("")
    with pytest.raises(UnavailableError, match=r"password_file: .* holds no password"):
        NetworkSource(AudioConfig(source=url, password_file=str(secret))).open()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mp3", "ogg", "aac", "ts", "wav"])
def test_an_internet_radio_is_received(tmp_path: Path, kind: str) -> None:
    with streams.http(tmp_path, kind) as radio, NetworkSource(AudioConfig(source=radio.url)) as it:
        assert loudest_of(it, 2.5) > 0.02


@pytest.mark.slow
def test_a_web_server_may_change_the_format_but_not_refer_to_local_files(tmp_path: Path) -> None:
    with streams.http(tmp_path) as radio:
        base = f"http://127.0.0.1:{radio.port}"
        # Rate and channels change every few seconds: the source goes on without being reopened.
        with NetworkSource(AudioConfig(source=f"{base}/changing.aac")) as source:
            assert loudest_of(source, 12.0) > 0.02
            assert source.stats.opens == 1
        # No playlist, list or redirect may lead to a local file.
        for path in ("video.ts", "playlist.m3u8", "list.ffconcat", "away"):
            with pytest.raises(UnavailableError):
                NetworkSource(AudioConfig(source=f"{base}/{path}")).open()


@pytest.mark.slow
def test_udp_and_srt_are_received(tmp_path: Path) -> None:
    with streams.udp(tmp_path) as sender, NetworkSource(AudioConfig(source=sender.url)) as source:
        assert loudest_of(source, 2.5) > 0.02
    with streams.srt(tmp_path, "a-long-phrase") as sender:
        settings = AudioConfig(
            source=sender.url + "?passphrase={password}",
            password="a-long-phrase",
        )
        source = NetworkSource(settings)
        streams.waited(lambda: opened(source))
        assert loudest_of(source, 2.5) > 0.02
        assert "phrase=********" in source.name
        source.close()


def opened(source: Source) -> bool:
    try:
        source.open()
    except UnavailableError:
        return False
    return True
