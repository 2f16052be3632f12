"""Fixtures: the environment, a broker, and what the tests publish in the daemon's place."""

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
"""Names the environment; set by ``make test-homeassistant``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the environment, unless there is one."""
    if not os.environ.get(VARIABLE):
        skip = pytest.mark.skip(reason="make test-homeassistant runs these")
        for item in items:
            if item.get_closest_marker("homeassistant"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def venv() -> Path:
    """The environment with Home Assistant in it."""
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
    """Somebody who hears everything and may publish."""
    with Recorder(broker.port) as connected:
        yield connected
