"""What the daemon can do without, although libraries load it: 6 MB of memory, 20 ms of its start.

Each is hidden only while the library that would load it is imported, and is there for whoever asks
for it afterwards.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def load_client() -> None:
    """Load the MQTT client library without OpenSSL, and without urllib's HTTP client.

    The library wants ``ssl`` for connections with TLS, and ``urllib.request`` to find a proxy where
    the package PySocks is installed; serd offers no proxy. Where TLS is wanted after all
    (`serd.mqtt.tls`), the library is given the real ``ssl``. ``hashlib`` has its algorithms twice,
    in Python itself and in OpenSSL; without the latter it takes the former.

    Does nothing if any of them is loaded already.
    """
    if not sys.modules.keys().isdisjoint(("ssl", "hashlib", "urllib.request", "paho.mqtt.client")):
        return
    with _instead({"_hashlib": None}):
        import hashlib
    if not hasattr(hashlib, "sha256"):  # a Python whose hashes are OpenSSL's alone
        del sys.modules["hashlib"]
        return
    tls = ModuleType("ssl")
    for name in ("SSLWantReadError", "SSLWantWriteError"):  # caught, but never raised
        setattr(tls, name, type(name, (OSError,), {}))
    http = ModuleType("urllib.request")
    with _instead({"ssl": tls, "urllib.request": http, "socks": None}):
        import paho.mqtt.client  # noqa: F401


@contextmanager
def _instead(others: dict[str, ModuleType | None]) -> Iterator[None]:
    """Let imports find other modules under these names, or none, for a while."""
    sys.modules.update(others)  # type: ignore[arg-type] # None makes an import fail
    try:
        yield
    finally:
        for name in others:
            del sys.modules[name]
