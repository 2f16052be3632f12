"""How the fields of serd's messages are annotated.

`Event`, `RoomState` and `Telemetry` declare each field once, with all that is known about it::

    waiting: Annotated[
        int,
        Meta(ge=0, description="Events that the broker has not acknowledged."),
        Sensor("Events waiting", icon="mdi:tray-full", state_class="measurement"),
        Metric("serd_journal_pending_events"),
    ]

Everything that repeats such a fact derives it from there: Home Assistant's discovery, the JSON
schema, asyncapi.yaml and the tables in docs/mqtt.md, the journal's columns, the CSV columns, and
the Prometheus metrics. ``Meta`` is msgspec's and carries range, pattern and meaning; the other
annotations are defined here.

A new field of the event is declared in `Event`, optional while ``schema`` is 1, and gets its value
in :func:`serd.events.event.make` from the pipeline. A new sensor is a ``Sensor`` on a field of the
state or the telemetry. `make docs` then updates the documents.
"""

from __future__ import annotations

import functools
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from serd.events.clock import RFC3339_PATTERN
from serd.model.emotions import EMOTIONS, UNCERTAIN

A = TypeVar("A")


class Number(msgspec.Struct, frozen=True):
    """A measured number, published with a fixed number of decimals."""

    decimals: int
    """Digits after the point. The journal stores the value as an integer in units of the last."""
    unit: str = ""
    """As written after the number."""


class Definition(msgspec.Struct, frozen=True):
    """Gives a type that several fields have a name in the JSON schema."""

    name: str


class GreatestOf(msgspec.Struct, frozen=True):
    """The value is always the greatest of another field's scores, so it need not be stored."""

    field: str


class Attribute(msgspec.Struct, frozen=True):
    """The field is an attribute of Home Assistant's event entity."""


class Sensor(msgspec.Struct, frozen=True):
    """The field is a sensor in Home Assistant.

    https://www.home-assistant.io/integrations/sensor.mqtt/ explains the settings.
    """

    name: str
    """Shown to people. Translations are in serd/locale."""
    icon: str | None = None
    device_class: str | None = None
    unit: str | None = None
    state_class: Literal["measurement", "total_increasing"] | None = None
    """With one, Home Assistant keeps long-term statistics."""
    precision: int | None = None
    """Decimals shown."""
    options: tuple[str, ...] = ()
    """All values of a sensor that shows words."""
    template: str | None = None
    """Expression of the value, where it is not simply the field's."""
    key: str | None = None
    """End of the entity's unique id, where it is not the field's name."""
    expires: bool = False
    """Whether a value of the state expires when messages stop; those of the telemetry always do."""


class Metric(msgspec.Struct, frozen=True):
    """The field is a Prometheus metric, too."""

    name: str
    """A counter if it ends in ``_total``, else a gauge."""
    process: bool = False
    """Whether it counts for the whole process and not for each node."""


Share = Annotated[float, Meta(ge=0, le=1), Number(4), Definition("probability")]
Axis = Annotated[float, Meta(ge=-1, le=1), Number(3), Definition("axis")]
Timestamp = Annotated[str, Meta(pattern=RFC3339_PATTERN), Definition("timestamp")]
EmotionName = Annotated[
    str, Meta(extra_json_schema={"enum": [*EMOTIONS, UNCERTAIN]}), Definition("emotion")
]
"""An emotion or ``uncertain``."""
Scores = Annotated[dict[str, Share], Definition("scores")]
"""Probability of each of ``EMOTIONS``, in that order."""


class Field(msgspec.Struct, frozen=True):
    """One field of a payload and its annotations."""

    name: str
    types: tuple[Any, ...]
    """Bare types of the values; ``NoneType`` among them if it may be null."""
    optional: bool
    """Whether messages may lack the field."""
    annotations: tuple[Any, ...]

    @property
    def description(self) -> str:
        """What it means, in a sentence or two."""
        found = [one.description for one in self.annotations if isinstance(one, Meta)]
        return next(filter(None, found), "")

    def get(self, kind: type[A]) -> A | None:
        """The annotation of a kind, if there is one."""
        return next((one for one in self.annotations if isinstance(one, kind)), None)


@functools.cache
def fields(kind: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of a payload, in the order of its JSON text."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _field(field.name, hints[field.name], optional=field.default is UNSET)
        for field in msgspec.structs.fields(kind)
    )


@functools.cache
def field(kind: type[msgspec.Struct], name: str) -> Field:
    """One field of a payload, which must have it."""
    return next(field for field in fields(kind) if field.name == name)


def _field(name: str, hint: Any, *, optional: bool) -> Field:
    types: list[Any] = []
    annotations: list[Any] = []
    waiting = [hint]
    while waiting:
        hint = waiting.pop(0)
        if get_origin(hint) is Annotated:
            hint, *found = get_args(hint)
            annotations += found
            waiting.insert(0, hint)
        elif get_origin(hint) in {Union, UnionType}:
            waiting += get_args(hint)
        elif hint is not UnsetType:
            types.append(hint)
    return Field(name=name, types=tuple(types), optional=optional, annotations=tuple(annotations))
