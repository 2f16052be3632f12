"""The goals, and how they are judged by the figures of the rounds."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from serd.benchmark.figures import percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


Figures: TypeAlias = "dict[str, Any]"
"""Figures of one round, by name."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over all rounds."""

    median: float
    """The median of the rounds."""
    low: float
    """The lowest."""
    high: float
    """The highest."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement, with its goal if it has one."""

    what: str
    """What is measured, in words."""
    goal: str
    """The goal in words."""
    unit: str
    """Unit of the value."""
    value: Value
    """The measured value."""
    met: bool | None
    """Whether the median meets the goal; None without a goal."""


def over(rounds: Sequence[Figures], figure: Callable[[Figures], float]) -> Value:
    """A figure of each round, as one value."""
    values = [figure(one) for one in rounds]
    return Value(median=median(values), low=min(values), high=max(values))


def p50(name: str) -> Callable[[dict[str, Any]], float]:
    """The median of a list of milliseconds."""
    return lambda one: percentiles(one[name]).p50


class _Table:
    """Collects rows."""

    def __init__(self, rounds: Sequence[Figures]) -> None:
        self.rounds = rounds
        self.rows: list[Row] = []

    def row(
        self,
        what: str,
        unit: str,
        figure: Callable[[Figures], float],
        most: float | None = None,
        least: float | None = None,
    ) -> None:
        """Add a row; ``most`` and ``least`` are its goal."""
        value = over(self.rounds, figure)
        met = None
        goal = ""
        if most is not None:
            met, goal = value.median <= most, f"at most {most:g}"
        elif least is not None:
            met, goal = value.median >= least, f"at least {least:g}"
        self.rows.append(Row(what=what, goal=goal, unit=unit, value=value, met=met))


def ratio(top: str, bottom: str) -> Callable[[Figures], float]:
    """The ratio of two figures of a round."""
    return lambda one: float(one[top] / one[bottom])


def rows(result: dict[str, Any]) -> list[Row]:
    """All rows of the table.

    Args:
        result: A result file's content, as `benchmarks.__main__` writes it.
    """
    table = _Table(result["rounds"])
    _latency(table.row)
    _processor(table.row, result["instructions"], result["rounds"][0])
    _start_and_size(table.row, result["size_mb"], result["rounds"][0])
    _throughput(table.row, result["rounds"][0])
    return table.rows


def _latency(row: Callable[..., None]) -> None:
    row("latency p50: last sample to MQTT", "ms", p50("serd_latency_ms"), most=5)
    row("latency p99", "ms", lambda one: percentiles(one["serd_latency_ms"]).p99, most=15)
    row("librosa + Keras: latency p50", "ms", p50("keras_latency_ms"))
    row("librosa + TFLite: latency p50", "ms", p50("tflite_latency_ms"))
    serd, keras, tflite = (p50(f"{name}_latency_ms") for name in ("serd", "keras", "tflite"))
    row("serd's latency is below Keras's by", "x", lambda one: keras(one) / serd(one), least=25)
    row("latency p50 over TFLite's", "x", lambda one: serd(one) / tflite(one), most=0.6)


