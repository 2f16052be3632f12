"""The ACL of a home in a real mosquitto: who may publish and receive what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from serd.audio import SAMPLE
from serd.mqtt.topics import KINDS
from tests.fleet.clients import PASSWORD, User
from tests.system.node import Node, run_serd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.broker import Mosquitto

pytestmark = pytest.mark.broker

OWN = "serd/living-room"


def login(folder: Path) -> list[str]:
    """Options for a serd that logs in as the node ``living-room``."""
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    return ["--set", "node=living-room", "--set", "mqtt.username=living-room",
            "--set", f"mqtt.password_file={secret}"]  # fmt: skip


def test_a_node_may_publish_its_own_topics(home: Mosquitto) -> None:
    with User(home.port, "reader", "#") as reader, User(home.port, "living-room") as node:
        for kind in KINDS:
            assert node.publish(f"{OWN}/{kind}"), kind
            reader.wait(f"{OWN}/{kind}")


def test_a_node_cannot_publish_for_another_or_send_commands(home: Mosquitto) -> None:
    with (
        User(home.port, "reader", "#") as reader,
        User(home.port, "controller", "#") as controller,
        User(home.port, "living-room") as node,
    ):
        forbidden = [f"serd/hall/{kind}" for kind in KINDS]
        forbidden += ["serd/hall/mute/set", f"{OWN}/mute/set", "serd/hall/sensitivity/set",
                      f"{OWN}/sensitivity/set", f"{OWN}/emotion/more", "serd/other",
                      "homeassistant/device/serd_hall/config", "homeassistant/status",
                      "elsewhere"]  # fmt: skip
        assert [topic for topic in forbidden if node.publish(topic)] == []
        assert node.publish(f"{OWN}/emotion", b"last")
        for listener in (reader, controller):
            listener.wait(f"{OWN}/emotion", b"last")
            assert listener.topics() == [f"{OWN}/emotion"]


def test_a_node_receives_its_own_commands_and_no_others(home: Mosquitto) -> None:
    wide = (
        "#",
        "serd/#",
        "serd/+/mute/set",
        "serd/+/sensitivity/set",
        "serd/hall/mute/set",
        "serd/hall/emotion",
    )
    with (
        User(home.port, "living-room", *wide) as node,
        User(home.port, "hall") as hall,
        User(home.port, "controller") as controller,
    ):
        assert hall.publish("serd/hall/emotion")
        assert controller.publish("serd/hall/mute/set")
        assert controller.publish("serd/hall/sensitivity/set", b"low")
        assert controller.publish(f"{OWN}/mute/set", b"ON")
        assert controller.publish(f"{OWN}/sensitivity/set", b"high")
        node.wait(f"{OWN}/sensitivity/set", b"high")
        assert set(node.topics()) == {f"{OWN}/mute/set", f"{OWN}/sensitivity/set"}


def test_a_last_will_is_accepted_only_for_the_nodes_own_status(home: Mosquitto) -> None:
    with (
        User(home.port, "reader", "#") as reader,
        User(home.port, "living-room", session="forger", will="serd/hall/status") as forger,
        User(home.port, "living-room", session="honest", will=f"{OWN}/status") as honest,
    ):
        for gone in (forger, honest):
            gone.drop_connection()
        home.wait_log("Client forger closed its connection")
        reader.wait(f"{OWN}/status", b"offline")
        with User(home.port, "hall") as hall:
            assert hall.publish("serd/hall/emotion", b"last")
        reader.wait("serd/hall/emotion", b"last")
        assert reader.topics() == [f"{OWN}/status", "serd/hall/emotion"]


def test_a_reader_can_read_but_not_publish(home: Mosquitto) -> None:
    with (
        User(home.port, "reader", "#") as reader,
        User(home.port, "controller") as controller,
        User(home.port, "hall") as hall,
    ):
        attempts = ["serd/hall/mute/set", "serd/hall/correct", "serd/hall/emotion",
                    "serd/reader/emotion", "anything"]  # fmt: skip
        assert [topic for topic in attempts if reader.publish(topic)] == []
        assert controller.publish("serd/hall/mute/set")
        assert controller.publish("serd/hall/correct")
        assert hall.publish("serd/hall/emotion", b"last")
        reader.wait("serd/hall/emotion", b"last")
        assert reader.topics() == ["serd/hall/emotion"], "a reader must not get commands"


def test_a_controller_can_send_commands_but_no_reports(home: Mosquitto) -> None:
    with User(home.port, "controller") as controller:
        attempts = ["serd/hall/emotion", "serd/hall/mute", "serd/controller/emotion",
                    "homeassistant/device/serd_hall/config"]  # fmt: skip
        assert [topic for topic in attempts if controller.publish(topic)] == []
        assert controller.publish("serd/hall/mute/set", b"ON")
        assert controller.publish("serd/hall/correct", b"{}")
        assert controller.publish("homeassistant/status", b"online")


def test_the_reply_to_a_correction_reaches_its_sender(home: Mosquitto) -> None:
    with (
        User(home.port, "living-room", f"{OWN}/correct") as node,
        User(home.port, "controller", f"{OWN}/correct/result") as controller,
    ):
        assert controller.publish(f"{OWN}/correct", b"{}")
        node.wait(f"{OWN}/correct", b"{}")
        assert node.publish(f"{OWN}/correct/result", b"taken")
        controller.wait(f"{OWN}/correct/result", b"taken")
        assert not node.publish("serd/hall/correct/result")


def test_anonymous_clients_are_rejected(home: Mosquitto, tmp_path: Path) -> None:
    assert check_results(tmp_path, home.port)["broker login"] == "fail"


def test_serd_check_passes_for_a_node_user(home: Mosquitto, tmp_path: Path) -> None:
    found = check_results(tmp_path, home.port, *login(tmp_path))
    assert found["broker login"] == found["broker publish"] == "ok"
    assert found.get("discovery", "ok") == "ok"
    assert denied(home) == []


def check_results(folder: Path, port: int, *options: str) -> dict[str, str]:
    """The status that `serd check` gives each item."""
    done = run_serd("check", "--json", "--set", f"mqtt.port={port}", *options, home=folder)
    return {one["check"]: one["status"] for one in json.loads(done.stdout)["checks"]}


def denied(broker: Mosquitto) -> list[str]:
    return [line for line in broker.log if "Denied" in line]


def test_serd_runs_as_a_node_user_and_nothing_is_denied(home: Mosquitto, tmp_path: Path) -> None:
    with (
        User(home.port, "reader", "serd/#") as reader,
        User(home.port, "controller", "homeassistant/#") as controller,
        Node(
            tmp_path, home.port, "--source", str(SAMPLE), *login(tmp_path), node="living-room"
        ) as node,
    ):
        controller.wait_count(1)
        assert controller.topics() == ["homeassistant/device/serd_living-room/config"]
        reader.wait(f"{OWN}/status", b"online")
        assert controller.publish(f"{OWN}/mute/set", b"ON")
        reader.wait(f"{OWN}/mute", b"ON")
        assert controller.publish("homeassistant/status", b"online")
        controller.wait_count(2)
        node.kill()
        reader.wait(f"{OWN}/status", b"offline")
    assert denied(home) == []
