"""Fixtures: the environment, a broker, and a client that publishes in place of the daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.broker import Mosquitto, Recorder, mosquitto
from tests.homeassistant.environment import is_built

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "SERD_HOMEASSISTANT"
"""The path of the environment; set by ``make test-homeassistant``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need the environment if there is none."""
    if not os.environ.get(VARIABLE):
        skip = pytest.mark.skip(reason="make test-homeassistant runs these")
        for item in items:
            if item.get_closest_marker("homeassistant"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def venv() -> Path:
    """The environment that contains Home Assistant."""
    path = Path(os.environ[VARIABLE]).absolute()
    if not is_built(path):
        pytest.fail(f"{path} is not complete: make test-homeassistant builds it", pytrace=False)
    return path


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker that both sides use."""
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def recorder(broker: Mosquitto) -> Iterator[Recorder]:
    """A client that receives everything and can publish."""
    with Recorder(broker.port) as connected:
        yield connected
