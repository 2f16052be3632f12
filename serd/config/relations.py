"""What must hold between keys that are each valid by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serd.config.keys import KEYS
from serd.config.limits import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from serd.config.schema import Config


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
        return f"{key} = {value} ({origins[key]})"

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
    if mqtt.host == "embedded" and tls.active:
        yield f"{said('mqtt.host')}: the broker inside serd speaks no TLS; unset mqtt.tls"
