"""Home Assistant's Supervisor: the options it shows, the broker and the microphone it knows.

Options are keys of serd's own schema, by a name without dots. Their types in the Supervisor's small
schema language are derived from the schema, so every range and choice is written down only once.

The Supervisor's API is described at
https://developers.home-assistant.io/docs/api/supervisor/endpoints; every add-on may use the parts
used here (``/services``, ``/addons/self``).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import msgspec.inspect as mi

from serd.config.keys import KEYS, inspected, put
from serd.errors import UnavailableError

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
"""The keys that can be set on the add-on's page, in its order."""

NODE: Final = "home-assistant"
"""The default node name: a container's host name would be meaningless."""

ADDRESS: Final = "http://supervisor"
"""Where an add-on reaches the Supervisor."""

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "model.path": ("default", "permissive"),
    "decision.sensitivity": ("low", "normal", "high"),
    "log.level": ("debug", "info", "warning", "error"),
}
"""Where the page offers fewer values than the key accepts, or in a certain order."""

_FROM_SUPERVISOR: Final = frozenset({"mqtt.host", "mqtt.port"})
"""Empty on the page by default: the Supervisor knows them."""

_TIMEOUT_S: Final = 20.0
_MAX_ANSWER: Final = 1_000_000


def option_name(key: str) -> str:
    """The name of a key's option on the add-on's page."""
    return key.replace(".", "_")


def supervisor_schema() -> dict[str, str]:
    """The type of each option in the Supervisor's language: the add-on's ``schema``."""
    return {option_name(name): _option_type(KEYS[name]) for name in OFFERED}


def defaults() -> dict[str, Any]:
    """The value that each option has at first: the add-on's ``options``."""
    found: dict[str, Any] = {"node": NODE}
    for name in OFFERED:
        key = KEYS[name]
        if key.has_fixed_default and key.default is not None and name not in _FROM_SUPERVISOR:
            found[option_name(name)] = key.default
    return found


def configuration(options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration for the chosen options, as nested sections.

    Args:
        options: As the Supervisor has written them. Empty ones are left out, and so are those that
            this version does not have.
    """
    tree: dict[str, Any] = {"node": NODE}
    for name in OFFERED:
        value = options.get(option_name(name))
        if value is None or value == "":
            continue
        put(tree, name, _number_or_word(value) if _is_mixed(KEYS[name]) else value)
    return tree


def _is_mixed(key: Key) -> bool:
    """Whether a key accepts a number or a word, which the Supervisor's language cannot express."""
    kind = inspected(key.type)
    kinds = kind.types if isinstance(kind, mi.UnionType) else ()
    return sum(not isinstance(one, mi.NoneType) for one in kinds) > 1


def _number_or_word(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _option_type(key: Key) -> str:
    """An option's type. All are optional, since every key has a default."""
    kind = inspected(key.type)
    if _is_mixed(key):
        return "str?"
    if isinstance(kind, mi.UnionType):
        kind = next(one for one in kind.types if not isinstance(one, mi.NoneType))
        kind = kind.type if isinstance(kind, mi.Metadata) else kind
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
        word = f"{name}({_bound(kind.ge)},{_bound(kind.le)})"
        # Supervisors before 2026 have no minus in the pattern for ranges of float, and refuse it.
        if name == "float" and "-" in word:
            word = name
    elif isinstance(kind, mi.StrType) and kind.pattern is not None:
        word = f"match({kind.pattern})"
    return f"{word}?"


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


class Supervisor:
    """The Supervisor's API.

    Args:
        token: The add-on's own token (``$SUPERVISOR_TOKEN``).
        address: The Supervisor's address.
    """

    def __init__(self, token: str, address: str = ADDRESS) -> None:
        self._token = token
        self._address = address
        # Never through a proxy: the token is for the Supervisor alone.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def broker(self) -> dict[str, Any] | None:
        """The ``mqtt`` section for the broker that another add-on provides; None if none does.

        Raises:
            UnavailableError: The Supervisor does not answer.
        """
        try:
            service = self._get("/services/mqtt")
        except _RefusedError:
            return None
        section: dict[str, Any] = {"host": service["host"], "port": int(service["port"])}
        for name in ("username", "password"):
            if service.get(name):
                section[name] = service[name]
        if service.get("ssl"):
            section["tls"] = {"enabled": True}
        return section

    def microphone(self) -> str | None:
        """Name of the PulseAudio source chosen on the add-on's page; None for the default.

        Raises:
            UnavailableError: The Supervisor does not answer.
        """
        try:
            chosen = self._get("/addons/self/info").get("audio_input")
        except _RefusedError:
            return None
        return None if chosen in {None, "", "default"} else str(chosen)

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is ours
            self._address + path, headers={"Authorization": f"Bearer {self._token}"}
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                answer = json.loads(response.read(_MAX_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 400:  # it knows the path, but there is no such thing
                    raise _RefusedError from None
                raise UnavailableError(
                    f"the Supervisor answers {path} with status {error.code}",
                    remedy="see the Supervisor's log",
                ) from None
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"the Supervisor does not answer {path}: {getattr(error, 'reason', error)}",
                remedy="check that Home Assistant is running, then start the add-on again",
            ) from None
        data = answer.get("data") if isinstance(answer, dict) else None
        return data if isinstance(data, dict) else {}


class _RefusedError(Exception):
    """The Supervisor says that there is no such thing."""