def _processor(
    row: Callable[..., None], instructions: dict[str, float] | None, first: Figures
) -> None:
    row("bare floor: CPU for an hour of speech", "s", lambda one: one["floor_all_cpu_s"])
    row("sound to prediction, over the floor", "x", ratio("streams_1_cpu_s", "floor_all_cpu_s"),
        most=1.5)  # fmt: skip
    if instructions is not None:
        more = instructions["recogniser"] / instructions["floor"]
        row("the same, in instructions", "x", lambda _: more, most=1.5)
    row("daemon: CPU for an hour of speech", "s", lambda one: one["serd_hour_cpu_s"])
    if "serd_alone_hour_cpu_s" in first:
        alone = "daemon without the second detector"
        row(f"{alone}: CPU for an hour of speech", "s", lambda one: one["serd_alone_hour_cpu_s"])
        row(f"{alone}, over the floor", "x", ratio("serd_alone_hour_cpu_s", "floor_all_cpu_s"),
            most=3)  # fmt: skip
        row(f"{alone}, over librosa + TFLite", "x",
            ratio("serd_alone_hour_cpu_s", "tflite_hour_cpu_s"), most=0.6)  # fmt: skip
    row("daemon in real time, speech", "% of a core", lambda one: one["serd_live_speech_percent"],
        most=0.5)  # fmt: skip
    row("daemon: CPU for an hour of silence", "s", lambda one: one["serd_silence_cpu_s"])
    row("silence over speech", "x", ratio("serd_silence_cpu_s", "serd_hour_cpu_s"),
        most=round(1 / 3, 3))  # fmt: skip
    row("daemon in real time, silence", "% of a core",
        lambda one: one["serd_live_silence_percent"])  # fmt: skip
    row("librosa + Keras: CPU for an hour of speech", "s", lambda one: one["keras_hour_cpu_s"])
    row("librosa + TFLite: CPU for an hour of speech", "s", lambda one: one["tflite_hour_cpu_s"])


def _start_and_size(row: Callable[..., None], size_mb: float | None, first: Figures) -> None:
    row("start to READY, warm", "s", lambda one: one["serd_ready_s"], most=0.5)
    row("librosa + Keras: start to the first result", "s", lambda one: one["keras_first_s"])
    row("librosa + TFLite: start to the first result", "s", lambda one: one["tflite_first_s"])
    row("serd's start is below Keras's by", "x", ratio("keras_first_s", "serd_ready_s"), least=8)

    row("peak RSS after an hour of speech", "MB", lambda one: one["serd_rss_mb"], most=60)
    row("librosa + Keras: peak RSS", "MB", lambda one: one["keras_rss_mb"])
    row("librosa + TFLite: peak RSS", "MB", lambda one: one["tflite_rss_mb"])
    row("serd's RSS is below Keras's by", "x", ratio("keras_rss_mb", "serd_rss_mb"), least=12)

    if size_mb is not None:
        row("run-time environment", "MB", lambda _: size_mb, most=200)
    row("model file", "kB", lambda one: one["model_kb"], most=400)
    row("network, one run on one thread", "ms", lambda one: one["network_ms"], most=1)
    if "utterance_ms" in first:
        row("network and decision, an utterance", "ms", lambda one: one["utterance_ms"])


def _throughput(row: Callable[..., None], one_round: Figures) -> None:
    row("serd classify, one core", "x real time", lambda one: one["classify_1_x"], least=300)
    row("serd classify, by CPU time", "x real time", lambda one: one["classify_cpu_x"], least=300)
    row("serd classify, two cores over one", "x", lambda one: one["classify_scaling"], least=1.5)

    row("journal: synced events a second", "1/s", lambda one: one["journal_events_per_s"],
        least=1000)  # fmt: skip
    row("journal: an hour's bytes, as written", "MB", lambda one: one["journal_passed_mb"], most=2)
    row("journal: an hour's bytes, as whole pages", "MB", lambda one: one["journal_kernel_mb"],
        most=5)  # fmt: skip
    row("daemon: an hour's disk writes", "MB", lambda one: one["serd_hour_written_mb"], most=5)

    counts = sorted(int(key.split("_")[1]) for key in one_round if key.startswith("streams_"))
    for count in counts[1:]:
        row(f"a stream's cost among {count} over alone", "x",
            ratio(f"streams_{count}_cpu_s", "streams_1_cpu_s"),
            most=1.2 if count == counts[-1] else None)  # fmt: skip
    if f"threads_{counts[-1]}_cpu_s" in one_round:
        row(f"the same, {counts[-1]} threads at full speed", "x",
            ratio(f"threads_{counts[-1]}_cpu_s", "streams_1_cpu_s"))  # fmt: skip
