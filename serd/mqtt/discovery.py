"""MQTT discovery: announces a node to Home Assistant as one device in one retained message.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload (Home Assistant 2024.12
or later). Published on every connection and whenever Home Assistant starts; an empty retained
message on the same topic removes the device. The sensors derive from the annotated fields of
`RoomState` and `Telemetry`, the attributes of the event entity from those of `Event`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from serd.events.event import Event
from serd.events.payload import Attribute, Sensor, fields
from serd.events.state import REPEAT_S, RoomState
from serd.events.telemetry import CONDITIONS, Telemetry
from serd.model.emotions import EMOTIONS, UNCERTAIN
from serd.model.metadata import SENSITIVITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from serd.language import Catalogue
    from serd.mqtt.topics import Topics

_STALE: Final = 3
"""A value expires when this many messages are missing."""

_ATTRIBUTES: Final = (
    "confidence", "valence", "arousal", "scores", "level_dbfs", "duration_s", "started_at",
    "ended_at", "latency_ms", "seq", "id",
)  # fmt: skip
"""The order in which the event entity has always had these attributes; others follow."""

_COMPONENTS: Final = (
    "event", "emotion", "confidence", "mood", "valence", "arousal", "speech", "microphone", "mute",
    "sensitivity", "condition", "level_dbfs", "latency_ms", "waiting", "version",
)  # fmt: skip
"""The order in which the device has always had these components; others follow."""

_ABBREVIATED: Final = {
    "command_template": "cmd_tpl",
    "command_topic": "cmd_t",
    "device_class": "dev_cla",
    "entity_category": "ent_cat",
    "expire_after": "exp_aft",
    "json_attributes_template": "json_attr_tpl",
    "json_attributes_topic": "json_attr_t",
    "options": "ops",
    "state_class": "stat_cla",
    "state_topic": "stat_t",
    "unique_id": "uniq_id",
    "unit_of_measurement": "unit_of_meas",
    "value_template": "val_tpl",
}
"""Home Assistant's own short names (homeassistant/components/mqtt/abbreviations.py)."""

_ORNAMENT: Final = ("icon", "suggested_display_precision", "default_entity_id")

_KEPT_LONGEST: Final = (
    "event", "mute", "mood", "speech", "emotion", "confidence", "valence", "arousal",
)  # fmt: skip
"""The most useful components; where there is no room for all, the others are dropped first."""


def discovery_topic(topics: Topics, prefix: str) -> str:
    """Topic of the announcement; an empty retained message there removes the device."""
    return f"{prefix}/device/{_device_id(topics)}/config"


def birth_topic(prefix: str) -> str:
    """Topic on which Home Assistant says ``online`` when it has started."""
    return f"{prefix}/status"


def discovery_payload(
    topics: Topics,
    *,
    version: str,
    telemetry_s: float,
    sensitivity: bool = False,
    corrections: bool = False,
    name: str | None = None,
    words: Catalogue | None = None,
    bytes_max: int | None = None,
) -> bytes:
    """The announcement as JSON in UTF-8.

    Args:
        topics: The node's topics.
        version: Version of serd.
        telemetry_s: Seconds between two telemetry messages; if three are missing, the diagnostics
            become unavailable.
        sensitivity: Whether the node has a sensitivity.
        corrections: Whether it accepts corrections.
        name: What people call the room.
        words: Translations of the names and states of entities; ids and events stay English.
        bytes_max: The broker's limit. A longer announcement is shortened: first by Home Assistant's
            abbreviations, then by dropping icons and the like, then the least useful components.
            Even the shortest may exceed the limit.

    A component that is left out is announced with its platform alone, which makes Home Assistant
    remove it if a former announcement had it; one that is simply missing would stay for ever.
    """
    components = _components(topics, telemetry_s) | _corrections(topics)
    absent = [] if sensitivity else ["sensitivity"]
    absent += [] if corrections else _corrections(topics)
    whole = _announcement(topics, components, version, name, words)
    for key in absent:
        whole["cmps"][key] = _removed(components[key])
    encoded = msgspec.json.encode(whole)
    if bytes_max is None or len(encoded) <= bytes_max:
        return encoded
    components = whole["cmps"]
    for dropped in ((), _ORNAMENT):
        for key, component in components.items():
            components[key] = {
                _ABBREVIATED.get(field, field): value
                for field, value in component.items()
                if field not in dropped
            }
        if len(encoded := msgspec.json.encode(whole)) <= bytes_max:
            return encoded
    others = [key for key in reversed(components) if key not in _KEPT_LONGEST]
    least_first = [*absent, *(key for key in others if key not in absent), *reversed(_KEPT_LONGEST)]
    dropped_ones = {}
    for key in least_first[:-1]:
        dropped_ones[key] = _removed(components.pop(key))
        if len(encoded := msgspec.json.encode(whole)) <= bytes_max:
            break
    for key, removed in dropped_ones.items():  # as many as there is room for
        components[key] = removed
        if len(longer := msgspec.json.encode(whole)) > bytes_max:
            break
        encoded = longer
    return encoded


