"""A process that uses the journal as the daemon does, to be killed; reports each step on stdout.

One line per step: ``append SEQ ID``, ``sent SEQ PAYLOAD``, ``acked SEQ``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from serd.events.event import encode
from serd.events.journal import Journal
from tests.events.making import event

ACK_EVERY = 3
"""Number of events per acknowledgement."""


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(path: Path) -> None:
    journal = Journal(path, flush_after=5)
    for found in journal.unacked("kitchen", limit=10**6):
        report(f"sent {found.seq} {encode(journal.hand_over(found)).decode()}")
    while True:
        made = journal.append(event(), arrived=time.monotonic())
        report(f"append {made.seq} {made.id}")
        report(f"sent {made.seq} {encode(journal.hand_over(made)).decode()}")
        if made.seq % ACK_EVERY == 0:
            journal.ack("kitchen", made.seq - 2)
            report(f"acked {made.seq - 2}")
        if made.seq % 50 == 0:
            journal.maintain(keep_days=1e5, max_events=10**6)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
