"""Secrets in systemd's store, as the service sees them and as root does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serd.config import MqttConfig, TlsConfig
from serd.mqtt.access import Access, with_credentials

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

STORED = "/etc/credstore/serd.mqtt-password"


def test_a_stored_file_is_read_where_systemd_has_put_it(tmp_path: Path) -> None:
    settings = MqttConfig(
        username="serd",
        password_file=STORED,
        tls=TlsConfig(ca="/etc/ssl/ca.pem", cert="/etc/credstore/cert", key="/etc/credstore/key"),
    )
    for name in ("serd.mqtt-password", "key", "ca.pem"):
        (tmp_path / name).touch()
    handed = with_credentials(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert handed.password_file == str(tmp_path / "serd.mqtt-password")
    assert handed.tls.key == str(tmp_path / "key")
    assert handed.tls.cert == "/etc/credstore/cert"  # not handed over
    assert handed.tls.ca == "/etc/ssl/ca.pem"  # not of the store


def test_without_systemd_every_path_is_as_written() -> None:
    settings = MqttConfig(username="serd", password_file=STORED)
    assert with_credentials(settings, {}) == settings


def test_the_way_to_the_broker_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    (tmp_path / "serd.mqtt-password").write_text("from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    access = Access(MqttConfig(username="serd", password_file=STORED))
    assert access.client("x").password == "from systemd"
