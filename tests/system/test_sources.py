"""Several sources in one process give the same events as alone and do not disturb each other."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf
import yaml

from serd.audio import SAMPLE
from tests.broker import Mosquitto, Recorder, mosquitto, wait_until
from tests.models import as_at_home
from tests.ports import free_port
from tests.pulse import virtual_microphone
from tests.system.node import TIMEOUT_S, Node, environment, json_lines, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.broker

RATE = 16_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def recorder(broker: Mosquitto) -> Iterator[Recorder]:
    with Recorder(broker.port) as recorder:
        yield recorder


def excerpt(path: Path, first_s: float, last_s: float) -> Path:
    """A part of the sample as a separate file."""
    samples, rate = sf.read(SAMPLE, dtype="int16")
    assert rate == RATE
    sf.write(path, samples[int(first_s * RATE) : int(last_s * RATE)], RATE)
    return path


class House(Node):
    """``serd run`` with several sources."""

    def __init__(
        self,
        home: Path,
        port: int,
        *sources: dict[str, Any],
        env: Mapping[str, str] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(home, port, "--config", str(home / "serd.yaml"), env=env)
        self.write(*sources, **common)
        # No node name on the command line: each source has its own.
        place = self.command.index("node=test-room")
        del self.command[place - 1 : place + 1]

    def write(self, *sources: dict[str, Any], **common: Any) -> None:
        """Write the configuration file."""
        (self.home / "serd.yaml").write_text(yaml.safe_dump({**common, "sources": [*sources]}))


def events(recorder: Recorder, node: str) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in recorder.on(f"serd/{node}/emotion")]


@pytest.mark.parametrize("count", [2, 4])
def test_each_file_gives_the_same_events_as_alone(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder, count: int
) -> None:
    files = {
        f"room-{place}": excerpt(tmp_path / f"{place}.wav", 7 * place, 7 * place + 18)
        for place in range(count)
    }
    sources = [{"node": node, "audio": {"source": str(path)}} for node, path in files.items()]
    with House(tmp_path, broker.port, *sources, audio={"pace": "fast"}) as house:
        assert house.wait() == 0, house.log
    for node, path in files.items():
        recorder.wait_for(f"serd/{node}/status", b"offline")
        received = events(recorder, node)
        alone = json_lines(run_serd("classify", "--json", str(path), home=tmp_path).stdout)
        assert len(alone) >= 3
        assert [event["seq"] for event in received] == list(range(1, len(received) + 1))
        single = [event["utterance"]["emotion"] for event in received]
        assert single == [row["emotion"] for row in alone]
        for event, row in zip(received, alone, strict=True):
            assert event["node"] == node
            scores = as_at_home(row["scores"])
            assert event["utterance"]["scores"] == pytest.approx(scores, abs=1.1e-4)
        statuses = [status for status in recorder.on(f"serd/{node}/status") if status]
        assert statuses == [b"online", b"offline"]
        announced = recorder.on(f"homeassistant/device/serd_{node}/config")[0]
        assert f"serd/{node}".encode() in announced
    # No node is mistaken for a second one with the same name.
    assert not any("somebody else" in line or "ignored" in line for line in house.log)


def test_a_missing_microphone_does_not_affect_other_sources(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    sources: list[dict[str, Any]] = [
        {"node": "hall", "audio": {"source": "mic", "device": "there is none of this name"}},
        {"node": "kitchen", "audio": {"source": str(SAMPLE)}},
    ]
    with House(tmp_path, broker.port, *sources) as house:
        house.wait_log("hall: ")
        house.wait_log("trying again until it works")
        recorder.wait_count("serd/kitchen/emotion", 2)
        recorder.wait(lambda: _telemetry(recorder, "hall").get("condition") == "waiting")
        assert _telemetry(recorder, "hall")["trouble"]
        assert _telemetry(recorder, "kitchen")["trouble"] is None
        assert recorder.last("serd/hall/status") == b"online"  # the node itself is online
        assert house.stop() == 0, house.log
    assert events(recorder, "hall") == []
    for node in ("hall", "kitchen"):
        recorder.wait_for(f"serd/{node}/status", b"offline")


def _is_offline(recorder: Recorder, node: str) -> bool:
    # Empty once the recording has ended and its retained messages are cleared.
    return recorder.last(f"serd/{node}/status") in {b"offline", b""}


def _telemetry(recorder: Recorder, node: str) -> dict[str, Any]:
    payload = recorder.last(f"serd/{node}/telemetry")
    found: dict[str, Any] = json.loads(payload) if payload else {}
    return found


def test_mute_applies_to_one_node_and_survives_a_restart(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    sources: list[dict[str, Any]] = [
        {"node": "bedroom", "audio": {"source": str(SAMPLE)}},
        {"node": "kitchen", "audio": {"source": str(SAMPLE)}},
        {"node": "study", "mute": True, "audio": {"source": str(SAMPLE)}},
    ]
    with House(tmp_path, broker.port, *sources) as house:
        for node in ("bedroom", "kitchen"):
            recorder.wait_for(f"serd/{node}/mute", b"OFF")
        recorder.wait_for("serd/study/mute", b"ON")
        recorder.publish("serd/bedroom/mute/set", b"ON")
        recorder.wait_for("serd/bedroom/mute", b"ON")
        house.wait_log("bedroom: muted: the microphone is closed")
        before = len(events(recorder, "kitchen"))
        recorder.wait_count("serd/kitchen/emotion", before + 1)
        assert house.stop() == 0, house.log
    with House(tmp_path, broker.port, *sources) as house:
        house.wait_log("bedroom: muted: the microphone is closed")
        house.wait_log("study: muted: the microphone is closed")
        recorder.wait_for("serd/study/mute", b"ON", times=2)  # it has subscribed by then
        recorder.publish("serd/study/mute/set", b"OFF")
        recorder.wait_for("serd/study/speech", b"ON")
        recorder.wait_for("serd/kitchen/speech", b"ON", times=2)
        assert recorder.last("serd/bedroom/mute") == b"ON"
        assert house.stop() == 0, house.log
    assert events(recorder, "bedroom")[1:] == []  # at most what was in flight when it was muted


def test_mute_is_kept_when_sources_are_added(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with Node(tmp_path, broker.port, "--source", str(SAMPLE), node="hall") as node:
        recorder.wait_for("serd/hall/mute", b"OFF")
        recorder.publish("serd/hall/mute/set", b"ON")
        node.wait_log("the microphone is closed")
        assert node.stop() == 0
    sources = [{"node": name, "audio": {"source": str(SAMPLE)}} for name in ("hall", "loft")]
    with House(tmp_path, broker.port, *sources) as house:
        house.wait_log("hall: muted")
        house.wait_log("loft: muted")  # rather muted than open against the user's will
        recorder.wait_for("serd/loft/mute", b"ON")
        assert house.stop() == 0
    assert events(recorder, "loft") == []


def test_repeated_kills_lose_no_event_of_any_node(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    nodes = [f"room-{place}" for place in range(4)]
    sources = [{"node": node, "audio": {"source": str(SAMPLE)}} for node in nodes]
    audio = {"pace": "fast"}
    for round_ in range(6):
        with House(tmp_path, broker.port, *sources, audio=audio) as house:
            have = len(recorder.on("serd/room-0/emotion"))
            recorder.wait_count("serd/room-0/emotion", have + 1 + round_ % 3)
            house.kill()
    with House(tmp_path, broker.port, *sources, audio=audio) as house:
        assert house.wait() == 0, house.log
    with_history = json_lines(
        run_serd("--set", f"journal.path={tmp_path / 'journal.db'}", "history", "--json",
                 "--since", "7d", home=tmp_path).stdout
    )  # fmt: skip
    for node in nodes:
        recorder.wait(partial(_is_offline, recorder, node))
        numbers = {event["id"]: event["seq"] for event in events(recorder, node)}
        kept = {event["id"]: event["seq"] for event in with_history if event["node"] == node}
        assert numbers == kept
        assert sorted(numbers.values()) == list(range(1, len(numbers) + 1))
        order = list(dict.fromkeys(event["seq"] for event in events(recorder, node)))
        assert order == sorted(order)


def test_sigterm_finishes_the_utterances_of_all_sources(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    """Both sources are in the middle of an utterance."""
    speech, _ = sf.read(SAMPLE, dtype="int16", start=RATE * 5, frames=24_000)
    long = np.tile(speech, 20)
    sf.write(tmp_path / "long.wav", long, RATE)
    port = free_port()
    sources = [
        {"node": node, "audio": {"source": str(tmp_path / "long.wav")}} for node in ("east", "west")
    ]
    with House(tmp_path, broker.port, *sources, metrics={"port": port}) as house:
        for node in ("east", "west"):
            recorder.wait_count(f"serd/{node}/emotion", 1)  # one of many utterances
            wait_until(
                partial(_has_processed, port, node, 4.2)
            )  # and more than a second of the next
        assert house.stop() == 0, house.log
    for node in ("east", "west"):
        recorder.wait_for(f"serd/{node}/status", b"offline")
        received = events(recorder, node)
        assert [event["seq"] for event in received] == list(range(1, len(received) + 1))
        assert sum(event["duration_s"] for event in received) > 3.5
    assert not any("Traceback" in line for line in house.log)


def _has_processed(port: int, node: str, seconds: float) -> bool:
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith(f'serd_audio_seconds_total{{node="{node}"')
    ]
    return float(line.split()[-1]) >= seconds


def test_a_reload_removes_one_source_and_adds_another(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    first = {"node": "first", "audio": {"source": str(SAMPLE)}}
    second = {"node": "second", "audio": {"source": str(SAMPLE)}}
    with House(tmp_path, broker.port, first) as house:
        recorder.wait_for("serd/first/status", b"online")
        house.write(first, {"node": "FIRST"})
        house.send(signal.SIGHUP)
        house.wait_log("sources[1].node = FIRST")
        house.wait_log("going on with the old configuration")
        house.write(second)
        house.send(signal.SIGHUP)
        recorder.wait_for("serd/first/status", b"offline")
        recorder.wait_for("serd/second/status", b"online")
        assert house.stop() == 0, house.log


def test_all_nodes_of_a_killed_process_go_offline(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    """MQTT has one last will per connection, so each node needs its own."""
    nodes = ("one", "two", "three")
    sources = [{"node": node, "audio": {"source": str(SAMPLE)}} for node in nodes]
    with House(tmp_path, broker.port, *sources) as house:
        for node in nodes:
            recorder.wait_for(f"serd/{node}/status", b"online")
        house.kill()
        for node in nodes:
            recorder.wait_for(f"serd/{node}/status", b"offline")


def test_tail_shows_events_of_all_sources(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    sources = [{"node": node, "audio": {"source": str(SAMPLE)}} for node in ("left", "right")]
    with House(tmp_path, broker.port, *sources) as house:
        # tail runs with the daemon's configuration.
        command = [part for part in house.command if part != "run"] + ["tail", "--json"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True
        ) as tail:
            assert tail.stdout is not None
            seen: set[str] = set()
            deadline = time.monotonic() + TIMEOUT_S
            while seen != {"left", "right"} and time.monotonic() < deadline:
                seen.add(json.loads(tail.stdout.readline())["node"])
            tail.send_signal(signal.SIGINT)
            assert tail.wait(TIMEOUT_S) == 0
        assert house.stop() == 0
    assert seen == {"left", "right"}


@pytest.mark.pulse
def test_losing_one_microphone_does_not_interrupt_another(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    """Two PortAudio streams in one process, each from its own sound server."""
    with virtual_microphone() as near, virtual_microphone() as far:
        config = Path(near.env["ALSA_CONFIG_PATH"])
        servers = {"near": near.env["PULSE_SERVER"], "far": far.env["PULSE_SERVER"]}
        config.write_text(
            config.read_text()
            + "".join(
                f'pcm.{name} {{ type pulse server "{server}" device "room.monitor" }}\n'
                for name, server in servers.items()
            )
        )
        sources: list[dict[str, Any]] = [
            {"node": node, "audio": {"device": node}} for node in ("near", "far")
        ]
        speech = excerpt(tmp_path / "speech.wav", 4.5, 8)
        with House(tmp_path, broker.port, *sources, env=near.env) as house:
            house.wait_log("near: listening to")
            house.wait_log("far: listening to")
            near.play(speech)
            recorder.wait_count("serd/near/emotion", 1)
            assert events(recorder, "far") == []
            far.stop()
            recorder.wait(lambda: _telemetry(recorder, "far").get("condition") == "waiting")
            before = len(events(recorder, "near"))
            near.play(speech)
            recorder.wait_count("serd/near/emotion", before + 1)
            far.start()
            recorder.wait(lambda: _telemetry(recorder, "far").get("condition") == "listening")
            far.play(speech)
            recorder.wait_count("serd/far/emotion", 1)
            assert house.stop() == 0, house.log
        # The near microphone was never reopened.
        assert sum("near: listening to" in line for line in house.log) == 1
