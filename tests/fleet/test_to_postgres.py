"""The PostgreSQL consumer in its own processes, with a real broker and a real database."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from benchmarks.fleet.consumers import Consumers
from benchmarks.fleet.postgres import SCHEMA
from serd.events.event import Event, encode
from tests.broker import Certificates, Mosquitto, Recorder, mosquitto, wait_until
from tests.fleet.clients import EXAMPLES, PASSWORD, User, access_control
from tests.fleet.conftest import HOME_USERS
from tests.mqtt.samples import new_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.fleet.postgres import Cluster

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

QUICK = ("--linger", "0.05", "--log-every", "0.2")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto with the limits of the example."""
    text = (EXAMPLES / "home.conf").read_text()
    limits = re.findall(r"^(?:max_|persistent_client).*$", text, re.MULTILINE)
    assert len(limits) == 5
    with mosquitto(tmp_path, extra=tuple(limits)) as running:
        yield running


@pytest.fixture
def sender(broker: Mosquitto) -> Iterator[Recorder]:
    """A client whose `publish` waits for the broker's acknowledgement."""
    with Recorder(broker.port, "none") as recorder:
        yield recorder


def event(seq: int, node: str = "attic") -> Event:
    return replace(new_event(seq, node=node), seq=seq, latency_ms=12.5)


def publish(sender: Recorder, *events: Event, prefix: str = "") -> list[str]:
    """Publish events; return their ids."""
    for one in events:
        sender.publish(f"{prefix}serd/{one.node}/emotion", encode(one))
    return [one.id for one in events]


def query(cluster: Cluster, sql: str) -> list[tuple[Any, ...]]:
    with cluster.connect() as connection:
        return connection.execute(sql.encode()).fetchall()


def stored(cluster: Cluster) -> list[str]:
    """The ids in the table."""
    return [str(row[0]) for row in query(cluster, "SELECT id FROM serd.event")]


def wait_stored(cluster: Cluster, wanted: list[str]) -> None:
    """Wait until all of these are stored; check that none is stored twice, and no others."""
    wait_until(lambda: set(wanted) <= set(stored(cluster)))
    assert sorted(stored(cluster)) == sorted(wanted)


