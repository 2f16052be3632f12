"""Fixtures of the fleet tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.fleet.postgres import Cluster, find_postgres
from tests.broker import Certificates, Mosquitto, make_certificates, mosquitto
from tests.fleet.clients import EXAMPLES, access_control

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOME_USERS = ("living-room", "hall", "reader", "controller", "bridge")


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """A PostgreSQL for all tests of this folder."""
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed (`make test-fleet` installs it)")
    pytest.importorskip("psycopg")
    with Cluster(durable=False) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: Cluster) -> Cluster:
    """A PostgreSQL with empty tables."""
    with running_cluster.connect() as connection:
        connection.execute("TRUNCATE serd.event, serd.refused")
    return running_cluster


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto with the users and the ACL of a home."""
    extra = access_control(tmp_path / "home", EXAMPLES / "home.acl", HOME_USERS)
    with mosquitto(tmp_path, extra=extra) as broker:
        yield broker


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA, and a certificate for localhost."""
    return make_certificates(tmp_path_factory.mktemp("fleet-certificates"))
