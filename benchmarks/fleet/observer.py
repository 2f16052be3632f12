"""Records when each event arrives: ``python -m benchmarks.fleet.observer PORT FILE``.

Prints ``ready`` once subscribed. After SIGTERM and a second without messages, it writes FILE.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.fleet import records

_ID = b'"id":"'
_SILENCE_NS = 1_000_000_000


def main(port: int, path: Path) -> None:
    """Record events until SIGTERM."""
    came: list[tuple[bytes, int]] = []
    stopping = False

    def stop(*_signal: object) -> None:
        nonlocal stopping
        stopping = True

    def message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        # Not parsed, so that this process is not the bottleneck of the measured path.
        at = message.payload.index(_ID) + len(_ID)
        came.append((bytes(message.payload[at : at + 36]), time.monotonic_ns()))

    signal.signal(signal.SIGTERM, stop)
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="observer")
    client.on_message = message
    client.on_connect = lambda client, *_rest: client.subscribe("serd/+/emotion", qos=1)
    client.on_subscribe = lambda *_all: print("ready", flush=True)
    client.connect("127.0.0.1", port)
    last = 0
    gc.disable()  # tens of thousands of tuples, none in a reference cycle
    while not stopping or time.monotonic_ns() - last < _SILENCE_NS:
        client.loop(0.2)
        last = came[-1][1] if came else 0
    client.disconnect()
    records.write(path, [(records.key(text.decode()), at) for text, at in came], records.CAME)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
