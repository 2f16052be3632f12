"""One run of a cross-validation, as a process: a task on stdin, exit code 0 if it was done.

What went wrong goes to stdout as one line, and whole to stderr, which is the run's ``log.txt``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from serd.config import SpeechConfig
from serd.errors import SerdError
from training.crossval import Task
from training.runs import Run

_STAGES = ("train", "quantise", "refit", "evaluate")


def main() -> int:
    """Do the task and say how it went."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    try:
        _make(task)
    except SerdError as error:
        sys.stdout.write(error.message)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the other runs go on, this one's log has it all
        traceback.print_exc()
        sys.stdout.write(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _make(task: Task) -> None:
    from training.stages import do

    run = Run(Path(task.folder), task.recipe)
    clock = _Clock(run.folder)
    clock("begin", 0, 1)
    if not task.trained:
        do(
            run,
            _STAGES,
            Path(task.root),
            cache=Path(task.cache),
            teacher=task.teacher,
            jobs=1,
            threads=task.threads,
            progress=clock,
        )
        clock("done", 1, 1)
        clock.keep(inference_ms(run.model))
    if task.unprobed:
        _probe(run, task, clock)


def _probe(run: Run, task: Task, clock: _Clock) -> None:
    from training.probes import PARTS, try_model

    file = run.folder / "probes.json"
    for part in PARTS:
        if part not in task.unprobed:
            continue
        found = try_model(
            run.model,
            run.recipe,
            Path(task.root),
            parts=[part],
            # The detector that the daemon has unless it is told otherwise.
            engines=(SpeechConfig().engine,),
            cache=Path(task.cache),
            progress=clock,
        )
        before = msgspec.json.decode(file.read_bytes()) if file.is_file() else {}
        unfinished = file.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(before | found)) + b"\n")
        unfinished.replace(file)


class _Clock:
    """Hears of progress: writes it down, and adds up the seconds of each stage.

    A run that was broken off and gone on with has the seconds of both times.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "times.json"
        self._known: dict[str, Any] = {}
        if self._file.is_file():
            self._known = msgspec.json.decode(self._file.read_bytes())
        self._seconds: dict[str, float] = self._known.get("seconds", {})
        self._stage = ""
        self._last = time.monotonic()
        self._tenth = -1
        self._parent = os.getppid()

    def __call__(self, what: str, done: int, whole: int) -> None:
        if os.getppid() != self._parent:
            raise SystemExit("who asked for this run is gone")
        stage = what.split(" ", maxsplit=1)[0]
        now = time.monotonic()
        # What passes until a stage first speaks is its own work.
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now
        tenth = 10 * done // max(1, whole)
        if stage != self._stage or tenth != self._tenth:
            self._stage, self._tenth = stage, tenth
            _log(self._folder, f"{what}: {done} of {whole}")
            self._write({})

    def keep(self, milliseconds: float) -> None:
        """Write the seconds down with the time of one inference."""
        self._write({"inference_ms": round(milliseconds, 3)})

    def _write(self, content: dict[str, Any]) -> None:
        seconds = {stage: round(value, 2) for stage, value in self._seconds.items()}
        self._known |= content | {"seconds": seconds}
        part = self._file.with_suffix(".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(self._known)) + b"\n")
        part.replace(self._file)


def inference_ms(model: Path, *, rounds: int = 200) -> float:
    """Median milliseconds of one inference on one thread of this machine.

    Args:
        model: A packed model.
        rounds: Inferences that are timed.
    """
    import numpy as np

    from serd.model.interpreter import Interpreter
    from serd.model.model_file import ModelFile

    file = ModelFile.load(str(model))
    interpreter = Interpreter(file, threads=1)
    shape = (1, file.info.features.frames, file.info.features.coefficients)
    nothing = np.zeros(shape, dtype=np.int8)
    times = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        interpreter.run_int8(nothing)
        times.append(time.perf_counter_ns() - began)
    return float(np.median(times)) / 1e6


def _log(folder: Path, text: str) -> None:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    with contextlib.suppress(OSError), (folder / "log.txt").open("a", encoding="utf-8") as file:
        file.write(f"{now} {text}\n")


if __name__ == "__main__":
    sys.exit(main())
