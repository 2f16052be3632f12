"""Writes tables that derive from the payloads into pages: ``python -m tools.docs.mqtt FILE...``.

The pages are docs/mqtt.md and docs/home-assistant.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import msgspec

from serd.events.event import Event
from serd.events.payload import Number, field, fields
from serd.events.state import RoomState
from serd.events.telemetry import Telemetry
from serd.mqtt.discovery import discovery_payload
from serd.mqtt.topics import Topics
from tools.docs.json_schema import struct_schema

_TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "event": Event,
    "state": RoomState,
    "telemetry": Telemetry,
}


def table(payload: type[msgspec.Struct]) -> str:
    """The fields of a payload as a Markdown table."""
    schemas = struct_schema(payload, nulls=payload is not Event)["properties"]
    lines = ["| field | value | meaning |", "|---|---|---|"]
    for one in fields(payload):
        schema = schemas[one.name]
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        value = " or ".join(f"`{kind}`" if kind == "null" else kind for kind in kinds)
        if "maximum" in schema:
            value += f", {schema['minimum']} to {schema['maximum']}"
        if (number := one.get(Number)) and number.unit:
            value += f" {number.unit}" if "maximum" in schema else f", {number.unit}"
        lines.append(f"| `{one.name}` | {value} | {one.description} |")
    return "\n".join(lines) + "\n"


def diagnostics() -> str:
    """The diagnostic sensors in Home Assistant as a Markdown table."""
    announced = discovery_payload(Topics("serd", "living-room"), version="", telemetry_s=60)
    components = msgspec.json.decode(announced)["cmps"]
    lines = ["| entity | name | unit | meaning |", "|---|---|---|---|"]
    for name, component in components.items():
        if component.get("entity_category") == "diagnostic":
            entity, title = component["default_entity_id"], component["name"]
            unit = component.get("unit_of_measurement", "")
            about = field(Telemetry, name).description
            lines.append(f"| `{entity}` | {title} | {unit} | {about} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """A page with up-to-date tables, each between two comments that mark its place."""
    tables = {name: table(payload) for name, payload in _TABLES.items()}
    for name, content in {**tables, "diagnostics": diagnostics()}.items():
        before, begin, rest = page.partition(f"<!-- {name}: begin (written by `make docs`) -->\n")
        if begin:
            _, end, after = rest.partition(f"<!-- {name}: end -->")
            page = f"{before}{begin}{content}{end}{after}"
    return page


if __name__ == "__main__":
    for _file in map(Path, sys.argv[1:]):
        _file.write_text(written(_file.read_text()))
