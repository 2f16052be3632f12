"""Hooks of a real daemon receive the published events and do not delay anything."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from serd.audio import SAMPLE
from tests.broker import Recorder, mosquitto
from tests.system.node import Node

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_hooks_of_a_recording(tmp_path: Path) -> None:
    log = tmp_path / "all"
    append = f"import sys; open({str(log)!r}, 'ab').write(sys.stdin.buffer.read())"
    hooks = [
        {"command": [sys.executable, "-c", append]},
        {"command": ["/no/such/program"], "cooldown_s": 3600},
        {"command": ["/bin/sleep", "600"], "timeout_s": 1.0, "cooldown_s": 3600},
    ]
    with (
        mosquitto(tmp_path) as broker,
        Recorder(broker.port) as recorder,
        Node(
            tmp_path, broker.port, "--source", str(SAMPLE), "--pace", "fast", "--keep",
            "--set", f"hooks={json.dumps(hooks)}", "--set", "mqtt.telemetry_s=1",
        ) as node,
    ):  # fmt: skip
        assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        published = [json.loads(payload) for payload in recorder.on("serd/test-room/emotion")]
        telemetry = [json.loads(payload) for payload in recorder.on("serd/test-room/telemetry")]
    logged = "\n".join(node.log)
    assert "hook 2 (program) cannot be started: No such file or directory" in logged
    assert "hook 3 (sleep) was ended: it took longer than 1 s" in logged
    received = [json.loads(line)["id"] for line in log.read_bytes().splitlines()]
    # A fast recording has more events than a hook's queue holds: the latest ones are kept.
    assert received[-1] == published[-1]["id"]
    assert set(received) <= {event["id"] for event in published}
    assert len(received) >= min(len(published), 16)
    assert {"hooks_run", "hooks_failed", "hooks_dropped"} <= telemetry[0].keys()
