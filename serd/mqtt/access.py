"""Access to the broker: address, TLS and login, validated.

Shared by publisher, follower and doctor, so that they all connect in the same way.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from serd.errors import ConfigError
from serd.mqtt.client import BoundedClient

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from serd.config import MqttConfig

EMBEDDED: Final = "embedded"
"""Value of ``mqtt.host`` that selects serd's own broker on loopback."""

LOOPBACK: Final = "127.0.0.1"
"""Where the embedded broker listens."""

_MQTT311_ONLY_S: Final = 3600.0
"""How long a broker counts as one that only speaks MQTT 3.1.1; it may be upgraded meanwhile."""

CREDENTIAL_STORE: Final = Path("/etc/credstore")
"""Where systemd keeps the files named by ``LoadCredential=``."""

_SECRET_BYTES_MAX: Final = 65_535  # what an MQTT password can hold


class Access:
    """Validated connection settings.

    Password file, certificates and key are read again for each client, so that the next connection
    uses a renewed certificate or a changed password.

    Args:
        settings: The configuration's ``mqtt`` section. With ``host: embedded`` clients connect to
            loopback, without login or TLS.

    Raises:
        ConfigError: A file is missing or invalid, or settings contradict each other; the message
            names the key and the file, never a secret.
    """

    def __init__(self, settings: MqttConfig) -> None:
        embedded = settings.host == EMBEDDED
        self.host = LOOPBACK if embedded else settings.host
        self.port = settings.port
        self.keepalive_s = settings.keepalive_s
        self.username = None if embedded else settings.username
        self._settings = with_credentials(settings)
        self._embedded = embedded
        self._mqtt311_until = 0.0
        self.tls = not embedded and settings.tls.active
        """Whether the connection is encrypted."""
        self.warnings = tuple(self._check())
        """Settings that work but are unwise, such as a secret that everybody can read."""

    def __repr__(self) -> str:
        return f"Access({self.address}, tls={self.tls}, login={self.username is not None})"

    @property
    def address(self) -> str:
        """``host:port``, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether the broker is on this machine, so that no network carries the traffic."""
        name = self.host.lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return False

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

    def _check(self) -> list[str]:
        warnings: list[str] = []
        if self._embedded:
            return warnings
        settings = self._settings
        secret = settings.password is not None or settings.password_file is not None
        if secret and settings.username is None:
            raise ConfigError("mqtt.username is missing: MQTT knows no password without a user")
        self._password()
        if settings.password_file is not None:
            warnings += _readable_by_all("mqtt.password_file", settings.password_file)
        if settings.tls.key is not None and settings.tls.cert is None:
            raise ConfigError("mqtt.tls.key is set without mqtt.tls.cert; they come together")
        if self.tls:
            self.tls_context()
            if settings.tls.key is not None:
                warnings += _readable_by_all("mqtt.tls.key", settings.tls.key)
        elif self.username is not None and not self.local:
            warnings.append(
                f"user name and password go unencrypted to {self.address}; "
                "set mqtt.tls.ca to encrypt the connection"
            )
        return warnings

    def _password(self) -> str | None:
        settings = self._settings
        if settings.password_file is None:
            return settings.password
        if settings.password is not None:
            raise ConfigError("mqtt.password and mqtt.password_file are both set; keep one")
        path = settings.password_file
        try:
            with Path(path).open("rb") as file:
                line = file.readline(_SECRET_BYTES_MAX + 3).rstrip(b"\r\n")
            password = line.decode("utf-8-sig")  # some editors write a byte order mark
        except OSError as error:
            denied = isinstance(error, PermissionError)
            raise ConfigError(
                f"mqtt.password_file: cannot read {path}: {error.strerror or error}",
                remedy="the service's password is for root alone: run the command with sudo"
                if denied
                else None,
            ) from None
        except UnicodeDecodeError:
            # "from None": the original error contains the secret.
            raise ConfigError(f"mqtt.password_file: {path} is not UTF-8 text") from None
        if not password or len(line) > _SECRET_BYTES_MAX:
            raise ConfigError(f"mqtt.password_file: the first line of {path} holds no password")
        return password


def _readable_by_all(key: str, path: str) -> list[str]:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return []
    if mode & stat.S_IROTH:
        return [f"{key}: everybody on this machine can read {path}; chmod 600 it"]
    return []


def with_credentials(settings: MqttConfig, env: Mapping[str, str] | None = None) -> MqttConfig:
    """Replace paths in systemd's credential store by the copies made for this process.

    The service's user cannot read ``/etc/credstore``. systemd copies each file that the unit names
    (``LoadCredential=``) into ``$CREDENTIALS_DIRECTORY``, readable for this service only
    (systemd.exec(5)). Since the configuration names the file in the store, it also works for a
    command that root runs.

    Args:
        settings: The configuration's ``mqtt`` section.
        env: Replaces the process's environment.

    Returns:
        The settings with a copy's path wherever there is one.
    """
    folder = (os.environ if env is None else env).get("CREDENTIALS_DIRECTORY")
    if not folder:
        return settings

    def copied(path: str | None) -> str | None:
        if path is None or Path(path).parent != CREDENTIAL_STORE:
            return path
        copy = Path(folder) / Path(path).name
        return str(copy) if copy.exists() else path

    tls = settings.tls
    return replace(
        settings,
        password_file=copied(settings.password_file),
        tls=replace(tls, ca=copied(tls.ca), cert=copied(tls.cert), key=copied(tls.key)),
    )
