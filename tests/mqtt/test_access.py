"""Logins, secrets and certificates are checked before the first connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from serd.config import MqttConfig, TlsConfig
from serd.errors import ConfigError
from serd.mqtt.access import Access

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Certificates

SECRET = "correct horse battery"


def write(path: Path, content: bytes, mode: int = 0o600) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    "content", [b"correct horse battery\n", b"correct horse battery\r\nmore\n", SECRET.encode()]
)
def test_password_is_the_first_line_of_its_file(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "secret", content)
    access = Access(MqttConfig(username="serd", password_file=path))
    assert access.client("x").password == SECRET


def test_password_file_is_read_again_for_each_client(tmp_path: Path) -> None:
    path = write(tmp_path / "secret", b"old\n")
    access = Access(MqttConfig(username="serd", password_file=path))
    write(tmp_path / "secret", b"new\n")
    assert access.client("x").password == "new"


def test_spaces_are_part_of_the_password(tmp_path: Path) -> None:
    path = write(tmp_path / "secret", b"  two words \n")
    access = Access(MqttConfig(username="serd", password_file=path))
    assert access.client("x").password == "  two words "


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "holds no password"), (b"\nlate\n", "holds no password"), (b"\xff\xfe", "not UTF-8")],
)
def test_password_file_without_a_password_is_rejected(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = write(tmp_path / "secret", content)
    with pytest.raises(ConfigError, match=words) as caught:
        Access(MqttConfig(username="serd", password_file=path))
    assert "mqtt.password_file" in str(caught.value)
    assert path in str(caught.value)


def test_missing_password_file_is_reported(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"mqtt\.password_file: .*nowhere: No such file"):
        Access(MqttConfig(username="serd", password_file=path))


def test_the_embedded_broker_is_on_loopback_without_login_or_tls() -> None:
    settings = MqttConfig(host="embedded", port=4000, username="u", password=SECRET,
                          tls=TlsConfig(ca="/nowhere"))  # fmt: skip
    access = Access(settings)
    assert (access.host, access.port, access.username, access.tls) == (
        "127.0.0.1",
        4000,
        None,
        False,
    )
    assert access.client("x").password is None


@pytest.mark.parametrize("key", ["ca", "cert", "key"])
def test_missing_tls_file_names_key_and_path(certificates: Certificates, key: str) -> None:
    whole = TlsConfig(
        ca=str(certificates.ca), cert=str(certificates.client), key=str(certificates.client_key)
    )
    with pytest.raises(
        ConfigError, match=rf"mqtt\.tls\.{key}: cannot read /nowhere/file"
    ) as caught:
        Access(MqttConfig(tls=replace(whole, **{key: "/nowhere/file"})))
    assert "No such file" in str(caught.value)


def test_tls_files_of_the_wrong_kind_are_rejected(
    certificates: Certificates, tmp_path: Path
) -> None:
    junk = write(tmp_path / "junk", b"hello")
    with pytest.raises(ConfigError, match=r"mqtt\.tls\.ca: .*junk holds no certificate"):
        Access(MqttConfig(tls=TlsConfig(ca=junk)))
    with pytest.raises(ConfigError, match=r"mqtt\.tls\.cert"):
        Access(MqttConfig(tls=TlsConfig(cert=junk, key=junk)))
    with pytest.raises(ConfigError, match=r"mqtt\.tls\.key: .*key values mismatch"):
        Access(
            MqttConfig(
                tls=TlsConfig(cert=str(certificates.client), key=str(certificates.server_key))
            )
        )


def test_the_password_is_in_no_repr() -> None:
    settings = MqttConfig(host="broker.lan", username="serd", password=SECRET)
    access = Access(settings)
    shown = repr(access) + str(access) + repr(settings) + repr(access.client("x"))
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("host", "address"), [("broker.lan", "broker.lan:1883"), ("::1", "[::1]:1883")]
)
def test_address_is_formatted_for_messages(host: str, address: str) -> None:
    assert Access(MqttConfig(host=host)).address == address