def test_an_event_becomes_a_row(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    one = event(1)
    with Consumers(tmp_path, broker.port, writer_dsn(cluster), count=1, arguments=QUICK):
        wait_stored(cluster, publish(sender, one))
    ((row,),) = query(cluster, "SELECT to_jsonb(event) FROM serd.event")
    moments = [datetime.fromisoformat(row.pop(name)) for name in ("started_at", "ended_at")]
    assert moments == [datetime.fromisoformat(text) for text in (one.started_at, one.ended_at)]
    assert row.pop("stored_at")
    published = json.loads(encode(one))
    kept = ("id", "node", "seq", "duration_s", "emotion", "confidence", "scores", "valence",
            "arousal", "level_dbfs", "latency_ms")  # fmt: skip
    assert row == {
        **{name: published[name] for name in kept},
        "home": "",
        "model": "default 1.0",
        "model_sha256": "0123456789ab",
    }


def writer_dsn(cluster: Cluster) -> str:
    """The DSN of a role that has only the rights granted in the schema's last lines."""
    grants = SCHEMA.read_text().partition("The consumer needs only these rights:")[2]
    with cluster.connect() as connection:
        if not query(cluster, "SELECT 1 FROM pg_roles WHERE rolname = 'serd_writer'"):
            connection.execute(re.sub(r"^--", "", grants, flags=re.MULTILINE).encode())
    return cluster.dsn.replace("user=serd", "user=serd_writer")


def test_three_consumers_lose_and_duplicate_nothing_when_one_is_killed(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    arguments = ("--linger", "0.1", "--batch", "20", "--log-every", "0.2")
    rooms = [f"room-{number}" for number in range(6)]
    with Consumers(tmp_path, broker.port, cluster.dsn, arguments=arguments) as consumers:
        ids = publish(sender, *(event(seq, node) for seq in range(1, 21) for node in rooms))
        wait_stored(cluster, ids)
        with cluster.connect() as blocker, blocker.transaction():
            # All of them now hold messages that are neither stored nor acknowledged.
            blocker.execute("LOCK TABLE serd.event IN ACCESS EXCLUSIVE MODE")
            ids += publish(sender, *(event(seq, node) for seq in range(21, 41) for node in rooms))
            wait_until(lambda: waiting_for_lock(cluster) == 3)
            consumers.kill("events-2")
            ids += publish(sender, *(event(seq, node) for seq in range(41, 61) for node in rooms))
        consumers.start("events-2")
        consumers.wait("events-2", "the session goes on")
        ids += publish(sender, *(event(seq, node) for seq in range(61, 81) for node in rooms))
        wait_stored(cluster, ids)
        assert [consumers.end(name) for name in consumers.names] == [0, 0, 0]
        assert all(consumers.figure(name, "stored") > 0 for name in consumers.names)
        assert sorted(stored(cluster)) == sorted(ids)
    assert query(cluster, "SELECT * FROM serd.gap") == []


def waiting_for_lock(cluster: Cluster) -> int:
    sql = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    ((count,),) = query(cluster, sql)
    return int(count)


def test_a_redelivered_event_is_stored_once(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    one, other = event(1), event(2)
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=QUICK) as consumers:
        publish(sender, one)
        wait_stored(cluster, [one.id])
        publish(sender, one, other, other)
        wait_until(lambda: consumers.figure("events-1", "known") == 2)
        wait_stored(cluster, [one.id, other.id])


def test_a_restart_of_the_database_loses_nothing(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=QUICK) as consumers:
        ids = publish(sender, event(1))
        wait_stored(cluster, ids)
        cluster.stop()
        try:
            ids += publish(sender, event(2), event(3))
            consumers.wait("events-1", "trying again until it works")
        finally:
            cluster.start()
        consumers.wait("events-1", "connected to the database", times=2)
        wait_stored(cluster, ids)


def test_a_restart_of_the_broker_loses_nothing(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=QUICK) as consumers:
        ids = publish(sender, event(1))
        wait_stored(cluster, ids)
        broker.restart()
        consumers.wait("events-1", "the session goes on")
        sender.wait(lambda: sender.connections >= 2)
        ids += publish(sender, event(2))
        wait_stored(cluster, ids)


def test_events_published_while_the_consumer_is_stopped_are_stored_later(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=QUICK) as consumers:
        assert consumers.end("events-1") == 0
        # More than mosquitto's default of 1000:
        ids = publish(sender, *(event(seq) for seq in range(1, 1501)))
        consumers.start("events-1")
        wait_stored(cluster, ids)


def test_a_consumer_that_leaves_stores_its_share_and_gets_no_more(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    leaving = (*QUICK, "--leave")
    with (
        Consumers(tmp_path, broker.port, cluster.dsn, count=2, arguments=QUICK) as consumers,
        Consumers(tmp_path, broker.port, cluster.dsn, count=0, arguments=leaving) as last,
    ):
        assert consumers.end("events-2") == 0
        ids = publish(sender, *(event(seq) for seq in range(1, 101)))
        # The others are queued for the stopped consumer.
        wait_until(lambda: len(stored(cluster)) == 50)
        last.start("events-2")
        assert last.processes["events-2"].wait(20) == 0
        wait_stored(cluster, ids)
        ids += publish(sender, *(event(seq) for seq in range(101, 121)))
        wait_stored(cluster, ids)
        consumers.start("events-2")
        consumers.wait("events-2", "a new session", times=2)


def test_no_more_than_one_batch_is_in_flight(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    arguments = ("--linger", "0.05", "--batch", "7")
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=arguments):
        with cluster.connect() as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE serd.event IN ACCESS EXCLUSIVE MODE")
            ids = publish(sender, *(event(seq) for seq in range(1, 101)))
            broker.wait_log("Received PUBLISH", count=100)
            sent = [line for line in broker.log if "Sending PUBLISH to events-1" in line]
            assert len(sent) == 7
        wait_stored(cluster, ids)


SPOILED: list[dict[str, Any]] = [
    {"schema": 2}, {"id": "no id"}, {"id": 7}, {"id": {}}, {"node": "hall"}, {"seq": "1"},
    {"seq": True}, {"seq": 10**30}, {"started_at": "yesterday"}, {"started_at": None},
    {"ended_at": "2026-02-30T00:00:00.000Z"}, {"emotion": "a\0b"}, {"emotion": "\ud800"},
    {"confidence": "high"}, {"scores": []}, {"scores": {"happy": float("nan")}},
    {"emotion": "x" * 50_000}, {"confidence": 5}, {"seq": -1}, {"seq": 0}, {"duration_s": 1e9},
    {"ended_at": "2026-01-01T00:00:00.000Z\n"}, {"scores": {}},
    {"valence": 1e300}, {"model": "default"}, {"model": {}}, {"latency_ms": []},
]  # fmt: skip
"""Changes that make an event invalid, or impossible to store."""


def test_invalid_events_are_counted_and_do_no_harm(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    good = json.loads(encode(event(1)))
    bad = [b"", b"\xff\xfe", b"no JSON", b"[]", b"7", b'{"schema":1}', b"[" * 30_000]
    bad += [json.dumps({**good, **change}).encode() for change in SPOILED]
    arguments = ("--linger", "0.5", "--log-every", "0.2")
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=arguments) as consumers:
        ids = publish(sender, event(1))
        for payload in bad:
            sender.publish("serd/attic/emotion", payload)
        ids += publish(sender, event(2))
        wait_stored(cluster, ids)
        wait_until(lambda: consumers.figure("events-1", "rejected") == len(bad))
        assert consumers.end("events-1") == 0
        # Logged at once, then once a minute:
        assert consumers.log("events-1").count("; refused") <= 3
    kept = query(cluster, "SELECT topic, reason, bytes, length(payload) FROM serd.refused")
    assert len(kept) == len(bad)
    assert {topic for topic, *_ in kept} == {"serd/attic/emotion"}
    assert sorted(size for _, _, size, _ in kept) == sorted(len(payload) for payload in bad)
    assert max(length for *_, length in kept) == 4096
    assert sorted(stored(cluster)) == sorted(ids)


def test_a_flood_of_invalid_events_does_not_fill_the_table(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=QUICK) as consumers:
        for number in range(200):
            sender.publish("serd/attic/emotion", b"rubbish %d" % number)
        ids = publish(sender, event(1))
        wait_stored(cluster, ids)
        wait_until(lambda: consumers.figure("events-1", "rejected") == 200)
        assert consumers.log("events-1").count("; refused") <= 3
    ((kept,),) = query(cluster, "SELECT count(*)::int FROM serd.refused")
    assert 60 <= kept <= 120  # a new minute may have begun meanwhile


def test_homes_hourly_moods_and_gaps_at_a_centre(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    arguments = (*QUICK, "--topic", "homes/+/serd/+/emotion")
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=arguments):
        ids = publish(sender, event(1), event(2), event(5), prefix="homes/home-17/")
        unsure = replace(event(1), id=event(0).id, emotion="uncertain")
        ids += publish(sender, unsure, prefix="homes/home-18/")
        wait_stored(cluster, ids)
    assert query(
        cluster, "SELECT home, node, first_missing, last_missing, missing FROM serd.gap"
    ) == [("home-17", "attic", 3, 4, 2)]
    moods = query(cluster, "SELECT home, events, uncertain, mood, valence, speech_s "
                           "FROM serd.hourly_mood ORDER BY home")  # fmt: skip
    assert moods == [("home-17", 3, 0, "happy", 0.25, 4.5), ("home-18", 1, 1, None, 0.25, 1.5)]


def test_a_database_without_the_table_is_reported(
    cluster: Cluster, broker: Mosquitto, sender: Recorder, tmp_path: Path
) -> None:
    empty = cluster.dsn.replace("dbname=postgres", "dbname=template1")
    with Consumers(tmp_path, broker.port, empty, count=1, arguments=QUICK) as consumers:
        publish(sender, event(1))
        assert consumers.processes["events-1"].wait(20) == 78
        last = consumers.log("events-1").splitlines()[-1]
        assert last.startswith("to_postgres: relation")
        assert "schema.sql" in last


def test_a_second_process_with_the_same_client_id_is_reported(
    cluster: Cluster, broker: Mosquitto, tmp_path: Path
) -> None:
    with Consumers(tmp_path, broker.port, cluster.dsn, count=1, arguments=QUICK) as consumers:
        consumers.start("events-1")
        consumers.wait("events-1", "does another process call itself events-1?")


def test_tls_and_login_and_their_errors(
    cluster: Cluster, tmp_path: Path, certificates: Certificates
) -> None:
    extra = access_control(tmp_path / "home", EXAMPLES / "home.acl", HOME_USERS)
    secret, ca = tmp_path / "password", certificates.ca
    secret.write_text("wrong\n")
    login = ("--host", "localhost", "--username", "reader", "--password-file", str(secret))
    with (
        mosquitto(tmp_path, tls=certificates, extra=extra) as broker,
        Consumers(tmp_path, broker.port, cluster.dsn, count=0,
                  arguments=(*QUICK, *login, "--ca", str(ca))) as consumers,
    ):  # fmt: skip
        consumers.start("right")
        consumers.wait("right", "refuses the connection: Not authorized; trying again")
        secret.write_text(f"{PASSWORD}\n")  # read again for each connection
        consumers.wait("right", "connected to the broker")
        one = event(1, "living-room")
        with User(broker.port, "living-room", ca=ca) as node:
            assert node.publish("serd/living-room/emotion", encode(one))
        wait_stored(cluster, [one.id])
        assert consumers.end("right") == 0
        secret.unlink()
        consumers.start("without")
        assert consumers.processes["without"].wait(20) == 66
        assert consumers.log("without").startswith(f"to_postgres: --password-file {secret}: ")
    wrong_ca = (*QUICK, "--host", "localhost", "--ca", str(certificates.stranger_ca))
    with (
        mosquitto(tmp_path, tls=certificates, extra=extra) as broker,
        Consumers(tmp_path, broker.port, cluster.dsn, count=0, arguments=wrong_ca) as consumers,
    ):
        consumers.start("stranger")
        consumers.wait("stranger", "certificate verify failed")
