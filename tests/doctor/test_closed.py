"""``serd check`` opens no microphone that somebody wants closed, and says what it left out."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import publish

from serd.events.journal import Journal
from tests.doctor.planting import Garden

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker


@pytest.fixture
def garden(tmp_path: Path) -> Iterator[Garden]:
    with ExitStack() as stack:
        planted = Garden(tmp_path, stack)
        planted.listen = None
        yield planted


def found(garden: Garden) -> dict[str, dict[str, Any]]:
    _, findings, err = garden.check()
    assert "Traceback" not in err
    return {finding["check"]: finding for finding in findings}


def test_muted_by_the_switch_in_the_journal(garden: Garden) -> None:
    garden.broker()
    with Journal(garden.home / "journal.db") as journal:
        journal.set_meta("mute:den", "ON")
    level = found(garden)["level"]
    assert level["status"] == "skip"
    assert "den is muted, so the microphone was not opened" in level["message"]
    assert "serd check --listen 4" in level["message"]


def test_muted_at_the_broker(garden: Garden) -> None:
    broker = garden.broker(password="hush hush")
    garden.mqtt.update(username="serd", password_file=str(garden.file("secret", "hush hush\n")))
    publish.single(
        "serd/den/mute", b"ON", qos=1, retain=True, port=broker.port,
        auth={"username": "serd", "password": "hush hush"},
    )  # fmt: skip
    findings = found(garden)
    assert findings["level"]["status"] == "skip"
    assert "voice" not in findings
    remedy = findings["mute"]["remedy"]
    assert remedy.startswith("to open it, switch Mute off in Home Assistant, or: mosquitto_pub -h ")
    assert f"-h 127.0.0.1 -p {broker.port} -u serd -P " in remedy
    assert "hush" not in remedy
    assert remedy.endswith("-t serd/den/mute/set -m OFF")


def test_asked_for_it_listens_all_the_same(garden: Garden) -> None:
    garden.retain(garden.broker(), "serd/den/mute", b"ON")
    garden.listen = "60"
    assert found(garden)["level"]["status"] == "ok"


def test_open_it_is_listened_to(garden: Garden) -> None:
    garden.retain(garden.broker(), "serd/den/mute", b"OFF")
    assert found(garden)["level"]["status"] == "ok"
