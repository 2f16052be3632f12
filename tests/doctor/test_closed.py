"""``serd check`` opens no muted microphone, and reports what it skipped."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import publish

from serd.events.journal import Journal
from tests.doctor.faults import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with ExitStack() as stack:
        installation = Installation(tmp_path, stack)
        installation.listen = None
        yield installation


def found(installation: Installation) -> dict[str, dict[str, Any]]:
    _, findings, err = installation.check()
    assert "Traceback" not in err
    return {finding["check"]: finding for finding in findings}


def test_muted_in_the_journal(installation: Installation) -> None:
    installation.broker()
    with Journal(installation.home / "journal.db") as journal:
        journal.set_meta("mute:den", "ON")
    level = found(installation)["level"]
    assert level["status"] == "skip"
    assert "den is muted, so the microphone was not opened" in level["message"]
    assert "serd check --listen 4" in level["message"]


def test_muted_at_the_broker(installation: Installation) -> None:
    broker = installation.broker(password="hush hush")
    installation.mqtt.update(
        username="serd", password_file=str(installation.file("secret", "hush hush\n"))
    )
    publish.single(
        "serd/den/mute", b"ON", qos=1, retain=True, port=broker.port,
        auth={"username": "serd", "password": "hush hush"},
    )  # fmt: skip
    findings = found(installation)
    assert findings["level"]["status"] == "skip"
    assert "voice" not in findings
    remedy = findings["mute"]["remedy"]
    assert remedy.startswith("to open it, switch Mute off in Home Assistant, or: mosquitto_pub -h ")
    assert f"-h 127.0.0.1 -p {broker.port} -u serd -P " in remedy
    assert "hush" not in remedy
    assert remedy.endswith("-t serd/den/mute/set -m OFF")


def test_listen_overrides_mute(installation: Installation) -> None:
    installation.retain(installation.broker(), "serd/den/mute", b"ON")
    installation.listen = "60"
    assert found(installation)["level"]["status"] == "ok"


def test_an_unmuted_microphone_is_checked(installation: Installation) -> None:
    installation.retain(installation.broker(), "serd/den/mute", b"OFF")
    assert found(installation)["level"]["status"] == "ok"
