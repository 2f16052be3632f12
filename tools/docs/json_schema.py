"""JSON schemas of the payloads, derived from their annotated structs.

``python -m tools.docs.json_schema >serd/events/event.schema.json`` writes the event's schema.
"""

from __future__ import annotations

import copy
import inspect
import json
import sys
from types import NoneType
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import Meta

from serd.events.event import Event
from serd.events.payload import Definition, Field, fields
from serd.model.emotions import EMOTIONS

_NAMES: Final = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}


def event_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an event as it is published."""
    definitions: dict[str, Any] = {}
    schema = struct_schema(Event, definitions=definitions, nulls=False)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:serd:event:1",
        **schema,
        "title": "serd event",
        "description": "What serd says about one utterance: the payload of BASE/NODE/emotion. "
        "Fields may be added within schema 1, never removed or changed; a reader ignores those it "
        "does not know.",
        "$defs": definitions,
    }


def struct_schema(
    kind: type[msgspec.Struct], *, definitions: dict[str, Any] | None = None, nulls: bool = True
) -> dict[str, Any]:
    """The schema of a payload; other fields are allowed, because later versions may add some.

    Args:
        kind: A struct whose fields are annotated as :mod:`serd.events.payload` explains.
        definitions: Receives the types shared by several fields; if None, they are written out
            wherever they are used.
        nulls: Whether values may be null where the struct allows ``None``.
    """
    described = fields(kind)
    return {
        "title": kind.__name__,
        "description": _summary(kind),
        "type": "object",
        "required": [field.name for field in described if not field.optional],
        "additionalProperties": True,
        "properties": {field.name: _field_schema(field, definitions, nulls) for field in described},
    }


def _field_schema(field: Field, definitions: dict[str, Any] | None, nulls: bool) -> dict[str, Any]:
    types = [kind for kind in field.types if nulls or kind is not NoneType]
    schema = _type_schema(types, field.annotations, definitions)
    about = {"description": field.description} if field.description else {}
    named = field.get(Definition)
    if definitions is not None and named is not None:
        definitions[named.name] = schema
        schema = {"$ref": f"#/$defs/{named.name}"}
    return {**about, **schema}


def _type_schema(
    types: list[Any], annotations: tuple[Any, ...], definitions: dict[str, Any] | None
) -> dict[str, Any]:
    kind = types[0]
    if get_origin(kind) is dict:
        return {
            "type": "object",
            "required": [*EMOTIONS],
            "additionalProperties": False,
            "properties": {name: _score_schema(kind, definitions) for name in EMOTIONS},
        }
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        schema = struct_schema(kind, definitions=definitions)
        del schema["title"], schema["description"]
        return schema
    names = [_NAMES[one] for one in types]
    schema = {"type": names if len(names) > 1 else names[0]}
    for one in annotations:
        if isinstance(one, Meta):
            limits = {
                "minimum": one.ge,
                "maximum": one.le,
                "pattern": one.pattern,
                "minLength": one.min_length,
            }
            schema |= {key: _plain(limit) for key, limit in limits.items() if limit is not None}
    for one in annotations:
        if isinstance(one, Meta):
            schema |= copy.deepcopy(
                one.extra_json_schema or {}
            )  # a shared list would become a YAML alias
    if "enum" in schema and NoneType in types:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _score_schema(scores: Any, definitions: dict[str, Any] | None) -> dict[str, Any]:
    kind, *annotations = get_args(get_args(scores)[1])
    schema = _type_schema([kind], tuple(annotations), definitions)
    if definitions is None:
        return schema
    (name,) = (one.name for one in annotations if isinstance(one, Definition))
    definitions[name] = schema
    return {"$ref": f"#/$defs/{name}"}


def _plain(limit: Any) -> Any:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _summary(kind: type) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(event_schema(), indent=2, ensure_ascii=False) + "\n")
