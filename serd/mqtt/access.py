"""How to reach the broker and log in there: address, TLS and secrets, checked.

Publisher, follower and doctor share this, so that what one of them can reach the others can too.
"""

from __future__ import annotations

import ipaddress
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from serd.errors import ConfigError
from serd.mqtt.credentials import handed_over
from serd.mqtt.incoming import BoundedClient

if TYPE_CHECKING:
    import ssl

    from serd.config import MqttConfig

EMBEDDED: Final = "embedded"
"""As ``mqtt.host``: serd's own broker on loopback."""

LOOPBACK: Final = "127.0.0.1"
"""Where the embedded broker listens."""

_OLD_S: Final = 3600.0
"""A broker that did not know MQTT 5 may have been renewed after so long."""

_SECRET_BYTES_MAX = 65_535  # what an MQTT password can hold


class Access:
    """A checked way to the broker.

    Password file, certificates and key are read again for each client, so that a renewed
    certificate or a changed password is used from the next connection on.

    Args:
        settings: The configuration's ``mqtt`` section. With ``host: embedded`` the client goes to
            loopback, without login and without TLS.

    Raises:
        ConfigError: A file is missing or not what it should be, or settings contradict each
            other; the message names key and file, never a secret.
    """

    def __init__(self, settings: MqttConfig) -> None:
        embedded = settings.host == EMBEDDED
        self.host = LOOPBACK if embedded else settings.host
        self.port = settings.port
        self.keepalive_s = settings.keepalive_s
        self.username = None if embedded else settings.username
        self._settings = handed_over(settings)
        self._embedded = embedded
        self._old_until = 0.0
        self.tls = not embedded and settings.tls.active
        """Whether the connection is encrypted."""
        self.warnings = tuple(self._check())
        """Sentences about what works but should not stay so (who can read a secret)."""

    def __repr__(self) -> str:
        return f"Access({self.address}, tls={self.tls}, login={self.username is not None})"

    @property
    def address(self) -> str:
        """``host:port``, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether the broker is on this machine, so that nobody between can listen."""
        name = self.host.lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            return False

    def versions(self) -> tuple[MQTTProtocolVersion, ...]:
        """Versions of MQTT to be tried, in that order."""
        if self._embedded or time.monotonic() < self._old_until:
            return (MQTTProtocolVersion.MQTTv311,)
        return MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311

    def speaks_only_old(self) -> None:
        """The broker knows MQTT 3.1.1 and not 5: spare it the question for a while."""
        self._old_until = time.monotonic() + _OLD_S

    def may_speak_new(self) -> None:
        """Ask it again with the next connection."""
        self._old_until = 0.0

    def client(
        self, client_id: str, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    ) -> BoundedClient:
        """A new client, ready to connect.

        Args:
            client_id: Its name on the broker.
            version: Of MQTT, see :meth:`versions`.

        Raises:
            ConfigError: As the constructor; files may have changed since.
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
        """What encrypts a connection and verifies the broker; None without TLS.

        Raises:
            ConfigError: As the constructor; files may have changed since.
        """
        if not self.tls:
            return None
        from serd.mqtt.tls import tls_context  # noqa: PLC0415 - OpenSSL: 4 MB, for who wants it

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
            password = line.decode("utf-8-sig")  # some editors begin a file with a mark
        except OSError as error:
            denied = isinstance(error, PermissionError)
            raise ConfigError(
                f"mqtt.password_file: cannot read {path}: {error.strerror or error}",
                remedy="the service's password is for root alone: run the command with sudo"
                if denied
                else None,
            ) from None
        except UnicodeDecodeError:
            # "from None": the original carries the bytes of the secret.
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
