"""What must hold between keys that are valid by themselves, and what is valid but unwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from serd.config.keys import KEYS, value_of
from serd.config.secrets import (
    MASK,
    PLACEHOLDER,
    has_password,
    holds_secret,
    is_url,
    masked,
    masked_host,
    readable_by_all,
    scrubbed,
    url_problem,
)
from serd.network import host_port, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from serd.config.schema import AudioConfig, Config, MqttConfig, SourceConfig

INHERITED_SECTIONS: Final = ("audio", "speech")
"""What a source takes over from the top key by key."""

INHERITED_KEYS: Final = ("mute", "quiet_hours")
"""What it takes over as a whole."""

_BROKER_PORTS: Final = {"mqtt": 1883, "tcp": 1883, "mqtts": 8883, "ssl": 8883, "tls": 8883}
"""Default port for each scheme by which other programs write a broker's address."""


def inherit(tree: dict[str, Any]) -> None:
    """Give every source what it does not set itself from the top.

    Args:
        tree: The configuration in plain types, with nothing but what was set; changed in place.
    """
    for source in tree.get("sources", ()):
        own = source.get("audio", {})
        for name in INHERITED_SECTIONS:
            source[name] = {**tree.get(name, {}), **source.get(name, {})}
        # Of two keys that exclude each other, the source's own takes precedence over the top's.
        for name, other in (("source", "command"), ("command", "source")):
            if name in own and other not in own:
                source["audio"].pop(other, None)
        for name in INHERITED_KEYS:
            if name in tree:
                source.setdefault(name, tree[name])


