"""Fixtures of the MQTT tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broker import Certificates, Mosquitto, make_certificates, mosquitto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto without access control."""
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA, and certificates for a server and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
