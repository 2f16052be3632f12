"""``serd check`` with several sources: each is checked, and duplicates are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.audio import SAMPLE
from serd.audio.devices import Device
from serd.config.loading import load
from serd.doctor.examination import examine
from serd.doctor.sound import check_same_device
from tests.broker import mosquitto
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


def device(number: int) -> Device:
    return Device(
        index=number, id=f"usb:0d8c:000{number}", name=f"USB microphone {number}",
        host_api="ALSA", native_rate=48_000, channels=1,
    )  # fmt: skip


def test_two_names_for_one_microphone_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [device(1), device(2)]
    monkeypatch.setattr("serd.doctor.sound.list_devices", lambda: devices)

    def found(second: str) -> list[str]:
        sources = f"sources=[{{node: a, audio: {{device: 'usb:0d8c:0001'}}}}, {second}]"
        config = load(None, env={}, overrides=[sources]).config
        return [finding.message for finding in check_same_device(config)]

    assert found("{node: b, audio: {device: microphone 2}}") == []
    assert found("{node: b, audio: {device: not there}}") == []
    (message,) = found("{node: b, audio: {device: microphone 1}}")
    assert message == "a and b both use usb:0d8c:0001 (USB microphone 1)"


@pytest.mark.slow
def test_each_source_is_checked(tmp_path: Path) -> None:
    missing_file = tmp_path / "no.wav"
    with mosquitto(tmp_path) as broker:
        overrides = [
            f"sources=[{{node: a}}, {{node: b}}, {{node: c, audio: {{source: {missing_file}}}}}]",
            f"audio.source={SAMPLE}",
            "mqtt.host=127.0.0.1",
            f"mqtt.port={broker.port}",
            f"journal.path={tmp_path / 'journal.db'}",
            f"metrics.port={free_port()}",
        ]
        findings = list(examine(load(None, env={}, overrides=overrides), listen_s=1))
    reported = [(finding.check, finding.message) for finding in findings]
    for node in ("a", "b"):
        assert any(check == "level" and f"{node}: peaks" in text for check, text in reported), (
            reported
        )
    # Only a warning if other daemons on this machine might be using the source.
    missing = next(found for found in findings if found.message.startswith("c: ") and found.remedy)
    assert "no.wav" in missing.message
    # The connection to the broker is tested once, its access rules once per node.
    assert sum(check == "broker TCP" for check, _ in reported) == 1
    assert sum(check == "broker publish" for check, _ in reported) == 3
    assert sum(check == "speech" for check, _ in reported) == 1  # the same settings for all
    assert sum(check == "metrics" for check, _ in reported) == 1
