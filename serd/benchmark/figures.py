"""The figures of ``serd bench``, and the machine on which they were measured."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from serd.audio.format import SAMPLE_RATE
from serd.benchmark import material
from serd.benchmark.daemon import StubBroker, run_daemon
from serd.config.keys import KEYS, value_of
from serd.errors import UnavailableError
from serd.language import many
from serd.model.classifier import Classifier, Recogniser
from serd.speech import Segmenter
from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from serd.config import Config, SpeechConfig

SHARE: Final = 0.5
"""Share of one core that serd may use on a machine with other tasks."""

BLOCK: Final = 1920
"""Samples fed at a time when measuring the real-time factor: 120 ms."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that figures were measured on."""

    model: str
    """Model name of a Raspberry Pi; elsewhere the processor's name."""
    architecture: str
    """Such as aarch64 or x86_64."""
    cores: int
    """Cores this process may use."""
    memory_mb: int
    """Memory of the machine, 10^6 bytes."""
    system: str
    """Name and version of the operating system."""
    kernel: str
    """Release of the kernel."""
    python: str
    """Version of Python."""
    numpy: str
    """Version of numpy."""
    runtime: str
    """TFLite runtime and its version."""
    serd: str
    """Version of serd."""


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles of many measurements, in milliseconds."""

    p50: float
    """The median."""
    p95: float
    """19 of 20 are at most this."""
    p99: float
    """99 of 100 are at most this; with fewer than 100 measurements the maximum."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What ``serd bench --json`` prints."""

    features_ms: Percentiles
    """The features of an utterance of 3 s, all at once."""
    inference_ms: Percentiles
    """One run of the network, on `model.threads` threads."""
    latency_ms: Percentiles
    """From the arrival of an utterance's last sample to the hand-over to MQTT, in the daemon."""
    realtime_factor: float
    """Seconds of continuous speech that one core processes per second."""
    startup_s: float
    """From the start of the process to READY, warm (median of three starts)."""
    peak_rss_mb: float
    """Peak resident memory of the daemon, private and shared, 10^6 bytes."""
    machine: Machine
    """Where it was measured."""


def measure(
    config: Config,
    *,
    latency_s: float = 32.0,
    progress: Callable[[str, float], None] | None = None,
) -> Figures:
    """Measure everything; takes ``latency_s`` and about ten seconds (a Pi Zero 2 W: forty).

    Args:
        config: Which model, and how speech is found.
        latency_s: Seconds of speech, heard in real time, that latency is measured with.
        progress: Called with the next step, and the share of the time that has passed.

    Raises:
        UnavailableError: If the daemon does not run here, or hears no speech in the sample.
        ModelError: If the model cannot be used.
        ConfigError: If the detector or the TFLite runtime is not installed.
    """
    progress = progress or (lambda _what, _share: None)
    progress("features and network", 0.0)
    classifier = Classifier.configured(config)
    utterance = material.speech(3.0)
    front_end = classifier.front_end()
    features_ms = percentiles(timed(lambda: front_end.features(utterance), seconds=2.0))
    features = front_end.features(utterance)
    inference_ms = percentiles(timed(lambda: classifier.classify_features(features), seconds=2.0))
    progress("speed", 0.08)
    factor = realtime_factor(classifier, material.speech(60.0), config.speech)
    more = daemon_settings(config)
    with tempfile.TemporaryDirectory(prefix="serd-bench-") as folder, StubBroker() as sink:
        home = Path(folder)
        progress("start", 0.14)
        short = material.write(home / "short.wav", material.silence(0.5))
        starts = [
            run_daemon(short, port=sink.port, home=home, pace="real", more=more).marks["READY=1"]
            for _ in range(3)
        ]
        progress("latency", 0.25)
        talk = material.write(home / "phrases.wav", material.phrases(latency_s))
        cost = run_daemon(talk, port=sink.port, home=home, pace="real", more=more)
        latencies = [float(event["latency_ms"]) for event in sink.events]
    if not latencies:
        raise UnavailableError(
            "the daemon heard no speech in the sample",
            remedy="the configured keys of speech reject all of it: `serd config show` lists them",
        )
    progress("done", 1.0)
    return Figures(
        features_ms=features_ms,
        inference_ms=inference_ms,
        latency_ms=percentiles(latencies),
        realtime_factor=round(factor, 1),
        startup_s=round(float(np.median(starts)), 3),
        peak_rss_mb=round(cost.peak_rss_mb, 1),
        machine=describe(),
    )


