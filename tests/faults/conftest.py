from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broker import Mosquitto, Recorder, mosquitto
from tests.faults.manager import Manager, service_manager
from tests.faults.talk import Talk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def recorder(broker: Mosquitto) -> Iterator[Recorder]:
    with Recorder(broker.port) as recorder:
        yield recorder


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with service_manager(tmp_path) as manager:
        yield manager


@pytest.fixture
def talk() -> Iterator[Talk]:
    with Talk() as talk:
        yield talk
