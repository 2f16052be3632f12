"""The bridge from a home to the centre: the files of examples/fleet, two mosquittos, TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broker import Certificates, Mosquitto, mosquitto
from tests.fleet.clients import EXAMPLES, PASSWORD, User, access_control
from tests.fleet.conftest import HOME_USERS
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

PREFIX = "homes/home-17/"


def bridge(port: int, certificates: Certificates) -> list[str]:
    """The lines of bridge.conf, with this test's address, passwords and restart timeout."""
    text = (EXAMPLES / "bridge.conf").read_text()
    for old, new in (
        ("centre.example.org:8883", f"localhost:{port}"),
        ("/etc/mosquitto/certs/ca.pem", str(certificates.ca)),
        ("local_password change-me-too", f"local_password {PASSWORD}"),
        ("remote_password change-me", f"remote_password {PASSWORD}"),
        ("restart_timeout 5 60", "restart_timeout 1"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text.splitlines()


@pytest.fixture
def centre(tmp_path: Path, certificates: Certificates) -> Iterator[Mosquitto]:
    users = ("home-17", "home-18", "reader", "controller")
    extra = access_control(tmp_path / "centre", EXAMPLES / "centre.acl", users)
    with mosquitto(tmp_path, tls=certificates, extra=extra) as broker:
        yield broker


@pytest.fixture
def home(tmp_path: Path, centre: Mosquitto, certificates: Certificates) -> Iterator[Mosquitto]:
    extra = access_control(tmp_path / "home", EXAMPLES / "home.acl", HOME_USERS)
    lines = tuple(bridge(centre.port, certificates))
    with mosquitto(tmp_path, port=free_port(), extra=(*extra, *lines)) as broker:
        centre.wait_log("Sending SUBACK to bridge-home-17")
        yield broker


def test_events_arrive_under_the_homes_prefix_and_commands_go_back(
    home: Mosquitto, centre: Mosquitto, certificates: Certificates
) -> None:
    ca = certificates.ca
    with (
        User(centre.port, "reader", "#", ca=ca) as reader,
        User(centre.port, "controller", ca=ca) as controller,
        User(home.port, "living-room", "#") as node,
    ):
        reader.wait(f"{PREFIX}bridge", b"1")
        for kind in ("status", "emotion", "state", "mute", "telemetry"):
            assert node.publish(f"serd/living-room/{kind}", kind.encode())
            reader.wait(f"{PREFIX}serd/living-room/{kind}", kind.encode())
        assert controller.publish(f"{PREFIX}serd/living-room/mute/set", b"ON")
        node.wait("serd/living-room/mute/set", b"ON")
    assert [line for line in home.log + centre.log if "Denied" in line] == []


def test_a_home_can_neither_publish_for_another_nor_receive_from_it(
    centre: Mosquitto, certificates: Certificates
) -> None:
    ca = certificates.ca
    with (
        User(centre.port, "home-18", "#", f"{PREFIX}serd/+/emotion", ca=ca) as home_18,
        User(centre.port, "home-17", ca=ca) as home_17,
        User(centre.port, "controller", ca=ca) as controller,
        User(centre.port, "reader", "#", ca=ca) as reader,
    ):
        attempts = [f"{PREFIX}serd/hall/emotion", f"{PREFIX}serd/hall/mute/set", f"{PREFIX}bridge",
                    "homes/home-18/serd/hall/mute/set", "serd/hall/emotion"]  # fmt: skip
        assert [topic for topic in attempts if home_18.publish(topic)] == []
        assert [topic for topic in attempts if reader.publish(topic)] == []
        assert home_17.publish(f"{PREFIX}serd/hall/emotion")
        assert controller.publish(f"{PREFIX}serd/hall/mute/set")
        assert controller.publish("homes/home-18/serd/hall/mute/set", b"ON")
        reader.wait(f"{PREFIX}serd/hall/emotion")
        home_18.wait("homes/home-18/serd/hall/mute/set", b"ON")
        assert home_18.topics() == ["homes/home-18/serd/hall/mute/set"]


def test_a_broken_link_loses_nothing_even_if_the_homes_broker_restarts(
    home: Mosquitto, centre: Mosquitto, certificates: Certificates
) -> None:
    topic, ca = "serd/living-room/emotion", certificates.ca
    payloads = [str(number).encode() for number in range(300)]

    def publish_all(numbers: list[bytes]) -> None:
        with User(home.port, "living-room") as node:
            for number in numbers:
                assert node.publish(topic, number)

    session = f"{PREFIX}serd/+/emotion"
    with User(centre.port, "reader", session, ca=ca, session="keeper") as keeper:
        publish_all(payloads[:100])
        keeper.wait_count(100)
    centre.stop()
    publish_all(payloads[100:200])
    home.restart()
    publish_all(payloads[200:250])
    centre.start()
    centre.wait_log("Sending SUBACK to bridge-home-17")
    publish_all(payloads[250:])
    with User(centre.port, "reader", session, ca=ca, session="keeper") as later:
        # In any order: mosquitto lets new messages overtake the queue while it empties, and
        # redelivers what the reader had not acknowledged.
        for number in payloads[100:]:
            later.wait(f"{PREFIX}{topic}", number)
        assert set(later.topics()) == {f"{PREFIX}{topic}"}
