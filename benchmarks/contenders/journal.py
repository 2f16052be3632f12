"""The journal alone: events per second, each synced before the next, and bytes written.

``python -m benchmarks.contenders.journal FOLDER EVENTS OUT``
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from serd.events.event import Event, make, model_ref
from serd.events.journal import Journal
from serd.model.decision import Prediction
from serd.model.emotions import EMOTIONS

HOUR = 1200
"""Events in an hour of continuous speech."""


def written() -> tuple[int, int]:
    """Bytes that this process passed to write calls, and bytes that the kernel sent to disk."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"]), int(fields["write_bytes"])


def main(folder: str, events: str, out: str) -> None:
    """Append events and write the cost."""
    prediction = Prediction(
        emotion="happy", confidence=0.65, scores=dict.fromkeys(EMOTIONS, 0.05) | {"happy": 0.65},
        valence=0.4, arousal=0.2,
    )  # fmt: skip
    model = model_ref("default", "1.0", "0" * 64)

    def unnumbered(number: int) -> Event:
        return make(
            node="bench", started_ms=1_700_000_000_000 + 3000 * number,
            ended_ms=1_700_000_003_000 + 3000 * number, duration_s=3.0, prediction=prediction,
            level_dbfs=-23.4, model=model,
        )  # fmt: skip

    with Journal(Path(folder) / "rate.db") as journal:
        waiting = [unnumbered(number) for number in range(int(events))]
        begun = time.perf_counter()
        for event in waiting:
            journal.append(event, arrived=time.monotonic())
        rate = int(events) / (time.perf_counter() - begun)
    with Journal(Path(folder) / "hour.db") as journal:
        before = written()
        for number in range(HOUR):
            event = journal.append(unnumbered(number), arrived=time.monotonic())
            journal.hand_over(event)
            journal.ack("bench", event.seq)
            if number % 20 == 0:  # once a minute
                journal.maintain(keep_days=30, max_events=100_000)
        passed, kernel = (after - b for after, b in zip(written(), before, strict=True))
    figures = {"events_per_s": rate, "passed_mb": passed / 1e6, "kernel_mb": kernel / 1e6}
    Path(out).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
