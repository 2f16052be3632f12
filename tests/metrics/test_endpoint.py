"""The metrics endpoint of a real daemon, over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_fd_to_metric_families

from serd.audio import SAMPLE
from serd.config.loading import load
from serd.doctor.configuration import check_metrics
from serd.metrics import METRICS
from tests.broker import Recorder, mosquitto, wait_until
from tests.faults.talk import Talk
from tests.ports import free_port
from tests.system.node import Node, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

pytestmark = pytest.mark.broker

FAULTY = Path(__file__).parent.parent / "faults" / "faulty.py"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def fetch(
    port: int, path: str, *, host: str = "127.0.0.1", **headers: str
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def health(port: int) -> tuple[int, dict[str, Any]]:
    status, body, _ = fetch(port, "/healthz")
    return status, json.loads(body)


def families_of(text: str) -> list[Metric]:
    """The metric families that Prometheus's own parser reads."""
    return list(text_fd_to_metric_families(io.StringIO(text)))


def value(text: str, name: str, **labels: str) -> float:
    for family in families_of(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    raise AssertionError(f"no {name} with {labels}")


def settings(port: int, *more: str) -> list[str]:
    return ["--set", f"metrics.port={port}", *more]


@pytest.fixture
def talk() -> Iterator[Talk]:
    with Talk() as talk:
        yield talk


def test_scraping_a_real_daemon(tmp_path: Path, talk: Talk) -> None:
    port = free_port()
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        arguments = settings(port, "--source", "-")
        with Node(tmp_path, broker.port, *arguments, stdin=talk.reading) as node:
            talk.say(3)
            recorder.wait_count("serd/test-room/emotion", 3)
            # A scrape reads the current values: acknowledgements may still be outstanding.
            wait_until(
                lambda: value(fetch(port, "/metrics")[1], "serd_journal_pending_events") == 0
            )
            status, text, headers = fetch(port, "/metrics")
            _, open_text, open_headers = fetch(port, "/metrics", Accept=OPENMETRICS)
            assert node.stop() == 0, node.log
        emotions = [
            json.loads(payload)["emotion"] for payload in recorder.on("serd/test-room/emotion")
        ]

    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert open_headers["Content-Type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in families_of(text)}
    accepted = openmetrics.text_fd_to_metric_families(  # type: ignore[no-untyped-call]
        io.StringIO(open_text)
    )
    assert families.keys() <= {family.name for family in accepted}
    kinds = {metric.name.removesuffix("_total"): metric.kind for metric in METRICS}
    own = {name: family.type for name, family in families.items() if name.startswith("serd_")}
    assert own == kinds  # the documented metrics, and no others
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= families.keys()

    room = {"node": "test-room"}
    assert value(text, "serd_utterances_total", **room) == len(emotions) == 3
    for emotion in set(emotions):
        count = value(text, "serd_events_total", emotion=emotion, **room)
        assert count == emotions.count(emotion)
    assert value(text, "serd_utterance_to_event_seconds_count", **room) == 3
    assert value(text, "serd_utterance_to_event_seconds_sum", **room) > 0
    assert value(text, "serd_inference_seconds_bucket", le="+Inf", **room) == 3
    seconds = value(text, "serd_audio_seconds_total", **room)
    assert seconds * 16_000 == value(text, "serd_samples_total", **room) > 0
    assert value(text, "serd_source_state", state="listening", **room) == 1
    assert value(text, "serd_source_state", state="muted", **room) == 0
    assert value(text, "serd_mqtt_connected", **room) == 1
    assert value(text, "serd_mqtt_acknowledged_total", **room) == 3
    assert value(text, "serd_healthy") == 1
    check_with_promtool(text)


def check_with_promtool(text: str) -> None:
    """Check names and help texts with Prometheus's own tool."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_health_when_muted_and_without_a_microphone(tmp_path: Path) -> None:
    port = free_port()
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        arguments = settings(port, "--set", "audio.device=there is none of this name")
        with Node(tmp_path, broker.port, *arguments) as node:
            node.wait_log("trying again until it works")
            wait_until(lambda: health(port)[0] == 200)  # 503 while it starts
            status, body = health(port)
            assert (status, body["status"]) == (200, "ok")
            room = body["nodes"]["test-room"]
            assert room["state"] == "waiting"
            assert room["trouble"]
            recorder.wait_for("serd/test-room/mute", b"OFF")
            recorder.publish("serd/test-room/mute/set", b"ON")
            recorder.wait_for("serd/test-room/mute", b"ON")
            wait_until(lambda: health(port)[1]["nodes"]["test-room"]["state"] == "muted")
            status, body = health(port)
            assert status == 200
            assert body["nodes"]["test-room"]["said"] == "muted: the microphone is closed"
            assert value(fetch(port, "/metrics")[1], "serd_source_state", state="muted") == 1
            assert node.stop() == 0, node.log


def test_a_stalled_source_is_reported_as_unhealthy(tmp_path: Path, talk: Talk) -> None:
    port = free_port()
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        arguments = settings(port, "--source", "-")
        wrapper = [sys.executable, str(FAULTY), "source-stalls"]
        with Node(tmp_path, broker.port, *arguments, stdin=talk.reading, wrapper=wrapper) as node:
            talk.say()
            recorder.wait_count("serd/test-room/emotion", 1)
            # Nothing more is sent, although this source must always deliver. Wait for the text: an
            # event can be published before the daemon is ready, while the status is 503 too.
            wait_until(lambda: "pipeline: no sign of life for" in health(port)[1]["status"])
            assert health(port)[0] == 503
            assert value(fetch(port, "/metrics")[1], "serd_healthy") == 0
            talk.say()
            wait_until(lambda: health(port)[0] == 200)
            assert node.stop() == 0, node.log


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_serd(
            "--set", f"metrics.port={port}", "--set", "mqtt.host=127.0.0.1", "run",
            "--source", str(SAMPLE), home=tmp_path,
        )  # fmt: skip
    assert done.returncode == 78
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "metrics.port" in line]
    assert f"metrics.port = {port}: cannot listen there: address already in use" in line


def test_a_missing_extra_is_reported_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "without.py").write_text(
        "import sys\n"
        "from importlib import util\n"
        "find_spec = util.find_spec\n"
        "util.find_spec = lambda name, *_: "
        "None if name == 'prometheus_client' else find_spec(name)\n"
        "from serd.cli.main import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "without.py"), "--set", f"metrics.port={free_port()}",
         "--set", f"journal.path={tmp_path / 'journal.db'}", "run", "--source", str(SAMPLE)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert "Traceback" not in done.stderr
    assert "pip install 'serd-emotion[metrics]'" in done.stderr.splitlines()[-1]


def test_nothing_is_imported_when_metrics_are_off(tmp_path: Path) -> None:
    script = tmp_path / "watched.py"
    script.write_text(
        "import atexit, sys\n"
        "atexit.register(lambda: print(*(n for n in sys.modules if 'prometheus' in n "
        "or n == 'http.server'), file=sys.stderr))\n"
        "from serd.cli.main import main\n"
        "main()\n"
    )
    with mosquitto(tmp_path) as broker:
        arguments = ("--source", str(SAMPLE), "--pace", "fast")
        wrapper = [sys.executable, str(script)]
        with Node(tmp_path, broker.port, *arguments, wrapper=wrapper) as node:
            assert node.wait() == 0
        node_log = node.log
    assert node_log[-1] == "", node_log


def test_reloading_moves_the_endpoint_and_rejects_a_bad_port(tmp_path: Path, talk: Talk) -> None:
    import signal

    first, second = free_port(), free_port()
    config = tmp_path / "serd.yaml"
    with mosquitto(tmp_path) as broker, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config.write_text(f"metrics: {{port: {first}}}\n")
        arguments = ("--config", str(config), "--source", "-")
        with Node(tmp_path, broker.port, *arguments, stdin=talk.reading) as node:
            node.wait_log("ready after")
            assert health(first)[0] == 200
            config.write_text(f"metrics: {{port: {taken.getsockname()[1]}}}\n")
            node.send(signal.SIGHUP)
            node.wait_log("going on with the old configuration")
            assert health(first)[0] == 200
            config.write_text(f"metrics: {{port: {first}}}\nmute: true\n")
            node.send(signal.SIGHUP)  # its own port does not count as in use
            node.wait_log("configuration loaded again")
            node.wait_log("ready after", count=2)
            assert health(first)[1]["nodes"]["test-room"]["state"] == "muted"
            config.write_text(f"metrics: {{port: {second}}}\n")
            node.send(signal.SIGHUP)
            node.wait_log("ready after", count=3)
            assert health(second)[0] == 200
            with pytest.raises(ConnectionRefusedError):
                health(first)
            assert node.stop() == 0, node.log


def test_other_paths_and_hosts_are_rejected(tmp_path: Path, talk: Talk) -> None:
    port = free_port()
    with mosquitto(tmp_path) as broker:
        arguments = settings(port, "--source", "-")
        with Node(tmp_path, broker.port, *arguments, stdin=talk.reading) as node:
            node.wait_log("ready after")
            assert fetch(port, "/")[0] == 404
            assert fetch(port, "/metrics", Host="evil.example")[0] == 403
            assert fetch(port, "/metrics", Host="localhost:1")[0] == 200
            assert fetch(port, "/metrics", Host="[::1]:1")[0] == 200
            assert "serd_test" not in fetch(port, "/metrics?x=serd_test")[1]
            assert node.stop() == 0, node.log


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nX-", b"G"])
def test_slow_clients_do_not_block_others(sent: bytes, tmp_path: Path, talk: Talk) -> None:
    port = free_port()
    with mosquitto(tmp_path) as broker, contextlib.ExitStack() as stack:
        arguments = settings(port, "--source", "-")
        with Node(tmp_path, broker.port, *arguments, stdin=talk.reading) as node:
            node.wait_log("ready after")
            idle = []
            for _ in range(60):
                connection = socket.create_connection(("127.0.0.1", port), timeout=20)
                stack.enter_context(connection)
                with contextlib.suppress(OSError):  # it may have been closed already
                    connection.sendall(sent)
                idle.append(connection)
                if len(idle) % 10 == 0:
                    assert health(port)[0] == 200
                    assert fetch(port, "/metrics")[0] == 200
            # All of them are closed in time.
            for connection in idle:
                with contextlib.suppress(ConnectionError):
                    assert connection.recv(1) == b""
            assert health(port)[0] == 200
            assert node.stop() == 0, node.log


def test_serd_check_checks_the_port(tmp_path: Path) -> None:
    config = load(None, env={}, overrides=[f"metrics.port={free_port()}"]).config
    (finding,) = check_metrics(config, running_here=False)
    assert finding.status == "ok"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        overrides = [f"metrics.port={taken.getsockname()[1]}"]
        config = load(None, env={}, overrides=overrides).config
        (finding,) = check_metrics(config, running_here=False)
        assert (finding.status, finding.configured) == ("fail", True)
        (finding,) = check_metrics(config, running_here=True)
        assert finding.status == "ok"
    config = load(None, env={}, overrides=[*overrides, "metrics.host=0.0.0.0"]).config
    (finding,) = check_metrics(config, running_here=False)
    assert finding.status == "warn"
    assert list(check_metrics(load(None, env={}).config, running_here=False)) == []
