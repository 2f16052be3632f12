"""Access to the broker: address, TLS and login.

Shared by publisher, follower and doctor, so that they all connect in the same way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from serd.config.secrets import read_password
from serd.mqtt.client import BoundedClient
from serd.network import LOOPBACK, host_port

if TYPE_CHECKING:
    import ssl

    from serd.config import MqttConfig

_MQTT311_ONLY_S: Final = 3600.0
"""How long a broker counts as one that only speaks MQTT 3.1.1; it may be upgraded meanwhile."""


class Access:
    """Connection settings whose files can be used.

    Password file, certificates and key are read again for each client, so that the next connection
    uses a renewed certificate or a changed password.

    Args:
        settings: The configuration's ``mqtt`` section. With ``host: embedded`` clients connect to
            loopback, without login or TLS.

    Raises:
        ConfigError: A file is missing or invalid; the message names the key and the file, never a
            secret.
    """

    def __init__(self, settings: MqttConfig) -> None:
        self.host = LOOPBACK if settings.embedded else settings.host
        self.port = settings.port
        self.keepalive_s = settings.keepalive_s
        self.username = None if settings.embedded else settings.username
        self._settings = settings
        self._embedded = settings.embedded
        self._mqtt311_until = 0.0
        self.tls = not settings.embedded and settings.tls.active
        """Whether the connection is encrypted."""
        if not settings.embedded:
            self._password()
            self.tls_context()

    def __repr__(self) -> str:
        return f"Access({self.address}, tls={self.tls}, login={self.username is not None})"

    @property
    def address(self) -> str:
        """``host:port``, for messages."""
        return host_port(self.host, self.port)

    def versions(self) -> tuple[MQTTProtocolVersion, ...]:
        """MQTT versions to try, in this order."""
        if self._embedded or time.monotonic() < self._mqtt311_until:
            return (MQTTProtocolVersion.MQTTv311,)
        return MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311

    def prefer_mqtt311(self) -> None:
        """Skip MQTT 5 for a while, because the broker does not support it."""
        self._mqtt311_until = time.monotonic() + _MQTT311_ONLY_S

    def try_mqtt5(self) -> None:
        """Try MQTT 5 again at the next connection."""
        self._mqtt311_until = 0.0

    def client(
        self, client_id: str, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    ) -> BoundedClient:
        """Make a client that is ready to connect.

        Args:
            client_id: Its client id.
            version: MQTT version, see :meth:`versions`.

        Raises:
            ConfigError: As in the constructor; files may have changed since.
        """
        client = BoundedClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if version == MQTTProtocolVersion.MQTTv5 else True,
            protocol=version,
            reconnect_on_failure=False,
        )
        client.watch()
        if self.username is not None:
            client.username_pw_set(self.username, self._password())
        context = self.tls_context()
        if context is not None:
            client.tls_set_context(context)
        return client

    def tls_context(self) -> ssl.SSLContext | None:
        """The context that encrypts connections and verifies the broker; None without TLS.

        Raises:
            ConfigError: As in the constructor; files may have changed since.
        """
        if not self.tls:
            return None
        from serd.mqtt.tls import tls_context  # noqa: PLC0415 - OpenSSL takes 4 MB

        return tls_context(self._settings.tls)

    def _password(self) -> str | None:
        settings = self._settings
        if settings.password_file is None:
            return settings.password
        return read_password("mqtt.password_file", settings.password_file)
