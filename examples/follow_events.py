#!/usr/bin/env python3
"""Print the events of all serd nodes as they arrive over MQTT.

    python examples/follow_events.py --host my-broker.lan

It needs paho-mqtt but not serd, so it runs on any machine that can reach the broker. The topics and
fields are described in docs/mqtt.md.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


def on_connect(client: mqtt.Client, base_topic: str, *_: Any) -> None:
    """Subscribe again after every reconnection."""
    client.subscribe(f"{base_topic}/+/emotion", qos=1)
    print(f"connected; waiting for events on {base_topic}/+/emotion", flush=True)


def on_message(_client: mqtt.Client, _base_topic: str, message: mqtt.MQTTMessage) -> None:
    """Print one event."""
    try:
        event = json.loads(message.payload)
        line = f"{event['started_at']}  {event['node']}: {event['emotion']}"
        line += f" ({event['confidence']:.0%}), {event['duration_s']:.1f} s"
    except (ValueError, KeyError, TypeError):
        print(f"not an event: {message.topic}", flush=True)
    else:
        print(line, flush=True)


def main() -> None:
    """Follow the events until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--base-topic", default="serd")
    arguments = parser.parse_args()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, userdata=arguments.base_topic)
    client.on_connect = on_connect
    client.on_message = on_message
    client.connect(arguments.host, arguments.port)
    try:
        client.loop_forever()
    except KeyboardInterrupt:
        client.disconnect()


if __name__ == "__main__":
    main()
