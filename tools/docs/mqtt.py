"""Writes the tables of docs/mqtt.md: ``python -m tools.docs.mqtt FILE``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serd.events.event import Event
from serd.events.payload import Number, fields
from serd.events.state import RoomState
from serd.events.telemetry import Telemetry
from tools.docs.json_schema import struct_schema

if TYPE_CHECKING:
    import msgspec

_TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "event": Event,
    "state": RoomState,
    "telemetry": Telemetry,
}


def table(payload: type[msgspec.Struct]) -> str:
    """The fields of a payload as a Markdown table."""
    schemas = struct_schema(payload, nulls=payload is not Event)["properties"]
    lines = ["| field | value | meaning |", "|---|---|---|"]
    for field in fields(payload):
        schema = schemas[field.name]
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        value = " or ".join(f"`{kind}`" if kind == "null" else kind for kind in kinds)
        if "maximum" in schema:
            value += f", {schema['minimum']} to {schema['maximum']}"
        if (number := field.get(Number)) and number.unit:
            value += f" {number.unit}" if "maximum" in schema else f", {number.unit}"
        lines.append(f"| `{field.name}` | {value} | {field.description} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with up-to-date tables, each between two comments that mark its place."""
    for name, payload in _TABLES.items():
        before, begin, rest = page.partition(f"<!-- {name}: begin (written by `make docs`) -->\n")
        _, end, after = rest.partition(f"<!-- {name}: end -->")
        page = f"{before}{begin}{table(payload)}{end}{after}"
    return page


if __name__ == "__main__":
    _file = Path(sys.argv[1])
    _file.write_text(written(_file.read_text()))
