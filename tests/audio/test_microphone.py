"""The microphone with a fake PortAudio; `test_microphone_pulse.py` uses the real one."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from serd.audio import microphone as module
from serd.audio import portaudio
from serd.audio.devices import Device
from serd.audio.microphone import Microphone, formats
from serd.audio.source import Block, EndOfSource
from serd.errors import UnavailableError
from tests.audio.reference import high_passed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


class PortAudioError(Exception):
    """As in sounddevice: message, code, and the error of the driver."""


class Stream:
    """A stream whose callback is called by the test."""

    def __init__(self, driver: Driver, **wanted: Any) -> None:
        driver.asked.append((wanted["samplerate"], wanted["channels"]))
        if error := driver.refuses(wanted["samplerate"], wanted["channels"]):
            raise error
        self.driver = driver
        self.wanted = wanted
        self.rate = wanted["samplerate"]
        self.adc = 500.0
        self.closed = False

    def start(self) -> None:
        if self.driver.start_error:
            raise self.driver.start_error

    def abort(self, ignore_errors: bool = False) -> None:
        self.driver.answers.wait()
        self.wanted["finished_callback"]()

    def close(self, ignore_errors: bool = False) -> None:
        self.closed = True

    def deliver(self, frames: NDArray[np.float32], *, lost_s: float | None = None) -> None:
        """Call the callback; with ``lost_s``, as after a loss of input."""
        self.adc += lost_s or 0.0
        self.wanted["callback"](
            frames.copy(),
            len(frames),
            SimpleNamespace(inputBufferAdcTime=self.adc),
            SimpleNamespace(input_overflow=True) if lost_s is not None else None,
        )
        self.adc += len(frames) / self.rate


class Driver:
    """A fake of the module sounddevice."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.asked: list[tuple[int, int]] = []
        self.refuses: Callable[[int, int], Exception | None] = lambda rate, channels: None
        self.start_error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()

    def InputStream(self, **wanted: Any) -> Stream:  # noqa: N802 - sounddevice's name
        stream = Stream(self, **wanted)
        self.streams.append(stream)
        return stream

    def _exit_handler(self) -> None: ...

    @property
    def stream(self) -> Stream:
        return self.streams[-1]


MIC = Device(index=3, id="name:mic", name="mic", host_api="ALSA", native_rate=16_000, channels=1)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    driver = Driver()
    monkeypatch.setattr(portaudio, "load", lambda: driver)
    monkeypatch.setattr("serd.audio.devices.pick", lambda selector: MIC)
    yield driver
    driver.answers.set()


def ramp(start: int, count: int) -> NDArray[np.float32]:
    numbers = np.arange(start, start + count, dtype=np.float32)[:, np.newaxis]
    return numbers / np.float32(65_536)


def drain(microphone: Microphone) -> list[Block]:
    blocks = []
    while (block := microphone.read(0)) is not None:
        blocks.append(block)
    return blocks


def assert_continuous(blocks: list[Block]) -> None:
    end = blocks[0].position
    for block in blocks:
        assert block.position == end + block.lost or block is blocks[0]
        end = block.end


def test_read_returns_what_the_callback_received(driver: Driver) -> None:
    with Microphone() as microphone:
        assert microphone.read(0) is None
        driver.stream.deliver(ramp(0, 480))
        driver.stream.deliver(ramp(480, 100))
        blocks = drain(microphone)
        driver.stream.deliver(ramp(580, 480))
        blocks += drain(microphone)
        received = np.concatenate([b.samples for b in blocks])
        np.testing.assert_allclose(received, high_passed(ramp(0, 1_060)[:, 0]), atol=1e-6)
        assert_continuous(blocks)
        stats = microphone.stats
    assert (stats.samples, stats.blocks, stats.opens) == (1_060, len(blocks), 1)
    assert (stats.rate, stats.channels, stats.buffered_samples) == (16_000, 1, 0)
    assert driver.stream.wanted["device"] == 3
    assert driver.stream.wanted["blocksize"] == 480
    assert driver.stream.wanted["latency"] == "high"
    assert microphone.name == "mic"


def test_a_blocked_read_wakes_up_when_audio_arrives(driver: Driver) -> None:
    with Microphone() as microphone:
        timer = threading.Timer(0.05, driver.stream.deliver, (ramp(0, 480),))
        timer.start()
        block = microphone.read(900.0)
        timer.join()
    assert block is not None
    assert len(block) == 480


