"""Addresses and ports of this machine."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"
"""Where serd's own servers listen unless they are told otherwise."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address always means this machine, so that no network is involved.

    Args:
        host: A name, or an address with or without brackets and zone.
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    try:
        return ipaddress.ip_address(name.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def host_port(host: str, port: int) -> str:
    """``host:port`` for messages, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def why_port_is_taken(port: int, host: str = LOOPBACK) -> str | None:
    """Why nothing can listen on a TCP port; None if it is free.

    Args:
        port: The port.
        host: An IPv4 address of this machine.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return None


def free_port(host: str = LOOPBACK) -> int:
    """A TCP port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