def contradictions(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    """Find what is wrong between keys, and between several sources.

    Args:
        config: The configuration.
        origins: Where each key's value comes from.

    Yields:
        A sentence for each problem.
    """
    common = list(_between_keys(config, origins))
    yield from common
    if not config.sources:
        return
    where = origins["sources"]
    if origins["node"] != "default":
        yield (
            f"node = {config.node} ({origins['node']}) cannot be combined with sources ({where}), "
            "each of which has its own node; leave it out"
        )
    yield from _between_sources(config.sources, where)
    within = {
        key: where if key.partition(".")[0] in INHERITED_SECTIONS else origin
        for key, origin in origins.items()
    }
    for index, single in enumerate(config.each()):
        if not set(_between_keys(single, origins)) <= set(common):
            for problem in _between_keys(single, within):
                if problem not in common:
                    yield f"sources[{index}]: {problem}"


def _between_sources(sources: tuple[SourceConfig, ...], where: str) -> Iterator[str]:
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for index, source in enumerate(sources):
        for key, secret in _unique(source):
            name, value = f"sources[{index}].{key}", scrubbed(secret)
            # Topics are case-sensitive; file systems, people and Home Assistant's ids may not be.
            identity = (key, secret.casefold())
            if identity in seen:
                other, first = seen[identity]
                yield f"{name} = {value} ({where}) is the same as {other} = {first}"
            seen.setdefault(identity, (name, value))


def _unique(source: SourceConfig) -> Iterator[tuple[str, str]]:
    """Keys and values that no other source may share."""
    yield "node", source.node
    if source.audio.kind == "mic":
        device = source.audio.device
        yield "audio.device", "null" if device is None else str(device).strip()
    elif source.audio.kind == "stdin":
        yield "audio.source", "-"


def _between_keys(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    def shown(key: str) -> str:
        value = MASK if KEYS[key].secret else value_of(config, key)
        if key == "mqtt.host":
            value = masked_host(value)
        elif isinstance(value, tuple):
            value = f"[{', '.join(map(str, value))}]"
        return f"{key} = {scrubbed(masked(str(value)))} ({origins[key]})"

    yield from _about_audio(config.audio, shown)
    speech, mqtt = config.speech, config.mqtt
    if speech.min_speech_s > speech.window_s:
        yield f"{shown('speech.min_speech_s')} is longer than {shown('speech.window_s')}"
    for key in ("audio.password", "mqtt.password"):
        file = f"{key}_file"
        if value_of(config, key) is not None and value_of(config, file) is not None:
            yield f"{shown(key)} and {shown(file)} exclude each other"
    for key, other in (
        ("mqtt.password", "mqtt.username"),
        ("mqtt.password_file", "mqtt.username"),
        ("mqtt.tls.cert", "mqtt.tls.key"),
        ("mqtt.tls.key", "mqtt.tls.cert"),
    ):
        if value_of(config, key) is not None and value_of(config, other) is None:
            yield f"{shown(key)} needs {other}, which is not set"
    yield from _about_broker(mqtt, shown)
    if Path(config.journal.path).name in {"", ".."}:
        yield f"{shown('journal.path')} names no file; add one, as in /var/lib/serd/journal.db"


def _about_broker(mqtt: MqttConfig, shown: Callable[[str], str]) -> Iterator[str]:
    if meant := _address_settings(mqtt.host):
        yield f"{shown('mqtt.host')} is more than a name or an address; write {meant}"
    if mqtt.embedded and mqtt.tls.active:
        yield f"{shown('mqtt.host')}: the embedded broker has no TLS; unset mqtt.tls"


def _about_audio(audio: AudioConfig, shown: Callable[[str], str]) -> Iterator[str]:
    if audio.command and audio.source != "mic":
        yield f"{shown('audio.command')} and {shown('audio.source')} exclude each other"
    if isinstance(audio.device, str) and is_url(audio.device):
        yield f"{shown('audio.device')} is a URL; write it as audio.source"
    if not is_url(audio.source):
        return
    if wrong := url_problem(audio.source):
        yield f"{shown('audio.source')}: {wrong}"
    key = "audio.password" if audio.password is not None else "audio.password_file"
    given = audio.password if audio.password is not None else audio.password_file
    if given is not None and has_password(audio.source):
        yield f"{shown('audio.source')} has a password of its own; leave that out, or {shown(key)}"
    if given is None and PLACEHOLDER in audio.source:
        yield f"{shown('audio.source')} needs audio.password or audio.password_file"


def _address_settings(host: str) -> str | None:
    """What to write for a host that has a scheme, port, brackets or spaces; None if it has none.

    Nothing of a login is repeated: it may contain a password.
    """
    scheme, slashes, rest = host.strip().rpartition("://")
    rest = rest.rpartition("@")[2].partition("/")[0]
    name, port = rest, ""
    if rest.startswith("["):
        name, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") == 1:
        name, port = rest.split(":")
    if name == host:
        return None
    number = port if port.isdecimal() else str(_BROKER_PORTS.get(scheme.lower(), ""))
    settings = [f"mqtt.host: {name or 'NAME'}"]
    if number:
        settings.append(f"mqtt.port: {number}")
    if slashes and _BROKER_PORTS.get(scheme.lower()) == 8883:
        settings.append("mqtt.tls.enabled: true")
    return ", ".join(settings)


def warnings(config: Config, path: Path | None, origins: Mapping[str, str]) -> Iterator[str]:
    """Find what is valid but unwise.

    Args:
        config: The configuration.
        path: Its file.
        origins: Where each key's value comes from.

    Yields:
        A sentence for each finding: what is the case; what helps.
    """
    for name, remedy in _secrets_in(config):
        if origins[name].startswith("--"):
            yield f"{origins[name]} {name}: every user of this machine can see it; use {remedy}"
        elif path is not None and origins[name].startswith(str(path)) and readable_by_all(path):
            yield f"{path}: holds {name} and can be read by every user; chmod 600 {path}"
    for name, file in _secret_files(config).items():
        if readable_by_all(file):
            yield f"{name}: {file} can be read by every user; chmod 600 {file}"
    mqtt = config.mqtt
    if mqtt.username and not (mqtt.embedded or mqtt.tls.active or is_loopback(mqtt.host)):
        yield (
            f"user name and password go unencrypted to {host_port(mqtt.host, mqtt.port)}; "
            "set mqtt.tls.ca to encrypt the connection"
        )


def _secrets_in(config: Config) -> Iterator[tuple[str, str]]:
    """Every key whose value contains a secret, and what to use instead."""
    for key in KEYS.values():
        if key.secret and value_of(config, key.name) is not None:
            yield key.name, f"{key.name}_file"
    if holds_secret(config.audio.source):
        yield "audio.source", "audio.password_file"
    if any(
        holds_secret(source.audio.source) or source.audio.password is not None
        for source in config.sources
    ):
        yield "sources", "audio.password_file"


def _secret_files(config: Config) -> dict[str, str]:
    """The files that contain secrets, by the key that names them."""
    files = {"mqtt.password_file": config.mqtt.password_file, "mqtt.tls.key": config.mqtt.tls.key}
    for index, single in enumerate(config.each()):
        within = f"sources[{index}]." if config.sources else ""
        files[f"{within}audio.password_file"] = single.audio.password_file
    return {key: path for key, path in files.items() if path is not None}