def _removed(component: dict[str, Any]) -> dict[str, Any]:
    """A component as Home Assistant wants it to be announced to remove its entity."""
    return {"p": component["p"]}


def _announcement(
    topics: Topics,
    components: dict[str, dict[str, Any]],
    version: str,
    name: str | None,
    words: Catalogue | None,
) -> dict[str, Any]:
    device = _device_id(topics)
    tr = words.gettext if words else str
    return {
        "dev": {
            "ids": [device],
            "name": name or f"serd {topics.node}",
            "mf": "serd",
            "mdl": tr("Speech-emotion recogniser"),
            "sw": version,
        },
        "o": {"name": "serd", "sw": version},
        "avty": [{"topic": topics.status}],
        "cmps": {
            key: {
                **_translated(key, component, tr),
                "qos": 1,  # of Home Assistant's subscriptions and commands
                "unique_id": f"{device}_{key}",
                "default_entity_id": _entity_id(device, component),
            }
            for key, component in components.items()
        },
    }


def _device_id(topics: Topics) -> str:
    return f"serd_{topics.node}"  # the node's name has only [a-zA-Z0-9_-], see Topics


def _translated(key: str, component: dict[str, Any], tr: Callable[[str], str]) -> dict[str, Any]:
    """A component with its name, and its states if they are words, translated.

    Home Assistant cannot translate entities that come over MQTT, so the templates do.
    """
    said = {**component, "name": tr(component["name"])}
    states = CONDITIONS if key == "condition" else component.get("options", ())
    table = {state: tr(state) for state in states}
    if all(state == word for state, word in table.items()):
        return said
    if "options" in component:
        said["options"] = list(table.values())
    read = component.get("value_template", "{{ value }}").removeprefix("{{").removesuffix("}}")
    said["value_template"] = f"{{% set said = {read.strip()} %}}{{{{ {_get(table, 'said')} }}}}"
    if "command_topic" in component:
        english = {word: state for state, word in table.items()}
        command = component.get("command_template", "{{ value }}")
        said["command_template"] = f"{{% set value = {_get(english, 'value')} %}}{command}"
    return said


def _get(table: dict[str, str], name: str) -> str:
    """A template's expression that looks a value up; an unknown one stays as it is."""
    words = {key: word for key, word in table.items() if key != word}
    return f"({msgspec.json.encode(words).decode()}).get({name}, {name})"


def _entity_id(device: str, component: dict[str, Any]) -> str:
    """The id that Home Assistant derives from device and name, stated so that it never changes."""
    slug = re.sub("[^a-z0-9]+", "_", f"{device}_{component['name']}".lower()).strip("_")
    return f"{component['p']}.{slug}"


