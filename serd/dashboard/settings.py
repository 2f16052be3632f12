"""The dashboard's settings, and whether they are safe."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from serd.errors import UsageError
from serd.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKEN_VARIABLE: Final = "SERD_DASHBOARD_TOKEN"  # noqa: S105 - its name, not itself
"""Environment variable that may hold the token."""

TOKEN_MIN: Final = 16
"""Minimum length of a token: short ones can be guessed despite the limit on attempts."""

_TOKEN_MAX: Final = 1024


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the page is served."""

    host: str = "127.0.0.1"
    """Address or name to listen on."""
    port: int = 7373
    """TCP port; 0 picks a free one."""
    token: str | None = None
    """What visitors must present; None admits everybody who can connect."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names browsers may use, besides this machine's names and addresses."""
    behind_proxy: bool = False
    """A proxy on this machine terminates TLS and forwards the client's address."""
    ingress: str | None = None
    """Address of Home Assistant's ingress proxy, the only client that is answered: its users have
    logged in to Home Assistant. None without ingress."""
    cert: Path | None = None
    """Certificate chain (PEM), to serve TLS without a proxy."""
    key: Path | None = None
    """The certificate's key, PEM."""
    journals: tuple[Path, ...] = ()
    """Journals to read history from, if they exist."""

    @property
    def https(self) -> bool:
        """Whether browsers reach it over TLS."""
        return self.behind_proxy or self.cert is not None

    def check(self) -> None:
        """Refuse settings that would let strangers in.

        Raises:
            UsageError: With one sentence and a remedy.
        """
        if self.ingress is not None:
            self._check_ingress()
        elif not is_loopback(self.host) and self.token is None:
            raise UsageError(
                f"--host {self.host} can be reached by others, so a token is needed",
                remedy="openssl rand -hex 16 >token; chmod 600 token; add --token-file token",
            )
        if (self.cert is None) != (self.key is None):
            raise UsageError("--tls-cert and --tls-key come together")
        if self.behind_proxy and self.cert is not None:
            raise UsageError("--behind-proxy and --tls-cert exclude each other")
        if self.behind_proxy and not is_loopback(self.host):
            raise UsageError("--behind-proxy is for a proxy on this machine: leave --host out")

    def _check_ingress(self) -> None:
        if self.token is not None or self.cert is not None or self.behind_proxy:
            raise UsageError(
                "--ingress goes with no token, no certificate and no --behind-proxy: Home "
                "Assistant asks who comes, and speaks TLS"
            )
        try:
            ipaddress.ip_address(self.ingress or "")
        except ValueError:
            raise UsageError(
                f"--ingress {self.ingress} is not an address",
                remedy="name that of Home Assistant's ingress: 172.30.32.2",
            ) from None


def own_names() -> set[str]:
    """The names of this machine, in lower case."""
    name = socket.gethostname().lower()
    return {"localhost", name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}


def read_token(path: Path | None, env: Mapping[str, str] | None = None) -> str | None:
    """Read the token from a file or the environment; None if neither is given.

    Args:
        path: A file whose first line is the token; takes precedence.
        env: Replaces the process's environment.

    Raises:
        UsageError: The file cannot be read, or the token is too short or not plain text. The
            message never contains it.
    """
    source = "--token-file"
    if path is None:
        text = (os.environ if env is None else env).get(TOKEN_VARIABLE)
        source = TOKEN_VARIABLE
        if text is None:
            return None
    else:
        try:
            with path.open("rb") as file:
                text = file.readline(_TOKEN_MAX + 2).decode("ascii")
        except OSError as error:
            raise UsageError(
                f"--token-file: cannot read {path}: {error.strerror or error}"
            ) from None
        except UnicodeDecodeError:
            raise UsageError(f"--token-file: {path} is not plain ASCII text") from None
    token = text.strip()
    if not TOKEN_MIN <= len(token) <= _TOKEN_MAX or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"{source}: a token is {TOKEN_MIN} to {_TOKEN_MAX} printable ASCII characters",
            remedy="make one with: openssl rand -hex 16",
        )
    return token
