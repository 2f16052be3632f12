"""The bridge of a home to the centre: examples/fleet's files, two real mosquittos, TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broker import Certificates, Mosquitto, mosquitto
from tests.fleet.conftest import HOME_USERS
from tests.fleet.people import EXAMPLES, PASSWORD, Person, guarded
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

PREFIX = "homes/home-17/"


def bridge(port: int, certificates: Certificates) -> list[str]:
    """The lines of bridge.conf, with this test's address, passwords and patience."""
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
    extra = guarded(tmp_path / "centre", EXAMPLES / "centre.acl", users)
    with mosquitto(tmp_path, tls=certificates, extra=extra) as broker:
        yield broker


@pytest.fixture
def home(tmp_path: Path, centre: Mosquitto, certificates: Certificates) -> Iterator[Mosquitto]:
    extra = guarded(tmp_path / "home", EXAMPLES / "home.acl", HOME_USERS)
    lines = tuple(bridge(centre.port, certificates))
    with mosquitto(tmp_path, port=free_port(), extra=(*extra, *lines)) as broker:
        centre.wait_log("Sending SUBACK to bridge-home-17")
        yield broker


def test_events_come_under_the_home_and_commands_go_back(
    home: Mosquitto, centre: Mosquitto, certificates: Certificates
) -> None:
    ca = certificates.ca
    with (
        Person(centre.port, "reader", "#", ca=ca) as reader,
        Person(centre.port, "controller", ca=ca) as controller,
        Person(home.port, "living-room", "#") as node,
    ):
        reader.wait(f"{PREFIX}bridge", b"1")
        for kind in ("status", "emotion", "state", "mute", "telemetry"):
            assert node.publish(f"serd/living-room/{kind}", kind.encode())
            reader.wait(f"{PREFIX}serd/living-room/{kind}", kind.encode())
        assert controller.publish(f"{PREFIX}serd/living-room/mute/set", b"ON")
        node.wait("serd/living-room/mute/set", b"ON")
    assert [line for line in home.log + centre.log if "Denied" in line] == []


def test_a_home_cannot_speak_for_another_nor_hear_it(
    centre: Mosquitto, certificates: Certificates
) -> None:
    ca = certificates.ca
    with (
        Person(centre.port, "home-18", "#", f"{PREFIX}serd/+/emotion", ca=ca) as stranger,
        Person(centre.port, "home-17", ca=ca) as known,
        Person(centre.port, "controller", ca=ca) as controller,
        Person(centre.port, "reader", "#", ca=ca) as reader,
    ):
        attempts = [f"{PREFIX}serd/hall/emotion", f"{PREFIX}serd/hall/mute/set", f"{PREFIX}bridge",
                    "homes/home-18/serd/hall/mute/set", "serd/hall/emotion"]  # fmt: skip
        assert [topic for topic in attempts if stranger.publish(topic)] == []
        assert [topic for topic in attempts if reader.publish(topic)] == []
        assert known.publish(f"{PREFIX}serd/hall/emotion")
        assert controller.publish(f"{PREFIX}serd/hall/mute/set")
        assert controller.publish("homes/home-18/serd/hall/mute/set", b"ON")
        reader.wait(f"{PREFIX}serd/hall/emotion")
        stranger.wait("homes/home-18/serd/hall/mute/set", b"ON")
        assert stranger.topics() == ["homes/home-18/serd/hall/mute/set"]


def test_a_link_that_was_down_loses_nothing_even_over_a_restart_at_home(
    home: Mosquitto, centre: Mosquitto, certificates: Certificates
) -> None:
    topic, ca = "serd/living-room/emotion", certificates.ca
    said = [str(number).encode() for number in range(300)]

    def say(numbers: list[bytes]) -> None:
        with Person(home.port, "living-room") as node:
            for number in numbers:
                assert node.publish(topic, number)

    session = f"{PREFIX}serd/+/emotion"
    with Person(centre.port, "reader", session, ca=ca, session="keeper") as keeper:
        say(said[:100])
        keeper.wait_count(100)
    centre.stop()
    say(said[100:200])
    home.restart()
    say(said[200:250])
    centre.start()
    centre.wait_log("Sending SUBACK to bridge-home-17")
    say(said[250:])
    with Person(centre.port, "reader", session, ca=ca, session="keeper") as later:
        # In whatever order: mosquitto lets what is said while the queue empties overtake it, and
        # what the reader had not acknowledged comes a second time.
        for number in said[100:]:
            later.wait(f"{PREFIX}{topic}", number)
        assert set(later.topics()) == {f"{PREFIX}{topic}"}
