"""Writes tables generated from the code into the docs: ``python -m tools.docs.tables``.

Each table stands between two comments: in docs/mqtt.md, docs/home-assistant.md and docs/metrics.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from serd.events.event import Event
from serd.events.payload import Number, field, fields
from serd.events.state import RoomState
from serd.events.telemetry import Telemetry
from serd.metrics import METRICS
from serd.mqtt.discovery import discovery_payload
from serd.mqtt.topics import Topics
from tools.docs.json_schema import struct_schema

PAGES: Final = [
    Path(__file__).parents[2] / "docs" / name
    for name in ("mqtt.md", "home-assistant.md", "metrics.md")
]

_PAYLOADS: Final[dict[str, type[msgspec.Struct]]] = {
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


def metrics() -> str:
    """All Prometheus metrics as a Markdown table."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.all_labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """A page with its tables up to date."""
    tables = {name: table(payload) for name, payload in _PAYLOADS.items()}
    for name, content in {**tables, "diagnostics": diagnostics(), "metrics": metrics()}.items():
        before, begin, rest = page.partition(f"<!-- {name}: begin (written by `make docs`) -->\n")
        if begin:
            _, end, after = rest.partition(f"<!-- {name}: end -->")
            page = f"{before}{begin}{content}{end}{after}"
    return page


if __name__ == "__main__":
    for _page in PAGES:
        _page.write_text(written(_page.read_text()))