def daemon_settings(config: Config) -> list[str]:
    """What the daemon under measurement is told of a configuration, each ``KEY=VALUE``.

    No more than what is set: every setting takes time at the start. Nothing else of the
    configuration, such as its hooks, applies to the measurement.
    """
    return [
        f"{key.name}={msgspec.json.encode(value_of(config, key.name)).decode()}"
        for key in KEYS.values()
        if key.name.partition(".")[0] in {"model", "speech", "decision"}
        and value_of(config, key.name) != key.default
    ]


def realtime_factor(
    classifier: Classifier, samples: NDArray[np.float32], settings: SpeechConfig
) -> float:
    """Seconds of sound recognised per second, from samples to predictions."""
    recogniser = Recogniser(Segmenter.of(settings), classifier)
    begun = time.perf_counter()
    for first in range(0, len(samples), BLOCK):
        recogniser.feed(samples[first : first + BLOCK])
    recogniser.flush()
    return len(samples) / SAMPLE_RATE / (time.perf_counter() - begun)


def timed(work: Callable[[], object], *, seconds: float, most: int = 1000) -> list[float]:
    """Milliseconds of each of many runs, after a warm-up."""
    for _ in range(5):
        work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < most and (not times or time.perf_counter() < until):
        begun = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begun))
    return times


def percentiles(milliseconds: Sequence[float]) -> Percentiles:
    """Percentiles by nearest rank, so that each is a measured value."""
    ordered = sorted(milliseconds)

    def at(share: float) -> float:
        rank = min(len(ordered), max(1, int(np.ceil(share * len(ordered)))))
        return round(ordered[rank - 1], 3)

    return Percentiles(p50=at(0.5), p95=at(0.95), p99=at(0.99))


def meaning(figures: Figures) -> list[str]:
    """What the figures mean for this machine, in sentences."""
    rooms = int(SHARE * figures.realtime_factor)
    if rooms:
        hears = (
            f"This machine can process {many(rooms, 'room', 'rooms')} of continuous speech using "
            "half of one core."
        )
    else:
        hears = "This machine is barely fast enough for one room of continuous speech."
    latency = (
        f"An event is published {figures.latency_ms.p50:.0f} ms after the end of an utterance; one "
        f"in a hundred takes {figures.latency_ms.p99:.0f} ms or more."
    )
    return [hears, latency]


def one_line(figures: Figures) -> str:
    """The figures as one line, for pasting."""
    machine = figures.machine
    return (
        f"serd {machine.serd} on {machine.model} ({machine.cores} cores, {machine.architecture}): "
        f"features {figures.features_ms.p50:.2f} ms, network {figures.inference_ms.p50:.2f} ms, "
        f"latency {figures.latency_ms.p50:.1f} ms (p99 {figures.latency_ms.p99:.1f}), "
        f"{figures.realtime_factor:.0f}x real time, start {figures.startup_s:.2f} s, "
        f"{figures.peak_rss_mb:.0f} MB; Python {machine.python}, numpy {machine.numpy}, "
        f"{machine.runtime}"
    )


def describe() -> Machine:
    """Describe this machine; unknown values are empty strings."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    def installed(*packages: str) -> str:
        for package in packages:
            try:
                return f"{package} {version(package)}"
            except PackageNotFoundError:
                continue
        return ""

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        model=_model(),
        architecture=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_mb=round(pages / 1e6),
        system=_system(),
        kernel=platform.release(),
        python=platform.python_version(),
        numpy=installed("numpy").partition(" ")[2],
        runtime=installed("ai-edge-litert", "tflite-runtime"),
        serd=VERSION,
    )


def _model() -> str:
    if model := _read("/proc/device-tree/model").strip("\0 \n"):
        return model
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    return platform.processor()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
