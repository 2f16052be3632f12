"""What must hold between keys that are each valid by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from serd.config.keys import KEYS
from serd.config.secrets import MASK, PLACEHOLDER, has_password, is_url, scrubbed, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from serd.config.schema import AudioConfig, Config, SourceConfig


def value_of(config: Config, dotted: str) -> Any:
    """The value of a key by its dotted name."""
    value: Any = config
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


def problems_between(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    """Say what is contradictory.

    Args:
        config: The configuration.
        origins: Where each key's value comes from.

    Yields:
        A sentence for each problem.
    """

    def said(key: str) -> str:
        value = MASK if KEYS[key].secret else value_of(config, key)
        if isinstance(value, tuple):
            value = f"[{', '.join(map(str, value))}]"
        value = scrubbed(str(value))
        return f"{key} = {value} ({origins[key]})"

    yield from _about_audio(config.audio, said)
    speech, mqtt, tls = config.speech, config.mqtt, config.mqtt.tls
    if speech.min_speech_s > speech.window_s:
        yield (f"{said('speech.min_speech_s')} is longer than {said('speech.window_s')}")
    if mqtt.password is not None and mqtt.password_file is not None:
        yield f"{said('mqtt.password')} and {said('mqtt.password_file')} exclude each other"
    for key in ("mqtt.password", "mqtt.password_file"):
        if value_of(config, key) is not None and mqtt.username is None:
            yield f"{said(key)} needs mqtt.username, which is not set"
    for key, other in (("mqtt.tls.cert", "mqtt.tls.key"), ("mqtt.tls.key", "mqtt.tls.cert")):
        if value_of(config, key) is not None and value_of(config, other) is None:
            yield f"{said(key)} needs {other}, which is not set"
    yield from _about_host(mqtt.host, origins["mqtt.host"])
    if mqtt.host == "embedded" and tls.active:
        yield f"{said('mqtt.host')}: the broker inside serd speaks no TLS; unset mqtt.tls"


def _about_audio(audio: AudioConfig, said: Callable[[str], str]) -> Iterator[str]:
    """What is contradictory in the section ``audio``."""
    if audio.command and audio.source != "mic":
        yield f"{said('audio.command')} and {said('audio.source')} exclude each other"
    if audio.password is not None and audio.password_file is not None:
        yield f"{said('audio.password')} and {said('audio.password_file')} exclude each other"
    if not is_url(audio.source):
        return
    if wrong := trouble(audio.source):
        yield f"{said('audio.source')}: {wrong}"
    key = "audio.password" if audio.password is not None else "audio.password_file"
    given = audio.password if audio.password is not None else audio.password_file
    if given is not None and has_password(audio.source):
        yield f"{said('audio.source')} has a password of its own; leave that out, or {said(key)}"
    if given is None and PLACEHOLDER in audio.source:
        yield f"{said('audio.source')} needs audio.password or audio.password_file"


def _about_host(host: str, origin: str) -> Iterator[str]:
    """What is more than a name or an address in the broker's."""
    if meant := _address_of(host):
        shown = f"mqtt.host = {scrubbed(host)} ({origin})"
        yield f"{shown} is more than a name or an address; write {meant}"


_SCHEMES: Final = {"mqtt": 1883, "tcp": 1883, "mqtts": 8883, "ssl": 8883, "tls": 8883}
"""Of addresses as other programs write them, with the port that each means."""


def _address_of(host: str) -> str | None:
    """What to write for a broker's address with a scheme, a port or brackets; None if it has none.

    Nothing of a login is repeated: it may hold a password.
    """
    scheme, slashes, rest = host.rpartition("://")
    rest = rest.partition("/")[0].rpartition("@")[2]
    name, port = rest, ""
    if rest.startswith("["):
        name, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") == 1:
        name, port = rest.split(":")
    if name == host:
        return None
    number = port if port.isdecimal() else str(_SCHEMES.get(scheme.lower(), ""))
    words = [f"mqtt.host: {name or 'NAME'}"]
    if number:
        words.append(f"mqtt.port: {number}")
    if slashes and _SCHEMES.get(scheme.lower()) == 8883:
        words.append("mqtt.tls.enabled: true")
    return ", ".join(words)


SECTIONS: Final = ("audio", "speech")
"""Taken over key by key."""

VALUES: Final = ("mute", "quiet_hours")
"""Taken over as a whole."""


def inherit(tree: dict[str, Any]) -> None:
    """Give every source what it does not set itself from the top.

    Args:
        tree: The configuration in plain types, with nothing but what was set; changed in place.
    """
    for source in tree.get("sources", ()):
        own = source.get("audio", {})
        for name in SECTIONS:
            source[name] = {**tree.get(name, {}), **source.get(name, {})}
        # Of the two that exclude each other, the source's own one goes before that at the top.
        for name, other in (("source", "command"), ("command", "source")):
            if name in own and other not in own:
                source["audio"].pop(other, None)
        for name in VALUES:
            if name in tree:
                source.setdefault(name, tree[name])


def problems_of_sources(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    """Say what is wrong between the sources, and within each.

    Args:
        config: The configuration.
        origins: Where each key's value comes from.

    Yields:
        A sentence for each problem.
    """
    if not config.sources:
        return
    where = origins["sources"]
    if origins["node"] != "default":
        yield (
            f"node = {config.node} ({origins['node']}) has no place beside sources ({where}), each "
            "of which has its own node; leave it out"
        )
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for index, source in enumerate(config.sources):
        for kind, key, value in _unique(source):
            name = f"sources[{index}].{key}"
            # Topics differ in case, but file systems, people and Home Assistant's ids may not.
            place = (kind, value.casefold())
            if place in seen:
                other, first = seen[place]
                yield f"{name} = {value} ({where}) is the same as {other} = {first}"
            seen.setdefault(place, (name, value))
    common = set(problems_between(config, origins))
    within = {
        key: where if key.partition(".")[0] in SECTIONS else origin
        for key, origin in origins.items()
    }
    for index, single in enumerate(config.each()):
        if set(problems_between(single, origins)) <= common:
            continue
        for problem in problems_between(single, within):
            if problem not in common:
                yield f"sources[{index}]: {problem}"


def _unique(source: SourceConfig) -> Iterator[tuple[str, str, str]]:
    """What no other source may have: its kind, its key and its value."""
    yield "node", "node", source.node
    if source.audio.kind == "mic":
        device = source.audio.device
        yield "device", "audio.device", "null" if device is None else str(device).strip()
    elif source.audio.kind == "stdin":
        yield "source", "audio.source", "-"
