"""TLS to the broker; imported only when needed, because OpenSSL takes 4 MB of memory."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as paho

from serd.errors import ConfigError

if TYPE_CHECKING:
    from serd.config import TlsConfig

# The daemon may have loaded the client library without it: serd.cli.lean.
paho.ssl = ssl  # type: ignore[attr-defined] # not exported


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        """As in the base class."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def tls_context(settings: TlsConfig) -> ssl.SSLContext:
    """A client context that verifies the broker's certificate and its name.

    Raises:
        ConfigError: A file is missing, unreadable or not what its key says.
    """
    for key in ("ca", "cert", "key"):
        path = getattr(settings, key)
        if path is not None:
            try:
                with Path(path).open("rb"):
                    pass
            except OSError as error:
                raise ConfigError(
                    f"mqtt.tls.{key}: cannot read {path}: {error.strerror or error}"
                ) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.sslsocket_class = _TidySocket
    try:
        if settings.ca is not None:
            context.load_verify_locations(cafile=settings.ca)
        else:
            context.load_default_certs()
    except ssl.SSLError:
        raise ConfigError(
            f"mqtt.tls.ca: {settings.ca} holds no certificate in PEM format"
        ) from None
    if settings.cert is not None:
        try:
            # A password callback, because OpenSSL would otherwise ask for one on the terminal.
            context.load_cert_chain(settings.cert, settings.key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or "no certificate and key in PEM format"
            raise ConfigError(
                f"mqtt.tls.cert: {settings.cert} and mqtt.tls.key: {settings.key} cannot be used: "
                f"{str(reason).replace('_', ' ').lower()}",
                remedy="the key must be unencrypted and belong to the certificate",
            ) from None
    return context
