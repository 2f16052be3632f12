from __future__ import annotations

import socket

import pytest

from serd.network import LOOPBACK, free_port, host_port, is_loopback, why_port_is_taken


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "hub.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "[::1]",
        "::1%lo",
    ],
)
def test_loopback_hosts_are_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "hub.lan", "localhost.lan", "0.0.0.0", "::", "192.168.1.5", "2001:db8::5", "[x]"]
)
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_an_ipv6_address_with_a_port_is_put_in_brackets() -> None:
    assert host_port("hub.lan", 1883) == "hub.lan:1883"
    assert host_port("::1", 1883) == "[::1]:1883"


def test_a_port_is_free_until_a_server_listens_on_it() -> None:
    port = free_port()
    assert why_port_is_taken(port) is None
    with socket.create_server((LOOPBACK, port)):
        assert why_port_is_taken(port) == "Address already in use"
    assert why_port_is_taken(70_000) is not None
