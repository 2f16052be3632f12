"""A process that journals and publishes events until it is killed.

Prints the number of the last event that it was asked for; ``muted`` or ``unmuted`` for a command.

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
    for line in sys.stdin:  # as many events as the test asks for, when it asks
        for number in range(int(line)):
            event = journal.append(new_event(number))
            publisher.announce(event=event)
        print(event.seq, flush=True)


if __name__ == "__main__":
    main()
