"""A process that journals and publishes events until it is killed.

Each line of standard input is a number of events to publish; prints the ``seq`` of the last one.
Prints ``muted`` or ``unmuted`` for a command.

Usage: python -m tests.mqtt.publisher_process PORT JOURNAL
"""

from __future__ import annotations

import sys
from pathlib import Path

from serd.backoff import Backoff
from serd.config import MqttConfig
from serd.events.journal import Journal
from serd.mqtt.publisher import MqttPublisher
from tests.mqtt.samples import NODE, new_event, room


def main() -> None:
    port, path = int(sys.argv[1]), Path(sys.argv[2])
    journal = Journal(path)
    publisher = MqttPublisher(
        MqttConfig(host="127.0.0.1", port=port),
        NODE,
        journal,
        on_mute=lambda on: print("muted" if on else "unmuted", flush=True),
        backoff=Backoff(first_s=0.05, longest_s=0.2),
    )
    publisher.announce(state=room())
    publisher.start()
    for line in sys.stdin:  # each line is a number of events
        for number in range(int(line)):
            event = journal.append(new_event(number))
            publisher.announce(event=event)
        print(event.seq, flush=True)


if __name__ == "__main__":
    main()
