"""The other files of examples/fleet, read by mosquitto and by a TOML parser."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from serd.mqtt.topics import filters
from tests.broker import Certificates, mosquitto
from tests.fleet.clients import EXAMPLES, User, users
from tests.mqtt.samples import new_event
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.broker
@pytest.mark.parametrize("role", ["home", "centre"])
def test_mosquitto_accepts_the_configuration(
    role: str, tmp_path: Path, certificates: Certificates
) -> None:
    text = (EXAMPLES / f"{role}.conf").read_text()
    for old, new in (
        ("/etc/mosquitto/users", str(users(tmp_path, ["reader"]))),
        (f"/etc/mosquitto/{role}.acl", str(EXAMPLES / f"{role}.acl")),
        ("/etc/mosquitto/certs/ca.pem", str(certificates.ca)),
        ("/etc/mosquitto/certs/server.pem", str(certificates.server)),
        ("/etc/mosquitto/certs/server.key", str(certificates.server_key)),
        # The fixture sets these already, with a folder that is writable.
        ("persistence true\n", ""),
        ("persistence_location /var/lib/mosquitto/\n", ""),
    ):
        assert old in text, old
        text = text.replace(old, new)
    with mosquitto(tmp_path, started=False) as broker:
        port = free_port()
        text = text.replace("listener 8883", f"listener {port} 127.0.0.1")
        broker.extra = tuple(text.splitlines())
        broker.start()
        with User(port, "reader", "#", ca=certificates.ca):
            complaints = [line for line in broker.log if "Error" in line or "Warning" in line]
            assert [line for line in complaints if "run as root" not in line] == []


def test_the_telegraf_file_is_toml_and_uses_existing_fields() -> None:
    """Telegraf itself is in neither Debian nor PyPI; whether it accepts this is not tested."""
    text = (EXAMPLES / "telegraf.conf").read_text()
    parsed = tomllib.loads(text)
    events, telemetry = parsed["inputs"]["mqtt_consumer"]
    assert events["topics"] == filters("serd", kinds=("emotion",))
    assert telemetry["topics"] == filters("serd", kinds=("telemetry",))
    assert events["qos"] == 1
    assert events["persistent_session"]
    (parser,) = events["json_v2"]
    paths = {one["path"] for one in (*parser["tag"], *parser["field"])}
    assert {*paths, parser["timestamp_path"]} <= set(new_event().__struct_fields__)
    for level in telemetry["topic_parsing"]:
        assert len(level["tags"].split("/")) == len(level["topic"].split("/"))
    # The commented-out settings must be valid TOML too.
    tomllib.loads(re.sub(r"^(\s*)# (?=[\s\[}\]]|connection|create|topic =|tags =)", r"\1", text,
                         flags=re.MULTILINE))  # fmt: skip