def _components(topics: Topics, telemetry_s: float) -> dict[str, dict[str, Any]]:
    components: dict[str, dict[str, Any]] = {
        "event": {
            "p": "event",
            "name": "Emotion",
            "icon": "mdi:account-voice",
            "state_topic": topics.emotion,
            "event_types": [*EMOTIONS, UNCERTAIN],
            "value_template": f"{{{{ {{{_attributes()}}} | to_json }}}}",
        },
        **_sensors(RoomState, topics.state, expire_after=round(REPEAT_S * _STALE)),
        "speech": {
            "p": "binary_sensor",
            "name": "Speech",
            "device_class": "sound",
            "state_topic": topics.speech,
        },
        "mute": {
            "p": "switch",
            "name": "Mute",
            "icon": "mdi:microphone-off",
            "state_topic": topics.mute,
            "command_topic": topics.mute_set,
        },
        "sensitivity": {
            "p": "select",
            "name": "Sensitivity",
            "icon": "mdi:tune-vertical",
            "entity_category": "config",
            "options": list(SENSITIVITIES),
            "state_topic": topics.sensitivity,
            "command_topic": topics.sensitivity_set,
        },
    }
    stale_s = round(telemetry_s * _STALE)
    for key, component in _sensors(Telemetry, topics.telemetry).items():
        components[key] = {
            **component,
            "entity_category": "diagnostic",
            "expire_after": stale_s,
        }
    components["condition"] |= {
        "json_attributes_topic": topics.telemetry,
        "json_attributes_template": "{{ {'trouble': value_json.trouble | default(none)} "
        "| to_json }}",
    }
    return {key: components[key] for key in _ordered(components, _COMPONENTS)}


def _ordered(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """Those names that are in ``first``, in its order, and then the others."""
    names = list(names)
    return [name for name in first if name in names] + [n for n in names if n not in first]


def _attributes() -> str:
    """The event's type and attributes, as the members of a template's mapping."""
    known = {field.name: field for field in fields(Event) if field.get(Attribute)}
    members = ["'event_type': value_json.emotion"]
    members += [
        f"'{name}': value_json.{name}"
        for name in _ordered(known, _ATTRIBUTES)
        if not known[name].optional
    ]
    members.append("'event_id': value_json.id")
    members += [
        f"'{name}': value_json.{name} | default(none)"
        for name, field in known.items()
        if field.optional
    ]
    return ", ".join(members)


def _sensors(
    payload: type[msgspec.Struct], topic: str, *, expire_after: int | None = None
) -> dict[str, dict[str, Any]]:
    """The sensors of a payload, by the ends of their ids.

    Args:
        payload: Its fields are annotated with `Sensor`.
        topic: Where it is published.
        expire_after: Seconds after which the value of a sensor that expires is unavailable.
    """
    found = {}
    for field in fields(payload):
        if (sensor := field.get(Sensor)) is None:
            continue
        # A value that is missing or null renders as "None", which Home Assistant shows as unknown.
        value = sensor.template or f"value_json.{field.name} | default(none)"
        settings = {
            "icon": sensor.icon,
            "device_class": sensor.device_class,
            "options": list(sensor.options) or None,
            "unit_of_measurement": sensor.unit,
            "state_class": sensor.state_class,
            "suggested_display_precision": sensor.precision,
            "expire_after": expire_after if sensor.expires else None,
        }
        found[sensor.key or field.name] = {
            "p": "sensor",
            "name": sensor.name,
            "state_topic": topic,
            "value_template": f"{{{{ {value} }}}}",
            **{key: setting for key, setting in settings.items() if setting is not None},
        }
    return found


def _corrections(topics: Topics) -> dict[str, dict[str, Any]]:
    """Entities that correct the emotion of the latest utterance, as shown at that moment."""
    emotions = list(EMOTIONS)
    event = {
        "json_attributes_topic": topics.state,
        "json_attributes_template": "{{ {'event_id': value_json.event_id | default(none)} "
        "| to_json }}",
    }
    which = "'id': this.attributes.event_id | default('last', true)"
    return {
        "correct": {
            "p": "select",
            "name": "That was...",
            "icon": "mdi:account-edit",
            "options": emotions,
            "state_topic": topics.state,
            "value_template": f"{{{{ value_json.corrected if value_json.corrected in {emotions} "
            "else none }}",
            "command_topic": topics.correct,
            "command_template": f"{{{{ {{{which}, 'emotion': value}} | to_json }}}}",
            **event,
        },
        "not_that": {
            "p": "button",
            "name": "Not that",
            "icon": "mdi:thumb-down-outline",
            "command_topic": topics.correct,
            "command_template": f"{{{{ {{{which}, 'emotion': none}} | to_json }}}}",
            **event,
        },
    }