def test_stereo_at_another_rate_becomes_16_khz_mono(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stereo = Device(index=0, id="name:s", name="s", host_api="ALSA", native_rate=48_000, channels=2)
    monkeypatch.setattr("serd.audio.devices.pick", lambda selector: stereo)
    with Microphone(gain_db=6.0206) as microphone:
        tone = np.sin(2 * np.pi * 500 * np.arange(40 * 1_440) / 48_000)
        frames = np.stack([0.3 * tone, 0.1 * tone], axis=1).astype(np.float32)
        for start in range(0, len(frames), 1_440):
            driver.stream.deliver(frames[start : start + 1_440])
        samples = np.concatenate([b.samples for b in drain(microphone)])
    assert driver.asked == [(48_000, 2)]
    # 1.2 s minus what the resampler holds back.
    assert 19_200 - 660 <= len(samples) <= 19_200
    # The high-pass lowers the level slightly.
    assert np.abs(samples[1_000:]).max() == pytest.approx(0.4, abs=3e-3)


def test_overflow_drops_the_oldest_and_counts_every_sample(driver: Driver) -> None:
    with Microphone(buffer_s=0.1) as microphone:
        driver.stream.deliver(ramp(0, 480))
        first = drain(microphone)
        for start in range(480, 480 * 11, 480):
            driver.stream.deliver(ramp(start, 480))
        assert microphone.stats.overflow_samples == 4_800 - 1_600
        assert microphone.stats.buffered_samples == 1_600
        late = drain(microphone)
    assert [(b.position, b.lost) for b in late] == [(480 + 3_200, 3_200)]
    # After the gap, the high-pass starts again too.
    expected = high_passed(ramp(3_680, 1_600)[:, 0])
    np.testing.assert_allclose(late[0].samples, expected, atol=1e-6)
    assert_continuous(first + late)
    assert microphone.stats.overflow_samples == 3_200


def test_input_lost_by_the_driver_is_counted_and_located(driver: Driver) -> None:
    with Microphone() as microphone:
        driver.stream.deliver(ramp(0, 480))
        driver.stream.deliver(ramp(480, 480), lost_s=0.25)
        driver.stream.deliver(ramp(960, 480))
        blocks = drain(microphone)
    assert [(b.position, len(b), b.lost) for b in blocks] == [(0, 480, 0), (4_480, 960, 4_000)]
    assert microphone.stats.device_overflows == 1


@pytest.mark.parametrize("lost_s", [0.0, -3.0, 1e6])
def test_a_loss_is_reported_even_if_the_clock_of_the_driver_is_wrong(
    driver: Driver, lost_s: float
) -> None:
    with Microphone() as microphone:
        driver.stream.deliver(ramp(0, 480))
        driver.stream.deliver(ramp(480, 480), lost_s=lost_s)
        blocks = drain(microphone)
    assert [b.lost for b in blocks] == [0, 1]


def test_memory_stays_bounded_during_many_overflows(driver: Driver) -> None:
    with Microphone(buffer_s=0.1) as microphone:
        blocks: list[Block] = []
        for turn in range(1_000):
            driver.stream.deliver(ramp(0, 480), lost_s=0.01)
            if turn % 300 == 0:
                blocks += drain(microphone)
        blocks += drain(microphone)
        assert len(driver.stream.wanted["callback"].__self__.gaps) == 0
    assert microphone.stats.device_overflows == 1_000
    assert_continuous(blocks)


def test_a_stream_that_ends_by_itself_gives_its_remaining_audio_and_then_an_error(
    driver: Driver,
) -> None:
    with Microphone() as microphone:
        driver.stream.deliver(ramp(0, 480))
        driver.stream.wanted["finished_callback"]()
        block = microphone.read(0)
        assert block is not None
        for _ in range(2):
            with pytest.raises(UnavailableError, match="'mic' has stopped by itself"):
                microphone.read(900.0)


def test_a_blocked_read_notices_that_the_stream_ends(driver: Driver) -> None:
    with Microphone() as microphone:
        threading.Timer(0.05, driver.stream.wanted["finished_callback"]).start()
        with pytest.raises(UnavailableError, match="has stopped by itself"):
            microphone.read(900.0)


def test_a_stream_that_delivers_nothing_is_noticed(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.05)
    with Microphone() as microphone:
        tries = iter(range(1_000))
        with pytest.raises(UnavailableError, match="has delivered nothing"):
            assert all(microphone.read(0.01) is None for _ in tries)
        assert next(tries) >= 4
        # Audio restarts the stall timer.
        driver.stream.deliver(ramp(0, 480))
        assert microphone.read(0.01) is not None
        assert microphone.read(0.01) is None


def test_polling_without_waiting_does_not_count_as_a_stall(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", 1e-3)
    with Microphone() as microphone:
        for _ in range(10_000):
            assert microphone.read(0) is None


def test_closing_from_another_thread_ends_a_blocked_read(driver: Driver) -> None:
    microphone = Microphone()
    microphone.open()
    closer = threading.Timer(0.05, microphone.close)
    closer.start()
    with pytest.raises(EndOfSource):
        microphone.read(900.0)
    closer.join()
    assert driver.stream.closed


def test_a_closed_microphone_returns_nothing_even_if_audio_is_left(driver: Driver) -> None:
    microphone = Microphone()
    with pytest.raises(EndOfSource):
        microphone.read(0)
    with microphone:
        driver.stream.deliver(ramp(0, 480))
    microphone.close()
    with pytest.raises(EndOfSource):
        microphone.read(0)


def test_close_does_not_hang_if_the_driver_never_returns(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.05)
    driver.answers.clear()
    microphone = Microphone()
    microphone.open()
    stuck = driver.stream
    microphone.close()
    assert [stream.closed for stream in driver.streams] == [False]
    assert "does not let go" in caplog.text
    assert id(stuck) in portaudio._streams  # so the list of devices is not renewed
    # It can be reopened, and late callbacks of the old stream are ignored.
    microphone.open()
    stuck.deliver(ramp(0, 480))
    stuck.wanted["finished_callback"]()
    assert microphone.read(0) is None
    driver.answers.set()
    microphone.close()
    for thread in threading.enumerate():
        if thread.name == "serd-close-stream":
            thread.join()
    assert [stream.closed for stream in driver.streams] == [True, True]
    assert id(stuck) not in portaudio._streams


def test_positions_and_counts_continue_when_it_is_reopened(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(module, "time", clock)
    microphone = Microphone(buffer_s=0.03)
    blocks = []
    for _ in range(3):
        with microphone:
            clock.now += 2.0
            driver.stream.deliver(ramp(0, 960))  # twice what the ring holds
            blocks += drain(microphone)
        clock.now += 10.0
    assert [b.lost for b in blocks] == [480, 12 * 16_000 - 480, 12 * 16_000 - 480]
    assert_continuous(blocks)
    # The ring's own loss is within the time between, so positions do not count it twice.
    assert blocks[2].end - blocks[0].end == pytest.approx(24 * 16_000, abs=1)
    stats = microphone.stats
    assert (stats.opens, stats.overflow_samples, stats.samples) == (3, 3 * 480, 3 * 480)


def test_the_native_format_is_tried_before_the_common_ones(driver: Driver) -> None:
    wanted = (48_000, 2)
    device = Device(index=0, id="name:s", name="s", host_api="ALSA", native_rate=44_100, channels=4)
    assert formats(device)[:4] == [(44_100, 4), (44_100, 2), (44_100, 1), (48_000, 4)]
    assert len(set(formats(device))) == len(formats(device))
    assert wanted in formats(device)


def portaudio_error(text: str, code: int) -> PortAudioError:
    return PortAudioError(f"Error opening InputStream: {text}", code)


def test_another_format_is_tried_if_a_rate_is_rejected(driver: Driver) -> None:
    driver.refuses = lambda rate, channels: (
        None if rate == 44_100 else portaudio_error("Invalid sample rate", -9997)
    )
    with Microphone() as microphone:
        assert microphone.stats.rate == 44_100
    assert driver.asked == [(16_000, 1), (48_000, 1), (44_100, 1)]


def test_a_busy_device_is_reported_at_once(driver: Driver) -> None:
    driver.refuses = lambda rate, channels: portaudio_error("Device unavailable", -9985)
    microphone = Microphone()
    with pytest.raises(
        UnavailableError,
        match=r"'mic' cannot be opened: Device unavailable at 16000 Hz.*another program",
    ):
        microphone.open()
    assert len(driver.asked) == 1
    with pytest.raises(EndOfSource):
        microphone.read(0)


def test_a_device_that_rejects_every_format_is_reported(driver: Driver) -> None:
    driver.refuses = lambda rate, channels: portaudio_error("Invalid sample rate", -9997)
    with pytest.raises(UnavailableError, match="Invalid sample rate"):
        Microphone().open()
    assert len(driver.asked) > 5


def test_a_stream_that_does_not_start_is_closed_again(driver: Driver) -> None:
    driver.start_error = PortAudioError(
        "Error starting stream: Unanticipated host error", -9999, (0, -19, "No such device")
    )
    with pytest.raises(UnavailableError, match="Unanticipated host error: No such device"):
        Microphone().open()
    assert driver.stream.closed


def test_a_missing_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real(name, *rest)

    monkeypatch.setattr(portaudio, "_loaded", None)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnavailableError, match=r"PortAudio library.*apt install libportaudio2"):
        Microphone().open()


def test_a_read_for_many_samples_returns_them_in_one_block(driver: Driver) -> None:
    with Microphone() as microphone:
        driver.stream.deliver(ramp(0, 480))
        feeder = threading.Timer(0.05, lambda: driver.stream.deliver(ramp(480, 1000)))
        feeder.start()
        block = microphone.read(60.0, 1400)
        feeder.join()
        assert block is not None
        np.testing.assert_allclose(block.samples, high_passed(ramp(0, 1480)[:, 0]), atol=1e-6)


def test_a_read_that_times_out_returns_what_is_available(driver: Driver) -> None:
    with Microphone() as microphone:
        driver.stream.deliver(ramp(0, 480))
        block = microphone.read(0.01, 1920)
        assert block is not None
        assert len(block) == 480
        assert microphone.read(0.01, 1920) is None
