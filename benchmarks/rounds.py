"""What is run in a round, and the raw figures it gives.

Every round runs each contender once, one after the other, so that other load on the machine affects
all of them alike; ratios are taken within a round.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np

from serd.benchmark import material
from serd.benchmark.daemon import Cost, StubBroker, run, run_daemon
from serd.benchmark.figures import timed
from serd.model.classifier import Classifier
from serd.model.interpreter import Interpreter
from serd.model.model_file import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

HOUR_S: Final = 3600

Figures = dict[str, Any]
"""Figures of one round by name; a list if one round gives several values."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int = 5
    """Rounds; every figure is the median over them."""
    hour_s: int = HOUR_S
    """Seconds of speech and of silence that represent an hour; figures are scaled up."""
    latency_s: float = 60.0
    """Seconds of phrases processed in real time."""
    clips: int = 20
    """Clips of 3 s that the other pipelines process."""
    live_s: float = 20.0
    """Seconds of speech, and of silence, during which a daemon's share of a core is measured."""
    files: int = 1000
    """Recordings of 3 s to classify."""
    sources: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Streams in one process."""


class Bench:
    """Runs the rounds.

    Args:
        sizes: How much to measure.
        home: An empty folder for temporary files.
        tell: Called with a description of the next step.
    """

    def __init__(self, sizes: Sizes, home: Path, tell: Callable[[str], None]) -> None:
        self._sizes = sizes
        self._home = home
        self._tell = tell
        self._speech = material.write(home / "speech.wav", material.speech(sizes.hour_s))
        self._silence = material.write(home / "silence.wav", material.silence(sizes.hour_s))
        self._phrases = material.write(home / "phrases.wav", material.phrases(sizes.latency_s))
        self._short = material.write(home / "short.wav", material.silence(0.5))
        self._files = home / "files"
        self._files.mkdir()
        clip = material.speech(60.0)
        for number in range(sizes.files):
            begin = number * 7919 % (57 * 16_000)
            material.write(self._files / f"{number:04}.wav", clip[begin : begin + 48_000])
        self._keras = home / "model.keras"
        tell("a Keras model")
        subprocess.run(_command("keras_model", self._keras), check=True, capture_output=True)
        self._tflite = resolve(None)

    def round(self) -> Figures:
        """Run every contender once."""
        figures: Figures = {}
        with StubBroker() as sink:
            figures |= self._start(sink)
            figures |= self._pipeline("keras", self._keras, sink)
            figures |= self._latency(sink)
            figures |= self._pipeline("tflite", self._tflite, sink)
            figures |= self._hours(sink, figures["serd_start_cpu_s"])
        figures |= self._floor()
        figures |= self._network()
        figures |= self._streams()
        figures |= self._classify()
        figures |= self._journal()
        return figures

    def _start(self, sink: StubBroker) -> Figures:
        self._tell("start of serd")
        costs = [self._daemon(self._short, sink, "real") for _ in range(3)]
        middle = sorted(cost.marks["READY=1"] for cost in costs)[1]
        # The half second of silence is processed in real time and costs next to nothing.
        return {
            "serd_ready_s": middle,
            "serd_start_cpu_s": sorted(cost.cpu_s for cost in costs)[1],
        }

    def _pipeline(self, engine: str, model: Path, sink: StubBroker) -> Figures:
        self._tell(f"librosa + {engine}")
        arguments = (engine, model, self._speech, self._sizes.clips, sink.port)
        cost, found = _measure("pipeline", *arguments, home=self._home)
        return {
            f"{engine}_ready_s": cost.marks["READY=1"],
            f"{engine}_first_s": cost.marks["FIRST=1"],
            f"{engine}_latency_ms": found["latency_ms"],
            f"{engine}_hour_cpu_s": found["cpu_s_per_clip"] * HOUR_S / 3,
            f"{engine}_rss_mb": cost.peak_rss_mb,
        }

    def _latency(self, sink: StubBroker) -> Figures:
        self._tell("serd in real time")
        sink.events.clear()
        cost = self._daemon(self._phrases, sink, "real")
        return {
            "serd_latency_ms": [event["latency_ms"] for event in sink.events],
            "serd_phrases_percent": cost.steady_percent,
        }

    def _hours(self, sink: StubBroker, start_cpu_s: float) -> Figures:
        self._tell("serd, an hour of speech")
        scale = HOUR_S / self._sizes.hour_s
        sink.events.clear()
        speech = self._daemon(self._speech, sink, "piped")
        events = len(sink.events)
        self._tell("the same without the second detector")
        alone = self._daemon(self._speech, sink, "piped", more=("speech.confirm=none",))
        self._tell("serd, an hour of silence")
        silence = self._daemon(self._silence, sink, "piped")
        self._tell("serd, speech and silence in real time")
        live: Figures = {}
        for name, sound in (("speech", material.speech), ("silence", material.silence)):
            path = material.write(self._home / "live.wav", sound(self._sizes.live_s))
            live[f"serd_live_{name}_percent"] = self._daemon(path, sink, "real").steady_percent
        return live | {
            "serd_hour_events": events * scale,
            "serd_hour_cpu_s": (speech.cpu_s - start_cpu_s) * scale,
            "serd_alone_hour_cpu_s": (alone.cpu_s - start_cpu_s) * scale,
            "serd_silence_cpu_s": (silence.cpu_s - start_cpu_s) * scale,
            "serd_rss_mb": speech.peak_rss_mb,
            "serd_hour_written_mb": speech.written_mb * scale,
        }

    def _daemon(
        self,
        source: Path,
        sink: StubBroker,
        pace: Literal["real", "piped"],
        more: Sequence[str] = (),
    ) -> Cost:
        for old in self._home.glob("journal.db*"):
            old.unlink()
        return run_daemon(source, port=sink.port, home=self._home, pace=pace, more=more)

    def _floor(self) -> Figures:
        self._tell("the bare floor")
        _, found = _measure("floor", self._sizes.hour_s, home=self._home)
        scale = HOUR_S / self._sizes.hour_s
        return {f"floor_{name}_cpu_s": value * scale for name, value in found.items()}

    def _network(self) -> Figures:
        self._tell("the network")
        classifier = Classifier.load()
        features = classifier.front_end().features(material.speech(3.0))
        network = Interpreter(classifier.model)
        integers = network.input.quantise(features)[np.newaxis]
        once = timed(lambda: network.run_int8(integers), seconds=1.0)
        whole = timed(lambda: classifier.classify_features(features), seconds=1.0)
        return {
            "network_ms": sorted(once)[len(once) // 2],
            "utterance_ms": sorted(whole)[len(whole) // 2],
            "model_kb": self._tflite.stat().st_size / 1000,
        }

    def _streams(self) -> Figures:
        figures: Figures = {}
        counts = self._sizes.sources
        for sources, way in [*((count, "turns") for count in counts), (counts[-1], "threads")]:
            self._tell(f"{sources} streams in one process, {way}")
            seconds = 600 if sources == 1 else 120
            _, found = _measure("recogniser", sources, way, seconds, home=self._home)
            hour = found["cpu_s"] * HOUR_S / seconds / sources
            figures[f"{'streams' if way == 'turns' else way}_{sources}_cpu_s"] = hour
        return figures

    def _classify(self) -> Figures:
        figures: Figures = {}
        audio_s = 3.0 * self._sizes.files
        for jobs in (1, 2):
            self._tell(f"serd classify, {jobs} job{'s' if jobs > 1 else ''}")
            command = [sys.executable, "-m", "serd", "classify", str(self._files), "--whole",
                       "--json", "--jobs", str(jobs)]  # fmt: skip
            begun = time.perf_counter()
            cost = run(command, home=self._home)
            figures[f"classify_{jobs}_x"] = audio_s / (time.perf_counter() - begun)
            if jobs == 1:
                figures["classify_cpu_x"] = audio_s / cost.cpu_s
        figures["classify_scaling"] = figures["classify_2_x"] / figures["classify_1_x"]
        return figures

    def _journal(self) -> Figures:
        self._tell("the journal")
        folder = self._home / "journals"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        _, found = _measure("journal", folder, 2000, home=self._home)
        return {f"journal_{name}": value for name, value in found.items()}


def _command(name: str, *arguments: object) -> list[str]:
    # As the command `serd` sets it for itself; the pipelines run as their tutorials run them.
    limit = [] if name in {"pipeline", "keras_model"} else ["env", "OPENBLAS_NUM_THREADS=1"]
    return [*limit, sys.executable, "-m", f"benchmarks.contenders.{name}", *map(str, arguments)]


def _measure(name: str, *arguments: object, home: Path) -> tuple[Cost, Figures]:
    """Run a contender; return its cost and the figures that it wrote."""
    out = home / f"{name}.json"
    cost = run(_command(name, *arguments, out), home=home)
    figures: Figures = json.loads(out.read_text(encoding="utf-8"))
    return cost, figures
