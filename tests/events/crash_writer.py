"""A daemon's use of the journal, as a process to be killed: tells on stdout what it has promised.

One line for each promise: ``append SEQ ID``, ``sent SEQ PAYLOAD``, ``acked SEQ``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from serd.events.event import encode
from serd.events.journal import Journal
from tests.events.making import event

ACK_EVERY = 3
"""One acknowledgement for so many events."""


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(path: Path) -> None:
    journal = Journal(path, flush_after=5)
    for found in journal.unacked("kitchen", limit=10**6):
        tell(f"sent {found.seq} {encode(journal.hand_over(found)).decode()}")
    while True:
        made = journal.append(event(), arrived=time.monotonic())
        tell(f"append {made.seq} {made.id}")
        tell(f"sent {made.seq} {encode(journal.hand_over(made)).decode()}")
        if made.seq % ACK_EVERY == 0:
            journal.ack("kitchen", made.seq - 2)
            tell(f"acked {made.seq - 2}")
        if made.seq % 50 == 0:
            journal.maintain(keep_days=1e5, max_events=10**6)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
