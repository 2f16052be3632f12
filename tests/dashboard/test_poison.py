"""Malformed messages do not hide other nodes; a failed follower shows in the health check."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from serd.dashboard.broker import Monitor
from serd.events.event import encode
from serd.mqtt.messages import StatusMessage
from tests.broker import TIMEOUT_S, Mosquitto, Recorder, mosquitto, wait_until
from tests.dashboard.fakes import FakeFollower, World
from tests.dashboard.making import made_event, now_ms
from tests.dashboard.running import Dashboard
from tests.mqtt.samples import poison

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from serd.mqtt.messages import Message


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.mark.broker
def test_malformed_messages_do_not_hide_other_nodes(tmp_path: Path, broker: Mosquitto) -> None:
    """Retained and live, before and after the start, with a real broker and real requests."""
    messages = poison("evil")
    event = replace(made_event("attic", 1, now_ms() - 60_000), seq=1, latency_ms=1.0)
    with Recorder(broker.port, "none") as speaker:
        for topic, payload in messages:
            speaker.publish(topic, payload, retain=True)
        speaker.publish("serd/evil/emotion", bytes(3_000_000), retain=True)
        with Dashboard(tmp_path, broker.port) as dash:
            dash.wait_log("connected to the broker")
            for topic, payload in messages:
                speaker.publish(topic, payload)
            speaker.publish("serd/attic/emotion", encode(event))

            def ids(path: str) -> list[str]:
                response = httpx.get(f"{dash.url}api/{path}")
                assert response.status_code == 200
                return [found["id"] for found in response.json()["events"]]

            wait_until(lambda: ids("events") == [event.id])
            assert httpx.get(f"{dash.url}api/timeline").json()["total"] == 1
            names = [node["name"] for node in httpx.get(f"{dash.url}api/nodes").json()["nodes"]]
            assert "attic" in names
            assert httpx.get(f"{dash.url}healthz").json() == {"status": "ok", "broker": True}


class FailingOnce(FakeFollower):
    """Raises an unexpected error, once."""

    def __init__(self, tell: Callable[[bool, str], None]) -> None:
        super().__init__(tell)
        self.failures = 1

    def __iter__(self) -> Iterator[Message]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("unforeseen")
        return super().__iter__()


def test_the_follower_thread_survives_an_unexpected_error(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor(FailingOnce)

    async def follow() -> None:
        monitor.start(asyncio.get_running_loop())
        monitor._messages.queue.put(StatusMessage(node="attic", online=True))  # type: ignore[attr-defined]
        async with asyncio.timeout(TIMEOUT_S):
            while monitor.nodes.get("attic") is None:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)
        assert monitor.failure == ""
        monitor.stop()

    asyncio.run(follow())
    assert "starting again" in caplog.text


def test_a_message_that_cannot_be_handled_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    monitor = world.monitor
    monkeypatch.setattr(monitor, "handle", lambda _message: 1 / 0)
    monitor._queue.append(StatusMessage(node="attic", online=True))
    monitor._drain()
    assert monitor.info()["ignored"] == 1
    assert "could not be handled" in caplog.text


@pytest.mark.parametrize("dead", [False, True])
def test_health_reports_a_dead_or_hanging_thread(
    monkeypatch: pytest.MonkeyPatch, *, dead: bool
) -> None:
    world = World()
    client = TestClient(world.app, base_url="http://localhost")
    assert client.get("/healthz").status_code == 200
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    monkeypatch.setattr(world.monitor, "_loop", object())
    monkeypatch.setattr(world.monitor, "_thread", ended if dead else threading.current_thread())
    monkeypatch.setattr(FakeFollower, "heartbeat", 0.0 - 1000)
    response = client.get("/healthz")
    assert response.status_code == 503
    assert ("has died" if dead else "has been silent for") in response.json()["status"]
