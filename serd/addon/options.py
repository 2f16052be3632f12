"""What can be set on the add-on's page: keys of serd's own schema, by a name without dots.

The Supervisor has a small language for the options of an add-on. It is made of the schema of the
configuration here, so a range or a choice is written down once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec.inspect as mi

from serd.config.keys import KEYS, bare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serd.config.keys import Key

OFFERED: Final = (
    "node",
    "mute",
    "decision.sensitivity",
    "audio.gain_db",
    "speech.engine",
    "speech.aggressiveness",
    "speech.min_level_dbfs",
    "model.path",
    "journal.keep_days",
    "mqtt.host",
    "mqtt.port",
    "mqtt.username",
    "mqtt.password",
    "mqtt.base_topic",
    "log.level",
)
"""The keys, in the order of the page."""

NODE: Final = "home-assistant"
"""The node's name until somebody gives it one: a container's host name says nothing."""

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "model.path": ("default", "permissive"),
    "decision.sensitivity": ("low", "normal", "high"),
    "log.level": ("debug", "info", "warning", "error"),
}
"""Where the page offers less than the key takes, or the order of the choices matters."""

_FROM_SUPERVISOR: Final = frozenset({"mqtt.host", "mqtt.port"})
"""Left empty on the page: the Supervisor knows them."""


def option_name(key: str) -> str:
    """The option's name on the add-on's page."""
    return key.replace(".", "_")


def supervisor_schema() -> dict[str, str]:
    """The options in the Supervisor's language, as the add-on's ``schema``."""
    return {option_name(name): _kind(KEYS[name]) for name in OFFERED}


def defaults() -> dict[str, Any]:
    """What the page shows before anything was set, as the add-on's ``options``."""
    found: dict[str, Any] = {"node": NODE}
    for name in OFFERED:
        key = KEYS[name]
        if key.has_fixed_default and key.default is not None and name not in _FROM_SUPERVISOR:
            found[option_name(name)] = key.default
    return found


def configuration(options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that the options ask for, as nested sections.

    Args:
        options: As the Supervisor has written them. What it does not know by name is left out (an
            option of another version), and so is what is empty.
    """
    made: dict[str, Any] = {"node": NODE}
    for name in OFFERED:
        value = options.get(option_name(name))
        if value is None or value == "":
            continue
        *sections, last = name.split(".")
        place = made
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = _number_or_word(value) if _is_either(KEYS[name]) else value
    return made


def _is_either(key: Key) -> bool:
    """Whether a key takes a number or a word, which the Supervisor's language cannot say."""
    kinds = key.type.types if isinstance(key.type, mi.UnionType) else ()
    return sum(not isinstance(one, mi.NoneType) for one in kinds) > 1


def _number_or_word(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _kind(key: Key) -> str:
    """The option's type; all are optional, since every key has a default."""
    kind = key.type
    if _is_either(key):
        return "str?"
    if isinstance(kind, mi.UnionType):
        kind = next(bare(one)[0] for one in kind.types if not isinstance(one, mi.NoneType))
    word = "str"
    if choices := _CHOICES.get(key.name) or getattr(kind, "values", None):
        word = f"list({'|'.join(map(str, choices))})"
    elif key.secret:
        word = "password"
    elif isinstance(kind, mi.BoolType):
        word = "bool"
    elif isinstance(kind, mi.IntType) and key.name.endswith("port"):
        word = "port"
    elif isinstance(kind, mi.IntType | mi.FloatType):
        name = "int" if isinstance(kind, mi.IntType) else "float"
        word = f"{name}({_number(kind.ge)},{_number(kind.le)})"
    elif isinstance(kind, mi.StrType) and kind.pattern is not None:
        word = f"match({kind.pattern})"
    return f"{word}?"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
